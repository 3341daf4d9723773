# SPDX-License-Identifier: Apache-2.0
"""The counting bound is below what was found, grows with the matrix, and counts what it says."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hsflow_cmvm import optimize

from benchmarks.cmvm.bound import entropy, fewest_adders, program_bits
from benchmarks.cmvm.matrices import parse


def test_the_entropy_of_equal_shares_is_their_logarithm() -> None:
    assert entropy(np.array([[1, 2], [4, 8]])) == pytest.approx(8.0)
    assert entropy(np.ones((3, 3), np.int64)) == 0.0


def test_a_program_without_adders_chooses_its_outputs_only() -> None:
    assert program_bits(4, 3, 0) == pytest.approx(3 * math.log2(4 * 16 * 2))
    assert program_bits(4, 3, 1) > program_bits(4, 3, 0)


@pytest.mark.parametrize("name", ["16x96-g8-z80", "16x96-t-z50"])
def test_the_bound_is_below_what_is_found_and_not_far(name: str) -> None:
    matrix = parse(name).build()
    found = len(optimize(matrix, effort="low").adders)
    assert found / 6 < fewest_adders(matrix) < found


def test_more_weights_need_more_adders() -> None:
    bounds = [fewest_adders(parse(f"16x{outputs}-g8-z50").build()) for outputs in (24, 48, 96)]
    assert bounds == sorted(set(bounds))
