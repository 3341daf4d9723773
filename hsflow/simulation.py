# SPDX-License-Identifier: Apache-2.0
"""Build, run and check the simulation that a FuseSoC target describes; the Edalize flow `hsflow` calls this.

A work root has one lock, so that two runs in one checkout wait for each other. A build is finished when build.json
holds the digest of all that went into it; whatever else is found there is deleted and built again, since make takes a
partial output for a finished one.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from filelock import FileLock, Timeout
from pydantic import ValidationError

from hsflow import metrics, results, thresholds
from hsflow.artifact import canonical_json, digest, file_digest
from hsflow.durable import replace_file
from hsflow.errors import ConfigurationError, HsflowError, ToolError
from hsflow.launch import LOG_VARIABLE, resolve
from hsflow.process import run
from hsflow.progress import waiting

LOCK = ".hsflow.lock"
BUILD_STAMP = "build.json"
BUILD_LOG = "build.log"
SIMULATION_LOG = "simulate.log"
LAUNCH_LOG = "launch.jsonl"
DEFAULT_TIMEOUT_SECONDS = 3600
_BUILD_ATTEMPTS = 3
_SAFE_NAME = re.compile(r"[A-Za-z0-9_./+@=,][A-Za-z0-9_./+@=,-]*")
_FILE_PLUSARGS = (
    ("stimulus", results.STIMULUS),
    ("npu", results.NPU_IMAGE),
    ("npu2", results.NPU_IMAGE_SWITCHED),
)


class Simulator(Protocol):
    """Be what differs between simulators."""

    def leftovers(self, name: str, toplevel: str) -> Sequence[str]:
        """Return the patterns of what a build writes."""

    def program(self, name: str, toplevel: str) -> str:
        """Return the file that a finished build leaves."""

    def command(self, program: Path) -> list[str]:
        """Return what starts the simulation."""

    def inputs(self, name: str) -> str:
        """Return the file that lists the compiler's arguments."""


class _Verilator:
    def leftovers(self, name: str, toplevel: str) -> Sequence[str]:
        return (f"V{toplevel}*", "verilated*")

    def program(self, name: str, toplevel: str) -> str:
        return f"V{toplevel}"

    def command(self, program: Path) -> list[str]:
        return [str(program)]

    def inputs(self, name: str) -> str:
        return f"{name}.vc"


class _Icarus:
    def leftovers(self, name: str, toplevel: str) -> Sequence[str]:
        return (name,)

    def program(self, name: str, toplevel: str) -> str:
        return name

    def command(self, program: Path) -> list[str]:
        return ["vvp", "-n", str(program)]

    def inputs(self, name: str) -> str:
        return f"{name}.scr"


SIMULATORS: Mapping[str, Simulator] = {"verilator": _Verilator(), "icarus": _Icarus()}
_COMPILERS = {"verilator": "verilator", "icarus": "iverilog"}


@dataclass(frozen=True)
class Simulation:
    """Hold one work root and what Edalize was told about it.

    `files` are the sources relative to the work root; `plusargs` are further ones for the testbench; `records` are the
    places where builds of the cores may have left their metrics; `data_folder` holds stimulus, expected results and
    what is written, where that is not the work root.
    """

    name: str
    toplevel: str
    work_root: Path
    tool: str
    files: tuple[str, ...]
    conditions: results.Conditions
    plusargs: tuple[str, ...] = ()
    records: tuple[Path, ...] = ()
    data_folder: Path | None = None
    timeout: float = DEFAULT_TIMEOUT_SECONDS

    @classmethod
    def from_edam(
        cls, edam: Mapping[str, Any], work_root: Path, flow_options: Mapping[str, Any]
    ) -> Simulation:
        """Return the simulation that an EDAM describes.

        Raises:
            ConfigurationError: for an unknown simulator, an ill-formed plusarg, or a name that make would misread.
        """
        conditions, plusargs = split_plusargs(edam.get("parameters", {}))
        return cls(
            name=safe_name(edam.get("name", "")),
            toplevel=safe_name(edam.get("toplevel", "")),
            work_root=work_root,
            tool=_known_tool(flow_options.get("tool")),
            files=tuple(_sources(edam.get("files", ()))),
            records=tuple(records_of(edam.get("cores", {}), work_root)),
            conditions=conditions,
            plusargs=plusargs,
            timeout=float(flow_options.get("simulation_timeout") or DEFAULT_TIMEOUT_SECONDS),
        )

    @property
    def data(self) -> Path:
        """Return the folder with the stimulus, in which the simulation runs."""
        return self.data_folder or self.work_root

    def lock(self) -> AbstractContextManager[None]:
        """Hold the work root for this process alone, waiting for another run to end."""
        return locked(self.work_root)

    def build(self, command: tuple[str, Sequence[str]]) -> None:
        """Compile, unless a finished build of the same inputs is there.

        The inputs are looked at before and after: another run may have been copying them.

        Raises:
            ToolError: the compiler fails, or leaves no program.
        """
        with self.lock():
            for _ in range(_BUILD_ATTEMPTS):
                before = self._inputs()
                if self._is_built(before):
                    _say(f"{self.tool}: the simulation is up to date")
                    return
                started = time.monotonic()
                failure = self._compile(command)
                if self._inputs() == before:
                    self._finish_build(before, failure, time.monotonic() - started)
                    return
        raise ToolError("the sources change while they are compiled", where=str(self.work_root))

    def run(
        self, *, table: bool = True, prepare: Callable[[], object] | None = None
    ) -> results.SimulationResult:
        """Simulate, check every result, write metrics.json, and print the figures if `table` is set.

        `prepare`, which may write the data, is called under the same lock: no other run comes in between.

        Raises:
            MismatchError: something measured is not what was expected.
            ToolError: the simulator fails or runs out of time.
            HsflowError: a figure is beyond its threshold.
        """
        with self.lock():
            if prepare is not None:
                prepare()
            for stale in (results.RESULTS, results.METRICS):
                (self.data / stale).unlink(missing_ok=True)
            images = self.conditions.images_of(results.read_plan(self.data))
            _say(f"{self.tool}: simulating {images} images")
            before = {**self._design_metrics(), **self._wall_times(self._simulate(images))}
            result = results.check_simulation(self.data, self.conditions, before)
            measured = metrics.from_json((self.data / results.METRICS).read_bytes())
        if table:
            _print_table(measured)
        _report(result)
        if unmeasured := thresholds.require_recorded(self.records, measured, str(self.work_root)):
            _say(f"thresholds of what this run does not measure: {', '.join(unmeasured)}")
        return result

    def _design_metrics(self) -> metrics.Metrics:
        """Return what the stages before the simulation measured."""
        found = [metrics.from_json(path.read_bytes()) for path in self.records if path.is_file()]
        return {name: metric for record in found for name, metric in record.items()}

    def _inputs(self) -> dict[str, tuple[str, int]]:
        """Return each input's digest and time of change; a missing one has none."""
        listed = (*self.files, SIMULATORS[self.tool].inputs(self.name), "Makefile")
        return {file: _fingerprint(self.work_root / file) for file in listed}

    def _key(self, inputs: Mapping[str, tuple[str, int]]) -> str:
        compiler = resolve(_COMPILERS[self.tool]).location
        location = Path(shutil.which(compiler) or compiler)
        version = location.stat().st_mtime_ns if location.exists() else 0
        contents = {file: content for file, (content, _) in inputs.items()}
        return digest(canonical_json([contents, str(location), version]))

    def _is_built(self, inputs: Mapping[str, tuple[str, int]]) -> bool:
        stamp = self.work_root / BUILD_STAMP
        program = self.work_root / SIMULATORS[self.tool].program(self.name, self.toplevel)
        return program.is_file() and stamp.is_file() and _read_stamp(stamp).get("key") == self._key(inputs)

    def _compile(self, command: tuple[str, Sequence[str]]) -> ToolError | None:
        (self.work_root / BUILD_STAMP).unlink(missing_ok=True)
        for pattern in SIMULATORS[self.tool].leftovers(self.name, self.toplevel):
            for path in sorted(self.work_root.glob(pattern)):
                path.unlink()
        _say(f"{self.tool}: building the simulation (log: {self.work_root / BUILD_LOG})")
        environment = {LOG_VARIABLE: str((self.work_root / LAUNCH_LOG).resolve())}
        program, arguments = command
        try:
            with waiting(f"{self.tool}: compiling"):
                run(
                    [program, *arguments],
                    cwd=self.work_root,
                    env=environment,
                    log=self.work_root / BUILD_LOG,
                )
        except ToolError as error:
            return error
        return None

    def _finish_build(
        self, inputs: Mapping[str, tuple[str, int]], failure: ToolError | None, seconds: float
    ) -> None:
        if failure is not None:
            raise failure
        program = self.work_root / SIMULATORS[self.tool].program(self.name, self.toplevel)
        if not program.is_file():
            raise ToolError("the build left no program", where=str(program), hint=f"see {BUILD_LOG}")
        stamp = {"key": self._key(inputs), metrics.WALL_SECONDS: round(seconds, 3)}
        replace_file(self.work_root / BUILD_STAMP, canonical_json(stamp).encode())

    def _simulate(self, images: int) -> float:
        """Run the program and return the seconds that it took."""
        words = [f"+results={results.RESULTS}", f"+images={images}"]
        values = self.conditions.model_dump(exclude={"images"})
        words += [f"+{name}={value}" for name, value in values.items()]
        words += [f"+{name}={file}" for name, file in _FILE_PLUSARGS if (self.data / file).is_file()]
        program = (self.work_root / SIMULATORS[self.tool].program(self.name, self.toplevel)).resolve()
        started = time.monotonic()
        with waiting(f"{self.tool}: simulating {images} images"):
            run(
                [*SIMULATORS[self.tool].command(program), *words, *self.plusargs],
                cwd=self.data,
                timeout=self.timeout,
                log=self.data / SIMULATION_LOG,
            )
        seconds = time.monotonic() - started
        _say(f"{self.tool}: done in {seconds:.1f} s")
        return seconds

    def _wall_times(self, simulated: float) -> metrics.Metrics:
        """Return what compiling and simulating took; the build may be an earlier run's."""
        compiled = _read_stamp(self.work_root / BUILD_STAMP).get(metrics.WALL_SECONDS)
        seconds = {"compile": compiled, "simulate": round(simulated, 3)}
        names = {f"{stage}.{metrics.WALL_SECONDS}": value for stage, value in seconds.items()}
        return {
            name: metrics.make_metric(name, value, "s", "lower")
            for name, value in names.items()
            if value is not None
        }


@contextmanager
def locked(work_root: Path) -> Iterator[None]:
    """Hold a work root for this process alone, waiting for another run to end."""
    work_root.mkdir(parents=True, exist_ok=True)
    guard = FileLock(work_root / LOCK)
    try:
        guard.acquire(timeout=0)
    except Timeout:
        _say(f"waiting for another run in {work_root}")
        guard.acquire()
    try:
        yield
    finally:
        guard.release()


def _read_stamp(path: Path) -> dict[str, Any]:
    """Return what the last finished build wrote, or nothing if it cannot be read."""
    try:
        stamp = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return stamp if isinstance(stamp, dict) else {}


def _print_table(measured: metrics.Metrics) -> None:
    from rich.console import Console

    Console().print(metrics.render(measured))


def _report(result: results.SimulationResult) -> None:
    exact = {"latency": result.latency, "initiation interval": result.initiation_interval}
    timing = " and ".join(name for name, cycles in exact.items() if cycles is not None)
    compared = f"; {timing} exactly as computed" if timing else ""
    _say(f"all {result.logits} results of {result.images} images are bit-exact{compared}")


def _sources(files: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    """Yield what is compiled; every name reaches a Makefile, data files' too."""
    for entry in files:
        name = safe_name(entry["name"])
        if entry.get("file_type", "user") != "user":
            yield name


def records_of(cores: Mapping[str, Any], work_root: Path) -> Iterator[Path]:
    """Yield the files with metrics that may lie in the work root and beside the core files."""
    yield work_root / results.RECORD
    for core in cores.values():
        yield work_root / Path(core.get("core_file", "")).parent / results.RECORD


def split_plusargs(parameters: Mapping[str, Any]) -> tuple[results.Conditions, tuple[str, ...]]:
    """Return how parameters of an EDAM drive the testbench, and the plusargs that are no conditions.

    Raises:
        ConfigurationError: if a condition is not right.
    """
    values = {
        name: entry.get("default")
        for name, entry in parameters.items()
        if entry.get("paramtype") == "plusarg" and entry.get("default") is not None
    }
    known = {name: value for name, value in values.items() if name in results.Conditions.model_fields}
    others = tuple(f"+{name}={value}" for name, value in values.items() if name not in known)
    try:
        return results.Conditions.model_validate(known), others
    except ValidationError as error:
        raise ConfigurationError("a plusarg of the simulation is ill-formed", got=error) from error


def _known_tool(tool: object) -> str:
    if isinstance(tool, str) and tool in SIMULATORS:
        return tool
    raise ConfigurationError(
        "the simulator is unknown", where="flow_options, tool", got=tool, expected=" or ".join(SIMULATORS)
    )


def safe_name(name: object) -> str:
    """Return a name that neither make nor a shell can misread: they get it unquoted."""
    if isinstance(name, str) and _SAFE_NAME.fullmatch(name):
        return name
    raise ConfigurationError(
        "the name of a file or design cannot be given to make",
        got=repr(name),
        expected="letters, digits and _ . / + @ = , -",
        hint="rename it, or move the checkout to a path without spaces",
    )


def _fingerprint(path: Path) -> tuple[str, int]:
    try:
        return file_digest(path), path.stat().st_ctime_ns
    except FileNotFoundError:
        return "", 0
    except OSError as error:
        raise HsflowError("a source cannot be read", where=str(path), got=error) from error


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
