# SPDX-License-Identifier: Apache-2.0
"""Beats of a chip's streams: the order of pixels, stimulus and expected results, and the classifier's features."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from chip_bench import pass_through
from hsflow_fusesoc import stage as packager
from hsflow_fusesoc.vectors import Vectors, logit_words, map_words
from hsflow_npu import disassemble
from hsflow_npu.assembler import MemoryImage, feature_order
from hsflow_npu.stage import MEMORY_IMAGE, NpuOptions, NpuStage, add_npu, configure, memory_file, why_slow
from hypothesis import given
from hypothesis import strategies as st
from random_graphs import GraphBuilder, random_images, square

from hsflow.beats import feature_stream, input_stream, output_stream, pixel_order
from hsflow.design import Design
from hsflow.errors import ModelError
from hsflow.ir.graph import FeatureMap
from hsflow.ir.interp import interpret
from hsflow.ir.tensor import Block, Constant, Shape, TensorFormat


@st.composite
def tiled_maps(draw: st.DrawFn) -> tuple[FeatureMap, Block, int]:
    """Draw a feature map, a block that tiles it, and a seed."""
    block = Block(draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    rows, columns = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    shape = Shape(draw(st.integers(1, 4)), rows * block.rows, columns * block.columns)
    width, signed = draw(st.integers(1, 16)), draw(st.booleans())
    form = TensorFormat.uniform(width, signed, 0, shape.channels)
    return FeatureMap(shape, form), block, draw(st.integers(0, 1000))


def values_of(source: FeatureMap, images: int, seed: int) -> np.ndarray:
    low, high = source.format.low[0], source.format.high[0]
    shape = (images, source.shape.channels, source.shape.height, source.shape.width)
    return np.random.default_rng(seed).integers(low, high + 1, shape)


@given(tiled_maps())
def test_a_word_holds_a_block_as_the_rule_says(drawn: tuple[FeatureMap, Block, int]) -> None:
    """Take the words apart by the rule: blocks in raster order, pixels inside them too, channel 0 lowest."""
    source, block, seed = drawn
    values, width = values_of(source, 2, seed), source.format.width
    found = iter(map_words(values, source, block))
    for image in values:
        for top in range(0, source.shape.height, block.rows):
            for left in range(0, source.shape.width, block.columns):
                word = next(found)
                for r in range(block.rows):
                    for c in range(block.columns):
                        for channel in range(source.shape.channels):
                            place = (r * block.columns + c) * source.shape.channels + channel
                            field = word >> (place * width) & ((1 << width) - 1)
                            assert field == int(image[channel, top + r, left + c]) & ((1 << width) - 1)
                assert word >> (block.pixels * source.pixel_width) == 0
    assert next(found, None) is None


@given(tiled_maps())
def test_features_arrive_in_the_order_of_the_words(drawn: tuple[FeatureMap, Block, int]) -> None:
    source, block, seed = drawn
    values, width = values_of(source, 1, seed), source.format.width
    stream = values.transpose(0, 2, 3, 1).ravel()
    count = block.pixels * source.shape.channels
    arriving = [
        word >> (place * width) & ((1 << width) - 1)
        for word in map_words(values, source, block)
        for place in range(count)
    ]
    assert arriving == (stream[feature_order(source.shape, block)] & ((1 << width) - 1)).tolist()


def test_blocks_that_do_not_tile_are_refused() -> None:
    with pytest.raises(ModelError, match="do not tile"):
        pixel_order(Shape(1, 4, 6), Block(2, 4))


def test_logits_fill_words_from_the_low_bits_on() -> None:
    assert list(logit_words(np.array([[1, -1, 3], [4, 5, 6]]), 2)) == [
        0xFFFF_FFFF_0000_0001, 3, 0x0000_0005_0000_0004, 6,
    ]  # fmt: skip


def chip(classes: int = 5, block: Block = Block(2, 3)) -> Design:  # noqa: B008
    graph = GraphBuilder(Shape(2, 4, 6), 3, width=5).max_pool(square(1)).dense(classes).build("chip")
    return add_npu(pass_through(graph, block), logit_lanes=2)


def test_a_simulation_counts_transfers() -> None:
    design = chip()
    vectors = Vectors(design, design.graph, random_images(design.graph, 3), np.zeros(3, np.int64))
    assert (input_stream(design).beats, input_stream(design).bits, input_stream(design).width) == (4, 60, 64)
    assert (feature_stream(design).beats, feature_stream(design).bits) == (4, 60)
    assert (output_stream(design).beats, output_stream(design).width) == (3, 64)
    plan, bench = packager.simulation_plan(design, vectors, 1000.0), packager.testbench_parameters(design)
    assert (plan.transfers_per_image, plan.beats_per_image) == (4, 3)
    assert (bench.in_width, bench.out_width, bench.transfers_per_image, bench.beats_per_image) == (
        64,
        64,
        4,
        3,
    )
    assert len(vectors.stimulus().splitlines()) == 3 * 4
    lines = [line.split() for line in vectors.expected().splitlines()]
    assert [last for _, _, last in lines] == ["0", "0", "1"] * 3
    winners = interpret(design.graph, vectors.images).argmax(axis=1)
    assert [int(user, 16) for _, user, last in lines if last == "1"] == winners.tolist()


def test_another_classifier_is_programmed_in_the_same_order() -> None:
    """Compare what the NPU would compute from the arriving features with the interpreter."""
    design = chip()
    first = next(file for file in design.files if file.path == MEMORY_IMAGE)
    assert memory_file(design, design.graph) == first
    classifier = design.graph.classifier
    assert classifier is not None
    other = replace(classifier, weight=Constant(np.roll(classifier.weight.array, 1, axis=0)))
    graph = replace(design.graph, layers=(*design.graph.layers[:-1], other))
    file, npu = memory_file(design, graph), configure(design, logit_lanes=2)
    assert file is not None and file != first and npu is not None
    weights, bias = disassemble(MemoryImage.from_hex(file.text), npu)
    images = random_images(graph, 4).astype(np.int64)
    arriving = images.transpose(0, 2, 3, 1).reshape(4, -1)
    arriving = arriving[:, feature_order(Shape(2, 4, 6), design.output_block)]
    assert np.array_equal(arriving @ weights.astype(np.int64).T + bias, interpret(graph, images))


def test_a_classifier_of_another_shape_is_refused() -> None:
    design = chip()
    graph = GraphBuilder(Shape(2, 4, 4), 3, width=5).max_pool(square(1)).dense(5).build("chip")
    with pytest.raises(ModelError, match="wrong shape"):
        memory_file(design, graph)


def test_an_npu_that_cannot_keep_up_is_said_with_numbers() -> None:
    messages: list[str] = []

    class Context:
        settings = type("Settings", (), {"clock_mhz": 1000.0})

        def log(self, message: str) -> None:
            messages.append(message)

        def record(self, *_: object, **__: object) -> None:
            """Forget the metric."""

    graph = GraphBuilder(Shape(2, 4, 6), 3).max_pool(square(1)).dense(40).build("slow")
    hardened = pass_through(graph, Block(2, 3))
    design = NpuStage().run(hardened, NpuOptions(logit_lanes=1), Context())  # type: ignore[arg-type]
    assert design.initiation_interval == 40
    (message,) = messages
    npu = configure(hardened, logit_lanes=1)
    assert npu is not None and message == why_slow(npu, 4)
    assert "40 cycles" in message and "hardened layers 4" in message and "40 transfers of 1 logits" in message
    messages.clear()
    assert NpuStage().run(hardened, NpuOptions(), Context()).initiation_interval == 4  # type: ignore[arg-type]
    assert messages == []
