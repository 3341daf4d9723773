# SPDX-License-Identifier: Apache-2.0
"""A sketch of an integer graph: what can be said of its hardware before it is quantized with data.

Weights are rounded to the nearest power of two, feature maps get fixed 8-bit formats. Adders and widths come out close
to those of a network that is quantized well, for they follow from shapes, zeros and the spread of exponents; accuracy
does not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from hsflow_prune.magnitude import prune
from numpy.typing import NDArray

from hsflow.errors import ModelError
from hsflow.ir import graph as ir
from hsflow.ir.network import (
    INPUT_NAME,
    PIXEL_FRACTION,
    PIXEL_WIDTH,
    Activation,
    Add,
    AveragePool,
    Conv,
    Dense,
    MaxPool,
    Network,
    NetworkLayer,
)
from hsflow.ir.tensor import Constant, TensorFormat
from hsflow_po2.averages import absorb_averages
from hsflow_po2.dense import quantize_dense

LEVELS = 8
WIDTH = 8
FRACTION = 4
RELU6_FRACTION = 5
RELU6_HIGH = 6 << RELU6_FRACTION
"""The formats: u8.5 up to 6 behind ReLU6, u8.4 behind ReLU, s8.4 behind nothing."""

_LARGEST_BIAS = 2.0**40

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class _Rounded:
    """Hold the signs, exponents and fractions of one layer's weights, as `hsflow_po2.rounding.RoundedWeight` does."""

    weight: ir.Po2Weight
    fractions: NDArray[np.int64]


def sketch_graph(network: Network, sparsity: float = 0.0, levels: int = LEVELS) -> ir.Graph:
    """Return an integer graph of `network` with weights rounded to nearest, without any data.

    Args:
        network: the float network; its zeros stay zeros.
        sparsity: the share of each convolution's weights, the smallest, that become zero, 0 to below 1.
        levels: exponents that a channel's weights may take.

    Raises:
        ModelError: if a weight or bias is not finite, or an average cannot be divided by.
    """
    absorbed = absorb_averages(prune(network, sparsity, "unstructured", "layer"))
    channels = network.input_shape.channels
    image = TensorFormat.uniform(PIXEL_WIDTH, False, PIXEL_FRACTION, channels)
    maps = {INPUT_NAME: ir.FeatureMap(network.input_shape, image)}
    layers: list[ir.GraphLayer] = []
    for layer in absorbed.layers:
        sources = [maps[source] for source in layer.sources]
        sketched = _sketch(layer, sources, levels)
        maps[layer.name] = ir.layer_output(sketched, sources[0])
        layers.append(sketched)
    return ir.Graph(network.name, maps[INPUT_NAME], tuple(layers), network.classes)


def _sketch(layer: NetworkLayer, sources: list[ir.FeatureMap], levels: int) -> ir.GraphLayer:
    source = sources[0]
    signed = any(each.format.signed for each in sources)
    match layer:
        case Conv():
            return _conv(layer, source.format, levels)
        case Add():
            return ir.Add(
                layer.name, layer.sources, _format(layer.activation, signed, source.format.channels)
            )
        case AveragePool():
            return ir.AveragePool(layer.name, layer.source, layer.window, source.format)
        case MaxPool():
            return ir.MaxPool(layer.name, layer.source, layer.window)
        case Dense():
            weight, bias = (each.array.astype(np.float64) for each in (layer.weight, layer.bias))
            return quantize_dense(layer.name, layer.source, source, weight, bias)


def _conv(layer: Conv, source: TensorFormat, levels: int) -> ir.Conv:
    weight = layer.weight.array.astype(np.float64)
    if not (np.isfinite(weight).all() and np.isfinite(layer.bias.array).all()):
        raise ModelError("a weight or bias is not finite", where=layer.name, hint="train again")
    rounded = round_to_nearest(weight, levels)
    pads = zip(layer.pad_values, source.fractions, strict=True)
    return ir.Conv(
        layer.name,
        layer.source,
        rounded.weight,
        tuple(rounded.fractions.tolist()),
        _bias(layer, rounded.fractions + source.finest_fraction),
        layer.window,
        layer.groups,
        tuple(math.floor(value * 2.0**fraction + 0.5) for value, fraction in pads),
        _format(layer.activation, True, len(weight)),
    )


def _bias(layer: Conv, fractions: NDArray[np.int64]) -> Constant:
    scaled = np.rint(layer.bias.array.astype(np.float64) * 2.0**fractions)
    return Constant(np.clip(scaled, -_LARGEST_BIAS, _LARGEST_BIAS).astype(np.int64))


def _format(activation: Activation, signed: bool, channels: int) -> TensorFormat:
    if activation is Activation.RELU6:
        whole = TensorFormat.uniform(WIDTH, False, RELU6_FRACTION, channels)
        return TensorFormat(WIDTH, False, whole.fractions, whole.low, (RELU6_HIGH,) * channels)
    return TensorFormat.uniform(WIDTH, signed and activation is Activation.NONE, FRACTION, channels)


def round_to_nearest(weight: FloatArray, levels: int) -> _Rounded:
    """Round float weights, shape (outputs, ...), to the nearest power of two or to zero.

    The exponents of an output channel end at that of its largest weight; what is below half the smallest becomes zero.
    """
    mantissa, exponent = np.frexp(np.abs(weight))
    nearest = exponent.astype(np.int64) - (mantissa < 0.75)  # ties upward: that of 1.5 is 1
    rows = np.where(weight == 0, np.iinfo(np.int64).min, nearest).reshape(len(weight), -1)
    highest = np.where((weight == 0).reshape(len(weight), -1).all(axis=1), 0, rows.max(axis=1))
    fractions = levels - 1 - highest
    shift = fractions.reshape(-1, *[1] * (weight.ndim - 1))
    sign = np.where(np.abs(np.ldexp(weight, shift.astype(np.int32))) < 0.5, 0, np.sign(weight))
    powers = np.where(sign == 0, 0, np.maximum(nearest + shift, 0))
    return _Rounded(
        ir.Po2Weight(
            Constant(sign[np.newaxis].astype(np.int8)), Constant(powers[np.newaxis].astype(np.int8)), levels
        ),
        fractions,
    )
