# SPDX-License-Identifier: Apache-2.0
"""Formats whose ranges are narrower than their bits: without a negative value, or far below the width."""

from __future__ import annotations

from pathlib import Path

import pytest
from network_bench import LIBRARY, Case, harden, simulate
from random_graphs import GraphBuilder, random_images, square
from simulator import lint

from hsflow.ir.graph import Graph
from hsflow.ir.tensor import Shape, TensorFormat

FORMATS = {
    "signed_without_negatives": TensorFormat(8, True, (4, 4), (0, 0), (100, 127)),
    "far_below_the_width": TensorFormat(8, False, (4, 4), (0, 0), (3, 2)),
}


def graph_of(name: str, end: str) -> Graph:
    builder = GraphBuilder(Shape(2, 2, 2), 1).conv(2, output=FORMATS[name])
    builder = builder.global_pool() if end == "pool" else builder.conv(2, square(3, 1, 1))
    return builder.build("ranges")


@pytest.mark.parametrize("end", ["pool", "conv"])
@pytest.mark.parametrize("name", sorted(FORMATS))
def test_narrow_ranges_simulate_exactly(tmp_path: Path, name: str, end: str) -> None:
    graph = graph_of(name, end)
    case = Case(graph, random_images(graph, 4))
    log, _ = simulate([case], tmp_path)
    assert log.words("out0") == case.expected
    sources = [*LIBRARY, *(tmp_path / file.path for file in harden(graph).files)]
    assert lint(sources, "ranges__network") == []


def test_a_sign_where_there_is_none_is_caught(tmp_path: Path) -> None:
    graph = graph_of("signed_without_negatives", "conv")
    case = Case(graph, random_images(graph, 4))
    log, _ = simulate([case], tmp_path, edits={"  wire [6:0] x": "  wire signed [6:0] x"})
    assert log.words("out0") != case.expected
