# SPDX-License-Identifier: Apache-2.0
"""Reduction and differences by hand: what equal, shifted and summed rows and columns cost."""

from __future__ import annotations

import numpy as np
import pytest
from hsflow_cmvm.differences import derive, difference
from hsflow_cmvm.reduction import Merge, distinct_rows, merged_columns
from hsflow_cmvm.terms import NONE
from lowered import share

from hsflow.fixedpoint import IntArray, Interval
from hsflow.ir.addergraph import AdderGraph
from hsflow.ir.matrix import adders_without_sharing
from hsflow.lowering import LoweringGoal

BYTE = Interval(0, 255)


def solve(matrix: IntArray) -> AdderGraph:
    from hsflow_cmvm.optimizer import lower

    graph = lower(matrix, (BYTE,) * matrix.shape[1], LoweringGoal(), "here")
    graph.prove(matrix, "here")
    return graph


def hadamard(levels: int) -> IntArray:
    matrix = np.ones((1, 1), np.int64)
    for _ in range(levels):
        matrix = np.block([[matrix, matrix], [matrix, -matrix]])
    return matrix


def test_rows_that_are_equal_up_to_a_shift_and_a_sign_are_one() -> None:
    matrix = np.array([[0, -4, 12], [0, 1, -3], [0, 0, 0], [0, 1, 3], [0, 2, 6]])
    rows = distinct_rows(matrix)
    assert rows.matrix.tolist() == [[0, -1, 3], [0, 0, 0], [0, 1, 3]]
    assert rows.which.tolist() == [0, 0, 1, 2, 2]
    assert rows.shift.tolist() == [2, 0, 0, 0, 1]
    assert rows.minus.tolist() == [0, 1, 0, 0, 0]
    again = rows.matrix[rows.which] << rows.shift[:, None]
    assert (again * (1 - 2 * rows.minus)[:, None] == matrix).all()


@pytest.mark.parametrize("power", [0, 1, 31, 32, 52, 53, 54, 60, 61, 62])
def test_every_power_of_two_is_a_shift(power: int) -> None:
    for number in (1 << power, -1 << power):
        rows = distinct_rows(np.array([[number]]))
        sign = 1 if number > 0 else -1
        assert (rows.matrix.tolist(), rows.shift.tolist()) == ([[sign]], [power])
    assert distinct_rows(np.array([[(1 << power) | (1 << 62), 0]])).shift.tolist() == [power]


def rebuilt(merged: IntArray, merges: tuple[Merge, ...], inputs: int) -> IntArray:
    """Return what a matrix with added columns is in its inputs."""
    made = np.eye(inputs, dtype=np.int64).tolist()
    for merge in merges:
        left, right = max(0, -merge.offset), max(0, merge.offset)
        sign = 1 - 2 * merge.minus
        one, other = made[merge.first], made[merge.second]
        made.append([(a << left) + sign * (b << right) for a, b in zip(one, other, strict=True)])
    return merged @ np.array(made)


@pytest.mark.parametrize(
    ("columns", "merges"),
    [
        ([[1, 3], [1, 3]], 1),
        ([[1, 3], [-1, -3]], 1),
        ([[4, 12], [1, 3]], 1),
        ([[1, 3], [-4, -12]], 1),
        ([[-4, 12], [1, -3], [8, -24], [2, -6]], 3),
        ([[1, 2], [1, 2], [1, 2]], 1),
        ([[0, 0], [0, 0]], 0),
        ([[1, 2], [2, 1]], 0),
    ],
)
def test_columns_that_are_equal_up_to_a_shift_and_a_sign_are_added_first(
    columns: list[list[int]], merges: int
) -> None:
    matrix = np.array(columns).T
    merged, made = merged_columns(matrix.copy())
    assert len(made) == merges
    assert merged.shape[1] == matrix.shape[1] + merges
    assert (rebuilt(merged, made, matrix.shape[1]) == matrix).all()
    # Each addition takes a column away, so all of them together cost what one row does.
    assert np.count_nonzero(merged.any(axis=0)) == np.count_nonzero(matrix.any(axis=0)) - merges


def test_equal_columns_cost_one_adder_for_all_rows() -> None:
    column = np.array([[1], [3], [-5], [7]])
    one, two = solve(np.hstack([column, 0 * column])), solve(np.hstack([column, 4 * column]))
    assert len(two.adders) == len(one.adders) + 1


def test_what_is_shared_by_hand() -> None:
    # x + y occurs in all three rows, once negated and once shifted: one adder, then one more for the last row.
    matrix = np.array([[1, 1, 0], [-1, -1, 0], [4, 4, 1]])
    assert adders_without_sharing(matrix) == 4
    assert len(share(matrix, (BYTE,) * 3).adders) == 2
    # A number with a pattern in itself: 45 = 101101b = 5 * 9 in two adders; separate digits need three.
    assert adders_without_sharing(np.array([[45]])) == 3
    assert len(solve(np.array([[45]])).adders) == 2
    # Nothing to share, nothing to add.
    assert solve(np.diag([1, -2, 8])).adders == ()
    assert solve(np.zeros((2, 3), np.int64)).adders == ()


def test_a_row_that_is_the_sum_of_two_others_takes_one_adder() -> None:
    base = np.array([[5, 0, 0, 11, 0, 0, 23, 0], [0, 7, 0, 0, 13, 0, 0, 19]])
    both = np.vstack([base, base[:1] + base[1:], base[:1] - base[1:]])
    assert len(solve(both).adders) == len(solve(base).adders) + 2
    derivation = derive(both, height=1)
    assert derivation is not None
    assert (difference(both, derivation).any(axis=1)).tolist() == [True, True, False, False]


def test_a_hadamard_matrix_is_the_fast_transform() -> None:
    assert len(solve(hadamard(3)).adders) == 8 * 3


def test_a_row_that_is_close_to_another_is_derived_from_it() -> None:
    row = np.random.default_rng(1).choice([-5, -3, 3, 5, 7], 12)
    near = row.copy()
    near[3] += 8
    matrix = np.vstack([row, near, -near])
    derivation = derive(distinct_rows(matrix).matrix, height=4)
    assert derivation is not None
    assert (derivation.parent == NONE).sum() == 1
    assert derivation.height.max() == 1
    assert len(solve(matrix).adders) == len(solve(matrix[:1]).adders) + 1


def test_rows_far_apart_and_single_rows_are_not_derived() -> None:
    assert derive(np.diag([1, 3, 5]), height=4) is None
    assert derive(np.array([[1, 3, 5]]), height=4) is None
    assert derive(np.array([[1, 3], [1, 5]]), height=0) is None


def test_no_path_of_derivations_is_higher_than_allowed() -> None:
    steps = np.tril(np.full((16, 16), 5))
    for height in (4, 8, 16):
        derivation = derive(steps, height)
        assert derivation is not None
        assert derivation.height.max() <= height
        assert sorted(derivation.order.tolist()) == list(range(16))
        place = np.argsort(derivation.order)
        for near in (derivation.parent, derivation.other):
            known = near != NONE
            assert (place[near[known]] < place[known]).all()
