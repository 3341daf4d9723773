# SPDX-License-Identifier: Apache-2.0
"""Which library cells do a logic function's work, for inputs that come inverted or not and outputs that may leave so.

The phase of a pin is 1 if it carries the inverse of what the function means. A full adder's cell has inverted outputs, and
the inverse of a sum is the sum of the inverses: of its inputs all or none are inverted, and its outputs are the opposite.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import permutations, product

from hsflow_asap7 import facts
from hsflow_asap7.functions import truth_table
from hsflow_asap7.library import LibraryCell, read_cells
from hsflow_asap7.platform import Platform

MAJORITY, XOR, AND = 0b11101000, 0b0110, 0b1000
MAJORITY_CELL = f"MAJIxp5{facts.SUFFIX}"
_MOST_PERMUTED = 4
"""Gates with more inputs are kept as they are: there are many ways to connect one, and few gates that have several."""


@dataclass(frozen=True)
class Choice:
    """Hold a cell that does a function's work: its pins in the function's order, inputs first, and their phases.

    `phases` has bit k for the function's pin k; an empty pin name is not connected.
    """

    cell: str
    pins: tuple[str, ...]
    phases: int
    area: float


@dataclass(frozen=True)
class Kind:
    """Hold a function with so many inputs and outputs, and the cells that do its work."""

    inputs: int
    outputs: int
    choices: tuple[Choice, ...]


def _phases(*bits: int) -> int:
    return sum(bit << index for index, bit in enumerate(bits))


class Chooser:
    """Know the kinds of a platform, with or without the cells that are right beside adders only."""

    def __init__(self, platform: Platform, with_adders: bool = True) -> None:
        self._with_adders = with_adders
        self._cells = read_cells(platform)
        self.inverter_area = self._cells[facts.INVERTER].area
        self.full_adder = self._self_dual(facts.FULL_ADDER, ("A", "B", "CI"), ("CON", "SN"))
        self.sum = Kind(3, 1, tuple(self._sums()))
        self.half_adder = Kind(
            2, 2, (self._choice(facts.HALF_ADDER, ("A", "B", "CON", "SN"), _phases(0, 0, 1, 1)),)
        )
        self.register = self._self_dual(facts.REGISTER, ("D",), ("QN",))
        self.reset_register = self._self_dual(facts.RESET_REGISTER, ("D",), ("QN",))

    @cache  # noqa: B019 (one chooser lives as long as its platform's cells)
    def gate(self, table: int, inputs: int) -> Kind:
        """Return the kind of a gate with a truth table."""
        found = dict(self._gates(inputs).get(table, {}))
        for choice in self._on_purpose(table, inputs):
            if choice.phases not in found or choice.area < found[choice.phases].area:
                found[choice.phases] = choice
        return Kind(inputs, 1, tuple(found[phases] for phases in sorted(found)))

    def _choice(self, cell: str, pins: tuple[str, ...], phases: int) -> Choice:
        return Choice(cell, pins, phases, self._cells[cell].area)

    def _self_dual(self, cell: str, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> Kind:
        """Return a kind whose cell inverts its outputs, and its outputs alone, however its inputs come."""
        plain = _phases(*(0 for _ in inputs), *(1 for _ in outputs))
        dual = _phases(*(1 for _ in inputs), *(0 for _ in outputs))
        choices = (self._choice(cell, inputs + outputs, phases) for phases in (plain, dual))
        return Kind(len(inputs), len(outputs), tuple(choices))

    def _sums(self) -> Iterator[Choice]:
        """Yield the full adder whose carry nobody reads: each input may come either way."""
        for a, b, c in product((0, 1), repeat=3):
            yield self._choice(facts.FULL_ADDER, ("A", "B", "CI", "SN"), _phases(a, b, c, 1 ^ a ^ b ^ c))

    def _on_purpose(self, table: int, inputs: int) -> Iterator[Choice]:
        """Yield cells that no tool may choose by itself, but that are right beside adders."""
        if not self._with_adders:
            return
        if (table, inputs) == (XOR, 2):
            for a, b in product((0, 1), repeat=2):
                yield self._choice(facts.HALF_ADDER, ("A", "B", "SN"), _phases(a, b, 1 ^ a ^ b))
        if (table, inputs) == (MAJORITY, 3):
            for p in (0, 1):
                yield self._choice(MAJORITY_CELL, ("A", "B", "C", "Y"), _phases(p, p, p, 1 ^ p))

    @cache  # noqa: B019
    def _gates(self, inputs: int) -> Mapping[int, Mapping[int, Choice]]:
        """Return the smallest cell for each truth table of so many inputs and each set of phases."""
        found: dict[int, dict[int, Choice]] = {}
        for cell in sorted(self._cells.values(), key=lambda cell: (cell.area, cell.name)):
            if (
                cell.may_be_chosen
                and not cell.sequential
                and len(cell.inputs) == inputs
                and len(cell.functions) == 1
            ):
                for table, choice in _uses(cell):
                    found.setdefault(table, {}).setdefault(choice.phases, choice)
        return found


def _uses(cell: LibraryCell) -> Iterator[tuple[int, Choice]]:
    """Yield each truth table that a gate computes, with its inputs in some order and phase, and how."""
    (output, function), names = next(iter(cell.functions.items())), tuple(cell.inputs)
    count = len(names)
    flips: Iterable[tuple[int, ...]] = product((0, 1), repeat=count + 1)
    orders: Iterable[tuple[int, ...]] = permutations(range(count))
    if count > _MOST_PERMUTED:
        flips, orders = [(0,) * (count + 1)], [tuple(range(count))]
    plain = truth_table(function, names)
    flips = list(flips)
    for order in orders:
        ordered = tuple(names[index] for index in order)
        for flip in flips:
            table = _flipped(truth_table(function, ordered) if order else plain, count, flip)
            yield table, Choice(cell.name, (*ordered, output), _phases(*flip), cell.area)


def _flipped(table: int, inputs: int, flip: tuple[int, ...]) -> int:
    """Return a truth table with some inputs, and its output if the last flip is set, inverted."""
    mask, rows = _phases(*flip[:inputs]), 1 << inputs
    flipped = sum((table >> (row ^ mask) & 1) << row for row in range(rows))
    return flipped ^ ((1 << rows) - 1 if flip[inputs] else 0)
