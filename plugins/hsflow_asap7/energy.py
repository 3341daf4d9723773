# SPDX-License-Identifier: Apache-2.0
"""What a library's cells take: energy of each transition, by the state of the other pins, the edge and the load; leakage.

The model is Liberty's (internal_power and leakage_power groups), evaluated as OpenSTA 2.6 does: pins are taken as
independent, a transition of an output is shared among the inputs that may have caused it, and rising and falling edges are
equally frequent. The tables of ground pins are passed over: what flows out of the supply flows into ground, so that they
tell the same energy once more (over a cycle of an inverter 0.095 fJ, where the supply's tell 0.10 fJ). Arrays have one
element for each instance.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsflow.errors import ConfigurationError
from hsflow_asap7 import liberty
from hsflow_asap7.functions import truth_table

Array = NDArray[np.float64]

_LOAD_UNIT = re.compile(r"capacitive_load_unit\s*\(\s*([\d.]+)\s*,\s*\"?([fpn])f\"?\s*\)", re.IGNORECASE)
_UNIT = re.compile(r"([\d.]+)\s*([a-z]?)[vwsa]", re.IGNORECASE)
_PREFIX = {"f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "m": 1e-3, "": 1.0, "k": 1e3}
_NAME = re.compile(r"[A-Za-z_]\w*")


@dataclass(frozen=True, eq=False)
class Table:
    """Hold energies (fJ) over the input's transition (ps) and the output's load (fF); linear between and beyond."""

    transitions: Array
    loads: Array
    values: Array

    def at(self, transition: Array | float, load: Array) -> Array:
        """Return the energy at each transition and load."""
        row, up = _place(self.transitions, np.broadcast_to(transition, load.shape))
        column, right = _place(self.loads, load)
        low = self.values[row, column] * (1 - right) + self._value(row, column + 1) * right
        high = self._value(row + 1, column) * (1 - right) + self._value(row + 1, column + 1) * right
        result: Array = low * (1 - up) + high * up
        return result

    def _value(self, row: NDArray[np.intp], column: NDArray[np.intp]) -> Array:
        last = self.values.shape
        result: Array = self.values[np.minimum(row, last[0] - 1), np.minimum(column, last[1] - 1)]
        return result


@dataclass(frozen=True, eq=False)
class Condition:
    """Hold a state of a cell's pins as a truth table of some of them; no text is any state."""

    pins: tuple[str, ...]
    table: int

    def probability(self, high: Mapping[str, Array], count: int) -> Array:
        """Return how likely the state is, by each pin's share of the time at one."""
        total = np.zeros(count)
        for row in range(1 << len(self.pins)):
            if self.table >> row & 1:
                total += self._row(row, high, count)
        return total

    def _row(self, row: int, high: Mapping[str, Array], count: int) -> Array:
        product = np.ones(count)
        for index, pin in enumerate(self.pins):
            product = product * (high[pin] if row >> index & 1 else 1 - high[pin])
        return product


@dataclass(frozen=True, eq=False)
class Arc:
    """Hold what one pin's transitions take in a state; `related` is the input that causes an output's."""

    pin: str
    related: str
    when: Condition | None
    edges: tuple[Table, ...]

    def energy(self, transition: float, load: Array) -> Array:
        """Return the mean of the edges' energies (fJ)."""
        return np.asarray(np.mean([table.at(transition, load) for table in self.edges], axis=0))


@dataclass(frozen=True, eq=False)
class CellPower:
    """Hold one type of cell: its pins, its arcs, and what leaks (pW) in which state."""

    name: str
    inputs: Mapping[str, float]
    outputs: tuple[str, ...]
    clocks: frozenset[str]
    sequential: bool
    gates_clock: bool
    arcs: tuple[Arc, ...]
    leakages: tuple[tuple[Condition | None, float], ...]

    @property
    def repeats(self) -> tuple[str, str] | None:
        """Return the input that a buffer, an inverter or a clock gate passes on, and the output; None for other cells."""
        inputs = tuple(self.clocks) if self.gates_clock else () if self.sequential else tuple(self.inputs)
        if len(inputs) != 1 or len(self.outputs) != 1:
            return None
        return inputs[0], self.outputs[0]

    def output_energy(self, pin: str, seen: Seen, load: Array) -> Array:
        """Return the mean energy (fJ) inside the cell of a transition of an output."""
        arcs = [arc for arc in self.arcs if arc.pin == pin]
        weights = np.array([self._weight(arc, arcs, seen) for arc in arcs]).reshape(len(arcs), seen.count)
        idle = weights.sum(axis=0) == 0
        weights[:, idle] = 1.0
        shares = weights / np.maximum(weights.sum(axis=0), 1e-30)
        total = np.zeros(seen.count)
        for arc, share in zip(arcs, shares, strict=True):
            total += share * arc.energy(seen.transition, load)
        return total

    def input_energy(self, pin: str, seen: Seen) -> Array:
        """Return the mean energy (fJ) of a transition of an input that moves no output."""
        total = np.zeros(seen.count)
        arcs = [arc for arc in self.arcs if arc.pin == pin]
        for arc in arcs:
            total += _likely(arc, arcs, seen) * arc.energy(seen.transition, total)
        return total

    def leakage(self, seen: Seen) -> Array:
        """Return the leakage (pW) in the mean over the states."""
        total, rest = np.zeros(seen.count), np.ones(seen.count)
        for when, value in self.leakages:
            if when is not None:
                likely = when.probability(seen.high, seen.count)
                total += likely * value
                rest -= likely
        for when, value in self.leakages:
            if when is None:
                total += np.maximum(rest, 0.0) * value
        return total

    def _weight(self, arc: Arc, arcs: Sequence[Arc], seen: Seen) -> Array:
        moves = seen.density[arc.related] if arc.related in seen.density else np.ones(seen.count)
        return moves * _likely(arc, [other for other in arcs if other.related == arc.related], seen)


@dataclass(frozen=True, eq=False)
class Seen:
    """Hold what instances of one type of cell did: each pin's transitions a cycle and its share of the time at one.

    `transition` (ps) is how fast all inputs rise and fall.
    """

    count: int
    density: Mapping[str, Array]
    high: Mapping[str, Array]
    transition: float


@dataclass(frozen=True)
class Units:
    """Hold what one of a library's units is: of transitions in ps, loads in fF, energy in fJ and leakage in pW."""

    transition: float
    load: float
    energy: float
    leakage: float


@dataclass(frozen=True)
class Conventions:
    """Hold what the cells of a library share: units, and the attributes of the types of its buses."""

    units: Units
    buses: Mapping[str, Mapping[str, str]]


@dataclass(frozen=True, eq=False)
class PowerLibrary:
    """Hold the cells of Liberty files, each read when it is asked for, and the supply's voltage."""

    groups: Mapping[str, tuple[Conventions, liberty.Group]] = field(repr=False)
    volts: float

    @cached_property
    def _cells(self) -> dict[str, CellPower]:
        return {}

    def cell(self, name: str) -> CellPower:
        """Return one type of cell.

        Raises:
            ConfigurationError: if the library has none of that name.
        """
        if name not in self._cells:
            if name not in self.groups:
                raise ConfigurationError("the library lacks a cell of the netlist", got=name)
            self._cells[name] = _Reader(*self.groups[name]).cell()
        return self._cells[name]


def read_power(paths: Sequence[Path]) -> PowerLibrary:
    """Read the cells of Liberty files; the first says what the supply's voltage is."""
    groups: dict[str, tuple[Conventions, liberty.Group]] = {}
    volts = ""
    for path in paths:
        library = liberty.read_library(path)
        buses = {kind.name: kind.attributes() for kind in library.groups("type")}
        conventions = Conventions(_units(library), buses)
        groups.update((cell.name, (conventions, cell)) for cell in library.groups("cell"))
        volts = volts or library.attributes()["nom_voltage"]
    return PowerLibrary(groups, float(volts))


class _Reader:
    """Read one cell of a library."""

    def __init__(self, conventions: Conventions, cell: liberty.Group) -> None:
        self._units, self._cell_group = conventions.units, cell
        self._pins = _pins(conventions.buses, cell)
        self._attributes = {name: pin.attributes() for name, pin in self._pins.items()}
        inner = {group.kind for group in cell.groups()}
        self._sequential = bool(inner & {"ff", "latch", "statetable"})
        self._grounds = {
            pin.name for pin in cell.groups("pg_pin") if pin.attributes().get("pg_type") == "primary_ground"
        }
        outputs = self._of("output")
        functions = {n: self._attributes[n].get("function") for n in outputs}
        self._functions = {} if self._sequential else {n: text for n, text in functions.items() if text}

    def cell(self) -> CellPower:
        inputs = {
            n: float(self._attributes[n].get("capacitance", "0")) * self._units.load
            for n in self._of("input")
        }
        outputs = self._of("output")
        return CellPower(
            self._cell_group.name,
            inputs,
            outputs,
            frozenset(n for n in inputs if self._attributes[n].get("clock") == "true"),
            self._sequential,
            "clock_gating_integrated_cell" in self._cell_group.attributes(),
            tuple(arc for name in (*inputs, *outputs) for arc in self._arcs(name)),
            tuple(self._leakages()),
        )

    def _of(self, direction: str) -> tuple[str, ...]:
        return tuple(name for name, each in self._attributes.items() if each.get("direction") == direction)

    def _arcs(self, name: str) -> Iterator[Arc]:
        for group in self._pins[name].groups("internal_power"):
            attributes = group.attributes()
            edges = tuple(
                _table(table.body, self._units) for table in group.groups() if table.kind.endswith("power")
            )
            if attributes.get("related_pg_pin") not in self._grounds and any(
                edge.values.any() for edge in edges
            ):
                yield Arc(name, attributes.get("related_pin", ""), self._when(attributes), edges)

    def _leakages(self) -> Iterator[tuple[Condition | None, float]]:
        """Yield each state's leakage; the ground pin's, always none, is left out, for states must not count twice."""
        found = False
        for group in self._cell_group.groups("leakage_power"):
            attributes = group.attributes()
            if value := float(attributes.get("value", "0")) * self._units.leakage:
                found = True
                yield self._when(attributes), value
        if not found and "cell_leakage_power" in (attributes := self._cell_group.attributes()):
            yield None, float(attributes["cell_leakage_power"]) * self._units.leakage

    def _when(self, attributes: Mapping[str, str]) -> Condition | None:
        return _condition(attributes.get("when", ""), self._functions, frozenset(self._pins))


def _units(library: liberty.Group) -> Units:
    """Return a library's units; that of energy follows from voltage and load.

    Raises:
        ConfigurationError: if one is missing.
    """
    attributes = library.attributes()
    found = {
        name: _UNIT.fullmatch(attributes.get(f"{name}_unit", ""))
        for name in ("time", "voltage", "leakage_power")
    }
    load = _LOAD_UNIT.search(library.plain)
    if load is None or None in found.values():
        raise ConfigurationError(
            "a Liberty file lacks a unit", where=library.name, expected="of time, voltage, load and leakage"
        )
    time, volt, leakage = (float(m[1]) * _PREFIX[m[2].lower()] for m in found.values() if m)
    farad = float(load[1]) * _PREFIX[load[2].lower()]
    return Units(
        time / _PREFIX["p"], farad / _PREFIX["f"], volt**2 * farad / _PREFIX["f"], leakage / _PREFIX["p"]
    )


def _pins(buses: Mapping[str, Mapping[str, str]], cell: liberty.Group) -> dict[str, liberty.Group]:
    """Return a cell's pins by name, each bit of a bus with its index."""
    pins = {pin.name: pin for pin in cell.groups("pin")}
    for bus in cell.groups("bus"):
        kind = buses[bus.attributes()["bus_type"]]
        ends = sorted(int(kind[end]) for end in ("bit_from", "bit_to"))
        pins.update({f"{bus.name}[{index}]": bus for index in range(ends[0], ends[1] + 1)})
    return pins


def _condition(text: str, functions: Mapping[str, str], known: frozenset[str]) -> Condition | None:
    """Return a state as one of the inputs: what an output is follows from them, but for a register's."""
    if not text:
        return None
    text = _NAME.sub(lambda match: f"({functions[match[0]]})" if match[0] in functions else match[0], text)
    pins = tuple(sorted(set(_NAME.findall(text)) & known))
    return Condition(pins, truth_table(text, pins))


def _likely(arc: Arc, arcs: Sequence[Arc], seen: Seen) -> Array:
    """Return how likely an arc's state is; one without a state takes what the others leave."""
    if arc.when is not None:
        return arc.when.probability(seen.high, seen.count)
    stated = [other.when for other in arcs if other.when is not None]
    return np.maximum(
        0.0, 1 - sum((when.probability(seen.high, seen.count) for when in stated), np.zeros(seen.count))
    )


def _table(body: str, units: Units) -> Table:
    values = np.array(liberty.numbers(body, "values")) * units.energy
    transitions, loads = (liberty.numbers(body, name) or [0.0] for name in ("index_1", "index_2"))
    if values.size != len(transitions) * len(loads):
        raise ConfigurationError("a table of a Liberty file has not as many values as its axes", got=body)
    grid = values.reshape(len(transitions), len(loads))
    return Table(np.array(transitions) * units.transition, np.array(loads) * units.load, grid)


def _place(axis: Array, value: Any) -> tuple[NDArray[np.intp], Array]:
    """Return the interval of an axis that each value is in or next to, and where in it, 0 to 1 or beyond."""
    if axis.size == 1:
        return np.zeros(np.shape(value), np.intp), np.zeros(np.shape(value))
    index = np.clip(np.searchsorted(axis, value) - 1, 0, axis.size - 2)
    return index, (value - axis[index]) / (axis[index + 1] - axis[index])
