# SPDX-License-Identifier: Apache-2.0
"""The way to FuseSoC and Edalize: the testbench, the core files, and the targets' runs.

A hardened design becomes a FuseSoC core with four filesets:

    rtl          the generated modules; depends on hsflow's RTL library
    testbench    `tb/hsflow_tb.sv`, in simulations only
    data         the files that `hsflow.results` lists, copied to the work root by their base names

and the targets that plugins offer by the hook `hsflow_targets`. A core that depends on it
gets the testbench and the data in targets that set the flag `simulation`.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hsflow.design import DesignFile, FileRole
from hsflow.errors import ConfigurationError, ToolError
from hsflow.process import run, terminate_as_interrupt
from hsflow.progress import Reporter
from hsflow.results import (
    EXPECTED,
    EXPECTED_SWITCHED,
    LABELS,
    NPU_IMAGE,
    NPU_IMAGE_SWITCHED,
    PLAN,
    STIMULUS,
    Conditions,
    SimulationPlan,
    SimulationResult,
    check_simulation,
)
from hsflow.targets import Target
from hsflow.templates import render

__all__ = [
    "DATA_FILES",
    "Conditions",
    "SimulationPlan",
    "SimulationResult",
    "TestbenchParameters",
    "check_simulation",
    "core_file",
    "render_testbench",
    "run_target",
]

DATA_FILES = (
    PLAN,
    STIMULUS,
    EXPECTED,
    NPU_IMAGE,
    EXPECTED_SWITCHED,
    NPU_IMAGE_SWITCHED,
    LABELS,
)
"""The base names under which a simulation finds its data."""

CAPI = "CAPI=2"
TESTBENCH = "hsflow_tb"
TESTBENCH_PATH = f"tb/{TESTBENCH}.sv"
RTL_LIBRARY = ("axil", "npu", "pool", "requantize", "stream", "window")
VERSION = "0.1.0"
_SIMULATION_FILESETS = ("simulation ? (testbench)", "simulation ? (data)")
_VLNV = re.compile(r"[A-Za-z0-9_.-]+(:[A-Za-z0-9_.-]+){3}")
_PATH = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")
_PLUSARGS = {
    "images": "Images to simulate (0: all)",
    "gap_percent": "Chance of a cycle without an input transfer",
    "gap_seed": "Seed of the random gaps and stalls",
    "stall_percent": "Chance of a cycle in which no result is taken",
    "latency_probe": "1: first send one image alone and measure its latency",
    "switch_after": "Write the NPU's second weights after so many results (0: never)",
}


@dataclass(frozen=True)
class TestbenchParameters:
    """Hold what the testbench must know of a design; widths in bits.

    `axil_address_width` is None for a design without an NPU. `transfers_per_image` and `beats_per_image` count
    the transfers of an image at the input and at the output.
    """

    __test__ = False  # not a test, whatever pytest makes of the name

    top: str
    in_width: int
    out_width: int
    transfers_per_image: int
    beats_per_image: int
    latency: int
    initiation_interval: int
    axil_address_width: int | None = None
    user_width: int = 16

    @property
    def watchdog_cycles(self) -> int:
        """Return after how many cycles without a transfer the simulation gives up."""
        return 100_000 + 20 * (self.latency + self.initiation_interval)

    @property
    def drain_cycles(self) -> int:
        """Return how long the testbench waits for results that should not come."""
        return 64 + self.latency + 2 * self.initiation_interval


def render_testbench(parameters: TestbenchParameters) -> DesignFile:
    """Return the testbench of a design.

    Raises:
        ConfigurationError: if a stream's width is no multiple of 8, or the top module's name is no identifier.
    """
    if (
        parameters.in_width % 8
        or parameters.out_width % 8
        or min(parameters.in_width, parameters.out_width) < 8
    ):
        raise ConfigurationError(
            "an AXI4-Stream's data must be whole bytes",
            where=parameters.top,
            got=f"{parameters.in_width} and {parameters.out_width} bits",
        )
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", parameters.top):
        raise ConfigurationError("the top module's name is no identifier", got=repr(parameters.top))
    names = (*parameters.__dataclass_fields__, "watchdog_cycles", "drain_cycles")
    context = {name: getattr(parameters, name) for name in names}
    text = render("hsflow_targets", f"{TESTBENCH}.sv.j2", folder="verilator", **context)
    return DesignFile(TESTBENCH_PATH, text, FileRole.TESTBENCH)


def core_file(
    vlnv: str,
    top: str,
    files: Sequence[DesignFile],
    *,
    targets: Iterable[Target] = (),
    description: str = "A network hardened by hsflow",
    library: Iterable[str] = RTL_LIBRARY,
) -> DesignFile:
    """Return the FuseSoC core file of a design; `files` keep their order, and lie relative to it.

    Raises:
        ConfigurationError: for a VLNV or a path that FuseSoC or make would misread, or two data files of one name.
    """
    if not _VLNV.fullmatch(vlnv):
        raise ConfigurationError(
            "the core's name is ill-formed", got=repr(vlnv), expected="vendor:library:name:version"
        )
    _check_paths(files)
    core = {
        "name": vlnv,
        "description": description,
        "filesets": _filesets(files, library),
        "parameters": plusarg_parameters(),
        "targets": core_targets(top, targets),
    }
    text = f"{CAPI}:\n# SPDX-License-Identifier: Apache-2.0\n{dump_yaml(core)}"
    return DesignFile(f"{vlnv.split(':')[2]}.core", text, FileRole.CORE)


class _PlainDumper(yaml.SafeDumper):
    """Write every value out, without anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def dump_yaml(data: Mapping[str, Any]) -> str:
    """Return YAML with the keys in their order."""
    return yaml.dump(data, Dumper=_PlainDumper, sort_keys=False, width=110)


def core_targets(top: str, targets: Iterable[Target]) -> dict[str, Any]:
    """Return a core's target sections: `default`, with the files for cores above, and `targets`."""
    default = {"filesets": ["rtl", *_SIMULATION_FILESETS]}
    return {"default": default, **{target.name: _section(top, target) for target in targets}}


def _section(top: str, target: Target) -> dict[str, Any]:
    common = {
        "description": target.description,
        "flow": target.flow,
        "flow_options": dict(target.flow_options),
    }
    if not target.simulation:
        return {**common, "filesets": ["rtl"], "toplevel": top}
    chosen = [f"{name}={target.plusargs[name]}" if name in target.plusargs else name for name in _PLUSARGS]
    return {
        **common,
        "filesets": ["rtl", *_SIMULATION_FILESETS],
        "toplevel": top if target.design_on_top else TESTBENCH,
        "flags": {"simulation": True},
        "parameters": chosen,
    }


def plusarg_parameters() -> dict[str, dict[str, str]]:
    """Return the plusargs of the testbench as FuseSoC parameters."""
    return {
        name: {"datatype": "int", "paramtype": "plusarg", "description": text}
        for name, text in _PLUSARGS.items()
    }


def run_target(
    name: str,
    cores_root: Path,
    work_root: Path,
    *,
    arguments: Sequence[str] = (),
    reporter: Reporter | None = None,
) -> int:
    """Run a target of the one core in `cores_root` by FuseSoC and return its exit status.

    `arguments` go to the target: `--images=8`, say.

    Raises:
        ConfigurationError: if `cores_root` does not hold exactly one core file.
        ToolError: if FuseSoC cannot be started.
    """
    from hsflow_cores import FOLDER

    vlnv = _only_core(cores_root)
    if reporter is not None:
        reporter.info(f"{name}: {vlnv} in {work_root}")
    work_root.mkdir(parents=True, exist_ok=True)
    words: list[str | Path] = [sys.executable, "-P", "-m", "fusesoc.main"]
    for root in (cores_root, FOLDER):
        words += ["--cores-root", root.resolve()]
    words += ["run", "--no-export", "--target", name, "--work-root", work_root.resolve(), vlnv, *arguments]
    with terminate_as_interrupt():
        return run(words, cwd=work_root, check=False, env=_own_interpreter()).returncode


def _own_interpreter() -> Mapping[str, str]:
    return {} if "HSFLOW_PYTHON" in os.environ else {"HSFLOW_PYTHON": sys.executable}


def _only_core(folder: Path) -> str:
    cores = sorted(folder.glob("*.core"))
    if len(cores) != 1:
        raise ConfigurationError(
            "the folder must hold exactly one core",
            where=str(folder),
            got=[path.name for path in cores],
            hint="'hsflow build' writes it",
        )
    try:
        return str(yaml.safe_load(cores[0].read_text(encoding="utf-8"))["name"])
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError) as error:
        raise ToolError("the core file cannot be read", where=str(cores[0]), got=error) from error


def _filesets(files: Sequence[DesignFile], library: Iterable[str]) -> dict[str, Any]:
    paths = {role: [file.path for file in files if file.role is role] for role in FileRole}
    data = [{path: {"file_type": "user", "copyto": Path(path).name}} for path in paths[FileRole.DATA]]
    depend = [f"hsflow:rtl:{core}" for core in library]
    return {
        "rtl": {"depend": depend, "files": paths[FileRole.RTL], "file_type": "systemVerilogSource"},
        "testbench": {"files": paths[FileRole.TESTBENCH], "file_type": "systemVerilogSource"},
        "data": {"files": data},
    }


def _check_paths(files: Sequence[DesignFile]) -> None:
    for file in files:
        if not _PATH.fullmatch(file.path):
            raise ConfigurationError(
                "a generated file's path is not allowed",
                got=repr(file.path),
                expected="relative; letters, digits, _ . and -; no hidden part and no '..'",
            )
    names = [file.path for file in files]
    data = [Path(file.path).name for file in files if file.role is FileRole.DATA]
    for group in (names, data):
        twice = {name for name in group if group.count(name) > 1}
        if twice:
            raise ConfigurationError("two generated files have one name", got=sorted(twice))
