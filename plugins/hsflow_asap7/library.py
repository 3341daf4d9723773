# SPDX-License-Identifier: Apache-2.0
"""The cells of the library: areas, pins, functions; read once from the Liberty files of the typical corner."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache, cached_property

from hsflow_asap7 import facts, liberty
from hsflow_asap7.platform import Corner, Platform

_DELAYS = re.compile(r"\bcell_(?:rise|fall)\s*\([^()]*\)\s*\{([^{}]*)\}")


@dataclass(frozen=True)
class LibraryCell:
    """Hold a cell: its area (um2), the loads of its inputs (fF), its outputs' functions and largest loads (fF).

    A register's or latch's output has the name of a state as its function; `state` is what the library says of that state,
    `pins` of the pins.
    """

    name: str
    area: float
    inputs: Mapping[str, float]
    functions: Mapping[str, str]
    limits: Mapping[str, float]
    sequential: bool
    attributes: Mapping[str, str]
    pins: Mapping[str, Mapping[str, str]]
    state: liberty.Group | None
    outputs: Mapping[str, liberty.Group] = field(repr=False)

    @cached_property
    def slopes(self) -> Mapping[str, float]:
        """Return by how many ps each output comes later for 1 fF more of load, on its slowest arc; 0 where none is stated."""
        return {name: max((slope for _, slope in arcs), default=0.0) for name, arcs in self._arcs.items()}

    def delay(self, output: str, load: float) -> float:
        """Return how late (ps) an output is under a load (fF), on its slowest arc and after a steep edge of its input."""
        return max((base + slope * load for base, slope in self._arcs[output]), default=0.0)

    @cached_property
    def _arcs(self) -> Mapping[str, tuple[tuple[float, float], ...]]:
        return {name: tuple(_arcs(pin)) for name, pin in self.outputs.items()}

    @property
    def may_be_chosen(self) -> bool:
        """Tell whether the platform lets tools choose it."""
        return not any(fnmatchcase(self.name, pattern) for pattern in facts.DONT_USE)


@cache
def read_cells(platform: Platform) -> Mapping[str, LibraryCell]:
    """Return every standard cell by name."""
    libraries = (liberty.read_library(path) for path in platform.liberties(Corner.TT))
    return {cell.name: _cell(cell) for library in libraries for cell in library.groups("cell")}


def _cell(cell: liberty.Group) -> LibraryCell:
    groups = {pin.name: pin for pin in cell.groups("pin")}
    pins = {name: pin.attributes() for name, pin in groups.items()}
    inputs = {name: pin for name, pin in pins.items() if pin.get("direction") == "input"}
    outputs = {name: pin for name, pin in pins.items() if pin.get("direction") == "output"}
    attributes = cell.attributes()
    state = next((group for group in cell.groups() if group.kind in ("ff", "latch", "statetable")), None)
    return LibraryCell(
        cell.name,
        float(attributes.get("area", "0")),
        {name: float(pin.get("capacitance", "0")) for name, pin in inputs.items()},
        {name: pin.get("function", pin.get("state_function", "")) for name, pin in outputs.items()},
        {name: float(pin.get("max_capacitance", "inf")) for name, pin in outputs.items()},
        state is not None,
        attributes,
        pins,
        state,
        {name: groups[name] for name in outputs},
    )


def _arcs(pin: liberty.Group) -> Iterator[tuple[float, float]]:
    """Yield for each arc its delay without a load (ps) and its slope (ps/fF), for the tables' fastest input transition."""
    for body in _DELAYS.findall(pin.body):
        loads, delays = liberty.numbers(body, "index_2"), liberty.numbers(body, "values")
        if len(loads) > 1:
            slope = (delays[len(loads) - 1] - delays[0]) / (loads[-1] - loads[0])
            yield delays[0] - slope * loads[0], slope
