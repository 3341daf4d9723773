# SPDX-License-Identifier: Apache-2.0
"""The accumulator's model against numbers by hand, and against a tree that is built adder by adder."""

from __future__ import annotations

import pytest
from hsflow_harden.accumulator import Accumulator
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("pixels", "beats", "levels", "depth", "latency", "adders"),
    [
        (1, 1, 2, 0, 1, 0),
        (1, 49, 2, 1, 1, 1),
        (2, 8, 2, 2, 1, 2),
        (4, 6, 2, 3, 2, 4),
        (16, 4, 2, 5, 3, 16),
        (16, 4, 64, 5, 1, 16),
        (49, 1, 2, 6, 3, 48),
        (49, 1, 1, 6, 6, 48),
        (64, 784, 3, 7, 3, 64),
    ],
)
def test_by_hand(pixels: int, beats: int, levels: int, depth: int, latency: int, adders: int) -> None:
    found = Accumulator(3, pixels, beats, 8, 30, levels)
    assert (found.depth, found.latency, found.adders) == (depth, latency, 3 * adders)


def test_bits_by_hand() -> None:
    # Five numbers of 4 bits: sums of 5, 5 and 4 (alone) bits, a register, 6 and 5, 7, then the running sum of 9 bits.
    found = Accumulator(2, 5, 3, 4, 9, 1)
    assert found.full_adder_bits == 2 * (2 * 5 + 6 + 7 + 9)
    assert found.register_bits == 2 * (3 * 5 + 2 * 6 + 7) + 3 + 2 * 9 + 2 + 2 * 9 + 1


@given(st.integers(1, 200), st.integers(1, 3), st.integers(1, 9), st.integers(1, 12), st.integers(0, 9))
def test_a_tree_that_is_built_adder_by_adder(
    pixels: int, beats: int, levels: int, width: int, growth: int
) -> None:
    model = Accumulator(1, pixels, beats, width, width + growth, levels)
    sums, depth, adders, bits, registers, stages = pixels, 0, 0, 0, 0, 0
    while sums > 1:
        depth += 1
        wide = min(width + depth, width + growth)
        adders, bits, sums = adders + sums // 2, bits + sums // 2 * wide, sums - sums // 2
        # A register follows unless the rest, the running sum with it, fits behind the last one.
        if depth % levels == 0 and (sums > 1 or beats > 1):
            registers, stages = registers + sums * wide + 1, stages + 1
    if beats > 1:
        adders, bits = adders + 1, bits + width + growth
        registers += width + growth + (beats - 1).bit_length()
    assert (model.adders, model.full_adder_bits, model.latency) == (adders, bits, stages + 1)
    assert model.register_bits == registers + width + growth + 1
