# SPDX-License-Identifier: Apache-2.0
"""The hardened design: RTL and other files, with the scheduler's figures for each layer."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from hsflow.ir.graph import Graph
from hsflow.ir.tensor import ONE_PIXEL, Block


class FileRole(StrEnum):
    """Tell what a generated file is for."""

    RTL = "rtl"
    TESTBENCH = "testbench"
    DATA = "data"
    CORE = "core"


@dataclass(frozen=True)
class DesignFile:
    """Hold one generated text file; `path` is relative, without `..`."""

    path: str
    text: str
    role: FileRole


@dataclass(frozen=True)
class LayerCost:
    """Hold what the scheduler computed for one hardened layer, before any RTL was written.

    `latency` and `initiation_interval` are in clock cycles (of an image), the other figures are counts or bits. A layer
    makes the pixels of its output's `block` at once, by one copy of its kernel each; adders and bits are those of all
    copies.
    """

    name: str
    module: str
    kind: str
    block: Block
    copies: int
    weights: int
    zero_weights: int
    adders_before_sharing: int
    adders: int
    full_adder_bits: int
    adder_depth: int
    kernel_latency: int
    register_bits: int
    line_buffer_bits: int
    fifo_bits: int
    initiation_interval: int


@dataclass(frozen=True)
class NpuPlan:
    """Hold the NPU's generated configuration: multipliers, address bits of its bus, memory bits, timing in cycles."""

    class_lanes: int
    feature_lanes: int
    address_width: int
    memory_bits: int
    initiation_interval: int
    latency: int
    logit_lanes: int = 1


@dataclass(frozen=True)
class Design:
    """Hold a graph turned into hardware.

    `latency` counts cycles from the transfer of an isolated image's first pixel to the transfer of its last result;
    `initiation_interval` counts cycles from one image to the next in a steady stream. A transfer into the first layer
    carries the pixels of `input_block`, one out of the last hardened layer those of `output_block`. `npu` is None where
    every layer is hardened or none has been generated yet.
    """

    name: str
    graph: Graph
    files: tuple[DesignFile, ...]
    layers: tuple[LayerCost, ...]
    latency: int
    initiation_interval: int
    npu: NpuPlan | None = None
    input_block: Block = ONE_PIXEL
    output_block: Block = ONE_PIXEL
