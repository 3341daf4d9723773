# SPDX-License-Identifier: Apache-2.0
"""Area is estimated from bits, with stated coefficients."""

from __future__ import annotations

import pytest

from hsflow.area import (
    FLIP_FLOP_UM2,
    FULL_ADDER_BIT_UM2,
    Area,
    estimate_area,
    layer_area,
    network_area,
    square_millimetres,
)
from hsflow.design import LayerCost
from hsflow.ir.tensor import Block

COST = LayerCost("a", "a", "pointwise convolution", Block(), 1, 9, 3, 5, 4, 1000, 2, 3, 100, 30, 7, 16)


def test_the_coefficients_are_those_that_were_measured() -> None:
    assert (FULL_ADDER_BIT_UM2, FLIP_FLOP_UM2) == (0.255, 0.2916)


def test_a_layer_is_the_sum_of_its_bits() -> None:
    area = layer_area(COST)
    assert area.adders == pytest.approx(255.0)
    assert area.registers == pytest.approx(29.16)
    assert area.memory == pytest.approx(37 * 0.2916)
    assert area.logic == pytest.approx(284.16)
    assert area.total == pytest.approx(area.logic + area.memory)


def test_a_network_is_the_sum_of_its_layers() -> None:
    assert network_area([]) == Area()
    assert network_area([COST, COST]).total == pytest.approx(2 * layer_area(COST).total)
    assert estimate_area(0, 0) == Area()


def test_a_square_millimetre_has_a_million_square_micrometres() -> None:
    assert square_millimetres(2.5e6) == 2.5
