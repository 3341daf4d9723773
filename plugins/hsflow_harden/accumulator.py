# SPDX-License-Identifier: Apache-2.0
"""The sum of a global pool: what `hsflow_accumulate` computes from its parameters, costs and takes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Accumulator:
    """Sum each of `channels` over an image that comes as `beats` blocks of `pixels` pixels.

    A balanced tree adds up the pixels of a block, and a running sum the blocks: one more adder level, if there are several.
    A register follows every `levels` adder levels, and the last one. Numbers have `input_width` bits, a level of the tree
    one bit more than the one before, and none more than `sum_width`, as the running sum.
    """

    channels: int
    pixels: int
    beats: int
    input_width: int
    sum_width: int
    levels: int

    @property
    def depth(self) -> int:
        """Return the adder levels."""
        return self._tree_depth + self._has_running_sum

    @property
    def latency(self) -> int:
        """Return the cycles from the transfer of an image's last block to that of its sums."""
        return self._tree_stages + 1

    @property
    def adders(self) -> int:
        """Return the adders of two operands each."""
        return self.channels * (self.pixels - 1 + self._has_running_sum)

    @property
    def full_adder_bits(self) -> int:
        """Return the bits of all adders."""
        pairs = ((self._sums(level - 1) // 2, self._width(level)) for level in range(1, self._tree_depth + 1))
        running = self.sum_width if self._has_running_sum else 0
        return self.channels * (sum(count * width for count, width in pairs) + running)

    @property
    def register_bits(self) -> int:
        """Return the flip-flops of the stages, the running sum, the count of blocks, the sums, and all valid bits."""
        cut = range(self.levels, self._tree_stages * self.levels + 1, self.levels)
        stages = sum(self.channels * self._sums(level) * self._width(level) + 1 for level in cut)
        running = (
            self.channels * self.sum_width + (self.beats - 1).bit_length() if self._has_running_sum else 0
        )
        return stages + running + self.channels * self.sum_width + 1

    @property
    def _has_running_sum(self) -> bool:
        return self.beats > 1

    @property
    def _tree_depth(self) -> int:
        return (self.pixels - 1).bit_length()

    @property
    def _tree_stages(self) -> int:
        """Return the registers within the tree; what levels are left share the last one with the running sum."""
        return max(0, self.depth - 1) // self.levels

    def _sums(self, level: int) -> int:
        """Return how many sums of each channel an adder level leaves; level 0 is the pixels."""
        return -(-self.pixels // (1 << level))

    def _width(self, level: int) -> int:
        return min(self.input_width + level, self.sum_width)
