# SPDX-License-Identifier: Apache-2.0
"""Random graphs: the interpreter, the emulator and the kernels' adder graphs give the same integers."""

from __future__ import annotations

from dataclasses import replace

import hsflow_harden.kernel as kernels
import numpy as np
import pytest
from hsflow_harden.kernel import HardenedLayer, Kernel, build_kernel, is_global_pool, requantizer_output
from hsflow_po2.emulator import emulate
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lowered import share
from random_graphs import GraphBuilder, inverted_residual, random_images, square

from hsflow.fixedpoint import IntArray, Interval
from hsflow.ir.graph import Add, AveragePool, Conv, FeatureMap, Graph, MaxPool
from hsflow.ir.interp import interpret, interpret_all, pad_image, tap
from hsflow.ir.network import INPUT_NAME
from hsflow.ir.pipeline import LevelCut
from hsflow.ir.tensor import Constant, Padding, Shape, TensorFormat, Window

QUICK = settings(deadline=None, max_examples=120, suppress_health_check=list(HealthCheck))


class WildBuilder(GraphBuilder):
    """Draw formats of any width and sign whose ranges lie anywhere, on one side of zero or single values too."""

    def format(self, channels: int, width: int = 8, signed: bool = False, fraction: int = 4) -> TensorFormat:
        if self.rng.random() < 0.5:
            return super().format(channels, width, signed, fraction)
        width, signed = int(self.rng.integers(1, 17)), bool(self.rng.integers(2))
        whole = Interval.of_format(width, signed)
        ends = np.sort(self.rng.integers(whole.low, whole.high + 1, (channels, 2)), axis=1)
        fractions = tuple(int(f) for f in fraction + self.rng.integers(-3, 4, channels))
        return TensorFormat(width, signed, fractions, tuple(ends[:, 0].tolist()), tuple(ends[:, 1].tolist()))


@st.composite
def wild_graphs(draw: st.DrawFn) -> Graph:
    """Draw a graph of up to five layers of every kind, with a classifier or without."""
    channels, height, width = (draw(st.integers(1, high)) for high in (4, 6, 6))
    bits, signed = draw(st.integers(1, 12)), draw(st.booleans())
    builder = WildBuilder(Shape(channels, height, width), draw(st.integers(0, 10**6)), bits, signed)
    for _ in range(draw(st.integers(1, 5))):
        draw_layer(draw, builder)
    if draw(st.booleans()):
        builder.dense(draw(st.integers(1, 4)))
    return builder.build("wild")


def draw_layer(draw: st.DrawFn, builder: GraphBuilder) -> None:
    shape = builder._map(builder.last).shape
    kernel = [draw(st.integers(1, min(3, size))) for size in (shape.height, shape.width)]
    dilation = [
        draw(st.integers(1, 2)) if size >= 2 * k - 1 else 1
        for k, size in zip(kernel, (shape.height, shape.width), strict=True)
    ]
    pads = [draw(st.integers(0, (k - 1) // 2)) for k in (*kernel, *kernel)]
    window = Window(
        (kernel[0], kernel[1]),
        (draw(st.integers(1, 3)), draw(st.integers(1, 3))),
        (dilation[0], dilation[1]),
        Padding(pads[0], pads[2], pads[1], pads[3]),
    )
    zeros, terms = draw(st.sampled_from([0.0, 0.5, 0.9, 1.0])), draw(st.integers(1, 2))
    match draw(
        st.sampled_from(
            ["conv", "conv", "grouped", "depthwise", "residual", "twice", "max", "average", "global"]
        )
    ):
        case "conv":
            builder.conv(draw(st.integers(1, 4)), window, zeros=zeros, terms=terms)
        case "grouped":
            groups = 2 if shape.channels % 2 == 0 else 1
            builder.conv(2 * groups, window, groups=groups, zeros=zeros, terms=terms)
        case "depthwise":
            builder.conv(2 * shape.channels, window, groups=shape.channels, zeros=zeros)
        case "residual":
            inverted_residual(builder, draw(st.integers(1, 2)), shape.channels, 1)
        case "twice":
            builder.add(builder.last, builder.last)
        case "max":
            builder.max_pool(window)
        case "average":
            builder.average_pool(window)
        case _:
            builder.global_pool()


# ---- The emulator


@QUICK
@given(wild_graphs(), st.integers(0, 1000), st.integers(1, 5))
def test_the_emulator_agrees(graph: Graph, seed: int, batch_size: int) -> None:
    images = random_images(graph, 4, seed)
    found = emulate(graph, images, batch_size=batch_size)
    expected = interpret(graph, images)
    assert found.dtype == expected.dtype
    assert np.array_equal(found, expected)


def test_the_emulator_of_another_graph_does_not_agree() -> None:
    graph = GraphBuilder(Shape(2, 4, 4), 3).conv(3, square(3, 1, 1)).build()
    layer = graph.layers[0]
    assert isinstance(layer, Conv)
    other = replace(layer, bias=Constant(layer.bias.array + 40))
    images = random_images(graph, 8)
    assert not np.array_equal(emulate(replace(graph, layers=(other,)), images), interpret(graph, images))


# ---- The kernels


def operand_vectors(
    layer: HardenedLayer, sources: tuple[FeatureMap, ...], values: list[IntArray]
) -> IntArray:
    """Return what the kernel reads for every output pixel, shape (operands, n, rows, columns), built on its own."""
    if isinstance(layer, Add):
        return np.concatenate(values, axis=1).swapaxes(0, 1)
    if isinstance(layer, AveragePool) and is_global_pool(layer, sources[0]):
        return values[0].sum(axis=(2, 3), keepdims=True).swapaxes(0, 1)
    pads = layer.pad_values if isinstance(layer, Conv) else (0,) * sources[0].shape.channels
    padded = pad_image(values[0], layer.window, np.array(pads))
    rows, columns = layer.window.kernel
    taps = [tap(padded, layer.window, r, c) for r in range(rows) for c in range(columns)]
    return np.concatenate(taps, axis=1).swapaxes(0, 1)


def run_kernel(kernel: Kernel, operands: IntArray) -> IntArray:
    """Evaluate tiles and requantizers, shape (n, channels, rows, columns); every value must fit its wire."""
    for operand, value in zip(kernel.operands, operands, strict=True):
        assert operand.interval.low <= value.min()
        assert value.max() <= operand.interval.high
        assert Interval.of_format(operand.width, operand.signed).contains(operand.interval)
    sums = [tile.pipeline.graph.evaluate(operands[list(tile.operands)]) for tile in kernel.tiles]
    channels = []
    for requantizer in kernel.requantizers:
        tile, place = requantizer.source or (0, 0)
        total = sums[tile][place] if requantizer.source else np.zeros_like(operands[0])
        interval = Interval(0, 0)
        if requantizer.source:
            interval = kernel.tiles[tile].pipeline.graph.output_interval(
                requantizer_output(kernel, requantizer)
            )
        assert interval.low <= total.min()
        assert total.max() <= interval.high
        biased = total + requantizer.bias
        shift = requantizer.shift
        shifted = biased >> shift if shift >= 0 else biased << -shift
        channels.append(np.clip(shifted, requantizer.low, requantizer.high))
    return np.array(channels).swapaxes(0, 1)


def kernel_of(graph: Graph, layer: Conv | Add | AveragePool) -> Kernel:
    sources = tuple(graph.feature_maps[name] for name in layer.sources)
    return build_kernel(
        layer, sources, "net_layer", lambda matrix, inputs, name: share(matrix, inputs), LevelCut(2)
    )


def wrong_layers(graph: Graph, images: IntArray) -> list[str]:
    """Return the layers whose kernel gives another feature map than the interpreter."""
    values = interpret_all(graph, images)
    wrong = []
    for layer in graph.hardened.layers:
        if isinstance(layer, MaxPool) or not isinstance(layer, Conv | Add | AveragePool):
            continue
        sources = tuple(graph.feature_maps[name] for name in layer.sources)
        operands = operand_vectors(layer, sources, [values[name] for name in layer.sources])
        if not np.array_equal(run_kernel(kernel_of(graph, layer), operands), values[layer.name]):
            wrong.append(layer.name)
    return wrong


@QUICK
@pytest.mark.parametrize("merged_nonzeros", [1, 8, 4096])
@given(graph=wild_graphs(), seed=st.integers(0, 1000))
def test_every_kernel_agrees(merged_nonzeros: int, graph: Graph, seed: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernels, "MERGED_NONZEROS", merged_nonzeros)
        assert wrong_layers(graph, random_images(graph, 3, seed)) == []


def small_layer() -> tuple[Graph, Conv]:
    graph = GraphBuilder(Shape(4, 4, 4), 2).conv(8, square(3, 1, 1), name="stem", zeros=0.2).build()
    layer = graph.layers[0]
    assert isinstance(layer, Conv)
    return graph, layer


def test_a_group_is_one_tile_however_large_and_groups_make_each_channel_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    graph, layer = small_layer()
    monkeypatch.setattr(kernels, "MERGED_NONZEROS", 8)
    assert [tile.channels for tile in kernel_of(graph, layer).tiles] == [tuple(range(8))]
    graph = GraphBuilder(Shape(4, 4, 4), 2).conv(8, square(3, 1, 1), groups=2, zeros=0.2).build()
    grouped = graph.layers[0]
    assert isinstance(grouped, Conv)
    kernel = kernel_of(graph, grouped)
    assert [tile.channels for tile in kernel.tiles] == [(0, 1, 2, 3), (4, 5, 6, 7)]
    assert len({tile.module for tile in kernel.tiles}) == 2
    assert {tile.pipeline.stages for tile in kernel.tiles} == {kernel.stages}


def test_a_depthwise_layers_small_blocks_share_a_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = GraphBuilder(Shape(6, 4, 4), 2).conv(6, square(3, 1, 1), groups=6, zeros=0.0).build()
    layer = graph.layers[0]
    assert isinstance(layer, Conv)
    assert len(kernel_of(graph, layer).tiles) == 1
    monkeypatch.setattr(kernels, "MERGED_NONZEROS", 27)
    assert [tile.channels for tile in kernel_of(graph, layer).tiles] == [(0, 1, 2), (3, 4, 5)]


@pytest.mark.parametrize("fault", ["bias", "shift", "source", "operands", "adder"])
def test_a_wrong_kernel_does_not_agree(fault: str) -> None:
    graph, layer = small_layer()
    images = random_images(graph, 3)
    kernel = kernel_of(graph, layer)
    operands = operand_vectors(layer, (graph.input,), [interpret_all(graph, images)[INPUT_NAME]])
    expected = interpret(graph, images)
    assert np.array_equal(run_kernel(kernel, operands), expected)
    first, *others = kernel.requantizers
    tile = kernel.tiles[0]
    program = tile.pipeline.graph
    swapped = replace(tile, operands=(*tile.operands[1:], tile.operands[0]))
    adders = (replace(program.adders[0], subtract=not program.adders[0].subtract), *program.adders[1:])
    flipped = replace(tile, pipeline=replace(tile.pipeline, graph=replace(program, adders=adders)))
    wrong = {
        "bias": replace(kernel, requantizers=(replace(first, bias=first.bias - 300), *others)),
        "shift": replace(kernel, requantizers=(replace(first, shift=first.shift + 1), *others)),
        "source": replace(kernel, requantizers=(replace(first, source=(0, 1)), *others)),
        "operands": replace(kernel, tiles=(swapped,)),
        "adder": replace(kernel, tiles=(flipped,)),
    }[fault]
    assert not np.array_equal(run_kernel(wrong, operands), expected)
