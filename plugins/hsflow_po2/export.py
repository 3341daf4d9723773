# SPDX-License-Identifier: Apache-2.0
"""Make the integer `Graph` of a quantized module."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from hsflow.errors import ModelError
from hsflow.fixedpoint import IntArray, Interval, rounding_constant, shift_round
from hsflow.ir import graph as ir
from hsflow.ir.network import INPUT_NAME, Add, AveragePool, Conv, Dense, MaxPool, Network, NetworkLayer
from hsflow.ir.tensor import Constant, TensorFormat
from hsflow.ir.verify import accumulator_intervals, verify
from hsflow_po2.dense import quantize_dense
from hsflow_po2.rounding import RoundedWeight
from hsflow_po2.simulate import QuantizedModule

_LARGEST_BIAS = 2.0**61


def export_graph(module: QuantizedModule) -> ir.Graph:
    """Return the verified graph; ranges and scales are as tight as they can be proved to be.

    Raises:
        ModelError: if a weight is not finite, or the verifier refuses the graph.
    """
    module.refresh()
    network, formats = module.network, module.formats
    maps = {INPUT_NAME: ir.FeatureMap(network.input_shape, formats[INPUT_NAME])}
    for layer in network.layers:
        if not isinstance(layer, Dense):
            maps[layer.name] = ir.FeatureMap(network.shapes[layer.name], formats[layer.name])
    return assemble(network, formats[INPUT_NAME], [_export(module, layer, maps) for layer in network.layers])


def assemble(network: Network, image: TensorFormat, layers: Sequence[ir.GraphLayer]) -> ir.Graph:
    """Return the verified graph of `layers`, each made as tight as it can be proved to be."""
    maps = {INPUT_NAME: ir.FeatureMap(network.input_shape, image)}
    tight: list[ir.GraphLayer] = []
    for layer in layers:
        layer = _tightened(layer, maps)
        maps[layer.name] = ir.layer_output(layer, maps[layer.sources[0]])
        tight.append(layer)
    return verify(ir.Graph(network.name, maps[INPUT_NAME], tuple(tight), network.classes))


def _export(module: QuantizedModule, layer: NetworkLayer, maps: dict[str, ir.FeatureMap]) -> ir.GraphLayer:
    match layer:
        case Conv():
            return _export_conv(module, layer, maps[layer.source].format)
        case Add():
            return ir.Add(layer.name, layer.sources, module.formats[layer.name])
        case AveragePool():
            return ir.AveragePool(layer.name, layer.source, layer.window, module.formats[layer.name])
        case MaxPool():
            return ir.MaxPool(layer.name, layer.source, layer.window)
        case Dense():
            parameters = module.parameters_of(layer)
            weight, bias = (_float64(tensor) for tensor in (parameters.weight, parameters.bias))
            return quantize_dense(layer.name, layer.source, maps[layer.source], weight, bias)


def _export_conv(module: QuantizedModule, layer: Conv, source: TensorFormat) -> ir.Conv:
    parameters = module.parameters_of(layer)
    masked = parameters.masked().detach()
    rounded = module.rounding(masked, module.fractions[layer.name])
    form, levels = module.formats[layer.name], module.rounding.levels
    return integer_conv(layer, masked, rounded, parameters.bias, source, form, levels)


def integer_conv(
    layer: Conv,
    masked: Tensor,
    rounded: RoundedWeight,
    bias: Tensor,
    source: TensorFormat,
    output: TensorFormat,
    levels: int,
) -> ir.Conv:
    """Return the integer convolution.

    Args:
        layer: gives geometry and padding values.
        masked: the float weights, whose zeros must have stayed zero.
        rounded: what became of them.
        bias: float, shape (outputs,).
        source: the format of what it reads.
        output: the format of what it makes.
        levels: exponents of a window.

    Raises:
        ModelError: if a weight or bias is not finite, or a zero was revived.
    """
    floats, offsets = _float64(masked), _float64(bias)
    if not (np.isfinite(offsets).all() and np.isfinite(floats).all()):
        raise ModelError("a weight or bias is not finite", where=layer.name, hint="train again")
    fractions = rounded.fractions.numpy().astype(np.int64)
    weight = ir.Po2Weight(
        Constant(rounded.sign.numpy().astype(np.int8)),
        Constant(rounded.exponent.numpy().astype(np.int8)),
        levels,
    )
    _refuse_revived(weight, floats, layer.name)
    return ir.Conv(
        layer.name,
        layer.source,
        weight,
        tuple(fractions.tolist()),
        Constant(_integer_bias(offsets, fractions + source.finest_fraction, layer.name)),
        layer.window,
        layer.groups,
        tuple(
            math.floor(value * 2.0**fraction + 0.5)
            for value, fraction in zip(layer.pad_values, source.fractions, strict=True)
        ),
        output,
    )


def _refuse_revived(weight: ir.Po2Weight, masked: NDArray[np.float64], where: str) -> None:
    revived = int(((weight.integers != 0) & (masked == 0)).sum())
    if revived:
        raise ModelError(
            "the rounding turns zeros into weights, which undoes pruning",
            where=where,
            got=f"{revived} of {masked.size} weights",
            hint="a WeightRounding must give sign 0 to a weight of 0 in every term",
        )


def _integer_bias(bias: NDArray[np.float64], fractions: IntArray, where: str) -> IntArray:
    scaled = np.rint(bias * 2.0**fractions)
    if (np.abs(scaled) > _LARGEST_BIAS).any():
        raise ModelError(
            "a bias does not fit its accumulator",
            where=where,
            got=f"{np.abs(bias).max():g}",
            hint="train again",
        )
    integers: IntArray = scaled.astype(np.int64)
    return integers


def _tightened(layer: ir.GraphLayer, maps: dict[str, ir.FeatureMap]) -> ir.GraphLayer:
    """Return `layer` with the smallest integers and the narrowest output range that compute the same."""
    sources = tuple(maps[source] for source in layer.sources)
    if isinstance(layer, ir.Conv):
        layer = _without_trailing_zeros(layer, sources[0].format)
    if isinstance(layer, ir.Conv | ir.Add | ir.AveragePool):
        return replace(layer, output=_reachable(layer, sources))
    return layer


def _without_trailing_zeros(layer: ir.Conv, source: TensorFormat) -> ir.Conv:
    """Divide each output channel's weights by their common power of two.

    With all weights multiples of `2**t` and t below the requantizing shift s, only the bias has bits below t, and
    `(2**t * a + b + 2**(s-1)) >> s` equals `(a + ((b + 2**(s-1)) >> t)) >> (s - t)`: nothing is lost.
    """
    shifts = ir.requantize_shifts(layer, (source,))
    sign = layer.weight.sign.array
    exponent = layer.weight.exponent.array.copy()
    bias = layer.bias.array.copy()
    fractions = list(layer.weight_fractions)
    for output, shift in enumerate(shifts):
        used = exponent[:, output][sign[:, output] != 0]
        drop = max(0, min(int(used.min()) if used.size else shift, shift - 1))
        exponent[:, output][sign[:, output] != 0] -= drop
        fractions[output] -= drop
        rounded = (int(bias[output]) + rounding_constant(shift)) >> drop
        bias[output] = rounded - (rounding_constant(shift - drop) if drop else rounding_constant(shift))
    weight = replace(layer.weight, exponent=Constant(exponent))
    return replace(layer, weight=weight, weight_fractions=tuple(fractions), bias=Constant(bias))


def _reachable(layer: ir.Conv | ir.Add | ir.AveragePool, sources: tuple[ir.FeatureMap, ...]) -> TensorFormat:
    """Return the output's format with each channel's range narrowed to what interval arithmetic says it can be."""
    form = layer.output
    shifts = ir.requantize_shifts(layer, tuple(source.format for source in sources))
    ranges = [
        _requantized(interval, shift, allowed)
        for interval, shift, allowed in zip(
            accumulator_intervals(layer, sources), shifts, form.intervals, strict=True
        )
    ]
    return replace(form, low=tuple(r.low for r in ranges), high=tuple(r.high for r in ranges))


def _requantized(interval: Interval, shift: int, allowed: Interval) -> Interval:
    ends = shift_round(np.array([interval.low, interval.high], dtype=np.int64), shift)
    low, high = np.clip(ends, allowed.low, allowed.high).tolist()
    return Interval(low, high)


def _float64(tensor: Tensor) -> NDArray[np.float64]:
    array: NDArray[np.float64] = tensor.detach().cpu().double().numpy()
    return array
