# SPDX-License-Identifier: Apache-2.0
"""Pipelining: where an adder graph is cut by registers, and how many bits that costs.

A register follows every `levels` adder levels. Stage s computes the adder levels s * levels + 1 to (s + 1) * levels; an
output leaves after the last stage's register, whatever its own depth.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from hsflow.ir.addergraph import AdderGraph


@dataclass(frozen=True)
class Pipeline:
    """Hold an adder graph cut into `stages` stages, the latency of its outputs in cycles."""

    graph: AdderGraph
    levels: int
    stages: int

    def stage(self, value: int) -> int:
        """Return the stage in which `value` is computed; inputs are there in stage 0."""
        return max(0, self.graph.depths[value] - 1) // self.levels

    @cached_property
    def last_use(self) -> tuple[int, ...]:
        """Return the last stage that reads each value; an output is read in stage `stages`."""
        last = [self.stage(value) for value in range(len(self.graph.depths))]
        for number, adder in enumerate(self.graph.adders, start=len(self.graph.inputs)):
            for operand in (adder.left, adder.right):
                last[operand] = max(last[operand], self.stage(number))
        for output in self.graph.outputs:
            if output.value is not None:
                last[output.value] = self.stages
        return tuple(last)

    @property
    def register_bits(self) -> int:
        """Return the flip-flops of all pipeline registers."""
        intervals = self.graph.intervals
        return sum(
            (last - self.stage(value)) * intervals[value].width for value, last in enumerate(self.last_use)
        )


def stages_needed(graph: AdderGraph, levels: int) -> int:
    """Return the fewest stages of `levels` adder levels that hold `graph`; 0 if it has no adder."""
    return -(-graph.depth // levels)
