# SPDX-License-Identifier: Apache-2.0
"""Rates: what a transfer of each feature map must carry so that an image takes no more cycles than allowed.

A layer makes all pixels of a block at once, by a copy of its kernel each, so a block is chosen as small as the interval
lets it be. The image's block decides all others: a layer of stride 2 halves its sides, down to one pixel; from there on the
layer has several cycles for each, and works in a part of them only (a kernel that takes several cycles for a pixel
would fit there). Powers of two thus keep every layer of a network like MobileNetV2 equally busy.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import numpy as np

from hsflow.errors import ConfigurationError, ModelError
from hsflow.ir.graph import Add, Conv, Dense, Graph
from hsflow.ir.network import INPUT_NAME
from hsflow.ir.tensor import Block
from hsflow_harden import timing
from hsflow_harden.blocks import axes, output_block
from hsflow_harden.kernel import HardenedLayer, is_global_pool

Blocks = Mapping[str, Block]
"""The block of each feature map, by the name of the layer that makes it; the image's is that of `input`."""


def pixel_blocks(graph: Graph) -> Blocks:
    """Return blocks of one pixel throughout."""
    return dict.fromkeys((INPUT_NAME, *(layer.name for layer in graph.layers)), Block())


def interval_of(images_per_second: float, clock_mhz: float) -> int:
    """Return the cycles that an image may take.

    Raises:
        ConfigurationError: if that is less than one.
    """
    cycles = math.floor(clock_mhz * 1e6 / images_per_second)
    if cycles < 1:
        raise ConfigurationError(
            "there is no cycle for each image",
            where="target_throughput",
            got=f"{images_per_second:g} images/s",
            expected=f"at most {clock_mhz * 1e6:g} at {clock_mhz:g} MHz",
        )
    return cycles


def choose_blocks(graph: Graph, interval: int) -> Blocks:
    """Return the blocks with the fewest weights in all copies that take at most `interval` cycles an image.

    Raises:
        ConfigurationError: if there are none; says how few cycles can be reached.
    """
    reachable = [(cycles, blocks) for blocks, cycles in schedules(graph)]
    fitting = [blocks for cycles, blocks in reachable if cycles <= interval]
    if not fitting:
        raise ConfigurationError(
            "no blocks of pixels are large enough for this interval",
            where=f"the network {graph.name}",
            got=f"{interval} cycles an image",
            expected=f"{min(cycles for cycles, _ in reachable)} or more",
            hint="blocks must tile every feature map: sizes with many divisors allow more",
        )
    return min(fitting, key=lambda blocks: (_weights(graph, blocks), blocks[INPUT_NAME].rows))


def spread(graph: Graph, block: Block) -> Blocks:
    """Return the block of every feature map that follows from the image's.

    Raises:
        ModelError: if a layer cannot make blocks of those that it reads.
    """
    blocks = {INPUT_NAME: block}
    for layer in graph.layers:
        blocks[layer.name] = Block() if isinstance(layer, Dense) else _made(graph, layer, blocks)
    return blocks


def _made(graph: Graph, layer: HardenedLayer, blocks: Blocks) -> Block:
    source = graph.feature_maps[layer.sources[0]]
    given = {blocks[name] for name in layer.sources}
    if len(given) > 1:
        raise ModelError(
            "a residual add reads blocks of two sizes",
            where=layer.name,
            got=" and ".join(sorted(map(str, given))),
            expected="blocks of one size",
        )
    block = blocks[layer.sources[0]]
    if isinstance(layer, Add) or layer.window.is_pointwise:
        return block
    if is_global_pool(layer, source):
        return Block()
    axes(layer.window, source.shape, block, layer.name)
    return output_block(layer.window, block, layer.name)


def schedules(graph: Graph) -> Iterator[tuple[Blocks, int]]:
    """Yield all blocks that the network allows, with the cycles of an image."""
    shape = graph.input.shape
    for rows in _divisors(shape.height):
        for columns in _divisors(shape.width):
            try:
                blocks = spread(graph, Block(rows, columns))
                yield blocks, max(_cycles(graph, layer, blocks) for layer in _reading(graph))
            except ModelError:
                continue


def _reading(graph: Graph) -> list[HardenedLayer]:
    return [layer for layer in graph.layers if not isinstance(layer, Dense)]


def _cycles(graph: Graph, layer: HardenedLayer, blocks: Blocks) -> int:
    source, block = graph.feature_maps[layer.sources[0]], blocks[layer.sources[0]]
    if isinstance(layer, Add) or layer.window.is_pointwise or is_global_pool(layer, source):
        return block.beats(source.shape)
    return timing.window_schedule(layer.window, source.shape, layer.name, block).initiation_interval


def _weights(graph: Graph, blocks: Blocks) -> int:
    """Return the nonzero weights of all copies: about what they cost."""
    return sum(
        blocks[layer.name].pixels * int(np.count_nonzero(layer.weight.sign.array))
        for layer in graph.layers
        if isinstance(layer, Conv)
    )


def _divisors(size: int) -> list[int]:
    return [divisor for divisor in range(1, size + 1) if size % divisor == 0]
