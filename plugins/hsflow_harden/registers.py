# SPDX-License-Identifier: Apache-2.0
"""How many registers a kernel will have in a row and what bits they hold, estimated: no adder graph is made.

The sums of a matrix are taken for balanced trees of adders. After every so many levels, a register lies behind each of
them. By the clock, one lies as early or as late as the levels before and behind it have time, where fewest bits cross: the
inputs, what sharing leaves of partial sums, or the results. The constants are fitted like those of `hsflow_harden.estimate`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hsflow.fixedpoint import IntArray
from hsflow.ir.pipeline import ClockCut, Cut, LevelCut
from hsflow.ir.placement import Ends

REGISTERS = 0.968
REGISTERS_PER_LEVELS = 0.468
REGISTERS_PER_LEFT = 0.702
"""Registers after so many levels over those of separate trees: a factor, and exponents of the levels and of the share of
the adders that sharing leaves."""

PARTIAL = 1.17
PARTIAL_PER_LEFT = 1.04
"""Partial sums between two stages by the clock over those of separate trees: a factor, and an exponent of that share."""

SUM_READERS = 2.0
"""What reads a sum, unless it is shared: an adder and a register. Where sharing leaves a share of the adders, they have so
many times more readers."""


class Alive(NamedTuple):
    """Hold bits that cross a register: of inputs and complete sums, and of partial sums as separate trees have them."""

    known: float
    partial: float


@dataclass(frozen=True)
class SumTrees:
    """Hold the sums of a matrix as trees of `levels` adder levels.

    `digits` are the terms of each sum and `widths` its bits; `adder_bits` are a mean adder's, and `left` is the share of the
    adders that sharing leaves. All inputs have `input_bits`; `readers` read each of them.
    """

    levels: int
    digits: IntArray
    widths: IntArray
    adder_bits: float
    left: float
    input_bits: int
    readers: float

    @cached_property
    def widest(self) -> int:
        """Return the bits of the widest result."""
        return int(self.widths.max(initial=0))

    def behind(self, level: int) -> Alive:
        """Return what crosses a register behind an adder level, if all sums have come so far."""
        return self._alive(self.digits > 0, level) if level else Alive(self.input_bits, 0.0)

    def with_inputs(self, level: int) -> Alive:
        """Return what crosses if only those sums have come so far that could not be made of the inputs later."""
        late = self._alive(self.digits > 2 ** (self.levels - level), level) if level else Alive(0.0, 0.0)
        return Alive(self.input_bits + late.known, late.partial)

    def width(self, level: int) -> float:
        """Return the bits of the widest sum of a level: they grow evenly up to the widest result's."""
        return (
            self.widest - (self.widest - self.adder_bits) * (1 - level / self.levels) if self.levels else 0.0
        )

    def _alive(self, chosen: NDArray[np.bool_], level: int) -> Alive:
        parts = np.ceil(self.digits[chosen] / 2.0**level)
        complete = float(self.widths[chosen][parts <= 1].sum())
        return Alive(complete, float(parts[parts > 1].sum()) * self.adder_bits)


@dataclass(frozen=True)
class LevelRegisters:
    """Estimate the registers behind every `levels` adder levels of sums."""

    trees: SumTrees
    levels: int

    @property
    def stages(self) -> int:
        """Return the registers in a row: those of balanced trees."""
        return -(-self.trees.levels // self.levels)

    def bits(self, stages: int) -> int:
        """Return the bits of all registers, if there are so many in a row."""
        factor = REGISTERS * math.pow(self.levels, REGISTERS_PER_LEVELS)
        shared = self.values(stages) * math.pow(self.trees.left, REGISTERS_PER_LEFT)
        return round(factor * shared * self.trees.adder_bits)

    def values(self, stages: int) -> float:
        """Return the values in registers of separate trees: what the levels left of each sum; at the end all sums."""
        left = (self.trees.digits / 2.0 ** (stage * self.levels) for stage in range(1, stages + 1))
        return sum(float(np.maximum(1, each).sum()) for each in left)


@dataclass(frozen=True)
class ClockRegisters:
    """Estimate the registers of sums that are cut by the clock between what `ends` tells."""

    trees: SumTrees
    cut: ClockCut
    ends: Ends

    @cached_property
    def stages(self) -> int:
        """Return the fewest registers in a row."""
        return next(stages for stages in count() if self._is_enough(stages))

    def bits(self, stages: int) -> int:
        """Return the bits of all registers, if there are so many in a row."""
        partial = PARTIAL * math.pow(self.trees.left, PARTIAL_PER_LEFT)
        places = (self.places(register, stages) for register in range(1, stages + 1))
        return round(sum(min(known + partial * unknown for known, unknown in each) for each in places))

    def places(self, register: int, stages: int) -> Iterator[Alive]:
        """Yield what crosses the register of this number, from 1, at each place that it can have."""
        window = self._window(register, stages)
        yield self.trees.with_inputs(window.start)
        yield from map(self.trees.behind, window)

    def _is_enough(self, stages: int) -> bool:
        if stages == 0:
            return self._fits(0, self.trees.levels, first=True, last=True)
        return all(self._window(register, stages) for register in range(1, stages + 1))

    def _window(self, register: int, stages: int) -> range:
        """Return the levels behind which a register can be."""
        return range(self._lowest(stages - register), self._highest(register) + 1)

    def _highest(self, stages: int) -> int:
        """Return the most levels that the first `stages` stages hold."""
        level = 0
        for stage in range(stages):
            level = max(n for n in range(level, self.trees.levels + 1) if self._may(level, n, stage == 0))
        return level

    def _lowest(self, stages: int) -> int:
        """Return the fewest levels in front of the last `stages` stages and of what is behind the last register."""
        levels = range(self.trees.levels + 1)
        level = min(n for n in levels if self._fits(n, self.trees.levels, first=False, last=True))
        for _ in range(stages):
            level = min(n for n in range(level + 1) if self._may(n, level, first=False))
        return level

    def _may(self, level: int, until: int, first: bool) -> bool:
        """Tell whether a stage may hold these levels. One it always may, but for late inputs: builds refuse what cannot be."""
        return until - level <= (not first) or self._fits(level, until, first, last=False)

    def _fits(self, level: int, until: int, first: bool, last: bool) -> bool:
        """Tell whether the levels behind `level` up to `until` fit a stage, the first one or behind the last register."""
        if until == level and last and not first:
            return True
        return self._time(level, until, first, last) <= self.cut.period

    def _time(self, level: int, until: int, first: bool, last: bool) -> float:
        delays = self.cut.delays
        start = self.ends.entry if first else delays.clk_to_q
        end = self.ends.exit if last and self.ends.exit is not None else delays.setup
        return start + self._driving(level, until) + self._adding(until, until - level) + end

    def _driving(self, level: int, until: int) -> float:
        """Return how much later all that the adders behind `level` read comes for having several readers."""
        delays, inputs = self.cut.delays, level == 0
        first = self.trees.readers if inputs else SUM_READERS
        fewer, usual = (
            delays.driving(n, are_sums=True) for n in (SUM_READERS / self.trees.left, SUM_READERS)
        )
        later = float(fewer - usual)
        return float(delays.driving(first, not inputs)) + max(0, until - level - inputs) * later

    def _adding(self, until: int, adders: int) -> float:
        if not adders:
            return 0.0
        return adders * self.cut.delays.add + self.cut.carries_of(math.ceil(self.trees.width(until)))


def estimate_registers(trees: SumTrees, cut: Cut, ends: Ends) -> LevelRegisters | ClockRegisters:
    """Return the estimate of the registers of sums that are cut between what `ends` tells."""
    if isinstance(cut, LevelCut):
        return LevelRegisters(trees, cut.levels)
    return ClockRegisters(trees, cut, ends)
