# SPDX-License-Identifier: Apache-2.0
"""The rounding against brute force: no value is missed, none is added, and the nearest one is chosen."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from hsflow_po2.rounding import Po2Rounding, WeightRounding
from torch import Tensor

from hsflow_apot.rounding import ApotRounding

SHAPES = [(2, 2), (6, 2), (7, 2), (8, 1), (8, 2), (8, 3), (16, 2)]


def allowed(levels: int, terms: int) -> list[int]:
    """Return every magnitude, by its definition: zero or one of its own powers of two from each term."""
    sets = [[0, *(1 << e for e in range(levels) if e % terms == term)] for term in range(terms)]
    return sorted(map(sum, product(*sets)))


def rounded_integers(rounding: WeightRounding, weights: list[float]) -> list[float]:
    """Round the weights of one channel with a fraction of 0."""
    return rounding(torch.tensor([weights]), torch.tensor([0])).values[0].tolist()


def normal_weights(seed: int = 0) -> Tensor:
    """Return weights of 16 output channels of very different sizes."""
    generator = torch.Generator().manual_seed(seed)
    sizes = torch.exp2(torch.linspace(-9, 5, 16)).view(-1, 1, 1, 1)
    return torch.randn(16, 4, 3, 3, generator=generator) * sizes


def test_the_sets_interleave() -> None:
    assert [list(exponents) for exponents in ApotRounding(8, 2).exponent_sets] == [[0, 2, 4, 6], [1, 3, 5, 7]]


@pytest.mark.parametrize(("levels", "terms"), SHAPES)
def test_every_value_is_reached_and_stays_itself(levels: int, terms: int) -> None:
    values = [float(sign * value) for value in allowed(levels, terms) for sign in (1, -1)]
    assert rounded_integers(ApotRounding(levels, terms), values) == values
    assert (
        len(set(values)) == 2 * np.prod([len(s) + 1 for s in ApotRounding(levels, terms).exponent_sets]) - 1
    )


@pytest.mark.parametrize(("levels", "terms"), SHAPES)
def test_the_nearest_value_is_chosen(levels: int, terms: int) -> None:
    values = np.array(allowed(levels, terms))
    rng = np.random.default_rng(levels * terms)
    weights = (rng.uniform(-1.2, 1.2, 4000) * 2.0 ** rng.integers(0, levels + 1, 4000)).astype(np.float32)
    found = np.array(rounded_integers(ApotRounding(levels, terms), weights.tolist()))
    best = np.abs(np.abs(weights[:, None].astype(np.float64)) - values).min(axis=1)
    assert np.isin(np.abs(found), values).all()
    assert (np.abs(found - weights.astype(np.float64)) == best).all()


def test_another_number_system_fails_that_comparison() -> None:
    """Two free terms reach 7 = 8 - 1 and 5 = 4 + 1, which interleaved terms of one sign do not."""
    assert rounded_integers(Po2Rounding(8, 2), [7.0, 5.0]) == [7.0, 5.0]
    assert not {7, 5} & set(allowed(8, 2))
    assert rounded_integers(ApotRounding(8, 2), [7.0, 5.0]) == [8.0, 6.0]


def test_halfway_goes_away_from_zero_and_beyond_the_window_saturates() -> None:
    assert rounded_integers(ApotRounding(), [0.5, -0.5, 0.49, 7.0, -7.0]) == [1, -1, 0, 8, -8]
    assert rounded_integers(ApotRounding(), [1e9, -193.0, 192.0]) == [192, -192, 192]


def test_each_term_keeps_to_its_set_and_an_absent_one_is_all_zero() -> None:
    rounding = ApotRounding()
    weight = normal_weights()
    rounded = rounding(weight, rounding.place(weight))
    assert rounded.sign.dtype == rounded.exponent.dtype == torch.int8
    assert rounded.sign.shape == rounded.exponent.shape == (2, *weight.shape)
    for sign, exponent, exponents in zip(rounded.sign, rounded.exponent, rounding.exponent_sets, strict=True):
        assert set(exponent[sign != 0].tolist()) <= set(exponents)
        assert not exponent[sign == 0].any()
    assert (rounded.sign[0] * rounded.sign[1] >= 0).all(), "the terms of a weight have one sign"
    assert (rounded.sign != 0).all(dim=0).any()


def test_zeros_and_pruned_weights_stay_zero() -> None:
    rounding = ApotRounding()
    weight = normal_weights()
    mask = torch.rand(weight.shape, generator=torch.Generator().manual_seed(1)) < 0.5
    pruned = weight * mask
    pruned[3] = 0  # a whole channel
    rounded = rounding(pruned, rounding.place(pruned))
    assert not rounded.sign[:, pruned == 0].any()
    assert not rounded.values[pruned == 0].any()
    assert (rounded.values[(pruned != 0)] != 0).any()
    assert rounded_integers(rounding, [0.0, -0.0]) == [0.0, 0.0]


def test_the_window_has_the_least_error_of_all() -> None:
    rounding = ApotRounding()
    weight = normal_weights()
    placed = rounding.place(weight)

    def errors(fractions: Tensor) -> Tensor:
        return (rounding(weight, fractions).values - weight).double().square().flatten(1).sum(dim=1)

    assert placed.dtype == torch.int64 and placed.shape == (16,)
    for step in range(-8, 9):
        assert (errors(placed) <= errors(placed + step)).all(), step
    assert (errors(placed) < errors(placed + 3)).all()  # so the comparison above can fail


@pytest.mark.parametrize(
    ("weights", "fraction"),
    [([4.0, 1.0, 1.0, 1.0], 0), ([6.0, 2.0, 0.0, 0.0], -1), ([4.0, 1.0, 0.0, 0.0], -2)],
)
def test_the_largest_weight_is_clipped_if_the_others_gain_more(weights: list[float], fraction: int) -> None:
    """By hand, with the values 0, 1, 2, 3 in a unit of 1, 2 or 4; the last has one error in all three."""
    assert ApotRounding(levels=2).place(torch.tensor([weights])).tolist() == [fraction]


def test_a_power_of_two_scales_windows_and_nothing_else() -> None:
    rounding = ApotRounding()
    weight = normal_weights()
    once, twice = (rounding(w, rounding.place(w)) for w in (weight, weight * 4))
    assert torch.equal(twice.fractions, once.fractions - 2)
    assert torch.equal(twice.values, once.values * 4)


def test_a_coarser_window_than_was_placed_is_taken_as_given() -> None:
    """hsflow lowers a fraction where finer weights could not change the output."""
    rounding = ApotRounding()
    weight = normal_weights()
    fractions = rounding.place(weight) - 3
    rounded = rounding(weight, fractions)
    assert torch.equal(rounded.fractions, fractions)
    steps = rounded.values * torch.exp2(fractions.float()).view(-1, 1, 1, 1)
    assert set(steps.abs().flatten().tolist()) <= set(map(float, allowed(8, 2)))


def test_no_gradient_is_kept() -> None:
    weight = normal_weights().requires_grad_()
    rounding = ApotRounding()
    assert not rounding(weight, rounding.place(weight)).values.requires_grad
