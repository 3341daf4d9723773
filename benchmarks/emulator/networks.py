# SPDX-License-Identifier: Apache-2.0
"""MobileNetV2 twice: as torch's plain float model, and as an integer graph with random power-of-two weights."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from hsflow_torch.mobilenet import GROUPS, HEAD_CHANNELS, STEM_CHANNELS
from hsflow_torch.models.mobilenet_v2 import mobilenet_v2
from torch import nn

from hsflow.fixedpoint import IntArray, Interval
from hsflow.ir.graph import (
    Add,
    AveragePool,
    Conv,
    Dense,
    FeatureMap,
    Graph,
    GraphLayer,
    Po2Weight,
    layer_output,
)
from hsflow.ir.network import INPUT_NAME
from hsflow.ir.tensor import Constant, Padding, Shape, TensorFormat, Window
from hsflow.ir.verify import verify

CLASSES = 1000


def float_mobilenet() -> nn.Module:
    """Return MobileNetV2-1.0 as torch computes it at its fastest, in evaluation mode."""
    network = mobilenet_v2(CLASSES).eval()
    for layer in network.modules():
        if isinstance(layer, nn.ReLU6):
            layer.inplace = True
    return network


@dataclass
class RandomMobileNet:
    """Build an integer MobileNetV2 whose random weights keep its maps busy and whose channels differ in fraction.

    Args:
        size: height and width of the images.
        terms: powers of two that a weight is the sum of.
        zeros: share of the weights that are zero.
        seed: of everything that is random.
        width: scales the numbers of channels.
    """

    size: int = 224
    terms: int = 1
    zeros: float = 0.4
    seed: int = 1
    width: float = 1.0
    classes: int = CLASSES
    layers: list[GraphLayer] = field(default_factory=list)

    def graph(self) -> Graph:
        """Return the network."""
        self.rng = np.random.default_rng(self.seed)
        self.maps = {
            INPUT_NAME: FeatureMap(Shape(3, self.size, self.size), TensorFormat.uniform(8, False, 8, 3))
        }
        self._conv(INPUT_NAME, self._wide(STEM_CHANNELS), 3, 2)
        for expansion, outputs, count, stride in GROUPS:
            for index in range(count):
                self._block(self._wide(outputs), stride if index == 0 else 1, expansion)
        self._conv(self.last, self._wide(HEAD_CHANNELS))
        self._classifier()
        names = tuple(map(str, range(self.classes)))
        return verify(Graph("mobilenet_v2", self.maps[INPUT_NAME], tuple(self.layers), names))

    @property
    def last(self) -> str:
        """Return the newest map's name."""
        return self.layers[-1].name

    def _wide(self, channels: int) -> int:
        return max(4, int(channels * self.width))

    def _block(self, outputs: int, stride: int, expansion: int) -> None:
        source = self.last
        inputs = self.maps[source].shape.channels
        hidden = inputs * expansion
        if expansion > 1:
            self._conv(source, hidden)
        self._conv(self.last, hidden, 3, stride, groups=hidden)
        self._conv(self.last, outputs, linear=True)
        if stride == 1 and inputs == outputs:
            form = self._format(outputs, linear=True)
            self._append(Add(f"add{len(self.layers)}", (source, self.last), form))

    def _conv(
        self,
        source: str,
        outputs: int,
        kernel: int = 1,
        stride: int = 1,
        groups: int = 1,
        linear: bool = False,
    ) -> None:
        form = self.maps[source].format
        weight = self._weight((self.terms, outputs, form.channels // groups, kernel, kernel))
        output = self._format(outputs, linear)
        shifts = self._shifts(weight, form, groups)
        finest = form.finest_fraction
        layer = Conv(
            name=f"conv{len(self.layers)}",
            source=source,
            weight=weight,
            weight_fractions=tuple(
                int(s) + f - finest for s, f in zip(shifts, output.fractions, strict=True)
            ),
            bias=Constant(self.rng.integers(-8, 24, outputs) << shifts),
            window=Window(
                (kernel, kernel),
                (stride, stride),
                padding=Padding.same_on_all_sides(kernel // 2, kernel // 2),
            ),
            groups=groups,
            pad_values=(114,) * 3 if source == INPUT_NAME else (0,) * form.channels,
            output=output,
        )
        self._append(layer)

    def _weight(self, size: tuple[int, ...]) -> Po2Weight:
        """Return weights of 8 exponents, the second term smaller than the first."""
        sign = self.rng.choice(np.array([-1, 0, 1], dtype=np.int8), size, p=self._chances())
        first = self.rng.integers(0 if self.terms == 1 else 2, 8, size[1:])
        exponent = np.stack([first, *([self.rng.integers(0, 2, size[1:])] * (self.terms - 1))])
        sign[1:] *= np.abs(sign[0])
        return Po2Weight(
            Constant(sign.astype(np.int8)), Constant(np.where(sign == 0, 0, exponent).astype(np.int8)), 8
        )

    def _chances(self) -> tuple[float, float, float]:
        return (1 - self.zeros) / 2, self.zeros, (1 - self.zeros) / 2

    def _shifts(self, weight: Po2Weight, form: TensorFormat, groups: int) -> IntArray:
        """Return right shifts that bring a typical accumulator to about 40."""
        outputs, inputs = weight.shape[:2]
        channels = (np.arange(outputs) // (outputs // groups) * inputs)[:, None] + np.arange(inputs)
        typical = 40.0 * (1 << form.alignment[channels])[:, :, None, None]
        deviation = np.sqrt(((weight.integers * typical) ** 2).sum(axis=(1, 2, 3)))
        shifts: IntArray = np.round(np.log2(np.maximum(deviation / 40, 2))).astype(np.int64)
        return shifts

    def _format(self, channels: int, linear: bool = False) -> TensorFormat:
        """Return signed bytes, or ReLU6's unsigned ones, with two fractions among the channels."""
        fractions = tuple(int(f) for f in self.rng.integers(4, 6, channels))
        whole = Interval.of_format(8, linear)
        high = tuple(whole.high if linear else min(whole.high, 6 << f) for f in fractions)
        return TensorFormat(8, linear, fractions, (whole.low,) * channels, high)

    def _classifier(self) -> None:
        source = self.maps[self.last]
        window = Window((source.shape.height, source.shape.width))
        self._append(AveragePool("pool", self.last, window, source.format))
        weight = self.rng.integers(-128, 128, (self.classes, source.shape.channels)).astype(np.int8)
        bias = self.rng.integers(-100000, 100000, self.classes).astype(np.int32)
        self._append(Dense("classifier", "pool", Constant(weight), Constant(bias), 8))

    def _append(self, layer: GraphLayer) -> None:
        self.layers.append(layer)
        self.maps[layer.name] = layer_output(layer, self.maps[layer.sources[0]])
