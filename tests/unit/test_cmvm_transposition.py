# SPDX-License-Identifier: Apache-2.0
"""Transposed sharing: exact, within the depth, and never worse than what it is compared with."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hsflow_cmvm import optimize, search

from hsflow.fixedpoint import IntArray
from hsflow.ir.matrix import fewest_levels
from hsflow.lowering import LoweringGoal


@pytest.mark.parametrize("seed", range(6))
def test_wide_matrices_are_exact_and_within_the_depth(seed: int) -> None:
    generator = np.random.default_rng(seed)
    shape = tuple(generator.integers([20, 2], [60, 12]))
    matrix = generator.integers(-127, 128, size=shape) * (generator.random(shape) < 0.7)
    fewest = fewest_levels(np.ascontiguousarray(matrix.T))
    for slack in (0, 2):
        for effort in ("low", "normal"):
            graph = optimize(matrix, max_depth=fewest + slack, effort=effort)
            assert graph.depth <= fewest + slack


def test_a_wide_dense_matrix_needs_fewer_full_adders(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = np.random.default_rng(1).integers(-127, 128, size=(144, 24))
    with_it = optimize(matrix, effort="low", adder_levels_per_stage=None)
    monkeypatch.setattr(search, "_is_wide", lambda _: False)
    without = optimize(matrix, effort="low", adder_levels_per_stage=None)
    assert with_it.full_adder_bits < without.full_adder_bits


def tried(monkeypatch: pytest.MonkeyPatch, matrix: IntArray, **options: Any) -> list[bool]:
    """Return whether each problem that is tried for a matrix, which counts as large, is of its columns."""
    found = []

    def attempt(problem: search.Problem, *rest: Any) -> search.Attempt | None:
        found.append(problem.transposed)
        return original(problem, *rest)

    optimize(matrix)  # what is compiled by a first matrix is not counted
    original = search._attempt
    monkeypatch.setattr(search, "_SEVERAL", 0)
    monkeypatch.setattr(search, "_attempt", attempt)
    optimize(matrix, **options).prove(np.ascontiguousarray(matrix.T), "here")
    return found


def test_of_a_large_wide_matrix_only_the_columns_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = np.random.default_rng(1).integers(-7, 8, size=(48, 8))
    assert tried(monkeypatch, matrix) == [True]


def test_rows_are_tried_where_columns_are_too_deep(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = np.ones((64, 8), np.int64) - np.eye(64, 8, dtype=np.int64) * 2
    assert tried(monkeypatch, matrix, depth_slack=0) == [True, False]


def test_all_are_tried_where_every_adder_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = np.random.default_rng(1).integers(-7, 8, size=(48, 8))
    assert tried(monkeypatch, matrix, objective="digit-serial") == [True, False]


def test_values_are_named_as_patterns_are() -> None:
    """Refinement finds a value by its pattern: one named the other way round would be found with the wrong sign."""
    matrix = np.random.default_rng(1).choice([-16, -4, -1, 0, 1, 4, 16], (8, 40))
    ranges = np.array([[0] * 40, [255] * 40])
    task = search.Task(matrix, np.ones(8, np.int64), 40)
    problem = next(search._problems(task, ranges, LoweringGoal(), several=False))
    _, values = search._transposed(problem, search.Plan(1, 8, 1, 0, 1_000_000), 0)
    made = slice(40, int(values.count[0]))
    first, second, offset = values.first[made], values.second[made], values.offset[made]
    assert first.size > 40
    assert ((first < second) | ((first == second) & (offset > 0))).all()
