# SPDX-License-Identifier: Apache-2.0
"""Exact integer arithmetic: intervals, widths, and the one rounding rule of hsflow.

Integers are 64-bit NumPy arrays; a width above `MAX_WIDTH` is refused before anything could wrap.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hsflow.errors import ModelError

MAX_WIDTH = 62
"""The widest accumulator in bits: sums and rounding constants stay inside a signed 64-bit integer."""

IntArray = NDArray[np.int64]


@dataclass(frozen=True, order=True, slots=True)
class Interval:
    """Hold the inclusive range of an integer value."""

    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"low must be <= high, not {self.low} > {self.high}")

    def __add__(self, other: Interval) -> Interval:
        return Interval(self.low + other.low, self.high + other.high)

    def __neg__(self) -> Interval:
        return Interval(-self.high, -self.low)

    def __sub__(self, other: Interval) -> Interval:
        return self + -other

    def __lshift__(self, shift: int) -> Interval:
        return Interval(self.low << shift, self.high << shift)

    def union(self, other: Interval) -> Interval:
        """Return the smallest interval that contains both."""
        return Interval(min(self.low, other.low), max(self.high, other.high))

    def contains(self, other: Interval) -> bool:
        """Tell whether `other` lies inside."""
        return self.low <= other.low and other.high <= self.high

    @property
    def signed(self) -> bool:
        """Tell whether a negative value occurs."""
        return self.low < 0

    @property
    def width(self) -> int:
        """Return the bits that hold every value: two's complement if `signed`, else unsigned, at least 1."""
        if not self.signed:
            return max(1, self.high.bit_length())
        return max((-self.low - 1).bit_length(), max(self.high, 0).bit_length()) + 1

    @property
    def signed_width(self) -> int:
        """Return the bits of a two's complement number that holds every value."""
        return self.width if self.signed else self.high.bit_length() + 1

    @classmethod
    def of_format(cls, width: int, signed: bool) -> Interval:
        """Return the range of a `width`-bit integer."""
        return cls(-(1 << (width - 1)), (1 << (width - 1)) - 1) if signed else cls(0, (1 << width) - 1)


def check_width(width: int, where: str) -> None:
    """Refuse a width that 64-bit integers could not compute exactly.

    Raises:
        ModelError: if `width` is above `MAX_WIDTH`.
    """
    if width > MAX_WIDTH:
        raise ModelError(
            "an accumulator is too wide",
            where=where,
            got=f"{width} bits",
            expected=f"at most {MAX_WIDTH} bits",
            hint="use fewer exponent levels, narrower activations or a smaller layer",
        )


def rounding_constant(shift: int) -> int:
    """Return what is added before a right shift by `shift` so that it rounds half up."""
    return 1 << (shift - 1) if shift > 0 else 0


def shift_round(accumulator: IntArray, shift: int | IntArray) -> IntArray:
    """Shift right by `shift`, rounding half up; a negative `shift` is an exact left shift."""
    right = np.maximum(shift, 0)
    left = np.maximum(np.negative(shift), 0)
    half = np.where(right > 0, np.left_shift(np.int64(1), np.maximum(right - 1, 0)), 0)
    return np.left_shift(np.right_shift(accumulator + half, right), left)


def requantize(
    accumulator: IntArray, shift: int | IntArray, low: int | IntArray, high: int | IntArray
) -> IntArray:
    """Round `accumulator` to a coarser unit and saturate: `clamp((acc + (1 << (s-1))) >> s, low, high)`."""
    return np.clip(shift_round(accumulator, shift), low, high)
