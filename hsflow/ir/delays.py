# SPDX-License-Identifier: Apache-2.0
"""How long adders take: by levels, of which each adder is one, or by time, bit by bit.

A sum of two sums waits for its lowest bits only: while its carry runs up, the operands' upper bits come, too. So a chain of
ripple adders takes little longer than one of them, and when a value's last bit comes would say too little.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from hsflow.fixedpoint import IntArray
from hsflow.ir.addergraph import AdderGraph
from hsflow.technology import Delays, FloatArray

NEVER = -np.inf
"""The time of a bit that is constant, or that is not there."""


class Times(Protocol):
    """Compute times of a graph's values in rows, one a value.

    An arrival is when a value reaches its readers, counted from the edge with which the stage begins. A tail is how long it
    takes from there to the end of the stage. An arrival and a tail fit together if their sum is at most the stage's
    length, in every column.
    """

    @property
    def graph(self) -> AdderGraph:
        """Return the graph whose values these are."""

    @property
    def clk_to_q(self) -> float:
        """Return when a register's value is there, not counted what it takes to drive its readers."""

    @property
    def setup(self) -> float:
        """Return how long before the stage's end a value must reach its register."""

    def arriving(self, values: IntArray, time: float) -> FloatArray:
        """Return the arrivals of values that are there at `time`, not counted what it takes to drive their readers."""

    def sums(self, adders: IntArray, left: FloatArray, right: FloatArray) -> FloatArray:
        """Return the arrivals of adders' sums, given those of their operands."""

    def leaving(self, values: IntArray, time: float) -> FloatArray:
        """Return the tails of values from which it takes `time`."""

    def tails(self, values: IntArray, adders: IntArray, shifts: IntArray, behind: FloatArray) -> FloatArray:
        """Return the tails of values that adders read, shifted left by `shifts`, given the tails of the sums."""


@dataclass(frozen=True, eq=False)
class LevelTimes:
    """Count adder levels: rows of one column, registers take no time."""

    graph: AdderGraph
    clk_to_q: float = 0.0
    setup: float = 0.0

    def arriving(self, values: IntArray, time: float) -> FloatArray:
        """Return a level for each value."""
        return np.full((len(values), 1), time)

    def sums(self, adders: IntArray, left: FloatArray, right: FloatArray) -> FloatArray:
        """Return one level more than that of the later operand."""
        return np.maximum(left, right) + 1.0

    def leaving(self, values: IntArray, time: float) -> FloatArray:
        """Return levels that are left for each value."""
        return np.full((len(values), 1), time)

    def tails(self, values: IntArray, adders: IntArray, shifts: IntArray, behind: FloatArray) -> FloatArray:
        """Return one level more than what is left behind the reader."""
        return behind + 1.0


@dataclass(frozen=True, eq=False)
class AdderTimes:
    """Compute the times of adders, in the unit of `delays`; rows have a column a bit, the lowest first.

    Rows are as long as the graph's widest value; above a signed value's top bit are copies of it. Adders of more than
    `longest_chain` bits look their carries ahead, others are ripple adders.
    """

    graph: AdderGraph
    delays: Delays
    longest_chain: int

    @property
    def clk_to_q(self) -> float:
        """Return when a register's value is there."""
        return self.delays.clk_to_q

    @property
    def setup(self) -> float:
        """Return how long before the stage's end a value must reach its register."""
        return self.delays.setup

    def arriving(self, values: IntArray, time: float) -> FloatArray:
        """Return the arrivals of values all bits of which are there at once."""
        there = self._own[values] | self.graph.signed[values, np.newaxis]
        return np.where(there, time + self._load[values, np.newaxis], NEVER)

    def sums(self, adders: IntArray, left: FloatArray, right: FloatArray) -> FloatArray:
        """Return when the bits of sums come: those below the lowest one that is added pass."""
        columns, added = self.graph.columns, self._added[adders]
        values = adders + len(self.graph.inputs)
        shifts = -columns.left_shift[adders], -columns.right_shift[adders]
        latest = np.maximum(_moved(left, shifts[0]), _moved(right, shifts[1]))
        ramp = self._ramps(adders)
        chained = np.maximum.accumulate(np.where(added, latest - ramp, NEVER), axis=1) + ramp
        times = np.where(added, chained + self.delays.add, latest) + self._load[values, np.newaxis]
        top = np.take_along_axis(times, self.graph.widths[values, np.newaxis] - 1, axis=1)
        above = np.where(self.graph.signed[values, np.newaxis], top, NEVER)
        return np.where(self._own[values], times, above)

    def leaving(self, values: IntArray, time: float) -> FloatArray:
        """Return the tails of values from each bit of which it takes `time`."""
        return np.where(self._own[values], time, NEVER)

    def tails(self, values: IntArray, adders: IntArray, shifts: IntArray, behind: FloatArray) -> FloatArray:
        """Return how long it takes from each bit of operands on; the top bit of a signed one is read by all bits above, too."""
        added = self._added[adders]
        rows = behind + self._load[adders + len(self.graph.inputs), np.newaxis]
        ramp = self._ramps(adders)
        chained = _from_above(np.where(added, rows + self.delays.add + ramp, NEVER)) - ramp
        needed = np.where(added, chained, rows)
        signed_top = self._top[values] & self.graph.signed[values, np.newaxis]
        found = np.where(signed_top, _moved(_from_above(needed), shifts), _moved(needed, shifts))
        return np.where(self._own[values], found, NEVER)

    def _ramps(self, adders: IntArray) -> FloatArray:
        """Return how long carries take from bit 0 to each bit of adders."""
        long = self.graph.adder_bits[adders] > self.longest_chain
        carries: FloatArray = np.where(long, self.delays.carry_ahead, self.delays.carry)
        return carries[:, np.newaxis] * self._bits

    @cached_property
    def _load(self) -> FloatArray:
        """Return how long it takes to drive the readers of each value, shape (values,)."""
        are_sums = np.arange(len(self.graph.widths)) >= len(self.graph.inputs)
        return self.delays.driving(self.graph.readers, are_sums)

    @cached_property
    def _bits(self) -> IntArray:
        return np.arange(int(self.graph.widths.max(initial=1)))

    @cached_property
    def _own(self) -> NDArray[np.bool_]:
        """Return which bits each value has, shape (values, bits)."""
        own: NDArray[np.bool_] = self._bits < self.graph.widths[:, np.newaxis]
        return own

    @cached_property
    def _top(self) -> NDArray[np.bool_]:
        top: NDArray[np.bool_] = self._bits == self.graph.widths[:, np.newaxis] - 1
        return top

    @cached_property
    def _added(self) -> NDArray[np.bool_]:
        """Return in which bits each adder has a full adder, shape (adders, bits)."""
        own = self._own[len(self.graph.inputs) :]
        first = self.graph.widths[len(self.graph.inputs) :] - self.graph.adder_bits
        added: NDArray[np.bool_] = own & (self._bits >= first[:, np.newaxis])
        return added


def _moved(times: FloatArray, steps: IntArray) -> FloatArray:
    """Return the times `steps` bits further up in each row; NEVER where there is no such bit."""
    bits = times.shape[1]
    places = np.arange(bits) + steps[:, np.newaxis]
    inside = (places >= 0) & (places < bits)
    return np.where(inside, np.take_along_axis(times, np.clip(places, 0, bits - 1), axis=1), NEVER)


def _from_above(times: FloatArray) -> FloatArray:
    """Return the latest time of each bit and those above it."""
    latest: FloatArray = np.maximum.accumulate(times[:, ::-1], axis=1)[:, ::-1]
    return latest
