# SPDX-License-Identifier: Apache-2.0
"""Static timing of a netlist by OpenSTA: slack, highest clock, the critical path and the slack of every endpoint.

Before placement wires have no resistance and no capacitance, and the clock arrives everywhere at once; with the parasitics
that OpenROAD extracted both are real.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hsflow.errors import ToolError
from hsflow_asap7.constraints import Constraints
from hsflow_asap7.opensta import END, analyze, word
from hsflow_asap7.platform import Corner

SDC = "constraints.sdc"
_OUTER = ("u_network",)
"""Instances around the layers: a layer is what they hold."""


@dataclass(frozen=True)
class Design:
    """Name what is analyzed: a structural netlist, its top module, and the Liberty files of one corner.

    `parasitics` is a SPEF file of the routed wires, if there is one.
    """

    netlist: Path
    top: str
    liberties: tuple[Path, ...]
    corner: Corner
    parasitics: Path | None = None


@dataclass(frozen=True)
class PathPoint:
    """Hold a pin on a path, its cell (none for a port), and when the signal arrives there (ps after the clock's edge)."""

    pin: str
    cell: str
    arrival_ps: float

    @property
    def layer(self) -> str:
        """Return the layer, or other part of the design, that the pin is in; a port is in none."""
        return layer_of(self.pin)


@dataclass(frozen=True)
class Check:
    """Hold one kind of check: the slack (ps) of each endpoint, least first, and the path with the least."""

    slacks: tuple[tuple[float, str], ...]
    path: tuple[PathPoint, ...]

    @property
    def slack_ps(self) -> float:
        """Return the least slack; infinite where nothing is checked."""
        return self.slacks[0][0] if self.slacks else math.inf

    @property
    def total_negative_slack_ps(self) -> float:
        """Return the sum of all negative slacks."""
        return sum(min(0.0, slack) for slack, _ in self.slacks)

    @property
    def violations(self) -> int:
        """Return how many endpoints miss the check."""
        return sum(slack < 0 for slack, _ in self.slacks)

    @property
    def layers(self) -> tuple[str, ...]:
        """Return the parts of the design that the path runs through, in its order."""
        names = [point.layer for point in self.path if point.cell]
        return tuple(dict.fromkeys(names))


@dataclass(frozen=True)
class Timing:
    """Hold the timing of a design at one corner.

    `untimed` are the inputs of registers that no path reaches: those of a constant, where all is well.
    """

    corner: Corner
    clock_ps: float
    setup: Check
    hold: Check
    untimed: tuple[str, ...] = ()

    @property
    def slack_ps(self) -> float:
        """Return the least setup slack."""
        return self.setup.slack_ps

    @property
    def fmax_mhz(self) -> float:
        """Return the highest clock at which no setup check fails, inputs and outputs as late as they are now."""
        shortest = self.clock_ps - self.slack_ps
        return 1e6 / shortest if shortest > 0 else math.inf

    def slack_histogram(self, bins: int = 20) -> tuple[tuple[float, ...], tuple[int, ...]]:
        """Return the edges (ps) of bins of equal width, one more than bins, and how many endpoints' setup slack is in each."""
        return histogram([slack for slack, _ in self.setup.slacks], bins)


def time_design(design: Design, constraints: Constraints, folder: Path) -> Timing:
    """Time a design with OpenSTA in `folder`, which gets the constraints, the script, its log and a report for people.

    Raises:
        ToolError: if OpenSTA is missing or fails, or the netlist has a cell that the library lacks.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SDC).write_text(constraints.sdc(), encoding="utf-8")
    name = f"timing_{design.corner.lower()}"
    (folder / f"{name}.rpt").unlink(missing_ok=True)
    results = f"{name}.tsv"
    context = {"report": f"{name}.rpt", "results": results, **script_context(design, folder)}
    rows = analyze(folder, name, "timing.tcl.j2", results, context)
    return _timing(rows, design, constraints, folder / results)


def script_context(design: Design, folder: Path) -> dict[str, object]:
    """Return what the common beginning of the scripts that run in `folder` is rendered with."""
    return {
        "top": design.top,
        "corner": str(design.corner),
        "libraries": [word(path, folder) for path in design.liberties],
        "netlist": word(design.netlist, folder),
        "constraints": SDC,
        "parasitics": word(design.parasitics, folder) if design.parasitics else "",
        "end": END,
    }


def layer_of(pin: str) -> str:
    """Return the part of a design that a pin is in, by the instances' names: `u_network/u_stem/u_kernel/_12_/A` is in `stem`.

    What was derived from a layer (`u_stem__fork0`) belongs to it. A pin of a cell at the top is in no part.
    """
    *around, _cell, _pin = ("", *pin.replace(".", "/").split("/"))
    instances = [part for part in around if part.startswith("u_")]
    inner = [part for part in instances if part not in _OUTER]
    return inner[0].removeprefix("u_").split("__")[0] if inner else ""


def histogram(values: Sequence[float], bins: int) -> tuple[tuple[float, ...], tuple[int, ...]]:
    """Return the edges of `bins` bins of equal width over the values, and how many values are in each."""
    if not values:
        return (), ()
    low, high = min(values), max(values)
    width = (high - low) / bins or 1.0
    counts = [0] * bins
    for value in values:
        counts[min(bins - 1, int((value - low) / width))] += 1
    return tuple(low + width * index for index in range(bins + 1)), tuple(counts)


def _timing(rows: Iterable[list[str]], design: Design, constraints: Constraints, where: Path) -> Timing:
    found: dict[str, list[list[str]]] = {}
    for kind, *fields in rows:
        found.setdefault(kind, []).append(fields)
    checks = {kind: _check(found.get(kind, []), found.get(f"{kind} point", [])) for kind in ("setup", "hold")}
    if not checks["setup"].slacks:
        raise ToolError(
            "no path of the design is timed", where=str(where), expected="registers on the clock, or inputs to outputs"
        )  # fmt: skip
    untimed = tuple(name for (name,) in found.get("untimed", []))
    return Timing(design.corner, constraints.clock_ps, checks["setup"], checks["hold"], untimed)


def _check(ends: Iterable[list[str]], points: Iterable[list[str]]) -> Check:
    slacks = sorted((float(slack), endpoint) for slack, endpoint in ends)
    return Check(tuple(slacks), tuple(PathPoint(pin, cell, float(arrival)) for pin, cell, arrival in points))
