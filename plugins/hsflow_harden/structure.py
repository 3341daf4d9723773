# SPDX-License-Identifier: Apache-2.0
"""The stream structure: each layer as window former, copies of its kernel and stream register, joined by FIFOs."""

from __future__ import annotations

from dataclasses import dataclass

from hsflow.ir.graph import Add, AveragePool, FeatureMap, Graph, MaxPool
from hsflow.ir.pipeline import Cut
from hsflow.ir.tensor import Block, Window
from hsflow_harden import timing
from hsflow_harden.accumulator import Accumulator
from hsflow_harden.blocks import patch_size
from hsflow_harden.clocking import comparison_levels
from hsflow_harden.comparator import Comparator
from hsflow_harden.kernel import HardenedLayer, Kernel, KernelFigures, is_global_pool, sum_width


@dataclass(frozen=True)
class StreamLayer:
    """Hold one layer of the stream: what it is, the modules it becomes, and when its input must wait in a FIFO.

    `kernel` is None for a max pool, which compares, and in a plan, which knows the kernel's `adding` alone. A transfer
    carries the pixels of `source_block` from each source, and those of `block` to the readers; a copy of the kernel makes
    each of them. `cut` tells where registers go. `fifo_depths` holds, for each source, the transfers that its FIFO must
    take; 0 where none is needed.
    """

    layer: HardenedLayer
    identifier: str
    module: str
    sources: tuple[FeatureMap, ...]
    output: FeatureMap
    adding: KernelFigures | None
    kernel: Kernel | None
    source_block: Block
    block: Block
    cut: Cut
    fifo_depths: tuple[int, ...]

    @property
    def window(self) -> Window:
        """Return how the layer's kernel slides; a residual add reads one pixel of each side."""
        return Window() if isinstance(self.layer, Add) else self.layer.window

    @property
    def former(self) -> str:
        """Return what gathers the kernel's operands: "none", "join", "accumulate" or "window"."""
        if isinstance(self.layer, Add):
            return "join"
        if self.accumulator is not None:
            return "accumulate"
        return "none" if self.layer.window.is_pointwise else "window"

    @property
    def accumulator(self) -> Accumulator | None:
        """Return what sums up the image for a global pool; None for another layer."""
        source = self.sources[0]
        if not isinstance(self.layer, AveragePool) or not is_global_pool(self.layer, source):
            return None
        return Accumulator(
            source.shape.channels,
            self.source_block.pixels,
            self.source_block.beats(source.shape),
            source.format.width,
            sum_width(self.layer, source),
            self.cut.levels_of(sum_width(self.layer, source), self.layer.name),
        )

    @property
    def comparator(self) -> Comparator | None:
        """Return what finds the maxima of a max pool; None for another layer."""
        if not isinstance(self.layer, MaxPool):
            return None
        source = self.sources[0]
        levels = comparison_levels(self.layer, source, self.cut)
        return Comparator(source.shape.channels, source.format.width, self.layer.window.taps, levels)

    @property
    def figures(self) -> KernelFigures:
        """Return what one copy of the kernel costs."""
        if self.comparator is not None:
            return self.comparator.figures
        return self.adding or KernelFigures(1, 0, 0, 0, 0, 0)

    @property
    def patch(self) -> tuple[int, int]:
        """Return the (rows, columns) of pixels that the windows of an output block read."""
        return patch_size(self.window, self.source_block, self.layer.name)

    @property
    def kernel_latency(self) -> int:
        """Return the kernel's cycles."""
        return self.figures.latency

    @property
    def initiation_interval(self) -> int:
        """Return the cycles that the layer needs an image."""
        source = self.sources[0].shape
        if self.former == "window":
            return timing.window_schedule(
                self.window, source, self.layer.name, self.source_block
            ).initiation_interval
        return self.source_block.beats(source)


@dataclass(frozen=True)
class Structure:
    """Hold the whole stream network.

    `latency` is the cycle of the transfer in which an isolated image's last pixel leaves, counted from that of its first
    pixel into the first layer; `initiation_interval` the cycles from image to image.
    """

    name: str
    graph: Graph
    layers: tuple[StreamLayer, ...]
    input_block: Block
    latency: int
    initiation_interval: int

    @property
    def output_block(self) -> Block:
        """Return what a transfer out of the last layer carries."""
        return self.layers[-1].block if self.layers else self.input_block
