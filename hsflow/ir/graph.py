# SPDX-License-Identifier: Apache-2.0
"""The integer graph: the truth after quantization. No float occurs in it.

Every feature map has a `Shape` and a `TensorFormat`. `hsflow.ir.interp` gives the meaning of each layer;
`hsflow.ir.verify` says which graphs are legal.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeAlias

import numpy as np

from hsflow.fixedpoint import IntArray
from hsflow.ir.matrix import common_factors, count_digits
from hsflow.ir.network import INPUT_NAME
from hsflow.ir.tensor import Constant, OneSource, Shape, TensorFormat, Window


@dataclass(frozen=True)
class Po2Weight:
    """Hold weights that are sums of signed powers of two.

    `sign` in {-1, 0, +1} and `exponent` in 0..levels-1 are int8 arrays of shape (terms, outputs, inputs / groups, kernel
    height, kernel width). A zero term has sign 0 and exponent 0.
    """

    sign: Constant
    exponent: Constant
    levels: int

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Return (outputs, inputs / groups, kernel height, kernel width)."""
        outputs, inputs, height, width = self.sign.array.shape[1:]
        return outputs, inputs, height, width

    @property
    def integers(self) -> IntArray:
        """Return the weights as integers, `sum over terms of sign << exponent`, of shape `shape`."""
        sign = self.sign.array.astype(np.int64)
        total: IntArray = np.left_shift(sign, self.exponent.array.astype(np.int64)).sum(axis=0)
        return total

    @property
    def factors(self) -> IntArray:
        """Return what each output's sum is multiplied by, shape (outputs,): an odd scale of its weights, mostly 1."""
        return common_factors(self.integers.reshape(self.shape[0], -1))

    @property
    def codes(self) -> IntArray:
        """Return the weights over their outputs' factors, of shape `shape`."""
        codes: IntArray = self.integers // self.factors[:, np.newaxis, np.newaxis, np.newaxis]
        return codes

    @property
    def terms(self) -> IntArray:
        """Return the fewest signed powers of two that make up each code, of shape `shape`."""
        return count_digits(self.codes.reshape(-1, 1)).reshape(self.shape)


@dataclass(frozen=True)
class Conv(OneSource):
    """Convolve with Po2 weights, add the bias, requantize to `output`.

    The input's channels are aligned to its finest fraction F by exact left shifts; the accumulator of output channel o
    then has the fraction `weight_fractions[o] + F`, which is the unit of `bias` (int64, shape (outputs,)). Padding
    is the raw value `pad_values[c]` of input channel c, before alignment.
    """

    name: str
    source: str
    weight: Po2Weight
    weight_fractions: tuple[int, ...]
    bias: Constant
    window: Window
    groups: int
    pad_values: tuple[int, ...]
    output: TensorFormat


@dataclass(frozen=True)
class Add:
    """Add two feature maps after bringing each channel to the finer of both fractions, requantize to `output`."""

    name: str
    sources: tuple[str, str]
    output: TensorFormat


@dataclass(frozen=True)
class MaxPool(OneSource):
    """Take the maximum of each window; padding never wins. The format stays the input's."""

    name: str
    source: str
    window: Window


@dataclass(frozen=True)
class AveragePool(OneSource):
    """Sum each window exactly, divide by `2**divisor_shift` and requantize to `output`.

    `divisor_shift` is ceil(log2(window taps)). Where the taps are no power of two, the result stands for
    `mean * taps / 2**divisor_shift`; the quantizer puts the rest into the next layer's weights. Padding is 0.
    """

    name: str
    source: str
    window: Window
    output: TensorFormat

    @property
    def divisor_shift(self) -> int:
        """Return ceil(log2(number of taps))."""
        return (self.window.taps - 1).bit_length()


@dataclass(frozen=True)
class Dense(OneSource):
    """Classify on the NPU: int8 `weight` of shape (classes, features), int32 `bias` of shape (classes,).

    Features are in stream order (height, width, channels). The result is the exact 32-bit sum, raw; it stands for
    `q * 2**-fraction`.
    """

    name: str
    source: str
    weight: Constant
    bias: Constant
    fraction: int


GraphLayer: TypeAlias = Conv | Add | MaxPool | AveragePool | Dense

LOGIT_WIDTH = 32


@dataclass(frozen=True)
class FeatureMap:
    """Hold the shape and format of one feature map."""

    shape: Shape
    format: TensorFormat

    @property
    def pixel_width(self) -> int:
        """Return the bits of one pixel, all channels side by side."""
        return self.shape.channels * self.format.width


@dataclass(frozen=True)
class Graph:
    """Hold an integer network: layers in topological order, the last one being the output."""

    name: str
    input: FeatureMap
    layers: tuple[GraphLayer, ...]
    classes: tuple[str, ...] = ()

    @cached_property
    def feature_maps(self) -> dict[str, FeatureMap]:
        """Return every feature map by the name of the layer that makes it, and the image as `input`."""
        maps = {INPUT_NAME: self.input}
        for layer in self.layers:
            maps[layer.name] = layer_output(layer, maps[layer.sources[0]])
        return maps

    @property
    def output(self) -> FeatureMap:
        """Return the last layer's feature map."""
        return self.feature_maps[self.layers[-1].name]

    @property
    def classifier(self) -> Dense | None:
        """Return the programmable last layer, if the graph has one."""
        last = self.layers[-1]
        return last if isinstance(last, Dense) else None

    @property
    def hardened(self) -> Graph:
        """Return the part that becomes wires: everything but the programmable last layer."""
        return self if self.classifier is None else replace(self, layers=self.layers[:-1])

    def layer(self, name: str) -> GraphLayer:
        """Return the layer of that name, which must exist."""
        return next(layer for layer in self.layers if layer.name == name)


def layer_output(layer: GraphLayer, source: FeatureMap) -> FeatureMap:
    """Return the feature map that `layer` makes of `source` (of its first source)."""
    height, width = source.shape.height, source.shape.width
    match layer:
        case Conv():
            return FeatureMap(
                Shape(layer.weight.shape[0], *layer.window.output_size(height, width)), layer.output
            )
        case MaxPool():
            return FeatureMap(
                Shape(source.shape.channels, *layer.window.output_size(height, width)), source.format
            )
        case AveragePool():
            return FeatureMap(
                Shape(source.shape.channels, *layer.window.output_size(height, width)), layer.output
            )
        case Add():
            return FeatureMap(source.shape, layer.output)
        case Dense():
            classes = layer.weight.array.shape[0]
            return FeatureMap(
                Shape(classes, 1, 1), TensorFormat.uniform(LOGIT_WIDTH, True, layer.fraction, classes)
            )


def accumulator_fractions(layer: GraphLayer, sources: tuple[TensorFormat, ...]) -> tuple[int, ...]:
    """Return the fraction of each output channel's accumulator, before requantization."""
    match layer:
        case Conv():
            return tuple(fraction + sources[0].finest_fraction for fraction in layer.weight_fractions)
        case Add():
            return tuple(max(pair) for pair in zip(sources[0].fractions, sources[1].fractions, strict=True))
        case AveragePool():
            return tuple(fraction + layer.divisor_shift for fraction in sources[0].fractions)
        case MaxPool():
            return sources[0].fractions
        case Dense():
            return (layer.fraction,) * int(layer.weight.array.shape[0])


def requantize_shifts(layer: Conv | Add | AveragePool, sources: tuple[TensorFormat, ...]) -> tuple[int, ...]:
    """Return the right shift of each output channel; negative is an exact left shift."""
    fractions = accumulator_fractions(layer, sources)
    return tuple(before - after for before, after in zip(fractions, layer.output.fractions, strict=True))
