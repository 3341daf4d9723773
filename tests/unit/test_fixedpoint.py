# SPDX-License-Identifier: Apache-2.0
"""Intervals, widths, and the one rounding rule, against values computed by hand and exact fractions."""

from __future__ import annotations

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hsflow.errors import ModelError
from hsflow.fixedpoint import (
    MAX_WIDTH,
    Interval,
    check_width,
    requantize,
    rounding_constant,
    shift_round,
)

UNHURRIED = settings(deadline=None)

NUMBERS = st.integers(-(2**20), 2**20)


@st.composite
def intervals(draw: st.DrawFn) -> Interval:
    low, high = sorted((draw(NUMBERS), draw(NUMBERS)))
    return Interval(low, high)


def test_an_empty_interval_is_refused() -> None:
    with pytest.raises(ValueError, match="low must be <= high"):
        Interval(1, 0)


@UNHURRIED
@given(one=intervals(), other=intervals(), shift=st.integers(0, 9), parts=st.tuples(st.floats(0, 1)))
def test_interval_arithmetic_holds_every_result_and_reaches_its_ends(
    one: Interval, other: Interval, shift: int, parts: tuple[float]
) -> None:
    corners = [(a, b) for a in (one.low, one.high) for b in (other.low, other.high)]
    sums, differences = [a + b for a, b in corners], [a - b for a, b in corners]
    assert one + other == Interval(min(sums), max(sums))
    assert one - other == Interval(min(differences), max(differences))
    assert -one == Interval(-one.high, -one.low)
    assert one << shift == Interval(one.low * 2**shift, one.high * 2**shift)
    joint = one.union(other)
    assert joint.contains(one)
    assert joint.contains(other)
    assert {joint.low, joint.high} <= {one.low, one.high, other.low, other.high}


def test_contains_has_both_ends() -> None:
    whole = Interval(-4, 3)
    assert whole.contains(whole)
    assert not whole.contains(Interval(-5, 3))
    assert not whole.contains(Interval(-4, 4))


@pytest.mark.parametrize(
    ("low", "high", "width", "signed_width"),
    [
        (0, 0, 1, 1),
        (0, 1, 1, 2),
        (0, 255, 8, 9),
        (0, 256, 9, 10),
        (3, 100, 7, 8),
        (-1, 0, 1, 1),
        (-1, 1, 2, 2),
        (-128, 127, 8, 8),
        (-129, 0, 9, 9),
        (-128, 128, 9, 9),
        (-5, -3, 4, 4),
    ],
)
def test_widths_by_hand(low: int, high: int, width: int, signed_width: int) -> None:
    assert Interval(low, high).width == width
    assert Interval(low, high).signed_width == signed_width


@UNHURRIED
@given(intervals())
def test_a_width_is_enough_and_one_bit_less_is_not(interval: Interval) -> None:
    whole = Interval.of_format(interval.width, interval.signed)
    assert whole.contains(interval)
    assert Interval.of_format(interval.signed_width, True).contains(interval)
    if interval.width > 1 and interval.high >= 0:
        assert not Interval.of_format(interval.width - 1, interval.signed).contains(interval)


@pytest.mark.parametrize(("low", "high", "width"), [(-1, -1, 1), (-4, -4, 3)])
def test_negative_values_alone_waste_no_bit(low: int, high: int, width: int) -> None:
    assert Interval(low, high).width == width


def test_formats() -> None:
    assert Interval.of_format(1, False) == Interval(0, 1)
    assert Interval.of_format(1, True) == Interval(-1, 0)
    assert Interval.of_format(8, True) == Interval(-128, 127)


def test_an_accumulator_of_exactly_the_bound_passes_and_one_bit_more_does_not() -> None:
    check_width(MAX_WIDTH, "features.0")
    with pytest.raises(ModelError, match=r"features\.0: an accumulator is too wide") as caught:
        check_width(MAX_WIDTH + 1, "features.0")
    assert "63 bits" in str(caught.value)
    assert "62 bits" in str(caught.value)


def test_rounding_constants() -> None:
    assert [rounding_constant(shift) for shift in (-3, 0, 1, 2, 8)] == [0, 0, 1, 2, 128]


def test_half_is_rounded_up_on_both_sides_of_zero() -> None:
    values = np.array([-7, -6, -5, -4, -3, -2, -1, 0, 1, 2, 3, 4, 5, 6, 7])
    # value / 4: -1.75, -1.5, -1.25, -1, -0.75, -0.5, ...
    expected = [-2, -1, -1, -1, -1, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2]
    assert shift_round(values, 2).tolist() == expected
    assert np.round(values / 4).astype(int).tolist() != expected  # half to even is another rule
    assert (values >> 2).tolist() != expected  # truncation, too


@UNHURRIED
@given(value=st.integers(-(2**60), 2**60), shift=st.integers(-2, 61))
def test_rounding_is_floor_of_the_exact_quotient_and_a_half(value: int, shift: int) -> None:
    value = value >> 3 if shift < 0 else value
    exact = floor(Fraction(value) / Fraction(2) ** shift + (Fraction(1, 2) if shift > 0 else 0))
    assert int(shift_round(np.array([value]), shift)[0]) == exact


def test_each_channel_has_its_own_shift_and_range() -> None:
    accumulator = np.array([[[[100]], [[100]], [[100]], [[-100]]]])
    shifts = np.array([3, 0, -2, 1]).reshape(-1, 1, 1)
    low = np.array([0, 0, 0, -40]).reshape(-1, 1, 1)
    high = np.array([255, 99, 255, 127]).reshape(-1, 1, 1)
    # 12.5 rounds up, 100 saturates, 400 saturates, -50 saturates.
    assert requantize(accumulator, shifts, low, high).reshape(-1).tolist() == [13, 99, 255, -40]


@pytest.mark.parametrize(
    ("accumulator", "expected"),
    [(-1000, -125), (-1028, -128), (-1025, -128), (-1020, -127), (1019, 127), (1020, 127), (4, 1), (-4, 0)],
)
def test_saturation_both_ways(accumulator: int, expected: int) -> None:
    low, high = -128, 127
    exact = min(max(floor(Fraction(accumulator, 8) + Fraction(1, 2)), low), high)
    found = int(requantize(np.array([accumulator]), 3, low, high)[0])
    assert found == exact
    assert found == expected


def test_the_merged_rounding_constant_gives_the_same() -> None:
    accumulator = np.arange(-300, 300)
    merged = np.clip((accumulator + rounding_constant(4)) >> 4, 0, 15)
    assert np.array_equal(merged, requantize(accumulator, 4, 0, 15))
    assert not np.array_equal(np.clip(accumulator >> 4, 0, 15), merged)
