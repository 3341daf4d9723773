# SPDX-License-Identifier: Apache-2.0
"""Blocks follow from the interval: as small as it allows, the same on both sides of a residual add."""

from __future__ import annotations

import pytest
from hsflow_harden.rates import choose_blocks, interval_of, pixel_blocks, spread
from random_graphs import GraphBuilder, inverted_residual, square

from hsflow.errors import ConfigurationError, ModelError
from hsflow.ir.graph import Graph
from hsflow.ir.tensor import Block, Shape


@pytest.fixture(scope="module")
def graph() -> Graph:
    builder = GraphBuilder(Shape(3, 32, 32), 1).conv(4, square(3, 2, 1))
    builder = inverted_residual(inverted_residual(builder, 2, 4, 1), 2, 6, 2).conv(8)
    return builder.global_pool().build("rates")


@pytest.mark.parametrize(
    ("interval", "block"),
    [(1024, (1, 1)), (1023, (1, 2)), (256, (2, 2)), (64, (4, 4)), (16, (4, 16)), (1, (32, 32))],
)
def test_the_block_is_as_small_as_the_interval_allows(
    graph: Graph, interval: int, block: tuple[int, int]
) -> None:
    blocks = choose_blocks(graph, interval)
    assert blocks["input"] == Block(*block)
    assert all(
        blocks[layer.sources[0]].beats(graph.feature_maps[layer.sources[0]].shape) <= interval
        for layer in graph.layers
    )


def test_a_stride_halves_the_block_and_one_pixel_stays_one(graph: Graph) -> None:
    first = graph.layers[0].name
    assert spread(graph, Block(4, 8))[first] == Block(2, 4)
    assert spread(graph, Block(1, 2))[first] == Block(1, 1)
    assert pixel_blocks(graph) == spread(graph, Block())


def test_a_block_that_a_stride_cannot_halve_is_refused() -> None:
    graph = GraphBuilder(Shape(1, 6, 6), 1).conv(2, square(3, 2, 1)).build("odd")
    with pytest.raises(ModelError, match="stride"):
        spread(graph, Block(3, 3))


def test_an_interval_out_of_reach_says_what_can_be_reached() -> None:
    graph = GraphBuilder(Shape(1, 7, 7), 1).conv(2, square(3, 2, 1)).build("seven")
    with pytest.raises(ConfigurationError, match="no blocks of pixels") as caught:
        choose_blocks(graph, 3)
    assert "49 or more" in str(caught.value)


def test_a_throughput_is_an_interval_at_the_clock() -> None:
    assert interval_of(4e6, 1000.0) == 250
    assert interval_of(1.0, 100.0) == 100_000_000
    with pytest.raises(ConfigurationError, match="no cycle"):
        interval_of(2e9, 1000.0)
