# SPDX-License-Identifier: Apache-2.0
"""Place and route by OpenROAD: one readable script a step, which an engineer can take over by hand.

Each step reads the database that the step before left, and leaves its own; `setup.tcl` beside it is what all steps begin
with. The last one leaves the layout as DEF, the netlist with its clock tree and buffers, and the wires' parasitics.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from hsflow.errors import ConfigurationError, ToolError
from hsflow.launch import resolve
from hsflow.process import run
from hsflow.templates import render
from hsflow_asap7 import facts
from hsflow_asap7.opensta import word
from hsflow_asap7.platform import Platform

TOOL = "openroad"
SETUP, SDC = "setup.tcl", "constraints.sdc"
DEF, NETLIST, SPEF, DRC = "final.def", "final.v", "final.spef", "drc.rpt"
CLOCK_BUFFER = f"BUFx4{facts.SUFFIX}"
PHYSICAL_CELLS = (facts.TAP_CELL, *facts.FILL_CELLS)
MARGIN_UM = 1.08
HALO_UM = 2.0
"""Room around the core, four rows, and around each memory."""

_ROUTED = "routed.v"
_ROW_UM = 0.27
_LEAST_SIDE_UM = 3 * max(strap.pitch for strap in facts.STRAPS)
"""A core has at least three pairs of straps each way."""

_PORT_PITCH_UM = 0.12
_EMPTY_INSTANCE = re.compile(rf"^\s*(?:{'|'.join(PHYSICAL_CELLS)})\s+\S+\s*\(\s*\)\s*;\n", re.MULTILINE)
_VIOLATION = re.compile(r"^\s*violation type:", re.MULTILINE)


@dataclass(frozen=True)
class LayoutStep:
    """Name a step of the layout: the files that it leaves, and what the database has had before it."""

    name: str
    outputs: tuple[str, ...]
    has_floorplan: bool = True
    has_clock_tree: bool = False


STEPS: tuple[LayoutStep, ...] = (
    LayoutStep("floorplan", ("floorplan.odb",), has_floorplan=False),
    LayoutStep("pins", ("pins.odb",)),
    LayoutStep("power_grid", ("power_grid.odb",)),
    LayoutStep("place", ("place.odb",)),
    LayoutStep("clock_tree", ("clock_tree.odb",)),
    LayoutStep("route", ("route.odb", DRC), has_clock_tree=True),
    LayoutStep("extract", (SPEF,), has_clock_tree=True),
    LayoutStep("finish", (DEF, NETLIST), has_clock_tree=True),
)


@dataclass(frozen=True)
class LayoutOptions:
    """Choose how full the core is when cells are placed (0 to 1), and how dense the placer may make it."""

    utilization: float = 0.55
    density: float = facts.PLACEMENT_DENSITY

    def __post_init__(self) -> None:
        if not 0 < self.utilization < self.density <= 1:
            raise ConfigurationError(
                "the layout's utilization or density is out of range",
                got=f"{self.utilization} and {self.density}",
                expected="0 < utilization < density <= 1",
            )


@dataclass(frozen=True)
class Memory:
    """Hold a macro of the netlist: its Liberty and LEF files, how many there are, and the size of one (um)."""

    name: str
    liberty: Path
    lef: Path
    count: int
    width: float
    height: float


@dataclass(frozen=True)
class Layout:
    """Hold what is laid out.

    Args:
        top: the netlist's top module.
        netlist: its structural Verilog.
        liberty: the cells' library that the layout is optimized for.
        sdc: its constraints.
        platform: where the LEF files and the extraction rules are.
        cell_area: of all cells (um2).
        ports: the top's number of ports, bit by bit.
        memories: the macros among the cells.
        options: how full.
    """

    top: str
    netlist: Path
    liberty: Path
    sdc: Path
    platform: Platform
    cell_area: float
    ports: int
    memories: tuple[Memory, ...] = ()
    options: LayoutOptions = LayoutOptions()

    @property
    def macro_area(self) -> float:
        """Return the area of all memories with the room around them (um2)."""
        return sum(m.count * (m.width + 2 * HALO_UM) * (m.height + 2 * HALO_UM) for m in self.memories)

    @property
    def core_side(self) -> float:
        """Return the side of the square core (um): whole rows, room for cells, straps, ports and the longest memory."""
        area = self.cell_area / self.options.utilization + self.macro_area / 0.9
        longest = max((max(m.width, m.height) + 2 * HALO_UM for m in self.memories), default=0.0)
        side = max(math.sqrt(area), _LEAST_SIDE_UM, self.ports * _PORT_PITCH_UM / 4, longest)
        return math.ceil(side / _ROW_UM) * _ROW_UM


def perform(step: LayoutStep, layout: Layout, folder: Path, before: Mapping[str, Path]) -> None:
    """Do one step in `folder`, which gets its scripts, its log and what it leaves.

    `before` are the folders of the steps that were done, by name.

    Raises:
        ToolError: if OpenROAD is missing or fails, or a file is not there afterwards.
    """
    write_scripts(step, layout, folder, before)
    for name in step.outputs:
        (folder / name).unlink(missing_ok=True)
    words = ["-no_init", "-no_splash", "-threads", "max", "-exit", f"{step.name}.tcl"]
    run([*resolve(TOOL).argv, *words], cwd=folder, log=folder / f"{step.name}.log")
    _AFTERWARDS.get(step.name, _nothing)(folder)
    missing = [name for name in step.outputs if not (folder / name).is_file()]
    if missing:
        raise ToolError(
            f"OpenROAD left no {' and no '.join(missing)}", where=str(folder), hint=f"see {step.name}.log there"
        )  # fmt: skip


def write_scripts(step: LayoutStep, layout: Layout, folder: Path, before: Mapping[str, Path]) -> None:
    """Write a step's script and `setup.tcl` beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    context = _context(step, layout, folder, before)
    for name, template in ((SETUP, SETUP), (f"{step.name}.tcl", f"{step.name}.tcl")):
        text = render("hsflow_targets", f"{template}.j2", folder="asap7", **context)
        (folder / name).write_text(text, encoding="utf-8")


def violations(drc: Path) -> int:
    """Return how many violations of design rules the router left."""
    return len(_VIOLATION.findall(drc.read_text(encoding="utf-8", errors="replace")))


def without_physical_cells(text: str) -> str:
    """Return a netlist without taps and fillers, which have no pins and are in no Liberty file."""
    return _EMPTY_INSTANCE.sub("", text)


def _context(step: LayoutStep, layout: Layout, folder: Path, before: Mapping[str, Path]) -> dict[str, object]:
    low, high = facts.ROUTING_LAYERS
    side, margin = layout.core_side, MARGIN_UM
    database = _database(step, before)
    return {
        "top": layout.top,
        "facts": facts,
        "libraries": _words(folder, layout.liberty, *(m.liberty for m in layout.memories)),
        "lefs": _words(
            folder,
            layout.platform.technology_lef,
            layout.platform.cells_lef,
            *(m.lef for m in layout.memories),
        ),
        "netlist": word(layout.netlist, folder),
        "constraints": word(layout.sdc, folder),
        "before": word(database, folder) if database else "",
        "has_floorplan": step.has_floorplan,
        "has_clock_tree": step.has_clock_tree,
        "routing": f"{low}-{high}",
        "clock_routing": f"{facts.LOWEST_CLOCK_LAYER}-{high}",
        "cell_area": layout.cell_area,
        "macro_area": layout.macro_area,
        "utilization": layout.options.utilization,
        "density": layout.options.density,
        "die": _corners(0.0, side + 2 * margin),
        "core": _corners(margin, side + margin),
        "memories": layout.memories,
        "halo": HALO_UM,
        "clock_buffer": CLOCK_BUFFER,
        "extraction_rules": word(layout.platform.extraction_rules, folder) if step.name == "extract" else "",
        "parasitics": word(before["extract"] / SPEF, folder) if step.name == "finish" else "",
    }


def _database(step: LayoutStep, before: Mapping[str, Path]) -> Path | None:
    """Return the database of the last step before this one that left one."""
    found = None
    for other in STEPS[: STEPS.index(step)]:
        if f"{other.name}.odb" in other.outputs:
            found = before[other.name] / f"{other.name}.odb"
    return found


def _words(folder: Path, *paths: Path) -> list[str]:
    return [word(path, folder) for path in paths]


def _corners(low: float, high: float) -> str:
    return f"{low:g} {low:g} {high:.6g} {high:.6g}"


def _clean_netlist(folder: Path) -> None:
    routed = folder / _ROUTED
    if routed.is_file():
        text = without_physical_cells(routed.read_text(encoding="utf-8"))
        (folder / NETLIST).write_text(text, encoding="utf-8")


def _nothing(folder: Path) -> None:
    """Leave a step's folder as it is."""


_AFTERWARDS: Mapping[str, Callable[[Path], None]] = {"finish": _clean_netlist}
