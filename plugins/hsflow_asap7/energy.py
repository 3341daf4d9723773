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

_UNITS = {"time_unit": "1ps", "voltage_unit": "1v", "leakage_power_unit": "1pw"}
_LOAD_UNIT = re.compile(r"capacitive_load_unit\s*\(\s*1(?:\.0*)?\s*,\s*\"?ff\"?\s*\)", re.IGNORECASE)
_NAME = re.compile(r"[A-Za-z_]\w*")
_INDEX = re.compile(r"index_([12])\s*\(([^)]*)\)")
_VALUES = re.compile(r"values\s*\(([^)]*)\)")
_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


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


@dataclass(frozen=True, eq=False)
class PowerLibrary:
    """Hold the cells of Liberty files, each read when it is asked for, and the supply's voltage."""

    groups: Mapping[str, liberty.Group] = field(repr=False)
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
            self._cells[name] = _cell(self.groups[name])
        return self._cells[name]


def read_power(paths: Sequence[Path]) -> PowerLibrary:
    """Read the cells of Liberty files.

    Raises:
        ConfigurationError: if the units are not ps, fF, V and pW.
    """
    libraries = [liberty.read_library(path) for path in paths]
    for path, library in zip(paths, libraries, strict=True):
        _check_units(path, library)
    groups = {cell.name: cell for library in libraries for cell in library.groups("cell")}
    return PowerLibrary(groups, float(libraries[0].attributes()["nom_voltage"]))


def _check_units(path: Path, library: liberty.Group) -> None:
    attributes = library.attributes()
    wrong = {
        name: attributes.get(name)
        for name, unit in _UNITS.items()
        if (attributes.get(name) or "").lower() != unit
    }
    if wrong or not _LOAD_UNIT.search(library.plain):
        raise ConfigurationError(
            "a Liberty file has other units than ASAP7's", where=str(path), got=wrong or "another load unit",
            expected="ps, fF, V, pW",
        )  # fmt: skip


def _cell(group: liberty.Group) -> CellPower:
    pins = {pin.name: pin for pin in group.groups("pin")}
    attributes = {name: pin.attributes() for name, pin in pins.items()}
    inputs = {
        n: float(a.get("capacitance", "0")) for n, a in attributes.items() if a.get("direction") == "input"
    }
    outputs = tuple(n for n, a in attributes.items() if a.get("direction") == "output")
    sequential = any(inner.kind in ("ff", "latch", "statetable") for inner in group.groups())
    functions = (
        {} if sequential else {n: attributes[n]["function"] for n in outputs if "function" in attributes[n]}
    )
    known = frozenset((*inputs, *outputs))
    grounds = {
        pin.name for pin in group.groups("pg_pin") if pin.attributes().get("pg_type") == "primary_ground"
    }
    return CellPower(
        group.name,
        inputs,
        outputs,
        frozenset(n for n in inputs if attributes[n].get("clock") == "true"),
        sequential,
        "clock_gating_integrated_cell" in group.attributes(),
        tuple(arc for name in (*inputs, *outputs) for arc in _arcs(pins[name], functions, known, grounds)),
        tuple(_leakages(group, functions, known)),
    )


def _arcs(
    pin: liberty.Group, functions: Mapping[str, str], known: frozenset[str], grounds: set[str]
) -> Iterator[Arc]:
    for group in pin.groups("internal_power"):
        attributes = group.attributes()
        if attributes.get("related_pg_pin") in grounds:
            continue
        edges = tuple(_table(table.body) for table in group.groups() if table.kind.endswith("power"))
        if edges and any(table.values.any() for table in edges):
            when = _condition(attributes.get("when", ""), functions, known)
            yield Arc(pin.name, attributes.get("related_pin", ""), when, edges)


def _leakages(
    cell: liberty.Group, functions: Mapping[str, str], known: frozenset[str]
) -> Iterator[tuple[Condition | None, float]]:
    """Yield each state's leakage; the ground pin's, always none, is left out, for states must not count twice."""
    found = False
    for group in cell.groups("leakage_power"):
        attributes = group.attributes()
        if value := float(attributes.get("value", "0")):
            found = True
            yield _condition(attributes.get("when", ""), functions, known), value
    if not found and "cell_leakage_power" in (attributes := cell.attributes()):
        yield None, float(attributes["cell_leakage_power"])


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


def _table(body: str) -> Table:
    axes = {name: _numbers(text) for name, text in _INDEX.findall(body)}
    match = _VALUES.search(body)
    values = _numbers(match[1] if match else "")
    transitions, loads = axes.get("1", [0.0]), axes.get("2", [0.0])
    try:
        grid = np.array(values).reshape(len(transitions), len(loads))
    except ValueError as error:
        raise ConfigurationError(
            "a table of a Liberty file has not as many values as its axes", got=body
        ) from error
    return Table(np.array(transitions), np.array(loads), grid)


def _numbers(text: str) -> list[float]:
    return [float(number) for number in _NUMBER.findall(text)]


def _place(axis: Array, value: Any) -> tuple[NDArray[np.intp], Array]:
    """Return the interval of an axis that each value is in or next to, and where in it, 0 to 1 or beyond."""
    if axis.size == 1:
        return np.zeros(np.shape(value), np.intp), np.zeros(np.shape(value))
    index = np.clip(np.searchsorted(axis, value) - 1, 0, axis.size - 2)
    return index, (value - axis[index]) / (axis[index + 1] - axis[index])
