# SPDX-License-Identifier: Apache-2.0
"""Matrices from outside: every integer type and order in memory gives the same numbers, and nothing else is taken."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsflow.errors import ModelError
from hsflow.fixedpoint import MAX_WIDTH, Interval
from hsflow.ir.matrix import (
    adders_without_sharing,
    check_accumulators,
    check_matrix,
    count_digits,
    fewest_levels,
    signed_digits,
    sum_ranges,
)

TYPES = [
    "bool",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    ">i4",
    ">u8",
    "<i2",
]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("order", ["C", "F", "sliced"])
def test_every_integer_type_and_order_is_taken(dtype: str, order: str) -> None:
    given = np.array([[1, 0, 1], [0, 1, 1]], dtype=dtype)
    if order == "sliced":
        given = np.repeat(np.repeat(given, 2, axis=0), 3, axis=1)[::2, ::3]
    found = check_matrix(np.array(given, order=order) if order != "sliced" else given, "here")
    assert found.tolist() == [[1, 0, 1], [0, 1, 1]]
    assert found.dtype == np.int64 and found.flags.c_contiguous
    found[0, 0] = 9
    assert given[0, 0] == 1


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (np.ones((2, 2)), r"(?s)of integers.*float64.*astype"),
        (np.ones((2, 2), np.complex64), "of integers"),
        (np.array([["1"]]), "of integers"),
        (np.array([[1, None]], dtype=object), "of integers"),
        ([[2**70]], "of integers"),
        (np.zeros(3, np.int8), r"(?s)two dimensions.*\(3,\)"),
        (np.zeros((1, 1, 1), np.int8), "two dimensions"),
        (np.int64(3), "two dimensions"),
        (np.zeros((0, 4), np.int8), "at least 1"),
        (np.zeros((4, 0), np.int8), "at least 1"),
        (np.array([[2**63]], np.uint64), r"(?s)too large.*9223372036854775808"),
    ],
)
def test_what_is_no_matrix_of_integers_is_refused(wrong: Any, message: str) -> None:
    with pytest.raises(ModelError, match=message) as caught:
        check_matrix(wrong, "weights.npy")
    assert str(caught.value).startswith("weights.npy: ")


def test_both_ends_of_64_bits_are_taken() -> None:
    ends = [[-(2**63), 2**63 - 1]]
    assert check_matrix(np.array(ends), "here").tolist() == ends
    assert check_matrix(np.array([[2**63 - 1]], np.uint64), "here").tolist() == [[2**63 - 1]]


@given(st.integers(-(2**63), 2**63 - 1))
def test_signed_digits_are_the_number_and_never_adjacent(value: int) -> None:
    positive, negative = (int(mask[0, 0]) for mask in signed_digits(np.array([[value]])))
    digits = positive | negative
    assert positive - negative == value
    assert positive & negative == 0 and digits & (digits >> 1) == 0
    assert count_digits(np.array([[value]])).tolist() == [digits.bit_count()]


def test_adders_and_levels_by_hand() -> None:
    matrix = np.array([[0, 0, 0], [0, -8, 0], [1, 1, 1], [45, 0, 0], [3, 5, 7]])
    assert count_digits(matrix).tolist() == [0, 1, 3, 4, 6]
    assert adders_without_sharing(matrix) == 2 + 3 + 5
    assert [fewest_levels(matrix[:rows]) for rows in (1, 2, 3, 4, 5)] == [0, 0, 2, 2, 3]


@pytest.mark.parametrize(
    ("matrix", "interval", "fits"),
    [
        ([[2 ** (MAX_WIDTH - 8)]], Interval(0, 255), True),
        ([[2 ** (MAX_WIDTH - 7)]], Interval(0, 255), False),
        ([[-(2 ** (MAX_WIDTH - 9))]], Interval(0, 255), True),
        ([[-(2 ** (MAX_WIDTH - 8))]], Interval(0, 255), False),
        ([[2 ** (MAX_WIDTH - 9)] * 2], Interval(0, 255), True),
        ([[2 ** (MAX_WIDTH - 9)] * 4], Interval(0, 255), False),
        ([[-(2**63), 0]], Interval(0, 1), False),
        ([[2**63 - 1] * 100], Interval(-(2**15), 2**15 - 1), False),
        ([[1, 1], [0, 2**62]], Interval(0, 1), False),
    ],
)
def test_sums_that_are_too_wide_are_refused(matrix: list[list[int]], interval: Interval, fits: bool) -> None:
    weights = np.array(matrix)
    inputs = (interval,) * weights.shape[1]
    if fits:
        check_accumulators(weights, inputs, "here")
        return
    with pytest.raises(ModelError, match=f"here, output {len(matrix) - 1}: an accumulator is too wide"):
        check_accumulators(weights, inputs, "here")


def test_the_range_of_a_sum_is_what_all_inputs_make_of_it() -> None:
    matrix = np.array([[3, -2, 1], [0, 0, 0], [-1, -4, 8]])
    inputs = (Interval(-2, 5), Interval(0, 3), Interval(1, 2))
    corners = np.array(list(product(*((each.low, each.high) for each in inputs))))
    sums = corners @ matrix.T
    expected = tuple(map(Interval, sums.min(axis=0).tolist(), sums.max(axis=0).tolist()))
    assert sum_ranges(matrix, inputs) == expected
