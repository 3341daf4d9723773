# SPDX-License-Identifier: Apache-2.0
"""Pipelining: where an adder graph is cut by registers, and how many bits that costs.

A cut says how much a stage may hold: so many adder levels, or so much time. Each adder works in one stage, and a value has
one register for each stage between its own and its last reader's, however many read it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hsflow.errors import ConfigurationError
from hsflow.fixedpoint import IntArray
from hsflow.ir.addergraph import AdderGraph
from hsflow.ir.delays import AdderTimes, LevelTimes
from hsflow.ir.placement import Ends, Placement, last_use
from hsflow.technology import Delays, longest_chain

_PS_PER_US = 1e6
NOTHING = Ends()


@dataclass(frozen=True)
class Pipeline:
    """Hold an adder graph cut by `stages` registers in a row, the latency of its outputs in cycles.

    `placed` is the stage of each value. An adder of stage `stages` works behind the last register, beside what reads the
    outputs.
    """

    graph: AdderGraph
    placed: tuple[int, ...]
    stages: int

    def stage(self, value: int) -> int:
        """Return the stage in which `value` is computed; inputs are there in stage 0."""
        return self.placed[value]

    @cached_property
    def last_use(self) -> tuple[int, ...]:
        """Return the last stage that reads each value; an output is read in stage `stages`."""
        return tuple(self._last_use.tolist())

    @cached_property
    def _last_use(self) -> IntArray:
        return last_use(self.graph, np.array(self.placed, dtype=np.int64), self.stages)

    @property
    def register_bits(self) -> int:
        """Return the flip-flops of all pipeline registers."""
        return int(((self._last_use - self.placed) * self.graph.widths).sum())


def pipelined(placement: Placement, stages: int | None = None) -> Pipeline:
    """Return a placed graph with `stages` registers in a row, by default the fewest, and few bits in them."""
    count = placement.fewest if stages is None else stages
    return Pipeline(placement.graph, tuple(placement.best(count).tolist()), count)


def combinational(graph: AdderGraph) -> Pipeline:
    """Return a graph without registers."""
    return Pipeline(graph, (0,) * len(graph.widths), 0)


@dataclass(frozen=True)
class LevelCut:
    """Cut by a register after every `levels` adder levels, whatever time they take at the clock."""

    levels: int
    clock_mhz: float = 1000.0

    def placement(self, graph: AdderGraph, ends: Ends = NOTHING, where: str = "") -> Placement:
        """Return how to place the adders of `graph`; outputs come out of registers, whatever is around."""
        return Placement(LevelTimes(graph), self.levels)

    def levels_of(self, width: int, where: str = "") -> int:
        """Return the adder levels of a stage."""
        return self.levels

    @property
    def longest_chain(self) -> int:
        """Return the bits of the longest adder whose carries ripple."""
        return longest_chain(_PS_PER_US / self.clock_mhz)


@dataclass(frozen=True)
class ClockCut:
    """Cut by registers such that no path between two of them takes longer than the clock allows.

    The share `margin` of the clock's period is left for what `delays` does not know of: wires, and the clock's skew.
    """

    clock_mhz: float
    margin: float
    delays: Delays

    @property
    def period(self) -> float:
        """Return the ps that a path may take."""
        return _PS_PER_US / self.clock_mhz * (1 - self.margin)

    def placement(self, graph: AdderGraph, ends: Ends = NOTHING, where: str = "") -> Placement:
        """Return how to place the adders of `graph` between what `ends` tells.

        Raises:
            ConfigurationError: if an adder, or what is behind a result, takes longer than the clock allows by itself.
        """
        found = Placement(AdderTimes(graph, self.delays, self.longest_chain), self.period, ends)
        adders = found.alone.max(axis=1, initial=0.0) + self.delays.setup
        self.check(float(adders.max(initial=0.0)), "an adder", where)
        if ends.exit is not None:
            registered = found.registered[graph.output_values].max(initial=0.0)
            self.check(float(registered) + ends.exit, "what follows a sum", where)
        return found

    def levels_of(self, width: int, where: str = "") -> int:
        """Return how many levels of adders whose sums have `width` bits a stage holds.

        Raises:
            ConfigurationError: if it is none.
        """
        start = self.delays.clk_to_q + self.carries_of(width)
        return self.steps(start, self.delays.add, f"an adder of {width} bits", where)

    def carries_of(self, width: int) -> float:
        """Return how long the carries of an adder of `width` bits take."""
        long = width > self.longest_chain
        return max(0, width - 1) * (self.delays.carry_ahead if long else self.delays.carry)

    @property
    def longest_chain(self) -> int:
        """Return the bits of the longest adder whose carries ripple."""
        return longest_chain(_PS_PER_US / self.clock_mhz)

    def steps(self, start: float, step: float, what: str, where: str = "") -> int:
        """Return how many steps, one behind the other, a stage holds after `start`.

        Raises:
            ConfigurationError: if it is none.
        """
        self.check(start + step + self.delays.setup, what, where)
        return int((self.period - self.delays.setup - start) // step)

    def check(self, needed: float, what: str, where: str) -> None:
        """Refuse what takes longer than the clock allows: `needed` ps, registers included.

        Raises:
            ConfigurationError: with the clock that would do.
        """
        if needed > self.period:
            possible = math.floor(self.clock_mhz * self.period / needed)
            raise ConfigurationError(
                f"{what} takes longer than the clock allows",
                where=where or None,
                got=f"{needed:.0f} ps, where a clock of {self.clock_mhz:g} MHz leaves {self.period:.0f} ps",
                expected=f"a clock of at most {possible} MHz",
                hint="lower the clock, or quantize to fewer bits; registers every so many adder levels are not timed",
            )


Cut = LevelCut | ClockCut
