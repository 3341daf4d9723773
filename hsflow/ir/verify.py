# SPDX-License-Identifier: Apache-2.0
"""The verifier: which graphs are legal, checked before anything is built from one."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hsflow.errors import ModelError
from hsflow.fixedpoint import Interval, check_width
from hsflow.ir.graph import (
    LOGIT_WIDTH,
    Add,
    AveragePool,
    Conv,
    Dense,
    FeatureMap,
    Graph,
    GraphLayer,
    MaxPool,
    Po2Weight,
    layer_output,
    requantize_shifts,
)
from hsflow.ir.matrix import sum_ranges
from hsflow.ir.network import INPUT_NAME
from hsflow.ir.tensor import MAX_ACTIVATION_WIDTH, Shape, TensorFormat, Window

MAX_LEVELS = 32
"""The widest exponent window: weights, and sums of them over any kernel, stay inside a signed 64-bit integer."""


def verify(graph: Graph) -> Graph:
    """Return `graph` after checking every rule.

    Raises:
        ModelError: names the layer and the first rule that it breaks.
    """
    known = {INPUT_NAME: graph.input}
    _check_shape(graph.input.shape, INPUT_NAME)
    _check_format(graph.input.format, graph.input.shape, INPUT_NAME)
    if not graph.layers:
        raise ModelError("the graph has no layer", where=graph.name, expected="at least one")
    for layer in graph.layers:
        _check_sources(layer, known)
        sources = tuple(known[source] for source in layer.sources)
        _check_layer(layer, sources)
        known[layer.name] = layer_output(layer, sources[0])
        _check_shape(known[layer.name].shape, layer.name)
        if isinstance(layer, Dense) and layer is not graph.layers[-1]:
            raise ModelError("a programmable dense layer must be the last layer", where=layer.name)
    _check_all_read(graph)
    return graph


def _check_all_read(graph: Graph) -> None:
    """Refuse a layer that nobody reads: its stream would have no end."""
    read = {source for layer in graph.layers for source in layer.sources}
    for layer in graph.layers[:-1]:
        if layer.name not in read:
            raise ModelError(
                "no layer reads this one, and it is not the output", where=layer.name, hint="remove the layer"
            )


def accumulator_intervals(layer: GraphLayer, sources: tuple[FeatureMap, ...]) -> tuple[Interval, ...]:
    """Return the exact range of each output channel's accumulator, bias included, before requantization."""
    match layer:
        case Conv():
            return tuple(_conv_intervals(layer, sources[0].format))
        case Add():
            return tuple(_add_intervals(sources[0].format, sources[1].format))
        case AveragePool():
            zero = Interval(0, 0)
            padded = layer.window.padding != type(layer.window.padding)()
            taps = layer.window.taps
            ranges = (i.union(zero) if padded else i for i in sources[0].format.intervals)
            return tuple(Interval(i.low * taps, i.high * taps) for i in ranges)
        case MaxPool():
            return sources[0].format.intervals
        case Dense():
            return tuple(_dense_intervals(layer, sources[0]))


def input_intervals(layer: Conv, source: TensorFormat) -> tuple[Interval, ...]:
    """Return the range of each input channel as the kernel sees it: the format's, widened by the padding value."""
    padded = layer.window.padding != type(layer.window.padding)()
    ranges = zip(source.intervals, layer.pad_values, strict=True)
    return tuple(i.union(Interval(pad, pad)) if padded else i for i, pad in ranges)


def _conv_intervals(layer: Conv, source: TensorFormat) -> Iterator[Interval]:
    outputs, inputs = layer.weight.shape[:2]
    ranges = [i << int(s) for i, s in zip(input_intervals(layer, source), source.alignment, strict=True)]
    weights = layer.weight.integers.reshape(outputs, inputs, -1)
    positive, negative = np.maximum(weights, 0).sum(axis=2), np.minimum(weights, 0).sum(axis=2)
    for output in range(outputs):
        first = output // (outputs // layer.groups) * inputs
        low = high = int(layer.bias.array[output])
        for index in range(inputs):
            p, n = int(positive[output, index]), int(negative[output, index])
            interval = ranges[first + index]
            low += p * interval.low + n * interval.high
            high += p * interval.high + n * interval.low
        yield Interval(low, high)


def _add_intervals(left: TensorFormat, right: TensorFormat) -> Iterator[Interval]:
    for a, b, fa, fb in zip(left.intervals, right.intervals, left.fractions, right.fractions, strict=True):
        finest = max(fa, fb)
        yield (a << (finest - fa)) + (b << (finest - fb))


def _dense_intervals(layer: Dense, source: FeatureMap) -> Iterator[Interval]:
    weights = layer.weight.array.astype(np.int64)
    sums = sum_ranges(weights, source.format.intervals * source.shape.pixels)
    for interval, bias in zip(sums, layer.bias.array.tolist(), strict=True):
        yield interval + Interval(bias, bias)


def _check_sources(layer: GraphLayer, known: dict[str, FeatureMap]) -> None:
    if not layer.name or layer.name in known:
        raise ModelError("a layer's name must be unique and not empty", where=repr(layer.name))
    for source in layer.sources:
        if source not in known:
            raise ModelError(
                "a layer reads a feature map that no earlier layer makes",
                where=layer.name,
                got=source,
                expected=f"one of {', '.join(known)}",
            )


def _check_layer(layer: GraphLayer, sources: tuple[FeatureMap, ...]) -> None:
    match layer:
        case Conv():
            _check_window(layer.window, sources[0].shape, layer.name)
            _check_conv(layer, sources[0])
        case MaxPool() | AveragePool():
            _check_window(layer.window, sources[0].shape, layer.name)
        case Add():
            if sources[0].shape != sources[1].shape:
                got = f"{sources[0].shape} and {sources[1].shape}"
                raise ModelError("a residual add needs equal shapes", where=layer.name, got=got)
        case Dense():
            _check_dense(layer, sources[0])
    if isinstance(layer, Conv | Add | AveragePool):
        _check_output(layer, sources)


def _check_output(layer: Conv | Add | AveragePool, sources: tuple[FeatureMap, ...]) -> None:
    intervals = accumulator_intervals(layer, sources)
    shape = Shape(len(intervals), 1, 1)
    _check_format(layer.output, shape, layer.name)
    shifts = requantize_shifts(layer, tuple(source.format for source in sources))
    for interval, shift in zip(intervals, shifts, strict=True):
        check_width(interval.signed_width + max(0, -shift) + 1, layer.name)
        check_width(max(shift, 0) + 1, layer.name)


def _check_shape(shape: Shape, where: str) -> None:
    if min(shape.channels, shape.height, shape.width) < 1:
        raise ModelError("a feature map is empty", where=where, got=shape, expected="sizes of at least 1")


def _check_format(form: TensorFormat, shape: Shape, where: str) -> None:
    if not 1 <= form.width <= MAX_ACTIVATION_WIDTH:
        raise ModelError(
            "a feature map's width is out of range",
            where=where,
            got=form.width,
            expected=f"1..{MAX_ACTIVATION_WIDTH}",
        )
    if {len(form.fractions), len(form.low), len(form.high)} != {shape.channels}:
        raise ModelError(
            "a format must have one fraction and range a channel", where=where, expected=shape.channels
        )
    whole = Interval.of_format(form.width, form.signed)
    for low, high in zip(form.low, form.high, strict=True):
        if low > high or not whole.contains(Interval(low, high)):
            raise ModelError(
                "a channel's range exceeds its width", where=where, got=(low, high), expected=whole
            )


def _check_window(window: Window, source: Shape, where: str) -> None:
    pad = window.padding
    numbers = (*window.kernel, *window.stride, *window.dilation)
    if min(numbers) < 1 or min(pad.top, pad.bottom, pad.left, pad.right) < 0:
        raise ModelError("kernel, stride and dilation must be >= 1, padding >= 0", where=where, got=window)
    if min(window.output_size(source.height, source.width)) < 1:
        raise ModelError(
            "the window is larger than the padded input", where=where, got=f"{window} on {source}"
        )


def _check_conv(layer: Conv, source: FeatureMap) -> None:
    _check_weight(layer.weight, layer.name)
    outputs, inputs = layer.weight.shape[:2]
    groups = layer.groups
    if groups < 1 or outputs % groups or inputs * groups != source.shape.channels:
        raise ModelError(
            "the weights do not fit the input's channels",
            where=layer.name,
            got=f"{outputs}x{inputs} weights in {groups} groups",
            expected=f"inputs * groups = {source.shape.channels}, outputs divisible by the groups",
        )
    lengths = len(layer.weight_fractions), len(layer.pad_values), layer.bias.array.shape
    if lengths != (outputs, source.shape.channels, (outputs,)) or layer.bias.array.dtype != np.int64:
        raise ModelError(
            "scales, padding or bias have the wrong length or type", where=layer.name, got=lengths
        )
    whole = Interval.of_format(source.format.width, source.format.signed)
    if any(not whole.low <= value <= whole.high for value in layer.pad_values):
        raise ModelError("a padding value does not fit the input's format", where=layer.name, expected=whole)


def _check_weight(weight: Po2Weight, where: str) -> None:
    sign, exponent = weight.sign.array, weight.exponent.array
    if sign.ndim != 5 or sign.shape != exponent.shape or {sign.dtype, exponent.dtype} != {np.dtype(np.int8)}:
        raise ModelError("Po2 weights must be two int8 arrays of one 5-D shape", where=where, got=sign.shape)
    if not sign.size:
        raise ModelError(
            "a convolution has no weight", where=where, got=sign.shape, expected="sizes of at least 1"
        )
    if not 1 <= weight.levels <= MAX_LEVELS:
        raise ModelError(
            "a Po2 weight's window of exponents is out of range",
            where=where,
            got=weight.levels,
            expected=f"1..{MAX_LEVELS} levels",
        )
    if (np.abs(sign) > 1).any() or (exponent < 0).any() or (exponent >= weight.levels).any():
        raise ModelError(
            "a Po2 weight is outside its window",
            where=where,
            expected=f"sign in -1..1, exponent in 0..{weight.levels - 1}",
        )


def _check_dense(layer: Dense, source: FeatureMap) -> None:
    weight, bias = layer.weight.array, layer.bias.array
    if weight.ndim != 2 or weight.shape[1] != source.shape.elements or bias.shape != weight.shape[:1]:
        raise ModelError(
            "the dense layer does not fit its input",
            where=layer.name,
            got=f"weights {weight.shape}, bias {bias.shape}",
            expected=f"(classes, {source.shape.elements}) and (classes,)",
        )
    if weight.dtype != np.int8 or bias.dtype != np.int32:
        raise ModelError(
            "NPU weights must be int8 and biases int32", where=layer.name, got=(weight.dtype, bias.dtype)
        )
    whole = Interval.of_format(LOGIT_WIDTH, True)
    for interval in _dense_intervals(layer, source):
        if not whole.contains(interval):
            raise ModelError("a logit could overflow 32 bits", where=layer.name, got=interval, expected=whole)
