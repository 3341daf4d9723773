# SPDX-License-Identifier: Apache-2.0
"""Placement: in which pipeline stage each adder works, so that no stage is too long and few bits are registered.

Adders are placed as early as time allows and then moved later, one depth after another, while that saves register bits;
or as late as time allows and then moved earlier. The better of both is kept. One pass over the graph knows all times of its
direction: what moves later reads nothing but registers in its new stage, and what moves earlier is read out of a
register only. (This is retiming, Leiserson and Saxe 1991, with exact times of adders in place of a delay a node. Where its
integer program was solved, these passes had at most two percent more bits.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from hsflow.fixedpoint import IntArray
from hsflow.ir.addergraph import AdderGraph
from hsflow.ir.delays import NEVER, Times
from hsflow.technology import FloatArray

_SWEEPS = 4
"""The most passes in one direction; the first one gains nearly everything."""


@dataclass(frozen=True)
class Ends:
    """Hold what lies around the adders, in the unit of the times.

    Inputs are there at `entry` in stage 0, not counted what it takes to drive their readers. From a result it takes `exit`
    to the end of the stage behind the last register; None if results must come out of that register.
    """

    entry: float = 0.0
    exit: float | None = None


@dataclass(frozen=True, eq=False)
class _Group:
    """Hold the adders of one depth: none reads another.

    `values` are their sums, `left` and `right` what they read. Reader n, an adder, reads the sum of the group's adder
    `read[n]`, which ascends, shifted left by `shifts[n]`.
    """

    adders: IntArray
    values: IntArray
    left: IntArray
    right: IntArray
    readers: IntArray
    read: IntArray
    shifts: IntArray


@dataclass(frozen=True, eq=False)
class Placement:
    """Place the adders of a graph in stages of `period`, none of which is shorter than an adder alone.

    Stages are arrays of shape (values,); inputs are in stage 0. There are `count` registers in a row, one at the end of each
    stage, and the stage `count` behind them. A value crosses the registers from its own stage to its last reader's.
    """

    times: Times
    period: float
    ends: Ends = Ends()

    @property
    def graph(self) -> AdderGraph:
        """Return the graph whose adders are placed."""
        return self.times.graph

    @cached_property
    def alone(self) -> FloatArray:
        """Return the arrivals of each adder's sum if both its operands come out of registers."""
        columns = self.graph.columns
        left, right = self.registered[columns.left], self.registered[columns.right]
        return self.times.sums(np.arange(len(columns)), left, right)

    @property
    def earliest(self) -> IntArray:
        """Return the earliest stage of each value."""
        return self._earliest[0]

    @cached_property
    def fewest(self) -> int:
        """Return the fewest registers in a row: none behind an input that is a result, if nothing follows."""
        stages, arrivals = self._earliest
        results = self.graph.output_values
        late = results >= self._inputs
        if self.ends.exit is not None:
            late = arrivals[results].max(axis=1) + self.ends.exit > self.period
        return int((stages[results] + late).max(initial=0))

    def register_bits(self, stages: IntArray, count: int) -> int:
        """Return the flip-flops of all registers."""
        return int(((last_use(self.graph, stages, count) - stages) * self.graph.widths).sum())

    def longest(self, stages: IntArray, count: int) -> float:
        """Return the longest time of a path between two registers, those around included."""
        arrivals = self._entries()
        for group in self._groups:
            arrivals[group.values] = self._sums(group, stages[group.values], stages, arrivals)
        kept = last_use(self.graph, stages, count) > stages
        results = self.graph.output_values
        late = (stages[results] == count)[:, np.newaxis]
        leaving = np.where(late, arrivals[results], self.registered[results])
        within = float(arrivals[kept].max(initial=NEVER)) + self.times.setup
        behind = self.times.setup if self.ends.exit is None else self.ends.exit
        return max(0.0, within, float(leaving.max(initial=NEVER)) + behind)

    def best(self, count: int) -> IntArray:
        """Return the stages with the fewest register bits that were found, `count` being at least `fewest`."""
        forward = self._repeated(self.moved_later, self.earliest, count)
        backward = self._repeated(self.moved_earlier, self.latest(count), count)
        return min(forward, backward, key=lambda stages: self.register_bits(stages, count))

    def latest(self, count: int) -> IntArray:
        """Return the latest stage of each value."""
        stages, tails = self.earliest.copy(), self._new_rows()
        for group in reversed(self._groups):
            most, needed = self._readers_allow(group, stages, tails, count)
            late = (self.alone[group.adders] + needed).max(axis=1) > self.period
            stages[group.values] = np.maximum(most - late, self.earliest[group.values])
            tails[group.values] = np.where(late[:, np.newaxis], self._leaving(group.values), needed)
        return stages

    def moved_later(self, given: IntArray, count: int) -> IntArray:
        """Return the stages after one pass that moves values later; what costs nothing moves, too, to make way."""
        stages, tails = given.copy(), self._new_rows()
        last = last_use(self.graph, stages, count)
        for group in reversed(self._groups):
            most, needed = self._readers_allow(group, stages, tails, count)
            late = (self.alone[group.adders] + needed).max(axis=1) > self.period
            chosen = self._best_later(group, stages, last, most - late)
            stages[group.values] = chosen
            for operands in (group.left, group.right):
                np.maximum.at(last, operands, chosen)
            with_readers = (chosen == most)[:, np.newaxis]
            tails[group.values] = np.where(with_readers, needed, self._leaving(group.values))
        return stages

    def moved_earlier(self, given: IntArray, count: int) -> IntArray:
        """Return the stages after one pass that moves values earlier."""
        stages, arrivals = given.copy(), self._entries()
        for group in self._groups:
            first = np.maximum(stages[group.left], stages[group.right])
            late = self._sums(group, first, stages, arrivals).max(axis=1) > self._limit
            stages[group.values] = self._best_earlier(group, stages, first + late, count)
            arrivals[group.values] = self._sums(group, stages[group.values], stages, arrivals)
        return stages

    def _repeated(self, move: Callable[[IntArray, int], IntArray], stages: IntArray, count: int) -> IntArray:
        for _ in range(_SWEEPS):
            before, stages = stages, move(stages, count)
            if np.array_equal(before, stages):
                break
        return stages

    def _best_later(self, group: _Group, stages: IntArray, last: IntArray, most: IntArray) -> IntArray:
        """Return the best stage of each value of a group up to `most`; its operands must be kept until then."""
        widths, now = self.graph.widths, stages[group.values]
        chosen, best = now.copy(), np.zeros_like(now)
        for stage in range(1, int(most.max()) + 1):
            kept = widths[group.left] * np.maximum(stage - last[group.left], 0)
            other = widths[group.right] * np.maximum(stage - last[group.right], 0)
            gain = widths[group.values] * (stage - now) - kept - other * (group.left != group.right)
            better = (now < stage) & (stage <= most) & (gain >= best)
            chosen[better], best[better] = stage, gain[better]
        return chosen

    def _best_earlier(self, group: _Group, stages: IntArray, first: IntArray, count: int) -> IntArray:
        """Return the best stage of each value of a group from `first` on; its operands may be kept shorter then."""
        widths, now = self.graph.widths, stages[group.values]
        chosen, best = now.copy(), np.zeros_like(now)
        others = self._other_use(group, stages, count)
        for stage in range(int(now.max()) - 1, -1, -1):
            gain = widths[group.values] * (stage - now)
            for operands, other in zip((group.left, group.right), others, strict=True):
                gain += widths[operands] * np.maximum(now - np.maximum(other, stage), 0)
            better = (first <= stage) & (stage < now) & (gain > best)
            chosen[better], best[better] = stage, gain[better]
        return chosen

    def _other_use(self, group: _Group, stages: IntArray, count: int) -> list[IntArray]:
        """Return the last stage that reads each left and each right operand of a group, its reader there not counted."""
        operands, reading = _reads(self.graph, stages)
        last, others = last_use(self.graph, stages, count), stages.copy()
        at_last = reading == last[operands]
        readers = np.bincount(operands[at_last], minlength=len(stages))
        np.maximum.at(others, operands[~at_last], reading[~at_last])
        only = (readers == 1) & ~self._is_result
        return [
            np.where(only[read] & (stages[group.values] == last[read]), others[read], last[read])
            for read in (group.left, group.right)
        ]

    @cached_property
    def _earliest(self) -> tuple[IntArray, FloatArray]:
        """Return the earliest stage of each value, and its arrivals there."""
        stages, arrivals = np.zeros(len(self.graph.widths), dtype=np.int64), self._entries()
        for group in self._groups:
            first = np.maximum(stages[group.left], stages[group.right])
            found = self._sums(group, first, stages, arrivals)
            late = found.max(axis=1) > self._limit
            stages[group.values] = first + late
            arrivals[group.values] = np.where(late[:, np.newaxis], self.alone[group.adders], found)
        return stages, arrivals

    def _sums(self, group: _Group, at: IntArray, stages: IntArray, arrivals: FloatArray) -> FloatArray:
        """Return the arrivals of a group's sums in the stages `at`."""
        left, right = (
            np.where((stages[read] == at)[:, np.newaxis], arrivals[read], self.registered[read])
            for read in (group.left, group.right)
        )
        return self.times.sums(group.adders, left, right)

    def _readers_allow(
        self, group: _Group, stages: IntArray, tails: FloatArray, count: int
    ) -> tuple[IntArray, FloatArray]:
        """Return the latest stage of a group's values that their readers allow, and their tails there."""
        most = np.full(len(group.values), count - (self.ends.exit is None))
        reading = stages[group.readers + self._inputs]
        np.minimum.at(most, group.read, reading)
        needed = self._leaving(group.values)
        if self.ends.exit is not None:
            leaves = self._is_result[group.values] & (most == count)
            needed[leaves] = self.times.leaving(group.values[leaves], self.ends.exit)
        inside = reading == most[group.read]
        readers, read = group.readers[inside], group.read[inside]
        behind = tails[readers + self._inputs]
        rows = self.times.tails(group.values[read], readers, group.shifts[inside], behind)
        starts = np.flatnonzero(np.diff(read, prepend=-1))
        if len(starts):
            places = read[starts]
            needed[places] = np.maximum(needed[places], np.maximum.reduceat(rows, starts, axis=0))
        return most, needed

    def _leaving(self, values: IntArray) -> FloatArray:
        """Return the tails of values that a register takes."""
        return self.times.leaving(values, self.times.setup)

    def _entries(self) -> FloatArray:
        """Return arrivals of which only those of the inputs are known."""
        inputs, rows = np.arange(self._inputs), self._new_rows()
        rows[inputs] = self.times.arriving(inputs, self.ends.entry)
        return rows

    def _new_rows(self) -> FloatArray:
        return np.zeros_like(self.registered)

    @cached_property
    def registered(self) -> FloatArray:
        """Return the arrivals of values out of registers."""
        return self.times.arriving(np.arange(len(self.graph.widths)), self.times.clk_to_q)

    @property
    def _limit(self) -> float:
        return self.period - self.times.setup

    @property
    def _inputs(self) -> int:
        return len(self.graph.inputs)

    @cached_property
    def _is_result(self) -> NDArray[np.bool_]:
        results = np.zeros(len(self.graph.widths), dtype=np.bool_)
        results[self.graph.output_values] = True
        return results

    @cached_property
    def _groups(self) -> tuple[_Group, ...]:
        """Return the adders of each depth, the lowest first."""
        columns, depths = self.graph.columns, np.array(self.graph.depths, dtype=np.int64)
        operands = np.concatenate([columns.left, columns.right])
        shifts = np.concatenate([columns.left_shift, columns.right_shift])
        order = np.lexsort((operands, depths[operands]))
        found = []
        for depth in range(1, int(depths.max(initial=0)) + 1):
            values = np.flatnonzero(depths == depth)
            read = order[depths[operands[order]] == depth]
            adders = values - self._inputs
            found.append(
                _Group(
                    adders,
                    values,
                    columns.left[adders],
                    columns.right[adders],
                    read % len(columns),
                    np.searchsorted(values, operands[read]),
                    shifts[read],
                )
            )
        return tuple(found)


def last_use(graph: AdderGraph, stages: IntArray, count: int) -> IntArray:
    """Return the last stage that reads each value, or its own; a result is read in stage `count`."""
    last = stages.copy()
    np.maximum.at(last, *_reads(graph, stages))
    last[graph.output_values] = count
    return last


def _reads(graph: AdderGraph, stages: IntArray) -> tuple[IntArray, IntArray]:
    """Return, for each operand of each adder, its value and the adder's stage."""
    reading = stages[len(graph.inputs) :]
    columns = graph.columns
    return np.concatenate([columns.left, columns.right]), np.concatenate([reading, reading])
