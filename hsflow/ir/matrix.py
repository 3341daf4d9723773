# SPDX-License-Identifier: Apache-2.0
"""Integer matrices as they come from outside: what is taken, what it needs at least, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsflow.errors import ModelError
from hsflow.fixedpoint import MAX_WIDTH, IntArray, Interval, check_width

Masks = NDArray[np.uint64]

_CERTAIN = 2.0 ** (MAX_WIDTH - 2)
"""A sum of magnitudes below this, whatever a float rounds, needs less than `MAX_WIDTH` bits."""


def check_matrix(matrix: object, where: str) -> IntArray:
    """Return a matrix of integers as int64 in C order, whatever type, byte order or order in memory it has.

    Raises:
        ModelError: if it is no array of integers, not of two dimensions, empty, or exceeds 64 bits.
    """
    array = np.asarray(matrix)
    if array.dtype.kind not in "biu":
        raise ModelError(
            "a matrix must be of integers",
            where=where,
            got=f"type {array.dtype}",
            expected="booleans or integers of up to 64 bits",
            hint="round or scale the values as they are meant to be, then `.astype(np.int64)`",
        )
    if array.ndim != 2 or 0 in array.shape:
        raise ModelError(
            "a matrix must have two dimensions, both of at least 1",
            where=where,
            got=f"shape {array.shape}",
            expected="shape (inputs, outputs), at least (1, 1)",
        )
    _check_signed(array, where)
    return np.array(array, dtype=np.int64, order="C")


def _check_signed(array: NDArray[Any], where: str) -> None:
    largest = int(array.max()) if array.dtype.kind == "u" else 0
    if largest > np.iinfo(np.int64).max:
        raise ModelError("a number is too large", where=where, got=largest, expected="below 2**63")


def signed_digits(matrix: IntArray) -> tuple[Masks, Masks]:
    """Return the positive and the negative digits of each number's nonadjacent form, its fewest signed digits, as bits.

    A number is the first mask less the second one (Reitwiesner, "Binary arithmetic", Advances in Computers 1, 1960).
    """
    # Negating as unsigned gives the magnitude of -2**63, too.
    words = matrix.astype(np.uint64)
    magnitude = np.where(matrix < 0, np.uint64(0) - words, words)
    half = magnitude >> np.uint64(1)
    sum_ = magnitude + half
    positive, negative = sum_ & ~half, half & ~sum_
    return np.where(matrix < 0, negative, positive), np.where(matrix < 0, positive, negative)


def count_digits(matrix: IntArray) -> IntArray:
    """Return the signed digits that each row of `matrix` has: the terms of its sum."""
    positive, negative = signed_digits(matrix)
    counts: IntArray = _ones(positive | negative).sum(axis=1, dtype=np.int64)
    return counts


def _ones(words: Masks) -> Masks:
    """Return how many bits of each word are one."""
    for shift, mask in ((1, 0x5555555555555555), (2, 0x3333333333333333), (4, 0x0F0F0F0F0F0F0F0F)):
        words = (words & np.uint64(mask)) + ((words >> np.uint64(shift)) & np.uint64(mask))
    return (words * np.uint64(0x0101010101010101)) >> np.uint64(56)


def common_factors(matrix: IntArray) -> IntArray:
    """Return the odd factor of each row's numbers, shape (outputs,), by which its sum is better multiplied at the end.

    It is 1 where that saves none of the row's signed digits.
    """
    words = matrix.astype(np.uint64)
    together = np.gcd.reduce(np.where(matrix < 0, np.uint64(0) - words, words), axis=1)
    odd: IntArray = (together // np.maximum(together & (~together + np.uint64(1)), 1)).astype(np.int64)
    odd = np.maximum(odd, 1)
    whole, rest, factors = (count_digits(each) for each in (matrix, matrix // odd[:, None], odd[:, None]))
    return np.where(rest + factors - 1 < whole, odd, 1)


def adders_without_sharing(matrix: IntArray) -> int:
    """Return the two-input adders that separate trees for each row, shape (outputs, inputs), need.

    A factor that a row's numbers have in common multiplies the row's sum, where that takes fewer (see `common_factors`).
    """
    factors = common_factors(matrix)[:, None]
    sums = np.maximum(count_digits(matrix // factors) - 1, 0)
    return int((sums + count_digits(factors) - 1).sum())


def fewest_levels(matrix: IntArray) -> int:
    """Return the adder levels of the deepest row, shape (outputs, inputs), if each row is a balanced tree."""
    return max((int(digits) - 1).bit_length() if digits else 0 for digits in count_digits(matrix))


def sum_ranges(matrix: IntArray, inputs: Sequence[Interval]) -> tuple[Interval, ...]:
    """Return the range of each row's sum, shape (outputs, inputs); its ends must be in the range of int64."""
    low, high = (np.array([getattr(each, end) for each in inputs], np.int64) for end in ("low", "high"))
    positive, negative = np.maximum(matrix, 0), np.minimum(matrix, 0)
    lowest, highest = positive @ low + negative @ high, positive @ high + negative @ low
    return tuple(Interval(*ends) for ends in zip(lowest.tolist(), highest.tolist(), strict=True))


def check_accumulators(matrix: IntArray, inputs: Sequence[Interval], where: str) -> None:
    """Refuse a matrix, shape (outputs, inputs), with a sum that exact 64-bit arithmetic could not hold.

    What counts is the sum of the signed digits, each with its own range, as adders see it: any part of it fits, then.

    Raises:
        ModelError: names the first output that needs more than `MAX_WIDTH` bits.
    """
    positive, negative = signed_digits(matrix)
    largest = np.array([float(max(abs(i.low), abs(i.high))) for i in inputs])
    bounds = (positive.astype(np.float64) + negative.astype(np.float64)) @ largest
    for row in np.flatnonzero(bounds >= _CERTAIN).tolist():
        interval = _sum_of_digits(positive[row].tolist(), negative[row].tolist(), inputs)
        check_width(interval.width, f"{where}, output {row}")


def _sum_of_digits(positive: list[int], negative: list[int], inputs: Sequence[Interval]) -> Interval:
    ranges = list(_scaled(positive, inputs)) + [-interval for interval in _scaled(negative, inputs)]
    return Interval(sum(interval.low for interval in ranges), sum(interval.high for interval in ranges))


def _scaled(factors: list[int], inputs: Sequence[Interval]) -> Iterator[Interval]:
    for factor, interval in zip(factors, inputs, strict=True):
        yield Interval(factor * interval.low, factor * interval.high)
