# SPDX-License-Identifier: Apache-2.0
"""The reference interpreter: THE meaning of a `Graph`, in plain NumPy integers, written to be read, not to be fast."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsflow.errors import ModelError
from hsflow.fixedpoint import IntArray, requantize
from hsflow.ir.graph import Add, AveragePool, Conv, Dense, Graph, GraphLayer, MaxPool, requantize_shifts
from hsflow.ir.network import INPUT_NAME
from hsflow.ir.tensor import TensorFormat, Window


def interpret(graph: Graph, images: NDArray[Any]) -> IntArray:
    """Run `images`, shape (n, channels, height, width), through the graph.

    Returns:
        The output feature map, int64: (n, classes) after a `Dense` layer, else (n, channels, height, width).
    """
    return interpret_all(graph, images)[graph.layers[-1].name]


def interpret_all(graph: Graph, images: NDArray[Any]) -> dict[str, IntArray]:
    """Run `images` and return every feature map by name, the image as `input`.

    Raises:
        ModelError: if the images' shape or a pixel's value does not fit the graph's input.
    """
    values = {INPUT_NAME: check_images(graph, images)}
    for layer in graph.layers:
        formats = tuple(graph.feature_maps[source].format for source in layer.sources)
        values[layer.name] = _run_layer(layer, tuple(values[source] for source in layer.sources), formats)
    return values


def check_images(graph: Graph, images: NDArray[Any]) -> IntArray:
    """Return `images` as int64 after checking shape and range against the graph's input."""
    shape, form = graph.input.shape, graph.input.format
    expected = (shape.channels, shape.height, shape.width)
    if images.ndim != 4 or images.shape[1:] != expected or not np.issubdtype(images.dtype, np.integer):
        raise ModelError(
            "the images do not fit the network",
            where=graph.name,
            got=f"{images.dtype} array of shape {images.shape}",
            expected=f"integers of shape (n, {', '.join(map(str, expected))})",
        )
    low, high = per_channel(form.low), per_channel(form.high)
    integers = images.astype(np.int64)
    if ((integers < low) | (integers > high)).any():
        raise ModelError("a pixel is out of range", where=graph.name, expected=str(form))
    return integers


def per_channel(values: tuple[int, ...] | IntArray) -> IntArray:
    """Return one integer a channel in the shape that broadcasts over (n, channels, height, width)."""
    return np.asarray(values, dtype=np.int64).reshape(-1, 1, 1)


def pad_image(values: IntArray, window: Window, pad_values: IntArray) -> IntArray:
    """Surround (n, channels, height, width) by `pad_values`, one for each channel."""
    n, channels, height, width = values.shape
    pad = window.padding
    shape = (n, channels, height + pad.top + pad.bottom, width + pad.left + pad.right)
    padded = np.broadcast_to(per_channel(pad_values), shape).copy()
    padded[:, :, pad.top : pad.top + height, pad.left : pad.left + width] = values
    return padded


def tap(padded: IntArray, window: Window, row: int, column: int) -> IntArray:
    """Return what kernel position (row, column) sees for every output pixel, shape (n, channels, rows, columns)."""
    top, left = row * window.dilation[0], column * window.dilation[1]
    extent_rows = padded.shape[2] - window.extent[0] + top
    extent_columns = padded.shape[3] - window.extent[1] + left
    return padded[
        :, :, top : extent_rows + 1 : window.stride[0], left : extent_columns + 1 : window.stride[1]
    ]


def _run_layer(
    layer: GraphLayer, values: tuple[IntArray, ...], formats: tuple[TensorFormat, ...]
) -> IntArray:
    match layer:
        case Conv():
            return _requantize(layer, convolve(layer, values[0], formats[0]), formats)
        case Add():
            return _requantize(layer, _add(values, formats), formats)
        case AveragePool():
            return _requantize(layer, _window_sum(layer, values[0]), formats)
        case MaxPool():
            return _max_pool(layer, values[0], formats[0])
        case Dense():
            return dense(layer, values[0])


def _requantize(
    layer: Conv | Add | AveragePool, accumulator: IntArray, formats: tuple[TensorFormat, ...]
) -> IntArray:
    shifts = per_channel(requantize_shifts(layer, formats))
    return requantize(accumulator, shifts, per_channel(layer.output.low), per_channel(layer.output.high))


def convolve(layer: Conv, values: IntArray, source: TensorFormat) -> IntArray:
    """Return the exact accumulators with bias, shape (n, outputs, rows, columns)."""
    padded = pad_image(values, layer.window, np.array(layer.pad_values, dtype=np.int64))
    aligned = np.left_shift(padded, per_channel(source.alignment))
    outputs, inputs, kernel_height, kernel_width = layer.weight.shape
    weights = layer.weight.integers.reshape(
        layer.groups, outputs // layer.groups, inputs, kernel_height, kernel_width
    )
    total: Any = 0
    for row in range(kernel_height):
        for column in range(kernel_width):
            pixels = tap(aligned, layer.window, row, column)
            grouped = pixels.reshape(pixels.shape[0], layer.groups, inputs, *pixels.shape[2:])
            total = total + np.einsum("goi,ngihw->ngohw", weights[..., row, column], grouped)
    accumulator: IntArray = total.reshape(total.shape[0], outputs, *total.shape[3:])
    return accumulator + per_channel(layer.bias.array)


def _add(values: tuple[IntArray, ...], formats: tuple[TensorFormat, ...]) -> IntArray:
    left, right = (np.array(form.fractions, dtype=np.int64) for form in formats)
    finest = np.maximum(left, right)
    return np.left_shift(values[0], per_channel(finest - left)) + np.left_shift(
        values[1], per_channel(finest - right)
    )


def _window_sum(layer: AveragePool, values: IntArray) -> IntArray:
    padded = pad_image(values, layer.window, np.zeros(values.shape[1], dtype=np.int64))
    rows, columns = layer.window.kernel
    total: IntArray = np.sum(
        [tap(padded, layer.window, r, c) for r in range(rows) for c in range(columns)], axis=0
    )
    return total


def _max_pool(layer: MaxPool, values: IntArray, source: TensorFormat) -> IntArray:
    padded = pad_image(values, layer.window, np.array(source.low, dtype=np.int64))
    rows, columns = layer.window.kernel
    highest: IntArray = np.max(
        [tap(padded, layer.window, r, c) for r in range(rows) for c in range(columns)], axis=0
    )
    return highest


def dense(layer: Dense, values: IntArray) -> IntArray:
    """Return the raw logits, shape (n, classes); features are taken in stream order."""
    features = values.transpose(0, 2, 3, 1).reshape(values.shape[0], -1)
    return features @ layer.weight.array.astype(np.int64).T + layer.bias.array.astype(np.int64)
