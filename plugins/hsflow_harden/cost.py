# SPDX-License-Identifier: Apache-2.0
"""What a layer costs: adders, registers, line buffers and FIFOs of all copies of its kernel."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hsflow.design import NOTHING, LayerCost, LineBuffer, LongestPath, Resources
from hsflow.ir.graph import Add, Conv, MaxPool
from hsflow.technology import ASAP7
from hsflow_harden import blocks
from hsflow_harden.paths import longest_path
from hsflow_harden.structure import StreamLayer


def layer_cost(layer: StreamLayer) -> LayerCost:
    """Return the scheduler's figures for one layer."""
    weights = layer.layer.weight.integers if isinstance(layer.layer, Conv) else np.zeros(0, dtype=np.int64)
    figures, copies = layer.figures, layer.block.pixels
    former = _former_cost(layer)
    return LayerCost(
        name=layer.layer.name,
        module=layer.module,
        kind=describe_kind(layer),
        block=layer.block,
        copies=copies,
        weights=int(weights.size),
        zero_weights=int((weights == 0).sum()),
        adders_before_sharing=copies * figures.adders_before_sharing + former.adders,
        adders=copies * figures.adders + former.adders,
        full_adder_bits=copies * figures.full_adder_bits + former.full_adder_bits,
        adder_depth=figures.depth + former.adder_depth,
        kernel_latency=figures.latency,
        register_bits=copies * figures.register_bits + _stream_bits(layer) + former.register_bits,
        line_buffer_bits=former.line_buffer_bits,
        fifo_bits=sum(
            depth * layer.source_block.pixels * source.pixel_width
            for depth, source in zip(layer.fifo_depths, layer.sources, strict=True)
        ),
        initiation_interval=layer.initiation_interval,
        resources=figures.resources * copies + former.resources + _stream_resources(layer),
        line_buffers=former.line_buffers,
        paths=_paths(layer),
    )


def _paths(layer: StreamLayer) -> tuple[LongestPath, ...]:
    """Return the longest path of a layer at each corner; none where its adder graph is not known."""
    found = ((corner, longest_path(layer, delays)) for corner, delays in ASAP7.typical.items())
    return tuple(LongestPath(corner, ps) for corner, ps in found if ps is not None)


def _stream_resources(layer: StreamLayer) -> Resources:
    return Resources(streamed=layer.block.pixels * layer.output.pixel_width, stages=layer.kernel_latency)


def _stream_bits(layer: StreamLayer) -> int:
    """Return the bits of the kernels' last registers, of the stream register's two words, and their valid bits."""
    output_bits = layer.block.pixels * layer.output.pixel_width
    return 3 * (output_bits + 1) + layer.kernel_latency - 1


@dataclass(frozen=True)
class _FormerCost:
    """Hold what gathers the operands of all copies, as `LayerCost` counts it: an accumulator adds, a window stores."""

    adders: int = 0
    full_adder_bits: int = 0
    adder_depth: int = 0
    register_bits: int = 0
    line_buffer_bits: int = 0
    resources: Resources = NOTHING
    line_buffers: tuple[LineBuffer, ...] = ()


def _former_cost(layer: StreamLayer) -> _FormerCost:
    found = layer.accumulator
    if found is not None:
        used = Resources(accumulated=found.full_adder_bits, former_registers=found.register_bits)
        return _FormerCost(
            found.adders, found.full_adder_bits, found.depth, found.register_bits, resources=used
        )
    if layer.former == "window":
        where = layer.window, layer.sources[0], layer.source_block, layer.layer.name
        registers, lines = blocks.former_bits(*where)
        return _FormerCost(
            register_bits=registers,
            line_buffer_bits=lines,
            resources=Resources(former_registers=registers, masked=blocks.masked_bits(*where)),
            line_buffers=blocks.line_buffers(*where),
        )
    return _FormerCost()


def describe_kind(layer: StreamLayer) -> str:
    """Return the layer's kind in words, such as "depthwise convolution 3x3, stride 2"."""
    node = layer.layer
    if isinstance(node, Add):
        return "residual add"
    size = f"{node.window.kernel[0]}x{node.window.kernel[1]}"
    stride = "" if node.window.stride == (1, 1) else f", stride {node.window.stride[0]}"
    if isinstance(node, MaxPool):
        return f"max pool {size}{stride}"
    if not isinstance(node, Conv):
        return f"average pool {size}{stride}"
    depthwise = node.groups > 1 and node.groups == layer.sources[0].shape.channels
    kind = (
        "depthwise" if depthwise else "grouped" if node.groups > 1 else "pointwise" if size == "1x1" else ""
    )
    return f"{kind} convolution {size}{stride}".strip()
