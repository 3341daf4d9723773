# SPDX-License-Identifier: Apache-2.0
"""A fast emulator: every integer that the interpreter gives, from batched matrix products in torch.

Floats compute integers exactly while every partial sum stays below 2**24 (float32) or 2**53 (float64), in any order of
summation. Each layer proves its bound from its real weights and the input's range, and takes the first of float32,
float64 and int64 that holds it. Feature maps are (channels, n, height, width), so that a 1x1 convolution of a whole
batch is one matrix product; other kernels are sums of such products, one for each position. Library convolutions are
not used, since Winograd's and Fourier's algorithms round.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hsflow.fixedpoint import IntArray, Interval, rounding_constant
from hsflow.ir.graph import (
    Add,
    AveragePool,
    Conv,
    Dense,
    FeatureMap,
    Graph,
    GraphLayer,
    MaxPool,
    requantize_shifts,
)
from hsflow.ir.interp import check_images
from hsflow.ir.network import INPUT_NAME
from hsflow.ir.tensor import Padding, TensorFormat, Window
from hsflow.ir.verify import input_intervals

FLOAT32_EXACT = 1 << 24
FLOAT64_EXACT = 1 << 53
BATCH_SIZE = 512


def emulate(
    graph: Graph, images: NDArray[Any], *, device: str = "cpu", batch_size: int = BATCH_SIZE
) -> IntArray:
    """Run `images`, shape (n, channels, height, width), through the graph, as `hsflow.ir.interp.interpret` does.

    Returns:
        int64, (n, classes) after a `Dense` layer, else (n, channels, height, width).

    Raises:
        ModelError: if the images do not fit the graph's input.
    """
    return Emulator(graph, device).run(images, batch_size)


def features(graph: Graph, images: NDArray[Any], *, device: str = "cpu") -> IntArray:
    """Return what the classifier reads, in stream order (height, width, channels), int64 of shape (n, features).

    Without a classifier that is the graph's output.

    Raises:
        ModelError: if the images do not fit the graph's input.
    """
    read = graph.layers[-1].name if graph.classifier is None else graph.classifier.source
    maps = Emulator(graph, device, output=read).run(images)
    return maps.transpose(0, 2, 3, 1).reshape(len(maps), math.prod(maps.shape[1:]))


class Emulator:
    """Hold a graph's constants on a device, to run many batches up to the feature map `output`, by default the last."""

    def __init__(self, graph: Graph, device: str = "cpu", *, output: str | None = None) -> None:
        self.graph = graph
        self.device = device
        self.output = graph.layers[-1].name if output is None else output
        maps = graph.feature_maps
        self.flat = graph.classifier is not None and graph.classifier.name == self.output
        self.shape = maps[self.output].shape
        self.steps = [
            (layer, _step(layer, tuple(maps[source] for source in layer.sources), device))
            for layer in _ancestors(graph, self.output)
        ]

    def run(self, images: NDArray[Any], batch_size: int = BATCH_SIZE) -> IntArray:
        """Return the graph's output for `images`, computed `batch_size` at a time."""
        pixels = check_images(self.graph, images)
        with torch.inference_mode(), exact_products():
            results = [self._batch(pixels[i : i + batch_size]) for i in range(0, len(pixels), batch_size)]
        return np.concatenate(results) if results else self._empty()

    def _batch(self, pixels: IntArray) -> IntArray:
        image = torch.from_numpy(pixels).to(self.device).float().transpose(0, 1).contiguous()
        values = {INPUT_NAME: image}
        for layer, step in self.steps:
            values[layer.name] = step(*(values[source] for source in layer.sources))
        last = values[self.output].transpose(0, 1)
        result: IntArray = last.to(torch.int64).cpu().contiguous().numpy()
        return result.reshape(len(pixels), -1) if self.flat else result

    def _empty(self) -> IntArray:
        shape = self.shape
        sizes = (shape.channels,) if self.flat else (shape.channels, shape.height, shape.width)
        return np.zeros((0, *sizes), dtype=np.int64)


def _ancestors(graph: Graph, name: str) -> list[GraphLayer]:
    """Return the layers that the feature map `name` depends on, its own included, in the graph's order."""
    needed = {name}
    for layer in reversed(graph.layers):
        if layer.name in needed:
            needed.update(layer.sources)
    return [layer for layer in graph.layers if layer.name in needed]


@contextmanager
def exact_products() -> Iterator[None]:
    """Keep matrix products in true float32: no TF32 on a GPU, no bfloat16 on a CPU."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _step(layer: GraphLayer, sources: tuple[FeatureMap, ...], device: str) -> Any:
    match layer:
        case Conv():
            return _ConvStep(layer, sources[0].format, device)
        case Add():
            return _AddStep(layer, sources[0].format, sources[1].format, device)
        case AveragePool():
            return _AverageStep(layer, sources[0].format, device)
        case MaxPool():
            return _MaxStep(layer, sources[0].format, device)
        case Dense():
            return _DenseStep(layer, sources[0], device)


def number_type(bound: int) -> torch.dtype:
    """Return the fastest type that holds every integer up to `bound` exactly."""
    if bound < FLOAT32_EXACT:
        return torch.float32
    return torch.float64 if bound < FLOAT64_EXACT else torch.int64


class _Requantize:
    """Shift right with rounding half up, left exactly, and saturate; the result is float32, at most 16 bits."""

    def __init__(
        self, shifts: tuple[int, ...], output: TensorFormat, dtype: torch.dtype, device: str
    ) -> None:
        self.dtype = dtype
        self.half = _column([rounding_constant(shift) for shift in shifts], dtype, device)
        self.right = _column([max(shift, 0) for shift in shifts], torch.int64, device)
        self.left = _column([max(-shift, 0) for shift in shifts], torch.int64, device)
        self.scale = torch.exp2(self.left.double() - self.right.double()).to(torch.float64)
        self.floats = self.scale.to(dtype) if dtype.is_floating_point else None
        self.low = _column(output.low, dtype, device)
        self.high = _column(output.high, dtype, device)

    def __call__(self, accumulator: Tensor) -> Tensor:
        """Requantize (channels, n, height, width)."""
        if self.floats is not None:
            shifted = torch.floor((accumulator + self.half) * self.floats)
        else:
            shifted = ((accumulator + self.half) >> self.right) << self.left
        return torch.minimum(torch.maximum(shifted, self.low), self.high).float()


class _ConvStep:
    def __init__(self, layer: Conv, source: TensorFormat, device: str) -> None:
        self.window, self.groups = layer.window, layer.groups
        weights = layer.weight.integers
        shifts = requantize_shifts(layer, (source,))
        dtype = number_type(_conv_bound(layer, source, shifts))
        outputs, inputs, height, width = weights.shape
        self.depthwise = inputs == 1 and outputs == layer.groups
        grouped = weights.reshape(layer.groups, outputs // layer.groups, inputs, height * width)
        self.taps = torch.from_numpy(np.ascontiguousarray(grouped.transpose(3, 0, 1, 2))).to(device, dtype)
        self.align = _column((1 << source.alignment).tolist(), dtype, device)
        self.pad = _column(layer.pad_values, torch.float32, device)
        self.bias = _column(layer.bias.array.tolist(), dtype, device)
        self.requantize = _Requantize(shifts, layer.output, dtype, device)

    def __call__(self, x: Tensor) -> Tensor:
        dtype = self.taps.dtype
        aligned = _padded(x, self.window, self.pad).to(dtype) * self.align
        pixels = list(_taps(aligned, self.window))
        _, n, rows, columns = pixels[0].shape
        total = self._depthwise(pixels) if self.depthwise else self._products(pixels)
        return self.requantize(total.view(-1, n, rows, columns) + self.bias)

    def _depthwise(self, pixels: list[Tensor]) -> Tensor:
        total = pixels[0] * self.taps[0].view(-1, 1, 1, 1)
        for weight, pixel in zip(self.taps[1:], pixels[1:], strict=True):
            total.addcmul_(pixel, weight.view(-1, 1, 1, 1))
        return total

    def _products(self, pixels: list[Tensor]) -> Tensor:
        total: Any = 0
        for weight, pixel in zip(self.taps, pixels, strict=True):
            total = total + _product(weight, pixel.reshape(self.groups, weight.shape[2], -1))
        assembled: Tensor = total
        return assembled


def _product(weight: Tensor, values: Tensor) -> Tensor:
    """Return the batched matrix product; integers are multiplied on the CPU, where torch has such a product."""
    if weight.dtype is torch.int64 and weight.device.type != "cpu":
        return torch.bmm(weight.cpu(), values.cpu()).to(weight.device)
    return torch.bmm(weight, values)


def _conv_bound(layer: Conv, source: TensorFormat, shifts: tuple[int, ...]) -> int:
    """Return what no partial sum, bias and rounding constant included, exceeds in magnitude."""
    weights = np.abs(layer.weight.integers)
    outputs, inputs = weights.shape[:2]
    group = np.arange(outputs) // (outputs // layer.groups)
    largest = [
        _magnitude(interval) << int(align)
        for interval, align in zip(input_intervals(layer, source), source.alignment, strict=True)
    ]
    totals = weights.sum(axis=(2, 3))
    bounds: list[int] = []
    for output in range(outputs):
        first = int(group[output]) * inputs
        products = sum(int(totals[output, i]) * largest[first + i] for i in range(inputs))
        bounds.append(products + abs(int(layer.bias.array[output])) + rounding_constant(shifts[output]))
    return max([*bounds, *largest])


class _AddStep:
    def __init__(self, layer: Add, left: TensorFormat, right: TensorFormat, device: str) -> None:
        finest = [max(pair) for pair in zip(left.fractions, right.fractions, strict=True)]
        factors = [
            [1 << (f - g) for f, g in zip(finest, form.fractions, strict=True)] for form in (left, right)
        ]
        shifts = requantize_shifts(layer, (left, right))
        dtype = number_type(_add_bound(factors, (left, right), shifts))
        self.dtype = dtype
        self.left, self.right = (_column(factor, dtype, device) for factor in factors)
        self.requantize = _Requantize(shifts, layer.output, dtype, device)

    def __call__(self, x: Tensor, y: Tensor) -> Tensor:
        return self.requantize(x.to(self.dtype) * self.left + y.to(self.dtype) * self.right)


def _add_bound(
    factors: list[list[int]], formats: tuple[TensorFormat, TensorFormat], shifts: tuple[int, ...]
) -> int:
    sums = [
        sum(_magnitude(form.intervals[c]) * factor[c] for form, factor in zip(formats, factors, strict=True))
        for c in range(len(shifts))
    ]
    return max(total + rounding_constant(shift) for total, shift in zip(sums, shifts, strict=True))


class _AverageStep:
    def __init__(self, layer: AveragePool, source: TensorFormat, device: str) -> None:
        self.window = layer.window
        shifts = requantize_shifts(layer, (source,))
        largest = max(_magnitude(interval) for interval in source.intervals) * layer.window.taps
        dtype = number_type(largest + max(rounding_constant(shift) for shift in shifts))
        self.dtype = dtype
        self.pad = _column((0,) * source.channels, torch.float32, device)
        self.requantize = _Requantize(shifts, layer.output, dtype, device)

    def __call__(self, x: Tensor) -> Tensor:
        total: Any = 0
        for pixels in _taps(_padded(x, self.window, self.pad).to(self.dtype), self.window):
            total = total + pixels
        return self.requantize(total)


class _MaxStep:
    def __init__(self, layer: MaxPool, source: TensorFormat, device: str) -> None:
        self.window = layer.window
        self.pad = _column(source.low, torch.float32, device)

    def __call__(self, x: Tensor) -> Tensor:
        first, *rest = _taps(_padded(x, self.window, self.pad), self.window)
        for pixels in rest:
            first = torch.maximum(first, pixels)
        return first


class _DenseStep:
    def __init__(self, layer: Dense, source: FeatureMap, device: str) -> None:
        weight = layer.weight.array.astype(np.int64)
        largest = np.tile([_magnitude(i) for i in source.format.intervals], source.shape.pixels)
        bound = np.abs(weight) @ largest + np.abs(layer.bias.array.astype(np.int64))
        dtype = number_type(int(bound.max()))
        self.weight = torch.from_numpy(weight).to(device, dtype)
        self.bias = torch.from_numpy(layer.bias.array.astype(np.int64)).to(device, dtype).view(-1, 1)

    def __call__(self, x: Tensor) -> Tensor:
        stream = x.permute(2, 3, 0, 1).flatten(0, 2).to(self.weight.dtype)
        return _product(self.weight[None], stream[None])[0] + self.bias


def _magnitude(interval: Interval) -> int:
    return max(abs(interval.low), abs(interval.high))


def _column(values: Any, dtype: torch.dtype, device: str) -> Tensor:
    return torch.tensor(list(values), dtype=torch.int64).to(dtype).view(-1, 1, 1, 1).to(device)


def _padded(x: Tensor, window: Window, values: Tensor) -> Tensor:
    """Surround (channels, n, height, width) by one value a channel."""
    pad = window.padding
    if pad == Padding():
        return x
    channels, n, height, width = x.shape
    size = (channels, n, height + pad.top + pad.bottom, width + pad.left + pad.right)
    padded = values.expand(size).contiguous()
    padded[:, :, pad.top : pad.top + height, pad.left : pad.left + width] = x
    return padded


def _taps(padded: Tensor, window: Window) -> Iterator[Tensor]:
    """Yield what each kernel position sees for every output pixel."""
    (rows, columns), (down, across) = window.kernel, window.stride
    bottom = padded.shape[2] - window.extent[0] + 1
    right = padded.shape[3] - window.extent[1] + 1
    for row in range(0, rows * window.dilation[0], window.dilation[0]):
        for column in range(0, columns * window.dilation[1], window.dilation[1]):
            yield padded[:, :, row : row + bottom : down, column : column + right : across]
