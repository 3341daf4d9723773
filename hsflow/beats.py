# SPDX-License-Identifier: Apache-2.0
"""The transfers (beats) of a chip's streams: how many an image has, how wide they are, which pixel lies where."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hsflow.design import Design
from hsflow.fixedpoint import IntArray
from hsflow.ir.graph import LOGIT_WIDTH, FeatureMap
from hsflow.ir.tensor import Block, Shape


@dataclass(frozen=True)
class BeatStream:
    """Hold how many beats of a stream make an image, and how many bits of a beat mean something."""

    beats: int
    bits: int

    @property
    def width(self) -> int:
        """Return the bits of an AXI4-Stream's tdata: whole bytes."""
        return -(-self.bits // 8) * 8


def input_stream(design: Design) -> BeatStream:
    """Return the stream of pixels into the chip."""
    return _blocks(design.graph.input, design.input_block)


def feature_stream(design: Design) -> BeatStream:
    """Return the stream that leaves the hardened layers."""
    return _blocks(feature_map(design), design.output_block)


def output_stream(design: Design) -> BeatStream:
    """Return the stream of results out of the chip: logits, or the last feature map where there is no classifier."""
    if design.graph.classifier is None:
        return feature_stream(design)
    lanes = design.npu.logit_lanes if design.npu else 1
    return BeatStream(-(-design.graph.output.shape.channels // lanes), LOGIT_WIDTH * lanes)


def feature_map(design: Design) -> FeatureMap:
    """Return the feature map that leaves the hardened layers."""
    classifier = design.graph.classifier
    return design.graph.output if classifier is None else design.graph.feature_maps[classifier.source]


def pixel_order(shape: Shape, block: Block) -> IntArray:
    """Return which pixel, counted in raster order, lies at each place of each beat: shape (beats, pixels of a block).

    Raises:
        ModelError: if the blocks do not tile the feature map.
    """
    rows, columns = block.grid(shape)
    pixels = np.arange(shape.pixels, dtype=np.int64).reshape(rows, block.rows, columns, block.columns)
    return pixels.transpose(0, 2, 1, 3).reshape(rows * columns, block.pixels)


def _blocks(source: FeatureMap, block: Block) -> BeatStream:
    return BeatStream(block.beats(source.shape), block.pixels * source.pixel_width)
