# SPDX-License-Identifier: Apache-2.0
"""Simulate layers that take several pixels a cycle: each pixel and each cycle must be what the models say."""

from __future__ import annotations

from pathlib import Path

import pytest
from network_bench import CUTS, Case, Simulated, harden, lint_design, simulate
from random_graphs import GraphBuilder, inverted_residual, random_images, square

from hsflow.ir.pipeline import LevelCut
from hsflow.ir.tensor import Block, Padding, Shape, Window

TRAFFIC = (("full", "full"), ("random", "bursty"))


def _image(channels: int, rows: int, columns: int, seed: int, **options: object) -> GraphBuilder:
    return GraphBuilder(Shape(channels, rows, columns), seed, **options)  # type: ignore[arg-type]


def _cases() -> dict[str, tuple[GraphBuilder, Block]]:
    residual = inverted_residual(_image(3, 8, 8, 8).conv(4, square(3, 2, 1)), 3, 4, 1)
    network = inverted_residual(_image(3, 8, 8, 21).conv(4, square(3, 2, 1)), 2, 4, 1)
    network = inverted_residual(network, 2, 6, 2).conv(8).global_pool()
    diamond = _image(2, 4, 6, 22).conv(3, name="left").conv(3, square(3, 1, 1), source="input", name="right")
    same = _image(2, 8, 8, 2).conv(3, square(3, 1, 1))
    return {
        "pointwise": (_image(3, 4, 6, 1).conv(4), Block(2, 3)),
        "two_columns": (same, Block(1, 2)),
        "two_rows": (same, Block(2, 1)),
        "square": (same, Block(2, 2)),
        "whole_rows": (same, Block(2, 8)),
        "whole_columns": (same, Block(8, 2)),
        "whole_image": (same, Block(8, 8)),
        "5x5": (_image(1, 8, 12, 5).conv(2, square(5, 1, 2)), Block(2, 3)),
        "5x5_smaller_block": (_image(1, 6, 6, 5).conv(2, square(5, 1, 2)), Block(1, 3)),
        "valid": (_image(1, 8, 8, 6).conv(2, square(5)), Block(2, 4)),
        "stride_2": (_image(4, 8, 8, 4).conv(4, square(3, 2, 1), groups=4), Block(2, 2)),
        "stride_2_blocks_of_4": (_image(2, 8, 8, 4).conv(3, square(3, 2, 1)), Block(4, 4)),
        "stride_2_one_row": (_image(2, 8, 8, 4).conv(3, square(3, 2, 1)), Block(1, 4)),
        "stride_2_one_column": (_image(2, 8, 8, 4).conv(3, square(3, 2, 1)), Block(4, 1)),
        "stride_larger_than_kernel": (_image(2, 6, 9, 6).conv(3, square(1, 3)), Block(3, 3)),
        "pointwise_stride_2": (_image(2, 8, 8, 6).conv(3, square(1, 2)), Block(2, 4)),
        "dilated": (_image(2, 8, 6, 7).conv(2, square(3, 1, 2, dilation=2)), Block(2, 3)),
        "padding_of_tensorflow": (
            _image(2, 8, 8, 9).conv(2, Window((3, 3), (2, 2), padding=Padding(0, 1, 0, 1))),
            Block(4, 2),
        ),
        "max_pool": (_image(3, 8, 8, 5).max_pool(square(2, 2)), Block(4, 2)),
        "max_pool_overlapping": (_image(2, 8, 8, 6, signed=True).max_pool(square(3, 2, 1)), Block(2, 4)),
        "average_pool": (_image(3, 8, 4, 7).average_pool(square(2, 2)), Block(2, 4)),
        "global_pool": (_image(4, 4, 6, 6).global_pool(), Block(2, 3)),
        "global_pool_at_once": (_image(3, 4, 4, 6, signed=True).global_pool(), Block(4, 4)),
        "global_pool_every_level": (_image(2, 4, 8, 7).global_pool(), Block(4, 4)),
        "global_pool_in_one_stage": (_image(2, 4, 8, 8, signed=True).global_pool(), Block(2, 4)),
        "global_pool_of_three_stages": (_image(2, 6, 6, 9).global_pool(), Block(6, 6)),
        "residual": (residual, Block(4, 4)),
        "residual_whole_rows": (residual, Block(2, 8)),
        "diamond": (diamond.add("left", "right"), Block(2, 2)),
        "network": (network, Block(4, 4)),
        "network_down_to_one_pixel": (network, Block(2, 2)),
        "network_in_one_cycle": (network, Block(8, 8)),
    }


LEVELS = {"global_pool_every_level": LevelCut(1), "global_pool_in_one_stage": LevelCut(8)}
"""The adder levels between two registers, where a case wants them."""


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    """Simulate every network with every traffic, and one image alone, in one testbench."""
    cases: dict[str, list[Case]] = {}
    for number, (name, (builder, block)) in enumerate(_cases().items()):
        cut = LEVELS.get(name, CUTS[number % len(CUTS)])
        for kind, ends in enumerate(TRAFFIC):
            graph = builder.build(f"b{number}_{kind}")
            cases.setdefault(name, []).append(
                Case(graph, random_images(graph, 4, number), cut, ends, block=block)
            )
        alone = builder.build(f"b{number}_alone")
        cases[name].append(Case(alone, random_images(alone, 1, number), cut, block=block))
    return Simulated.of(cases, tmp_path_factory.mktemp("blocks"))


@pytest.mark.parametrize("name", list(_cases()))
def test_every_pixel_equals_the_interpreter(simulated: Simulated, name: str) -> None:
    simulated.check_words(name)


@pytest.mark.parametrize("name", list(_cases()))
def test_latency_and_interval_are_exact(simulated: Simulated, name: str) -> None:
    simulated.check_cycles(name)


def test_generated_rtl_is_lint_clean(tmp_path: Path) -> None:
    warnings = {
        name: lint_design(harden(builder.build(f"lint{number}"), block=block), tmp_path / name)
        for number, (name, (builder, block)) in enumerate(_cases().items())
    }
    assert {name: found for name, found in warnings.items() if found} == {}


def test_a_window_of_the_next_copy_is_caught(tmp_path: Path) -> None:
    graph = _image(2, 4, 4, 1).conv(3, square(3, 1, 1)).build("shifted")
    case = Case(graph, random_images(graph, 2), block=Block(2, 2))
    log, _ = simulate([case], tmp_path, edits={"copy % 2 * 1": "(1 - copy % 2)"})
    assert log.words("out0") != case.expected
