# SPDX-License-Identifier: Apache-2.0
"""Area is estimated from counts, and what each takes has one home: the technology."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
from toy_report import design

from hsflow.area import Area, layer_area, network_area, resources_area, square_millimetres
from hsflow.design import Design, LayerCost, LineBuffer, LongestPath, Resources
from hsflow.errors import ConfigurationError
from hsflow.estimate import estimate_design
from hsflow.ir.tensor import Block
from hsflow.technology import ASAP7, Areas

USED = Resources(full_adders=900, half_adders=100, tile_registers=50, rounded=10)
COST = LayerCost(
    "a", "a", "pointwise convolution", Block(), 1, 9, 3, 5, 4, 1000, 2, 3, 100, 30, 7, 16,
    USED, (LineBuffer(3, 10),), (LongestPath("TT", 800.0),),
)  # fmt: skip


def line(depth: int, width: int) -> LayerCost:
    return replace(
        COST, line_buffer_bits=depth * width, line_buffers=(LineBuffer(depth, width),), fifo_bits=0
    )


def test_all_that_is_counted_takes_area() -> None:
    counted = {field.name for field in fields(Resources)}
    assert counted == {field.name for field in fields(Areas)} - {"buffer_bit", "buffer_word", "layer"}
    for name in counted:
        assert resources_area(Resources(**{name: 1000})).total == pytest.approx(
            1000 * getattr(ASAP7.areas, name)
        )


def test_a_layer_is_the_sum_of_what_it_counts() -> None:
    areas, area = ASAP7.areas, layer_area(COST)
    assert area.adders == pytest.approx(900 * areas.full_adders + 100 * areas.half_adders)
    assert area.registers == pytest.approx(50 * areas.tile_registers)
    assert area.memory == pytest.approx(37 * areas.buffer_bit + 3 * areas.buffer_word)
    assert area.other == pytest.approx(10 * areas.rounded + areas.layer)
    assert area.total == pytest.approx(area.logic + area.memory)


def test_a_network_is_the_sum_of_its_layers() -> None:
    assert network_area([]) == Area()
    assert network_area([COST, COST]).total == pytest.approx(2 * layer_area(COST).total)


def test_counts_are_added_and_multiplied() -> None:
    assert (USED + USED) == USED * 2 != USED
    assert (USED * 3).full_adders == 2700


def test_a_square_millimetre_has_a_million_square_micrometres() -> None:
    assert square_millimetres(2.5e6) == 2.5


@pytest.mark.parametrize(("depth", "width", "um2"), [(101, 64, 881.0), (101, 8, 386.0)])
def test_line_buffers_in_macros_take_what_synthesis_made_of_them(depth: int, width: int, um2: float) -> None:
    assert layer_area(line(depth, width), sram_bits=1).memory == pytest.approx(um2, rel=0.05)
    assert layer_area(line(depth, width)).memory != pytest.approx(um2, rel=0.05)


def test_small_short_and_very_long_line_buffers_stay_registers() -> None:
    for depth, width, least in ((101, 8, 809), (3, 512, 1), (5000, 8, 1)):
        assert layer_area(line(depth, width), sram_bits=least) == layer_area(line(depth, width))
    assert layer_area(line(101, 64), sram_bits=6464).memory < layer_area(line(101, 64)).memory


def planned(*costs: LayerCost) -> Design:
    return replace(design(), layers=costs)


def test_an_estimate_tells_area_and_clock() -> None:
    found = estimate_design(planned(COST, replace(COST, paths=(LongestPath("TT", 1000.0),))))
    assert found.area == network_area([COST, COST])
    assert found.fmax_mhz == 1000.0
    assert found.layers[0].fmax_mhz == pytest.approx(1.25 * found.fmax_mhz)


def test_a_clock_that_is_not_known_is_not_told() -> None:
    unknown = estimate_design(planned(COST, replace(COST, paths=())))
    assert unknown.layers[1].fmax_mhz is unknown.fmax_mhz is None
    assert estimate_design(planned(COST), "SS").fmax_mhz is None


@pytest.mark.parametrize(
    ("options", "words"),
    [({"corner": "FF"}, "no such corner"), ({"sram_bits": 0}, "at least 1 bit")],
)
def test_what_cannot_be_estimated_is_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        estimate_design(planned(COST), **options)  # type: ignore[arg-type]


def test_a_hardener_that_does_not_count_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="did not count"):
        estimate_design(planned(replace(COST, resources=Resources())))
