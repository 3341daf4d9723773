# SPDX-License-Identifier: Apache-2.0
"""The hardened design: RTL and other files, with the scheduler's figures for each layer."""

from __future__ import annotations

from dataclasses import astuple, dataclass
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
class Resources:
    """Count, in bits, what cells are needed for; line buffers and FIFOs left out. A technology knows what each takes.

    In tiles: `full_adders` add two bits and a carry, `half_adders` two bits; `split_adders` are the upper halves of sums
    that are too long for the clock, so that they are added in two halves at once; `tile_registers` the pipeline's.
    In kernels: `rounded` bits of sums are below the output's lowest one but reached by the bias, `saturated` ones above its
    highest; `results` are the output's, which are registered; `compared` are those of maxima.
    Around them: `accumulated` are the adders of a global pool, `former_registers` those of a window or a pool, `masked` the
    pixels of a window that may be padding; `streamed` are the layer's output, and `stages` the cycles of its pipeline.
    """

    full_adders: int = 0
    half_adders: int = 0
    split_adders: int = 0
    tile_registers: int = 0
    rounded: int = 0
    saturated: int = 0
    results: int = 0
    compared: int = 0
    accumulated: int = 0
    former_registers: int = 0
    masked: int = 0
    streamed: int = 0
    stages: int = 0

    def __add__(self, other: Resources) -> Resources:
        return Resources(*(one + more for one, more in zip(astuple(self), astuple(other), strict=True)))

    def __mul__(self, copies: int) -> Resources:
        return Resources(*(copies * one for one in astuple(self)))


NOTHING = Resources()


@dataclass(frozen=True)
class LongestPath:
    """Hold the longest time (ps) of a path between two registers at a corner, by the technology's typical delays."""

    corner: str
    ps: float


@dataclass(frozen=True)
class LineBuffer:
    """Hold the size of one line buffer: words, and bits a word."""

    depth: int
    width: int


@dataclass(frozen=True)
class LayerCost:
    """Hold what the scheduler computed for one hardened layer, before any RTL was written.

    `latency` and `initiation_interval` are in clock cycles (of an image), the other figures are counts or bits. A layer
    makes the pixels of its output's `block` at once, by one copy of its kernel each; adders and bits are those of all
    copies. `line_buffer_bits` are those of all `line_buffers`. `paths` are empty where no adder graph was made.
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
    resources: Resources = NOTHING
    line_buffers: tuple[LineBuffer, ...] = ()
    paths: tuple[LongestPath, ...] = ()


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
