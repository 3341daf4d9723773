# SPDX-License-Identifier: Apache-2.0
"""Common factors of rows: a sum is multiplied once, where that takes fewer adders and the depth allows it."""

from __future__ import annotations

import numpy as np
import pytest
from hsflow_cmvm import optimize, search
from hypothesis import given
from random_matrices import matrices

from hsflow.fixedpoint import IntArray
from hsflow.ir.matrix import adders_without_sharing, common_factors, count_digits, fewest_levels
from hsflow.lowering import Effort, LoweringGoal


def scaled(rows: int, columns: int) -> tuple[IntArray, IntArray]:
    """Return powers of two, and the same with each row times 4, 5, 6 or 7."""
    generator = np.random.default_rng(rows)
    powers = generator.choice([-1, 1], (rows, columns)) << generator.integers(0, 8, (rows, columns))
    return powers, powers * (4 + np.arange(rows) % 4)[:, np.newaxis]


@pytest.mark.parametrize(
    ("row", "factor"),
    [
        ([3, 6, -12], 3),
        ([20, 0, -40], 5),
        ([-90, 45, 0], 45),
        ([1, 3, 9], 1),
        ([3, 0, 0], 1),
        ([0, 0, 0], 1),
        ([8, -4, 2], 1),
        ([-(2**63), -(2**63), 0], 1),
        ([2**63 - 1, 2**63 - 1, 2**63 - 1], 2**63 - 1),
        ([5, 15, 0], 1),
    ],
)
def test_factors_by_hand(row: list[int], factor: int) -> None:
    assert common_factors(np.array([row])).tolist() == [factor]


@given(matrices())
def test_factors_divide_their_rows_and_save_digits(matrix: IntArray) -> None:
    factors = common_factors(matrix)
    rest = matrix // factors[:, np.newaxis]
    assert (rest * factors[:, np.newaxis] == matrix).all()
    assert (factors % 2 == 1).all() and (factors > 0).all()
    saved = count_digits(matrix) - count_digits(rest) - count_digits(factors[:, np.newaxis]) + 1
    assert (saved[factors > 1] > 0).all() and (saved[factors == 1] == 0).all()
    assert adders_without_sharing(matrix) <= int(np.maximum(count_digits(matrix) - 1, 0).sum())


def test_separate_trees_multiply_once() -> None:
    assert adders_without_sharing(np.array([[3, 6, -12]])) == 3
    assert adders_without_sharing(np.array([[3, 6, -11]])) == 6


@pytest.mark.parametrize("shape", [(8, 9), (24, 16), (64, 24)])
def test_a_scale_costs_an_adder_a_row_and_not_more(
    shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    powers, multiples = scaled(*shape)
    plain, factored = (optimize(each.T, effort="low") for each in (powers, multiples))
    assert len(factored.adders) <= len(plain.adders) + shape[0]
    assert factored.depth <= plain.depth + 2
    monkeypatch.setattr(search, "common_factors", lambda matrix: np.ones(len(matrix), np.int64))
    without = optimize(multiples.T, effort="low")
    assert len(factored.adders) < 0.95 * len(without.adders)
    assert factored.full_adder_bits < 0.95 * without.full_adder_bits


def test_rows_that_differ_by_a_factor_are_added_once() -> None:
    row = np.array([[1, -2, 16, 4, -32, 8]])
    graph = optimize(np.vstack([row, 3 * row, -20 * row]).T)
    assert len(graph.adders) == 5 + 1 + 1
    assert graph.evaluate(np.arange(6)).tolist() == (np.array([1, 3, -20]) * (row @ np.arange(6))).tolist()


def test_a_factor_of_many_digits_is_a_balanced_tree() -> None:
    factor = 0b10101010101  # six digits: three levels
    graph = optimize(np.full((4, 1), factor))
    assert graph.depth == 2 + 3 == fewest_levels(np.full((1, 4), factor))
    assert len(graph.adders) <= 3 + 5


def test_no_factor_makes_a_graph_too_deep() -> None:
    """Five digits and a factor of two take four levels; nine digits, as they are, three."""
    matrix = np.array([[3, 3, 3, 9]])
    goals = [LoweringGoal(effort=Effort.LOW, max_depth=depth) for depth in (3, 4)]
    assert common_factors(matrix).tolist() == [3]
    assert [len(search._tasks(matrix, goal, "here")) for goal in goals] == [1, 2]
    tight, loose = (optimize(matrix.T, max_depth=depth) for depth in (3, 4))
    assert tight.depth == 3 and loose.depth <= 4
    assert len(loose.adders) <= len(tight.adders)


def test_what_has_no_factors_is_searched_once() -> None:
    powers, multiples = scaled(8, 9)
    (alone,) = search._tasks(powers, LoweringGoal(), "here")
    first, second = search._tasks(multiples, LoweringGoal(), "here")
    assert (alone.matrix == powers).all() and (second.matrix == multiples).all()
    assert (first.matrix * first.factors[:, np.newaxis] == multiples).all()
    assert first.most == second.most - 1 == alone.most - 1
