# SPDX-License-Identifier: Apache-2.0
"""Pipelining: where an adder graph is cut by registers, and how many bits that costs.

A register follows every `levels` adder levels. Stage s computes the adder levels s * levels + 1 to (s + 1) * levels; an
output leaves after the last stage's register, whatever its own depth.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hsflow.fixedpoint import IntArray
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
    def _computed(self) -> IntArray:
        """Return the stage of each value."""
        return np.maximum(np.array(self.graph.depths, dtype=np.int64) - 1, 0) // self.levels

    @cached_property
    def _last_use(self) -> IntArray:
        columns, last = self.graph.columns, self._computed.copy()
        readers = last[len(self.graph.inputs) :].copy()
        for operand in (columns.left, columns.right):
            np.maximum.at(last, operand, readers)
        last[self.graph.output_values] = self.stages
        return last

    @cached_property
    def last_use(self) -> tuple[int, ...]:
        """Return the last stage that reads each value; an output is read in stage `stages`."""
        return tuple(self._last_use.tolist())

    @property
    def register_bits(self) -> int:
        """Return the flip-flops of all pipeline registers."""
        return int(((self._last_use - self._computed) * self.graph.widths).sum())


def stages_needed(graph: AdderGraph, levels: int) -> int:
    """Return the fewest stages of `levels` adder levels that hold `graph`; 0 if it has no adder."""
    return -(-graph.depth // levels)
