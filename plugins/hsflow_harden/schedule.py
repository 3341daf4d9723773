# SPDX-License-Identifier: Apache-2.0
"""The schedule: when each transfer happens, and how deep the FIFOs in front of joins must be for that."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hsflow.fixedpoint import IntArray
from hsflow.ir.graph import Add, Graph
from hsflow.ir.network import INPUT_NAME
from hsflow.ir.tensor import Block
from hsflow_harden import timing
from hsflow_harden.structure import StreamLayer, Structure

Depths = dict[str, tuple[int, ...]]


def schedule(graph: Graph, layers: tuple[StreamLayer, ...], input_block: Block) -> Structure:
    """Run the timing model, and give each join the FIFO that its earlier side needs.

    A FIFO is as deep as the model ever fills it when nothing stalls. No deadlock can follow, whatever stalls: a stalled
    network has read no more than an unstalled one would have, so each side of a join finds the room that it needs.
    """
    beats = np.arange(input_block.beats(graph.input.shape), dtype=np.int64)
    interval = max([beats.size, *(layer.initiation_interval for layer in layers)])
    isolated, alone = _times(layers, beats[np.newaxis])
    last = layers[-1].layer.name if layers else INPUT_NAME
    latency = int(isolated[last][0, -1])
    # When an image leaves that came with others before and behind it, the stream has become steady.
    images = latency // interval + 3
    _, streamed = _times(layers, beats + np.arange(images)[:, np.newaxis] * interval)
    sized = tuple(
        replace(layer, fifo_depths=tuple(map(max, streamed[layer.layer.name], alone[layer.layer.name])))
        for layer in layers
    )
    return Structure(graph.name, graph, sized, input_block, latency, interval)


def _times(layers: tuple[StreamLayer, ...], beats: IntArray) -> tuple[dict[str, IntArray], Depths]:
    """Return each stream's transfer times, shape (images, beats), and each layer's FIFO depths."""
    times = {INPUT_NAME: beats}
    depths: Depths = {}
    for layer in layers:
        arrivals = [times[source] for source in layer.layer.sources]
        ready, depths[layer.layer.name] = _gather(layer, arrivals)
        times[layer.layer.name] = ready + layer.kernel_latency + timing.STREAM_REGISTER_LATENCY
    return times, depths


def _gather(layer: StreamLayer, arrivals: list[IntArray]) -> tuple[IntArray, tuple[int, ...]]:
    """Return when each operand vector is complete, and the FIFO depths in front of the layer."""
    if isinstance(layer.layer, Add):
        return _join(arrivals[0], arrivals[1])
    if layer.accumulator is not None:
        return arrivals[0][:, -1:] + layer.accumulator.latency, (0,)
    if layer.former == "window":
        steps = timing.window_schedule(
            layer.window, layer.sources[0].shape, layer.layer.name, layer.source_block
        )
        return timing.window_times(steps, arrivals[0]), (0,)
    return arrivals[0], (0,)


def _join(left: IntArray, right: IntArray) -> tuple[IntArray, tuple[int, ...]]:
    """Return when both sides are there; a side that comes earlier waits in a FIFO."""
    waits = (bool((left < right).any()), bool((right < left).any()))
    delayed = [side + timing.FIFO_LATENCY * wait for side, wait in zip((left, right), waits, strict=True)]
    both = np.maximum(delayed[0], delayed[1])
    depths = tuple(
        timing.fifo_depth(side, both) if wait else 0 for side, wait in zip((left, right), waits, strict=True)
    )
    return both, depths
