# SPDX-License-Identifier: Apache-2.0
"""Kernels: the arithmetic of one layer, as integer matrices, adder graphs and requantizers.

A kernel reads a packed vector of operands (the taps of a window, or two pixels side by side) and makes one output
pixel. Linear kernels consist of tiles, each an adder graph for some of the outputs, all with the same number of pipeline
stages; a max-pool kernel compares instead. A tile is as large as its layer demands; `partition` bounds the modules.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hsflow.design import NOTHING as NO_RESOURCES
from hsflow.design import Resources
from hsflow.fixedpoint import IntArray, Interval, rounding_constant
from hsflow.ir.addergraph import AdderGraph, Output
from hsflow.ir.graph import Add, AveragePool, Conv, FeatureMap, MaxPool, requantize_shifts
from hsflow.ir.matrix import adders_without_sharing
from hsflow.ir.pipeline import NOTHING, Cut, Pipeline, pipelined
from hsflow.ir.placement import Ends
from hsflow.ir.tensor import TensorFormat
from hsflow.ir.verify import input_intervals
from hsflow_harden.lower import LoweringTask, LowerMatrix, lower_task

LinearLayer = Conv | Add | AveragePool
HardenedLayer = LinearLayer | MaxPool

MERGED_NONZEROS = 4096
"""The most nonzero coefficients of blocks that are put together: a depthwise layer has a small one for each channel."""


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
    """Hold one part of a kernel: a pipelined adder graph from `operands` to the sums of `channels`."""

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
class KernelFigures:
    """Hold what one copy of a kernel costs and how long it takes, whatever implements it.

    `latency` is the cycles from a complete operand vector to the registered output pixel, `depth` the adder levels,
    `register_bits` those of its pipeline.
    """

    latency: int
    depth: int
    adders_before_sharing: int
    adders: int
    full_adder_bits: int
    register_bits: int
    resources: Resources = NO_RESOURCES


@dataclass(frozen=True)
class Kernel:
    """Hold the arithmetic of one linear layer. Its latency is the tiles' stages and one register after requantizing.

    Adders of a tile that work behind its last register share the cycle with the requantizers.
    """

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


@dataclass(frozen=True, eq=False)
class KernelPlan:
    """Hold a linear layer as operands and matrices, before its matrices are lowered."""

    layer: LinearLayer
    sources: tuple[FeatureMap, ...]
    module: str
    operands: tuple[Operand, ...]
    blocks: tuple[Block, ...]

    @property
    def tasks(self) -> tuple[LoweringTask, ...]:
        """Return what to lower, in the order in which `kernel` takes the graphs."""
        return tuple(
            LoweringTask(
                self.layer.name,
                block.matrix,
                tuple(self.operands[index].interval for index in block.operands),
            )
            for block in self.blocks
        )

    def kernel(self, graphs: Sequence[AdderGraph], cut: Cut, ends: Ends) -> Kernel:
        """Return the kernel with the proved graphs of `tasks`, cut by registers between what `ends` tells.

        Raises:
            ConfigurationError: if the clock of the cut cannot be reached.
        """
        placements = [cut.placement(graph, ends, self.layer.name) for graph in graphs]
        stages = max((placement.fewest for placement in placements), default=0)
        tiles = tuple(
            Tile(
                f"{self.module}__tile{number}",
                block.operands,
                block.channels,
                pipelined(placement, stages),
            )
            for number, (block, placement) in enumerate(zip(self.blocks, placements, strict=True))
        )
        before = sum(adders_without_sharing(block.matrix) for block in self.blocks)
        found = requantizers(self.layer, self.sources, tiles)
        return Kernel(self.operands, tiles, found, self.layer.output, stages, before)


def build_kernel(
    layer: LinearLayer,
    sources: tuple[FeatureMap, ...],
    module: str,
    lower: LowerMatrix,
    cut: Cut,
    ends: Ends = NOTHING,
) -> Kernel:
    """Lower one layer by itself, in this process: see `plan_kernel` and `KernelPlan.kernel`.

    Raises:
        MismatchError: if `lower` returns a graph that does not compute its matrix, or for other input ranges.
        ConfigurationError: if the clock of the cut cannot be reached.
    """
    plan = plan_kernel(layer, sources, module)
    return plan.kernel([lower_task(lower, task) for task in plan.tasks], cut, ends)


def plan_kernel(layer: LinearLayer, sources: tuple[FeatureMap, ...], module: str) -> KernelPlan:
    """Return the matrices of `layer`: one for each group of a convolution, small ones together in one.

    A group stays whole, however large: its outputs share sums. What is cut is only the pipelined graph's text.
    """
    blocks = tuple(_merged(block for block in _blocks(layer, sources) if block.matrix.any()))
    return KernelPlan(layer, sources, module, _operands(layer, sources), blocks)


def is_global_pool(layer: HardenedLayer, source: FeatureMap) -> bool:
    """Tell whether `layer` averages the whole image, so that it needs a running sum and no window."""
    if not isinstance(layer, AveragePool):
        return False
    size = (source.shape.height, source.shape.width)
    pad = layer.window.padding
    return layer.window.extent == size == layer.window.kernel and not any(
        (pad.top, pad.bottom, pad.left, pad.right)
    )


def _operands(layer: LinearLayer, sources: tuple[FeatureMap, ...]) -> tuple[Operand, ...]:
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


def _intervals(layer: LinearLayer, form: TensorFormat) -> tuple[Interval, ...]:
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


def _blocks(layer: LinearLayer, sources: tuple[FeatureMap, ...]) -> Iterator[Block]:
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


def _merged(blocks: Iterable[Block]) -> Iterator[Block]:
    """Put small blocks together, so that each matrix has up to `MERGED_NONZEROS` coefficients or is a single block."""
    pending: list[Block] = []
    size = 0
    for block in map(_without_zero_columns, blocks):
        nonzeros = int(np.count_nonzero(block.matrix))
        if pending and size + nonzeros > MERGED_NONZEROS:
            yield _merge(pending)
            pending, size = [], 0
        pending.append(block)
        size += nonzeros
    if pending:
        yield _merge(pending)


def _without_zero_columns(block: Block) -> Block:
    used = np.flatnonzero(block.matrix.any(axis=0))
    operands = tuple(block.operands[index] for index in used.tolist())
    return Block(operands, block.channels, block.matrix[:, used])


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


def requantizers(
    layer: LinearLayer, sources: tuple[FeatureMap, ...], tiles: tuple[Tile, ...] = ()
) -> tuple[Requantizer, ...]:
    """Return how each channel's sum becomes an output; without tiles, where the sums come from is left open."""
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
