# SPDX-License-Identifier: Apache-2.0
"""MobileNetV2 as a table, and as a float network with random weights; torch is not needed for either.

Source: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018, table 2. Names are torchvision's.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hsflow.ir.network import INPUT_NAME, Activation, Add, AveragePool, Conv, Dense, Network, NetworkLayer
from hsflow.ir.tensor import Constant, Padding, Shape, Window

GROUPS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
"""Expansion, output channels, repetitions and first stride of each group of inverted residuals."""

STEM_CHANNELS = 32
HEAD_CHANNELS = 1280
_MULTIPLE = 8
_LEAST_SHARE = 0.9
_COLOURS = 3


def round_channels(channels: float) -> int:
    """Return the nearest multiple of 8, at least 8 and at least nine tenths of `channels`."""
    rounded = max(_MULTIPLE, int(channels + _MULTIPLE / 2) // _MULTIPLE * _MULTIPLE)
    return rounded if rounded >= _LEAST_SHARE * channels else rounded + _MULTIPLE


def head_channels(width: float) -> int:
    """Return the features of the classifier: no fewer than those of width 1."""
    return round_channels(HEAD_CHANNELS * max(1.0, width))


def bottlenecks(width: float) -> Iterator[tuple[int, int, int, int]]:
    """Yield the inputs, outputs, stride and expansion of each inverted residual."""
    channels = round_channels(STEM_CHANNELS * width)
    for expansion, base, repetitions, first_stride in GROUPS:
        outputs = round_channels(base * width)
        for number in range(repetitions):
            yield channels, outputs, 1 if number else first_stride, expansion
            channels = outputs


def random_mobilenet_v2(width: float, shape: Shape, classes: int, seed: int) -> Network:
    """Return MobileNetV2 with normally distributed weights.

    Args:
        width: factor of all channels.
        shape: of the image.
        classes: outputs of the last layer.
        seed: draws the weights.
    """
    builder = _Builder(shape, np.random.default_rng(seed))
    last = builder.conv("features.0.0", INPUT_NAME, round_channels(STEM_CHANNELS * width), 3, 2)
    blocks = list(bottlenecks(width))
    for number, (inputs, outputs, stride, expansion) in enumerate(blocks, start=1):
        last = builder.bottleneck(f"features.{number}", last, inputs, outputs, stride, expansion)
    last = builder.conv(f"features.{len(blocks) + 1}.0", last, head_channels(width))
    builder.classifier(last, classes)
    return Network("mobilenet_v2", shape, tuple(builder.layers), tuple(map(str, range(classes))))


class _Builder:
    """Append layers with random weights; each method returns the name of the last one."""

    def __init__(self, shape: Shape, generator: np.random.Generator) -> None:
        self.layers: list[NetworkLayer] = []
        self.shapes = {INPUT_NAME: shape}
        self.generator = generator

    def conv(
        self, name: str, source: str, outputs: int, kernel: int = 1, stride: int = 1, *,
        depthwise: bool = False, linear: bool = False,
    ) -> str:  # fmt: skip
        """Append a convolution, padded to keep the size, with ReLU6 unless it is linear."""
        channels = self.shapes[source].channels
        inputs = 1 if depthwise else channels
        padding = Padding.same_on_all_sides(kernel // 2, kernel // 2)
        window = Window((kernel, kernel), (stride, stride), padding=padding)
        activation = Activation.NONE if linear else Activation.RELU6
        weight, bias = self._draw((outputs, inputs, kernel, kernel)), Constant(np.zeros(outputs, np.float32))
        groups = channels if depthwise else 1
        size = window.output_size(self.shapes[source].height, self.shapes[source].width)
        self.layers.append(Conv(name, source, weight, bias, window, groups, activation, (0.0,) * channels))
        self.shapes[name] = Shape(outputs, *size)
        return name

    def bottleneck(
        self, name: str, source: str, inputs: int, outputs: int, stride: int, expansion: int
    ) -> str:
        """Append an inverted residual."""
        hidden, number, last = inputs * expansion, 0, source
        if expansion > 1:
            last, number = self.conv(f"{name}.conv.0.0", source, hidden), 1
        last = self.conv(f"{name}.conv.{number}.0", last, hidden, 3, stride, depthwise=True)
        last = self.conv(f"{name}.conv.{number + 1}", last, outputs, linear=True)
        if stride != 1 or inputs != outputs:
            return last
        self.layers.append(Add(f"{name}.add", (source, last)))
        self.shapes[f"{name}.add"] = self.shapes[last]
        return f"{name}.add"

    def classifier(self, source: str, classes: int) -> None:
        """Append the mean of the whole image and the classifier."""
        shape = self.shapes[source]
        size = (shape.height, shape.width)
        self.layers.append(AveragePool("adaptive_avg_pool2d", source, Window(size, size)))
        weight, bias = self._draw((classes, shape.channels)), Constant(np.zeros(classes, np.float32))
        self.layers.append(Dense("classifier.1", "adaptive_avg_pool2d", weight, bias))

    def _draw(self, shape: tuple[int, ...]) -> Constant:
        deviation = np.float32(np.sqrt(2 / np.prod(shape[1:])))
        return Constant(self.generator.standard_normal(shape, dtype=np.float32) * deviation)
