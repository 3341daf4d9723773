# SPDX-License-Identifier: Apache-2.0
"""Transposed sharing: exact, within the depth, and never worse than what it is compared with."""

from __future__ import annotations

import numpy as np
import pytest
from hsflow_cmvm import optimize, search

from hsflow.ir.matrix import fewest_levels


@pytest.mark.parametrize("seed", range(6))
def test_wide_matrices_are_exact_and_within_the_depth(seed: int) -> None:
    generator = np.random.default_rng(seed)
    shape = tuple(generator.integers([20, 2], [60, 12]))
    matrix = generator.integers(-127, 128, size=shape) * (generator.random(shape) < 0.7)
    fewest = fewest_levels(np.ascontiguousarray(matrix.T))
    for slack in (0, 2):
        graph = optimize(matrix, max_depth=fewest + slack, effort="low")
        assert graph.depth <= fewest + slack


def test_a_wide_dense_matrix_needs_fewer_full_adders(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = np.random.default_rng(1).integers(-127, 128, size=(144, 24))
    with_it = optimize(matrix, effort="low", adder_levels_per_stage=None)
    monkeypatch.setattr(search, "_wide", lambda *_: iter(()))
    without = optimize(matrix, effort="low", adder_levels_per_stage=None)
    assert with_it.full_adder_bits < without.full_adder_bits
