# SPDX-License-Identifier: Apache-2.0
"""Kernels: the arithmetic of one layer, as integer matrices, adder graphs and requantizers.

A kernel reads a packed vector of operands (the taps of a window, or two pixels side by side) and makes one output
pixel. Linear kernels consist of tiles, each an adder graph for some of the outputs, all with the same number of pipeline
stages; a max-pool kernel compares instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from hsflow.errors import MismatchError
from hsflow.fixedpoint import IntArray, Interval, rounding_constant
from hsflow.ir.addergraph import AdderGraph, Output
from hsflow.ir.graph import Add, AveragePool, Conv, FeatureMap, MaxPool, requantize_shifts
from hsflow.ir.matrix import adders_without_sharing
from hsflow.ir.pipeline import Pipeline, stages_needed
from hsflow.ir.tensor import TensorFormat
from hsflow.ir.verify import input_intervals

HardenedLayer = Conv | Add | MaxPool | AveragePool

LowerMatrix = Callable[[IntArray, tuple[Interval, ...], str], AdderGraph]

TILE_NONZEROS = 4096
"""The most nonzero coefficients in one tile: bounds the size of a generated file and the optimizer's time."""


@dataclass(frozen=True)
class Operand:
    """Hold one number of the kernel's input vector: its place, its stored format and its range."""

    offset: int
    width: int
    interval: Interval
    signed: bool


@dataclass(frozen=True, eq=False)
class Block:
    """Hold an integer matrix, shape (outputs, inputs), with the operands that it reads and the channels it makes."""

    operands: tuple[int, ...]
    channels: tuple[int, ...]
    matrix: IntArray


@dataclass(frozen=True)
class Tile:
    """Hold one module of a kernel: a pipelined adder graph from `operands` to the sums of `channels`."""

    module: str
    operands: tuple[int, ...]
    channels: tuple[int, ...]
    pipeline: Pipeline


@dataclass(frozen=True)
class Requantizer:
    """Hold how one channel's sum becomes an output: `clamp((±sum + bias) >> shift, low, high)`.

    `source` is (tile, output of the tile), None for a channel without a weight; `bias` contains the rounding constant.
    """

    source: tuple[int, int] | None
    bias: int
    shift: int
    low: int
    high: int


@dataclass(frozen=True)
class Kernel:
    """Hold the arithmetic of one linear layer. Its latency is the tiles' stages and one register after requantizing."""

    operands: tuple[Operand, ...]
    tiles: tuple[Tile, ...]
    requantizers: tuple[Requantizer, ...]
    output: TensorFormat
    stages: int
    adders_before_sharing: int

    @property
    def latency(self) -> int:
        """Return the cycles from a complete operand vector to the registered output pixel."""
        return self.stages + 1


def build_kernel(
    layer: Conv | Add | AveragePool,
    sources: tuple[FeatureMap, ...],
    module: str,
    lower: LowerMatrix,
    levels: int,
) -> Kernel:
    """Lower `layer` to tiles with `lower`, prove each adder graph, and cut them by a register every `levels` levels.

    Raises:
        MismatchError: if `lower` returns a graph that does not compute its matrix, or for other input ranges.
    """
    operands = _operands(layer, sources)
    blocks = [tile for tile in _tiles(list(_blocks(layer, sources))) if tile.matrix.any()]
    graphs = [_lower(block, operands, layer.name, lower) for block in blocks]
    stages = max((stages_needed(graph, levels) for graph in graphs), default=0)
    tiles = tuple(
        Tile(f"{module}__tile{number}", block.operands, block.channels, Pipeline(graph, levels, stages))
        for number, (block, graph) in enumerate(zip(blocks, graphs, strict=True))
    )
    before = sum(adders_without_sharing(block.matrix) for block in blocks)
    return Kernel(operands, tiles, _requantizers(layer, sources, tiles), layer.output, stages, before)


def is_global_pool(layer: HardenedLayer, source: FeatureMap) -> bool:
    """Tell whether `layer` averages the whole image, so that it needs a running sum and no window."""
    if not isinstance(layer, AveragePool):
        return False
    size = (source.shape.height, source.shape.width)
    pad = layer.window.padding
    return layer.window.extent == size == layer.window.kernel and not any(
        (pad.top, pad.bottom, pad.left, pad.right)
    )


def _lower(block: Block, operands: tuple[Operand, ...], name: str, lower: LowerMatrix) -> AdderGraph:
    intervals = tuple(operands[index].interval for index in block.operands)
    graph = lower(block.matrix, intervals, name)
    graph.prove(block.matrix, name)
    if graph.inputs != intervals:
        raise MismatchError(
            "the adder graph assumes other input ranges, so its widths prove nothing", where=name
        )
    return graph


def _operands(layer: Conv | Add | AveragePool, sources: tuple[FeatureMap, ...]) -> tuple[Operand, ...]:
    if isinstance(layer, AveragePool) and is_global_pool(layer, sources[0]):
        return _sum_operands(layer, sources[0])
    formats = [source.format for source in sources] if isinstance(layer, Add) else [sources[0].format]
    taps = 1 if isinstance(layer, Add) else layer.window.taps
    intervals = [interval for form in formats for interval in _intervals(layer, form)] * taps
    formats_of = [form for form in formats for _ in form.fractions] * taps
    offset, operands = 0, []
    for form, interval in zip(formats_of, intervals, strict=True):
        operands.append(Operand(offset, form.width, interval, form.signed))
        offset += form.width
    return tuple(operands)


def _intervals(layer: Conv | Add | AveragePool, form: TensorFormat) -> tuple[Interval, ...]:
    if isinstance(layer, Conv):
        return input_intervals(layer, form)
    if isinstance(layer, AveragePool):
        return tuple(interval.union(Interval(0, 0)) for interval in form.intervals)
    return form.intervals


def sum_width(layer: AveragePool, source: FeatureMap) -> int:
    """Return the bits of each running sum of a global pool: never fewer than its input's, whatever the ranges."""
    pixels = source.shape.pixels
    sums = [Interval(i.low * pixels, i.high * pixels) for i in source.format.intervals]
    return max(source.format.width, *(i.signed_width if source.format.signed else i.width for i in sums))


def _sum_operands(layer: AveragePool, source: FeatureMap) -> tuple[Operand, ...]:
    pixels, width = source.shape.pixels, sum_width(layer, source)
    return tuple(
        Operand(channel * width, width, Interval(i.low * pixels, i.high * pixels), source.format.signed)
        for channel, i in enumerate(source.format.intervals)
    )


def _blocks(layer: Conv | Add | AveragePool, sources: tuple[FeatureMap, ...]) -> Iterator[Block]:
    match layer:
        case Conv():
            yield from _conv_blocks(layer, sources[0].format)
        case Add():
            yield from _add_blocks(sources[0].format, sources[1].format)
        case AveragePool():
            taps = 1 if is_global_pool(layer, sources[0]) else layer.window.taps
            channels = sources[0].shape.channels
            ones = np.ones((1, taps), dtype=np.int64)
            for channel in range(channels):
                yield Block(tuple(channel + tap * channels for tap in range(taps)), (channel,), ones)


def _conv_blocks(layer: Conv, source: TensorFormat) -> Iterator[Block]:
    outputs, inputs = layer.weight.shape[:2]
    size = outputs // layer.groups
    # (outputs, taps, inputs): the order in which a window holds its pixels.
    weights = layer.weight.integers.transpose(0, 2, 3, 1).reshape(outputs, -1, inputs)
    for group in range(layer.groups):
        channels = range(group * inputs, (group + 1) * inputs)
        aligned = (
            weights[group * size : (group + 1) * size] << source.alignment[channels.start : channels.stop]
        )
        operands = (tap * source.channels + c for tap in range(layer.window.taps) for c in channels)
        yield Block(
            tuple(operands), tuple(range(group * size, (group + 1) * size)), aligned.reshape(size, -1)
        )


def _add_blocks(left: TensorFormat, right: TensorFormat) -> Iterator[Block]:
    for channel, fractions in enumerate(zip(left.fractions, right.fractions, strict=True)):
        shifts = np.array([[max(fractions) - fraction for fraction in fractions]], dtype=np.int64)
        yield Block((channel, left.channels + channel), (channel,), np.left_shift(np.int64(1), shifts))


def _tiles(blocks: list[Block]) -> Iterator[Block]:
    """Cut large blocks by outputs and put small ones together, so that each tile is near `TILE_NONZEROS`."""
    pending: list[Block] = []
    size = 0
    for piece in (piece for block in blocks for piece in _pieces(block)):
        nonzeros = int(np.count_nonzero(piece.matrix))
        if pending and size + nonzeros > TILE_NONZEROS:
            yield _merge(pending)
            pending, size = [], 0
        pending.append(piece)
        size += nonzeros
    if pending:
        yield _merge(pending)


def _pieces(block: Block) -> Iterator[Block]:
    used = np.flatnonzero(block.matrix.any(axis=0))
    operands = tuple(block.operands[index] for index in used.tolist())
    rows = np.count_nonzero(block.matrix, axis=1).cumsum() // TILE_NONZEROS
    for part in np.unique(rows):
        chosen = np.flatnonzero(rows == part)
        channels = tuple(block.channels[index] for index in chosen.tolist())
        yield Block(operands, channels, block.matrix[chosen][:, used])


def _merge(blocks: list[Block]) -> Block:
    if len(blocks) == 1:
        return blocks[0]
    operands = sorted({operand for block in blocks for operand in block.operands})
    column = {operand: index for index, operand in enumerate(operands)}
    channels = tuple(channel for block in blocks for channel in block.channels)
    matrix = np.zeros((len(channels), len(operands)), dtype=np.int64)
    row = 0
    for block in blocks:
        columns = [column[operand] for operand in block.operands]
        matrix[row : row + len(block.channels), columns] = block.matrix
        row += len(block.channels)
    return Block(tuple(operands), channels, matrix)


def _requantizers(
    layer: Conv | Add | AveragePool, sources: tuple[FeatureMap, ...], tiles: tuple[Tile, ...]
) -> tuple[Requantizer, ...]:
    where = {
        channel: (number, place)
        for number, tile in enumerate(tiles)
        for place, channel in enumerate(tile.channels)
        if tile.pipeline.graph.outputs[place].value is not None
    }
    shifts = requantize_shifts(layer, tuple(source.format for source in sources))
    biases = layer.bias.array.tolist() if isinstance(layer, Conv) else [0] * len(shifts)
    bounds = zip(layer.output.low, layer.output.high, strict=True)
    return tuple(
        Requantizer(where.get(channel), bias + rounding_constant(shift), shift, low, high)
        for channel, (bias, shift, (low, high)) in enumerate(zip(biases, shifts, bounds, strict=True))
    )


def requantizer_output(kernel: Kernel, requantizer: Requantizer) -> Output:
    """Return the adder graph's output that feeds `requantizer`; the constant 0 where no weight is left."""
    if requantizer.source is None:
        return Output(None)
    tile, place = requantizer.source
    return kernel.tiles[tile].pipeline.graph.outputs[place]
