# SPDX-License-Identifier: Apache-2.0
"""Run one step of the flow, in a folder of its own.

A step reads declared files and leaves declared files, its figures (metrics.json) and, last of all, its record (step.json):
what it read and wrote with their digests, every command that it ran, how long it took and how much memory. A folder
without a record is not finished, and each attempt starts with a new one; a finished step runs again unless everything that
it depends on, and everything that it wrote, is what it was. A step whose tool is not installed leaves a record that says so.
"""

from __future__ import annotations

import importlib.util
import resource
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from hsflow import __version__, metrics
from hsflow.artifact import canonical_json, digest, file_digest
from hsflow.cachekey import module_digest
from hsflow.durable import replace_file
from hsflow.errors import HsflowError, ToolError
from hsflow.launch import resolve
from hsflow.process import observed, output_into, read_notes
from hsflow_asap7.request import Request

RECORD = "step.json"
METRICS = "metrics.json"
LOG = "step.log"
COMMANDS = "commands.jsonl"
_CODE = ("hsflow_asap7", "hsflow_targets", "hsflow.simulation", "hsflow.results", "hsflow.process")
_KIB_PER_MIB = 1024.0


class Status(StrEnum):
    """Say what became of a step."""

    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"


class Record(BaseModel):
    """Hold what a step did: the content of step.json. Files are relative to the work root; times are seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    step: str
    status: Status
    reason: str = ""
    key: str = ""
    inputs: dict[str, str] = {}
    outputs: dict[str, str] = {}
    tools: dict[str, str] = {}
    commands: tuple[tuple[str, ...], ...] = ()
    wall_seconds: float = 0.0
    cpu_seconds: float = 0.0
    peak_mib: float = 0.0


@dataclass(frozen=True)
class Job:
    """Hold what a step's work is given: the request, the work root, and the step's own new folder in it."""

    request: Request
    work_root: Path
    folder: Path

    def source(self, name: str) -> Path:
        """Return a file of the request."""
        return self.work_root / name

    def made_by(self, step: str, name: str) -> Path:
        """Return a file that a step before has left."""
        return self.work_root / step / name


def _nothing(request: Request) -> Sequence[str]:
    return ()


@dataclass(frozen=True)
class Step:
    """Describe a step.

    Args:
        name: the step's, and its folder's.
        prefix: how the names of its own figures (status, run time, memory) begin.
        purpose: a few words for people.
        outputs: the files that it leaves in its folder.
        work: does it and returns its figures.
        needs: the steps whose outputs it reads.
        tools: the programs that it cannot do without.
        helpers: the programs that it uses where they are installed.
        modules: the Python modules that it cannot do without.
        options: the fields of the request that it depends on.
        inputs: the files of the work root that it reads, beside the outputs of `needs`.
    """

    name: str
    prefix: str
    purpose: str
    outputs: tuple[str, ...]
    work: Callable[[Job], metrics.Metrics]
    needs: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    helpers: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    inputs: Callable[[Request], Sequence[str]] = _nothing


def perform(step: Step, request: Request, work_root: Path) -> Record:
    """Run a step, unless its result is there and still right, or it cannot be run.

    Raises:
        HsflowError: whatever made the step fail; its record says so too.
    """
    folder = work_root / step.name
    begun = _begin(step, request, work_root)
    if begun.status is Status.SKIPPED:
        _make_new(folder)
        say(f"{step.name}: skipped: {begun.reason}")
        return _finish(folder, begun)
    if (earlier := read_record(folder)) and _is_current(earlier, begun.key, work_root):
        say(f"{step.name}: up to date")
        return earlier
    _make_new(folder)
    say(f"{step.name}: {step.purpose}")
    return _attempt(step, Job(request, work_root, folder), begun)


def outcome(step: Step, request: Request, work_root: Path) -> Record:
    """Return the record of a step that has run, or could not, on what is in the work root now; nothing older counts.

    Raises:
        HsflowError: if the step has not run since something changed, or failed.
    """
    begun = _begin(step, request, work_root)
    if begun.status is Status.SKIPPED:
        return begun
    record = read_record(work_root / step.name)
    if record is None or not _is_current(record, begun.key, work_root):
        raise HsflowError(
            f"the step '{step.name}' has no result of these inputs", where=str(work_root / step.name),
            got=(record and record.reason) or None, hint="run the target again",
        )  # fmt: skip
    return record


def figures_of(folder: Path) -> metrics.Metrics:
    """Return what the finished step of a folder measured."""
    return metrics.from_json((folder / METRICS).read_bytes())


def _begin(step: Step, request: Request, work_root: Path) -> Record:
    """Return the record of an attempt that is about to start, or of one that cannot: then it says why it is skipped."""
    reason, tools = _obstacle(step, work_root)
    if reason:
        return Record(step=step.name, status=Status.SKIPPED, reason=reason)
    inputs = _inputs(step, request, work_root)
    key = _key(step, request, inputs, tools)
    return Record(step=step.name, status=Status.FAILED, key=key, inputs=inputs, tools=tools)


def read_record(folder: Path) -> Record | None:
    """Return the record of a step's folder, or None if there is none that can be read."""
    try:
        return Record.model_validate_json((folder / RECORD).read_bytes())
    except (OSError, ValidationError):
        return None


def say(message: str) -> None:
    """Tell the user something."""
    print(message, file=sys.stderr, flush=True)


def _obstacle(step: Step, work_root: Path) -> tuple[str, dict[str, str]]:
    """Return why a step cannot be run, or an empty text, and where its tools are."""
    for name in step.needs:
        before = read_record(work_root / name)
        if before is None or before.status is Status.FAILED:
            return f"it needs {name}, which was not done", {}
        if before.status is Status.SKIPPED:
            return before.reason, {}
    for module in step.modules:
        if importlib.util.find_spec(module) is None:
            return (
                f"{module}: the Python module is not installed; {sys.executable} -m pip install {module}",
                {},
            )
    try:
        return "", {tool: _program(tool) for tool in (*step.tools, *filter(is_installed, step.helpers))}
    except ToolError as error:
        return f"{error.where}: {error.what}; {error.hint}", {}


def _program(tool: str) -> str:
    return " ".join(resolve(tool).argv)


def is_installed(tool: str) -> bool:
    """Tell whether a program can be run."""
    try:
        return bool(_program(tool))
    except ToolError:
        return False


def _inputs(step: Step, request: Request, work_root: Path) -> dict[str, str]:
    """Return the digest of each file that the step reads.

    Raises:
        HsflowError: if one is missing, or is not what the step before left.
    """
    found = {name: _digest_of(work_root / name, step) for name in step.inputs(request)}
    for need in step.needs:
        record = read_record(work_root / need)
        for name, expected in (record.outputs if record else {}).items():
            found[name] = _digest_of(work_root / name, step)
            if found[name] != expected:
                raise HsflowError(
                    "a file is not what the step before left", where=str(work_root / name), hint="run the target again"
                )  # fmt: skip
    return found


def _digest_of(path: Path, step: Step) -> str:
    try:
        return file_digest(path)
    except OSError as error:
        raise HsflowError(f"the step '{step.name}' lacks a file", where=str(path), got=error) from error


def _key(step: Step, request: Request, inputs: Mapping[str, str], tools: Mapping[str, str]) -> str:
    """Return a digest of all that the step's result depends on."""
    options = {name: value for name, value in request.model_dump(mode="json").items() if name in step.options}
    programs = {tool: [words, _modified(Path(words.rpartition(" ")[2]))] for tool, words in tools.items()}
    code = [__version__, *(module_digest(name) for name in _CODE)]
    library = [[path.name, *_modified(path)] for path in _library(request.platform.root)]
    return digest(canonical_json([step.name, options, dict(inputs), programs, code, library]))


def _library(root: Path) -> list[Path]:
    return sorted(path for folder in ("lib", "lef", "gds") for path in (root / folder).rglob("*"))


def _modified(path: Path) -> list[int]:
    try:
        status = path.stat()
    except OSError:
        return []
    return [status.st_size, status.st_mtime_ns]


def _is_current(record: Record, key: str, work_root: Path) -> bool:
    """Tell whether a finished step's result is of these very inputs, and untouched."""
    return (
        record.status is Status.DONE
        and record.key == key
        and all(_has(work_root / name, content) for name, content in record.outputs.items())
    )


def _has(path: Path, content: str) -> bool:
    return path.is_file() and file_digest(path) == content


def _make_new(folder: Path) -> None:
    """Remove what an earlier attempt left, its record first, and make the folder."""
    (folder / RECORD).unlink(missing_ok=True)
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)


def _attempt(step: Step, job: Job, begun: Record) -> Record:
    started = time.monotonic()
    try:
        with observed(job.folder / COMMANDS), output_into(job.folder / LOG):
            figures = step.work(job)
        replace_file(job.folder / METRICS, metrics.to_json(figures).encode())
        written = _outputs(step, job)
    except HsflowError as error:
        reason = str(error).splitlines()[0]
        _finish(job.folder, _measured(begun.model_copy(update={"reason": reason}), started, job.folder))
        raise
    done = begun.model_copy(update={"status": Status.DONE, "outputs": written})
    return _finish(job.folder, _measured(done, started, job.folder))


def _outputs(step: Step, job: Job) -> dict[str, str]:
    """Return the digest of each file that the step was to leave.

    Raises:
        ToolError: if one is missing or empty.
    """
    missing = [name for name in step.outputs if not _is_filled(job.folder / name)]
    if missing:
        raise ToolError(
            f"the step '{step.name}' left no {' and no '.join(missing)}", where=str(job.folder), hint=f"see {LOG} there"
        )  # fmt: skip
    return {f"{step.name}/{name}": file_digest(job.folder / name) for name in (*step.outputs, METRICS)}


def _is_filled(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _measured(record: Record, started: float, folder: Path) -> Record:
    """Return the record with what the step ran and took; memory is the largest process's, this one's included."""
    seen = read_notes(folder / COMMANDS)
    usage = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    peaks = [*(entry.ru_maxrss / _KIB_PER_MIB for entry in usage), *(program.rss_mb for program in seen)]
    took = {
        "commands": tuple(program.argv for program in seen),
        "wall_seconds": round(time.monotonic() - started, 3),
        "cpu_seconds": round(sum(entry.ru_utime + entry.ru_stime for entry in usage), 3),
        "peak_mib": round(max(peaks), 1),
    }
    return record.model_copy(update=took)


def _finish(folder: Path, record: Record) -> Record:
    replace_file(folder / RECORD, (record.model_dump_json(indent=2) + "\n").encode())
    return record
