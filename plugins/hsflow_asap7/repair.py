# SPDX-License-Identifier: Apache-2.0
"""Repair setup: the cells on the paths that miss the clock become larger, round by round, until none misses it.

`drive` gives each cell its strength by its load alone, which costs no timing analysis and leaves a path here and there too
long. Where OpenSTA finds such a path, each of its cells takes the strength that makes it shortest: what it gains by driving
its load faster is set against what its own larger pins cost the cell before it (as in "TILOS: a posynomial programming
approach to transistor sizing", Fishburn and Dunlop, ICCAD 1985). Adder cells have one strength each. Larger pins also load
what drives them on other paths: a round that loses by that is taken back, and the next follows half as many paths.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, pairwise
from pathlib import Path

from hsflow_asap7 import facts
from hsflow_asap7.constraints import Constraints
from hsflow_asap7.drive import PORT_LOAD, WIRE_LOAD, Drives, Pin
from hsflow_asap7.library import LibraryCell, read_cells
from hsflow_asap7.netlist import Bit, Module, Netlist, read_netlist
from hsflow_asap7.opensta import analyze
from hsflow_asap7.platform import Platform
from hsflow_asap7.structural import write_verilog
from hsflow_asap7.synthesis import NETLIST_VERILOG, Synthesis, written
from hsflow_asap7.timing import SDC, Design, script_context

ROUNDS = 8
FOLLOWED = 500
"""Paths of a round whose cells may grow, the worst first."""

_NAME = "violations"


@dataclass(frozen=True)
class PathCell:
    """Name a cell on a path, by its module and its name there, and the pins that the signal comes in and leaves by.

    No signal comes into the register that a path begins at.
    """

    module: str
    cell: str
    entry: str
    exit: str


@dataclass(frozen=True)
class Violations:
    """Hold the slack (ps) of each endpoint that misses the clock, and the worst paths to them, each in its order."""

    slacks: tuple[float, ...]
    paths: tuple[tuple[PathCell, ...], ...]

    @property
    def total(self) -> float:
        """Return the total negative slack in ps."""
        return sum(self.slacks)


@dataclass(frozen=True)
class Repair:
    """Hold a repaired netlist, how many cells of its modules became larger, and how many endpoints miss the clock still."""

    netlist: Netlist
    larger: int
    missed: int


def repair(
    netlist: Netlist, design: Design, constraints: Constraints, cells: Mapping[str, LibraryCell], folder: Path
) -> Repair:
    """Return the netlist with cells large enough for the clock, or as near to that as it can be brought.

    `design` names the netlist's libraries; `folder` gets a folder for each round, with its netlist, script and log.

    Raises:
        ToolError: if OpenSTA is missing or fails.
    """
    best, found = netlist, violations(netlist, design, constraints, folder / "round0")
    followed = len(found.paths)
    for number in range(1, ROUNDS + 1):
        trial = enlarged(best, found.paths[:followed], cells)
        if trial == best:
            break
        after = violations(trial, design, constraints, folder / f"round{number}")
        if after.total > found.total:
            best, found = trial, after
        else:
            followed //= 2
    return Repair(best, _different(netlist, best), len(found.slacks))


def repair_synthesis(
    made: Synthesis, design: Design, constraints: Constraints, platform: Platform
) -> tuple[Synthesis, Repair]:
    """Repair what synthesis made, in its folder; `design` is that netlist on its libraries.

    Raises:
        ToolError: if OpenSTA is missing or fails.
    """
    started, folder = time.monotonic(), made.netlist_json.parent
    setup = repair(
        read_netlist(made.netlist_json), design, constraints, read_cells(platform), folder / "repair"
    )
    seconds = made.seconds + time.monotonic() - started
    return written(setup.netlist, platform, folder, seconds, made.peak_mib), setup


def violations(netlist: Netlist, design: Design, constraints: Constraints, folder: Path) -> Violations:
    """Return what misses the clock, by OpenSTA in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SDC).write_text(constraints.sdc(), encoding="utf-8")
    here = replace(design, netlist=folder / NETLIST_VERILOG)
    write_verilog(netlist, here.netlist)
    results = f"{_NAME}.tsv"
    context = {"results": results, "followed": FOLLOWED, **script_context(here, folder)}
    rows = analyze(folder, _NAME, f"{_NAME}.tcl.j2", results, context)
    slacks = tuple(float(row[1]) for row in rows if row[0] == "path")
    return Violations(slacks, tuple(_paths(rows, netlist)))


def _paths(rows: Iterable[Sequence[str]], netlist: Netlist) -> Iterator[tuple[PathCell, ...]]:
    """Yield the cells of each path that the rows follow."""
    for is_point, points in groupby(rows, lambda row: row[0] == "point"):
        if is_point:
            yield tuple(_path([pin.split("/") for _, pin, _ in points], netlist))


def _path(pins: Sequence[Sequence[str]], netlist: Netlist) -> Iterator[PathCell]:
    """Yield the cells of a path: two pins of one cell, one after the other, are a way through it; ports have no cell."""
    (*at, start), (*beside, _) = pins[:2]
    if at and at != beside:
        yield PathCell(_module_of(at[:-1], netlist), at[-1], "", start)
    for (*at, entry), (*beside, leave) in pairwise(pins):
        if at and at == beside:
            yield PathCell(_module_of(at[:-1], netlist), at[-1], entry, leave)


def _module_of(instances: Iterable[str], netlist: Netlist) -> str:
    """Return the module that a chain of instances, from the top on, ends in."""
    name = netlist.top
    for instance in instances:
        name = netlist.modules[name].cells[instance].type
    return name


def enlarged(
    netlist: Netlist, paths: Iterable[Sequence[PathCell]], cells: Mapping[str, LibraryCell]
) -> Netlist:
    """Return the netlist with larger cells on the paths, where that makes them shorter; each cell grows once."""
    sizing = _Sizing(netlist, Drives(cells))
    for path in paths:
        for cell, before in reversed([*zip(path, (None, *path), strict=False)]):
            sizing.fit(cell, before)
    return sizing.result()


class _Sizing:
    """Choose sizes of cells of a netlist, whose nets stay as they are."""

    def __init__(self, netlist: Netlist, drives: Drives) -> None:
        self._netlist, self._drives = netlist, drives
        self._cells = {name: dict(module.cells) for name, module in netlist.modules.items()}
        self._readers = {name: _readers(module, netlist.known) for name, module in netlist.modules.items()}
        self._done: set[tuple[str, str]] = set()

    def result(self) -> Netlist:
        """Return the netlist as it is now."""
        modules = {
            name: replace(module, cells=self._cells[name]) for name, module in self._netlist.modules.items()
        }
        return replace(self._netlist, modules=modules)

    def fit(self, at: PathCell, before: PathCell | None) -> None:
        """Give a cell the size that makes the path shortest; `before` is the cell that drives it, if one does."""
        if (at.module, at.cell) in self._done:
            return
        self._done.add((at.module, at.cell))
        cell = self._cells[at.module][at.cell]
        if cell.type in self._netlist.blackboxes:
            return
        family = self._drives.families[cell.type]
        larger = family[family.index(self._drives.cells[cell.type]) :]
        load, uphill = self._load(at.module, cell.pins[at.exit][0]), self._slope(before)
        best = min(
            larger, key=lambda size: size.delay(at.exit, load) + uphill * size.inputs.get(at.entry, 0.0)
        )
        self._cells[at.module][at.cell] = replace(cell, type=best.name)

    def _slope(self, at: PathCell | None) -> float:
        """Return how much later (ps/fF) a cell is for more load; inputs and macros count as what drives the chip's inputs."""
        kind = self._cells[at.module][at.cell].type if at else ""
        if at is None or kind in self._netlist.blackboxes:
            return self._drives.cells[facts.ABC_DRIVER].slopes["Y"]
        return self._drives.cells[kind].slopes[at.exit]

    def _load(self, module: str, net: Bit) -> float:
        """Return a net's load (fF), wires included; an output of its module counts as one typical reader."""
        readers = self._readers[module].get(net, ())
        return math.fsum(self._pin_load(module, reader) for reader in readers)

    def _pin_load(self, module: str, reader: Pin) -> float:
        if not reader.cell:
            return facts.ABC_LOAD
        kind = self._cells[module][reader.cell].type
        if kind in self._netlist.modules:
            return self._load(kind, self._netlist.modules[kind].ports[reader.pin].bits[reader.index])
        if kind in self._netlist.blackboxes:
            return PORT_LOAD + WIRE_LOAD
        pins = self._drives.cells[kind].inputs
        return pins[reader.pin] + WIRE_LOAD if reader.pin in pins else 0.0


def _readers(module: Module, known: Mapping[str, Module]) -> Mapping[Bit, Sequence[Pin]]:
    """Return what reads each net: pins of cells, the driver's among them, inputs of instances, and the module's own outputs."""
    found: dict[Bit, list[Pin]] = defaultdict(list)
    for name, port in module.ports.items():
        if port.direction == "output":
            _add(found, "", name, port.bits)
    for name, cell in module.cells.items():
        ports = known[cell.type].ports if cell.type in known else {}
        for pin, bits in cell.pins.items():
            if pin not in ports or ports[pin].direction == "input":
                _add(found, name, pin, bits)
    return found


def _add(found: dict[Bit, list[Pin]], cell: str, pin: str, bits: Sequence[Bit]) -> None:
    for index, bit in enumerate(bits):
        found[bit].append(Pin(cell, pin, index))


def _different(before: Netlist, after: Netlist) -> int:
    """Return how many cells of two netlists' modules are not the same."""
    pairs = ((module.cells, after.modules[name].cells) for name, module in before.modules.items())
    return sum(cells[name] != other[name] for cells, other in pairs for name in cells)
