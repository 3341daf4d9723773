# SPDX-License-Identifier: Apache-2.0
"""Common-subexpression sharing: from an integer matrix to an adder graph.

Each row is a sum of signed, shifted inputs (its signed digits). The two-term pattern that occurs most often, up to a
common shift and sign, becomes an adder of its own and replaces its occurrences, until no pattern occurs twice
(Hartley, "Subexpression sharing in filters using canonic signed digit multipliers", IEEE TCAS-II 43(10), 1996). What
is left of each row is summed by a tree that is balanced by arrival time.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict
from dataclasses import dataclass, field

import numpy as np

from hsflow.fixedpoint import IntArray, Interval
from hsflow.ir.addergraph import Adder, AdderGraph, Output

Place = tuple[int, int]
"""A value's number and its left shift."""

Row = dict[Place, int]
"""A sum: the sign (-1 or +1) of each shifted value in it."""


@dataclass(frozen=True, order=True)
class Pattern:
    """Describe `first + sign * (second << offset)`, which occurs at several shifts; `offset` may be negative."""

    first: int
    second: int
    offset: int
    sign: int


def signed_digits(value: int) -> list[tuple[int, int]]:
    """Return the nonadjacent form of `value` as (shift, sign) pairs, lowest first: the fewest signed digits."""
    digits = []
    shift = 0
    while value:
        if value & 1:
            sign = 2 - (value & 3)
            digits.append((shift, sign))
            value -= sign
        value >>= 1
        shift += 1
    return digits


def rows_of(matrix: IntArray) -> list[Row]:
    """Return each row of `matrix`, shape (outputs, inputs), as its signed digits."""
    rows: list[Row] = []
    for line in matrix:
        indices = np.flatnonzero(line).tolist()
        rows.append({(i, shift): sign for i in indices for shift, sign in signed_digits(int(line[i]))})
    return rows


def adders_without_sharing(matrix: IntArray) -> int:
    """Return the two-input adders that separate trees for each row need."""
    return sum(max(0, len(row) - 1) for row in rows_of(matrix))


def share(matrix: IntArray, inputs: tuple[Interval, ...]) -> AdderGraph:
    """Build an adder graph for `matrix`, shape (outputs, inputs), with shared subexpressions. Deterministic."""
    builder = _Builder(inputs)
    rows = rows_of(matrix)
    _share_patterns(rows, builder)
    outputs = tuple(builder.sum(row) for row in rows)
    return AdderGraph(inputs, tuple(builder.adders), outputs)


@dataclass
class _Builder:
    """Collect adders; equal adders are made once."""

    inputs: tuple[Interval, ...]
    adders: list[Adder] = field(default_factory=list)
    intervals: list[Interval] = field(init=False)
    depths: list[int] = field(init=False)
    numbers: dict[Adder, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.intervals = list(self.inputs)
        self.depths = [0] * len(self.inputs)

    def add(self, adder: Adder) -> int:
        """Return the number of the value that `adder` computes."""
        if adder not in self.numbers:
            left = self.intervals[adder.left] << adder.left_shift
            right = self.intervals[adder.right] << adder.right_shift
            self.intervals.append(left - right if adder.subtract else left + right)
            self.depths.append(1 + max(self.depths[adder.left], self.depths[adder.right]))
            self.adders.append(adder)
            self.numbers[adder] = len(self.intervals) - 1
        return self.numbers[adder]

    def combine(self, first: Place, first_sign: int, second: Place, second_sign: int) -> tuple[Place, int]:
        """Add two signed places and return the place and sign of the sum."""
        if first_sign < 0 < second_sign:
            first, first_sign, second, second_sign = second, second_sign, first, first_sign
        low = min(first[1], second[1])
        subtract = first_sign != second_sign
        number = self.add(Adder(first[0], second[0], first[1] - low, second[1] - low, subtract))
        return (number, low), first_sign

    def sum(self, row: Row) -> Output:
        """Sum a row by always adding the two values that arrive first, the narrower ones among equals."""
        heap = [(*self._urgency(place), place, sign) for place, sign in row.items()]
        heapq.heapify(heap)
        while len(heap) > 1:
            *_, first, first_sign = heapq.heappop(heap)
            *_, second, second_sign = heapq.heappop(heap)
            place, sign = self.combine(first, first_sign, second, second_sign)
            heapq.heappush(heap, (*self._urgency(place), place, sign))
        if not heap:
            return Output(None)
        *_, (value, shift), sign = heap[0]
        return Output(value, shift, sign < 0)

    def _urgency(self, place: Place) -> tuple[int, int]:
        return self.depths[place[0]], self.intervals[place[0]].width + place[1]


class _PatternCounts:
    """Count every pattern in every row, and keep the counts true as rows change."""

    def __init__(self, rows: list[Row]) -> None:
        self.rows = rows
        self.where: defaultdict[Pattern, Counter[int]] = defaultdict(Counter)
        self.total: Counter[Pattern] = Counter()
        self.changed: set[Pattern] = set()
        for number, row in enumerate(rows):
            places = list(row)
            for position, place in enumerate(places):
                self._count(number, place, places[:position], 1)

    def remove(self, number: int, place: Place) -> int:
        """Take `place` out of a row and return its sign."""
        self._count(number, place, [other for other in self.rows[number] if other != place], -1)
        return self.rows[number].pop(place)

    def insert(self, number: int, place: Place, sign: int) -> None:
        """Put `place` into a row."""
        self.rows[number][place] = sign
        self._count(number, place, [other for other in self.rows[number] if other != place], 1)

    def _count(self, number: int, place: Place, others: list[Place], step: int) -> None:
        row = self.rows[number]
        for other in others:
            pattern = _pattern(place, row[place], other, row[other])
            self.total[pattern] += step
            self.where[pattern][number] += step
            self.changed.add(pattern)


def _pattern(one: Place, one_sign: int, other: Place, other_sign: int) -> Pattern:
    first, second = (one, other) if one < other else (other, one)
    return Pattern(first[0], second[0], second[1] - first[1], one_sign * other_sign)


def _share_patterns(rows: list[Row], builder: _Builder) -> None:
    counts = _PatternCounts(rows)
    heap: list[tuple[int, int, Pattern]] = []
    while True:
        _refresh(heap, counts, builder)
        pattern = _most_frequent(heap, counts)
        if pattern is None:
            return
        _replace(pattern, rows, counts, builder)


def _refresh(heap: list[tuple[int, int, Pattern]], counts: _PatternCounts, builder: _Builder) -> None:
    for pattern in counts.changed:
        total = counts.total[pattern]
        if total > 1:
            depth = max(builder.depths[pattern.first], builder.depths[pattern.second])
            heapq.heappush(heap, (-total, depth, pattern))
        elif total == 0:
            del counts.total[pattern], counts.where[pattern]
    counts.changed.clear()


def _most_frequent(heap: list[tuple[int, int, Pattern]], counts: _PatternCounts) -> Pattern | None:
    """Return the pattern with the highest true count; the shallower, then the lower one among equals."""
    while heap:
        negative_total, _, pattern = heapq.heappop(heap)
        if counts.total.get(pattern, 0) == -negative_total and _occurrences(pattern, counts) > 1:
            return pattern
    return None


def _occurrences(pattern: Pattern, counts: _PatternCounts) -> int:
    """Return how often `pattern` can be replaced: occurrences in one row may share a place."""
    rows = [number for number, times in counts.where[pattern].items() if times > 0]
    return sum(len(_matches(pattern, counts.rows[number])) for number in rows)


def _matches(pattern: Pattern, row: Row) -> list[tuple[Place, Place]]:
    used: set[Place] = set()
    found = []
    for place in sorted(place for place in row if place[0] == pattern.first):
        partner = (pattern.second, place[1] + pattern.offset)
        fits = partner != place and row.get(partner) == row[place] * pattern.sign
        if fits and not {place, partner} & used:
            used |= {place, partner}
            found.append((place, partner))
    return found


def _replace(pattern: Pattern, rows: list[Row], counts: _PatternCounts, builder: _Builder) -> None:
    low = min(0, pattern.offset)
    adder = Adder(pattern.first, pattern.second, -low, pattern.offset - low, pattern.sign < 0)
    value = builder.add(adder)
    for number in sorted(n for n, times in counts.where[pattern].items() if times > 0):
        for place, partner in _matches(pattern, rows[number]):
            sign = counts.remove(number, place)
            counts.remove(number, partner)
            counts.insert(number, (value, place[1] + low), sign)
