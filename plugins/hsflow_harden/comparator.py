# SPDX-License-Identifier: Apache-2.0
"""The maximum of a window: what `hsflow_max` computes from its parameters, costs and takes."""

from __future__ import annotations

from dataclasses import dataclass

from hsflow.design import Resources
from hsflow_harden.kernel import KernelFigures


@dataclass(frozen=True)
class Comparator:
    """Find the largest of `taps` numbers of `width` bits, for each of `channels`, by a balanced tree of comparisons.

    A register follows every `levels` levels, and the last one.
    """

    channels: int
    width: int
    taps: int
    levels: int

    @property
    def stages(self) -> int:
        """Return the registers within the tree."""
        return max(0, (self.taps - 1).bit_length() - 1) // self.levels

    @property
    def figures(self) -> KernelFigures:
        """Return what one copy costs: comparisons are no adders."""
        left = sum(-(-self.taps // (1 << stage * self.levels)) for stage in range(1, self.stages + 1))
        bits = self.channels * self.width
        used = Resources(tile_registers=left * bits, compared=(self.taps - 1) * bits, results=bits)
        return KernelFigures(self.stages + 1, 0, 0, 0, 0, left * bits, used)
