# SPDX-License-Identifier: Apache-2.0
"""Simulate every kind of layer on odd shapes: each pixel and each cycle must be what the models say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from network_bench import CUTS, Case, Simulated, harden, lint_design, simulate
from random_graphs import GraphBuilder, inverted_residual, random_images, square

from hsflow.ir.graph import Graph
from hsflow.ir.pipeline import Cut
from hsflow.ir.tensor import Padding, Shape, Window


def _builders() -> dict[str, GraphBuilder]:
    def image(channels: int, rows: int, columns: int, seed: int, **options: object) -> GraphBuilder:
        return GraphBuilder(Shape(channels, rows, columns), seed, **options)  # type: ignore[arg-type]

    two_blocks = inverted_residual(image(3, 8, 8, 21).conv(4, square(3, 1, 1)), 3, 4, 1)
    two_blocks = inverted_residual(inverted_residual(two_blocks, 2, 6, 2), 2, 6, 1).conv(8).global_pool()
    diamond = image(2, 5, 5, 22).conv(3, name="left").conv(3, square(3, 1, 1), source="input", name="right")
    all_zero = image(3, 3, 3, 24).conv(4, square(3, 1, 1), zeros=1.0)
    ends = (np.array([[1, -1]]).reshape(1, 1, 2, 1, 1), np.array([[7, 0]]).reshape(1, 1, 2, 1, 1))
    negative = (np.full((1, 1, 2, 3, 3), -1), np.full((1, 1, 2, 3, 3), 3))
    return {
        "pointwise": image(3, 4, 5, 1).conv(4),
        "same_3x3": image(2, 5, 5, 2).conv(4, square(3, 1, 1)),
        "input_1x1_padded": image(1, 1, 1, 3).conv(4, square(3, 1, 1)),
        "depthwise_stride_2_odd": image(4, 7, 7, 4).conv(4, square(3, 2, 1), groups=4),
        "one_channel_5x5": image(1, 6, 5, 5).conv(2, square(5, 1, 2)),
        "stride_larger_than_kernel": image(2, 7, 8, 6).conv(3, square(2, 3)),
        "dilated": image(2, 7, 6, 7).conv(2, square(3, 1, 2, dilation=2)),
        "grouped": image(4, 4, 4, 8).conv(6, square(3, 1, 1), groups=2),
        "padding_on_each_side_alone": image(2, 4, 4, 9).conv(2, Window((3, 3), padding=Padding(2, 0, 0, 1))),
        "kernel_3x1": image(2, 4, 3, 10).conv(2, Window((3, 1), padding=Padding(1, 1, 0, 0))),
        "one_row": image(2, 1, 6, 11).conv(2, square(3, 1, 1)),
        "one_column": image(2, 6, 1, 12).conv(2, square(3, 2, 1)),
        "two_terms": image(2, 4, 4, 13).conv(3, square(3, 1, 1), terms=2),
        "no_adder_at_all": image(2, 3, 3, 14).conv(2, zeros=0.0, weight=_diagonal(2)),
        "all_zero_channels": all_zero,
        "a_single_weight_of_many": image(4, 3, 3, 15).conv(4, square(3, 1, 1), zeros=0.97),
        "both_ends_of_the_window": image(2, 3, 3, 16).conv(1, weight=ends),
        "all_negative": image(2, 4, 4, 17).conv(1, square(3), weight=negative),
        "one_bit_activations": image(3, 4, 4, 18, width=1).conv(4, square(3, 1, 1)),
        "signed_16_bits": image(2, 4, 4, 19, width=16, signed=True).conv(3, square(3, 1, 1)),
        "wide_window_of_exponents": image(2, 3, 3, 20).conv(3, levels=15),
        "max_pool": image(3, 6, 6, 5).max_pool(square(2, 2)),
        "max_pool_overlapping_signed": image(2, 7, 5, 6, signed=True).max_pool(square(3, 2, 1)),
        "average_pool": image(3, 6, 6, 7).average_pool(square(2, 2)),
        "average_pool_3x3_padded": image(2, 5, 5, 8, signed=True).average_pool(square(3, 1, 1)),
        "global_pool": image(4, 4, 3, 6).global_pool(),
        "global_pool_of_one_pixel": image(4, 1, 1, 7, signed=True).global_pool(),
        "residual": inverted_residual(image(3, 6, 6, 8).conv(4, square(3, 1, 1)), 3, 4, 1),
        "two_blocks": two_blocks,
        "diamond_from_the_image": diamond.add("left", "right"),
        "same_source_twice": image(2, 3, 3, 23).conv(3, name="a").add("a", "a"),
    }


def _diagonal(size: int) -> tuple[np.ndarray, np.ndarray]:
    sign = np.eye(size, dtype=int).reshape(1, size, size, 1, 1)
    return sign, sign * 3


TRAFFIC = (("full", "full"), ("random", "full"), ("full", "bursty"), ("bursty", "random"))


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Simulated:
    """Simulate every network with every traffic, and one image alone, in one testbench."""
    cases: dict[str, list[Case]] = {}
    for number, (name, builder) in enumerate(_builders().items()):
        cut = CUTS[number % len(CUTS)]
        for kind, ends in enumerate(TRAFFIC):
            graph = builder.build(f"n{number}_{kind}")
            cases.setdefault(name, []).append(Case(graph, random_images(graph, 4, number), cut, ends))
        alone = builder.build(f"n{number}_alone")
        cases[name].append(Case(alone, random_images(alone, 1, number), cut))
    return Simulated.of(cases, tmp_path_factory.mktemp("layers"))


@pytest.mark.parametrize("name", list(_builders()))
def test_every_pixel_equals_the_interpreter(simulated: Simulated, name: str) -> None:
    simulated.check_words(name)


@pytest.mark.parametrize("name", list(_builders()))
def test_latency_and_interval_are_exact(simulated: Simulated, name: str) -> None:
    simulated.check_cycles(name)


def test_a_flipped_sign_is_caught(tmp_path: Path) -> None:
    graph = GraphBuilder(Shape(2, 4, 4), 1).conv(3, square(3, 1, 1)).build("flipped")
    case = Case(graph, random_images(graph, 2))
    log, _ = simulate([case], tmp_path, edits={" + ": " - "})
    assert log.words("out0") != case.expected


def test_a_wrong_shift_is_caught(tmp_path: Path) -> None:
    graph = GraphBuilder(Shape(2, 4, 4), 1).conv(3, square(3, 1, 1)).build("shifted")
    case = Case(graph, random_images(graph, 2))
    log, _ = simulate([case], tmp_path, edits={".Shift   (": ".Shift   (1 + "})
    assert log.words("out0") != case.expected


def test_generated_rtl_is_lint_clean(tmp_path: Path) -> None:
    warnings = {}
    for number, (name, builder) in enumerate(_builders().items()):
        graph = builder.build(f"lint{number}")
        warnings[name] = lint_design(harden(graph), tmp_path / name)
    assert {name: found for name, found in warnings.items() if found} == {}


def test_lint_sees_a_fault(tmp_path: Path) -> None:
    graph = GraphBuilder(Shape(2, 4, 4), 1).conv(3).build("faulty")
    assert lint_design(harden(graph), tmp_path, edit=("  wire unused", "  wire missing")) or lint_design(
        harden(graph), tmp_path, edit=("endmodule", "  wire nobody_reads_me = 1'b0;\nendmodule")
    )


@st.composite
def random_networks(draw: st.DrawFn) -> Graph:
    """Draw a small network of up to four layers."""
    channels, height, width = (draw(st.integers(1, high)) for high in (3, 6, 6))
    bits, signed = draw(st.integers(1, 10)), draw(st.booleans())
    builder = GraphBuilder(Shape(channels, height, width), draw(st.integers(0, 10**6)), bits + signed, signed)
    for _ in range(draw(st.integers(1, 4))):
        _draw_layer(draw, builder)
    return builder.build("random_net")


def _draw_layer(draw: st.DrawFn, builder: GraphBuilder) -> None:
    shape = builder._map(builder.last).shape
    kind = draw(st.sampled_from(["conv", "conv", "depthwise", "pointwise", "residual", "max", "average"]))
    extent = min(3, shape.height, shape.width)
    kernel = draw(st.integers(1, extent))
    padding = draw(st.integers(0, (kernel - 1) // 2))
    window = square(kernel, draw(st.integers(1, 3)), padding)
    zeros, terms = draw(st.sampled_from([0.0, 0.5, 0.9])), draw(st.integers(1, 2))
    match kind:
        case "conv":
            builder.conv(draw(st.integers(1, 4)), window, zeros=zeros, terms=terms)
        case "depthwise":
            builder.conv(shape.channels, window, groups=shape.channels, zeros=zeros)
        case "pointwise":
            builder.conv(draw(st.integers(1, 5)), zeros=zeros, terms=terms)
        case "residual":
            inverted_residual(builder, draw(st.integers(1, 2)), shape.channels, 1)
        case "max":
            builder.max_pool(window)
        case _:
            builder.average_pool(window)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(graph=random_networks(), seed=st.integers(0, 1000), cut=st.sampled_from(CUTS))
def test_random_networks_agree(tmp_path_factory, graph: Graph, seed: int, cut: Cut) -> None:
    images = random_images(graph, 3, seed)
    cases = [Case(graph, images, cut)]
    log, _ = simulate(cases, tmp_path_factory.mktemp("random"))
    assert log.words("out0") == cases[0].expected
