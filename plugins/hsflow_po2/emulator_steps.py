# SPDX-License-Identifier: Apache-2.0
"""The layers of the fast emulator: each is prepared once, and then maps batches of feature maps to batches.

Feature maps are float32, (n, height, width, channels), so that a 1x1 convolution of a whole batch is one matrix product and
constants of channels broadcast. Other convolutions gather what each output pixel sees into the rows of a matrix;
depthwise ones are left to the library, where they are plain sums of products: Winograd's and Fourier's algorithms, which
round, exist for dense kernels only. Requantization costs two passes: the scale is in the weights, the rounding in the bias.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import conv2d

from hsflow.fixedpoint import IntArray
from hsflow.ir.graph import (
    Add,
    AveragePool,
    Conv,
    Dense,
    FeatureMap,
    GraphLayer,
    MaxPool,
    requantize_shifts,
)
from hsflow.ir.tensor import Padding, TensorFormat, Window
from hsflow_po2 import emulator_exact as exact
from hsflow_po2.emulator_exact import Sums, convolution_sums, sums


class Step(Protocol):
    """Be a layer that is ready to run; `dtype` is the type that its sums are computed in."""

    dtype: torch.dtype

    def __call__(self, *maps: Tensor) -> Tensor:
        """Return the layer's feature maps."""


def make_step(layer: GraphLayer, sources: tuple[FeatureMap, ...], device: str) -> Step:
    """Prepare a layer for a device."""
    match layer:
        case Conv():
            return _convolution(layer, sources[0].format, device)
        case Add():
            return _AddStep(layer, sources[0].format, sources[1].format, device)
        case AveragePool():
            return _AverageStep(layer, sources[0], device)
        case MaxPool():
            return _MaxStep(layer, sources[0].format, device)
        case Dense():
            return _DenseStep(layer, sources[0], device)


class _Requantize:
    """Hold `Sums` as constants of a type, scaled so far that what is left is to round down and to saturate."""

    def __init__(self, parts: Sums, output: TensorFormat, device: str) -> None:
        self.dtype = exact.number_type(parts.bound)
        self.device = device
        self.shifts = parts.shifts
        self.fractional = bool((parts.shifts > 0).any())
        self.scaled = self.dtype.is_floating_point
        if not self.scaled:
            self.right, self.left = self._integers(np.maximum(parts.shifts, 0), np.maximum(-parts.shifts, 0))
        self.bias = self.constant(parts.bias)
        self.low, self.high = self._limits(output)

    def constant(self, values: IntArray) -> Tensor:
        """Return what is to be summed, int64 of shape (outputs,) or (..., outputs), scaled if the type has fractions."""
        if not self.scaled:
            return self._integers(values)[0]
        exactly = torch.from_numpy(np.ldexp(values.astype(np.float64), -self.shifts))
        return exactly.to(self.device, self.dtype)

    def __call__(self, total: Tensor) -> Tensor:
        """Round and saturate (..., outputs) in place, as float32: at most 16 bits."""
        if not self.scaled:
            total = (total >> self.right) << self.left
        elif self.fractional:
            total = total.floor_()
        return total.clamp_(self.low, self.high).float()

    def _integers(self, *arrays: IntArray) -> tuple[Tensor, ...]:
        return tuple(torch.from_numpy(np.ascontiguousarray(array)).to(self.device) for array in arrays)

    def _limits(self, output: TensorFormat) -> Any:
        """Return two numbers where all channels have the same, which is faster, or else two rows."""
        ends = output.low, output.high
        if all(len(set(values)) == 1 for values in ends):
            return output.low[0], output.high[0]
        return [torch.tensor(values, dtype=self.dtype, device=self.device) for values in ends]


def _convolution(layer: Conv, source: TensorFormat, device: str) -> Step:
    parts = convolution_sums(layer, source)
    requantize = _Requantize(parts, layer.output, device)
    depthwise = layer.groups > 1 and layer.weight.shape[1] == 1
    if depthwise and requantize.dtype is torch.float32:
        return _DepthwiseStep(layer, parts, requantize)
    return _MatrixStep(layer, parts, requantize)


class _MatrixStep:
    """Convolve by a product of matrices, one for each group."""

    def __init__(self, layer: Conv, parts: Sums, requantize: _Requantize) -> None:
        self.window, self.groups, self.requantize = layer.window, layer.groups, requantize
        self.dtype = requantize.dtype
        self.pad = _PadValues(layer.pad_values, layer.window.padding, requantize.device)
        outputs, inputs = layer.weight.shape[:2]
        taps = parts.weight.reshape(outputs, inputs, -1).transpose(2, 1, 0)  # taps, inputs, outputs
        grouped = requantize.constant(taps).reshape(-1, outputs)
        self.matrix = grouped.view(-1, self.groups, outputs // self.groups).transpose(0, 1).contiguous()

    def __call__(self, *maps: Tensor) -> Tensor:
        """Return the requantized convolution."""
        rows, columns = self.window.output_size(*maps[0].shape[1:3])
        seen = _seen(self.pad(maps[0]), self.window, rows, columns).to(self.dtype)
        bias, matrix = self.requantize.bias, self.matrix
        total = _product(bias, seen, matrix[0]) if self.groups == 1 else self._grouped(seen)
        return self.requantize(total.view(len(maps[0]), rows, columns, -1))

    def _grouped(self, seen: Tensor) -> Tensor:
        """Return (pixels, outputs)."""
        channels = seen.view(len(seen), self.window.taps, self.groups, -1).permute(2, 0, 1, 3)
        bias = self.requantize.bias.view(self.groups, 1, -1)
        total = _product(bias, channels.flatten(2), self.matrix)
        return total.transpose(0, 1).reshape(len(seen), -1)


class _DepthwiseStep:
    """Convolve each channel with kernels of its own, in float32."""

    dtype = torch.float32

    def __init__(self, layer: Conv, parts: Sums, requantize: _Requantize) -> None:
        self.window, self.groups, self.requantize = layer.window, layer.groups, requantize
        pad = layer.window.padding
        self.zeros = (pad.top, pad.left)
        plain = pad == Padding.same_on_all_sides(*self.zeros) and not any(layer.pad_values)
        self.pad = _PadValues(layer.pad_values, Padding() if plain else pad, requantize.device)
        self.padding = self.zeros if plain else (0, 0)
        weight = requantize.constant(parts.weight.T).T.reshape(layer.weight.shape)
        self.weight = weight.contiguous(memory_format=torch.channels_last)

    def __call__(self, *maps: Tensor) -> Tensor:
        """Return the requantized convolution."""
        window, padded = self.window, self.pad(maps[0]).permute(0, 3, 1, 2)
        total = conv2d(
            padded,
            self.weight,
            self.requantize.bias,
            window.stride,
            self.padding,
            window.dilation,
            self.groups,
        )
        return self.requantize(total.permute(0, 2, 3, 1).contiguous())


class _AddStep:
    def __init__(self, layer: Add, left: TensorFormat, right: TensorFormat, device: str) -> None:
        fractions = np.array([left.fractions, right.fractions], dtype=np.int64).T
        parts = sums(
            np.ones_like(fractions),
            fractions.max(axis=1, keepdims=True) - fractions,
            (np.array([left.low, right.low]).T, np.array([left.high, right.high]).T),
            np.zeros(len(fractions), dtype=np.int64),
            np.array(requantize_shifts(layer, (left, right)), dtype=np.int64),
        )
        self.requantize = _Requantize(parts, layer.output, device)
        self.dtype = self.requantize.dtype
        self.left, self.right = (self.requantize.constant(weight) for weight in parts.weight.T)

    def __call__(self, *maps: Tensor) -> Tensor:
        """Return the requantized sum."""
        left, right = (values.to(self.dtype) for values in maps)
        return self.requantize(
            torch.addcmul(self.requantize.bias, left, self.left).addcmul_(right, self.right)
        )


class _AverageStep:
    def __init__(self, layer: AveragePool, source: FeatureMap, device: str) -> None:
        self.window, form = layer.window, source.format
        size = (form.channels, layer.window.taps)
        padded = layer.window.padding != Padding()
        low, high = np.array(form.low), np.array(form.high)
        if padded:
            low, high = np.minimum(low, 0), np.maximum(high, 0)
        parts = sums(
            np.ones(size, dtype=np.int64),
            np.zeros(size, dtype=np.int64),
            (np.broadcast_to(low[:, None], size), np.broadcast_to(high[:, None], size)),
            np.zeros(form.channels, dtype=np.int64),
            np.array(requantize_shifts(layer, (form,)), dtype=np.int64),
        )
        self.requantize = _Requantize(parts, layer.output, device)
        self.dtype = self.requantize.dtype
        self.pad = _PadValues((0,) * form.channels, layer.window.padding, device)
        self.weight = self.requantize.constant(parts.weight[:, 0])

    def __call__(self, *maps: Tensor) -> Tensor:
        """Return the requantized averages."""
        rows, columns = self.window.output_size(*maps[0].shape[1:3])
        padded = self.pad(maps[0]).to(self.dtype)
        taps = _taps(padded, self.window, rows, columns)
        total = taps.sum(dim=(3, 4))
        return self.requantize(torch.addcmul(self.requantize.bias, total, self.weight))


class _MaxStep:
    dtype = torch.float32

    def __init__(self, layer: MaxPool, source: TensorFormat, device: str) -> None:
        self.window = layer.window
        self.pad = _PadValues(source.low, layer.window.padding, device)

    def __call__(self, *maps: Tensor) -> Tensor:
        """Return the maxima."""
        rows, columns = self.window.output_size(*maps[0].shape[1:3])
        return _taps(self.pad(maps[0]), self.window, rows, columns).amax(dim=(3, 4))


class _DenseStep:
    def __init__(self, layer: Dense, source: FeatureMap, device: str) -> None:
        weight, bias = layer.weight.array.astype(np.int64), layer.bias.array.astype(np.int64)
        form, nothing = source.format, np.zeros(len(weight), dtype=np.int64)
        low, high = (
            np.broadcast_to(np.tile(np.array(ends), source.shape.pixels), weight.shape)
            for ends in (form.low, form.high)
        )
        parts = sums(weight, np.zeros_like(weight), (low, high), bias, nothing)
        self.dtype = exact.number_type(parts.bound)
        self.matrix = torch.from_numpy(parts.weight.T.copy()).to(device, self.dtype)
        self.bias = torch.from_numpy(parts.bias).to(device, self.dtype)

    def __call__(self, *maps: Tensor) -> Tensor:
        """Return the logits, (n, 1, 1, classes)."""
        stream = maps[0].flatten(1).to(self.dtype)
        return _product(self.bias, stream, self.matrix)[:, None, None, :]


def _product(bias: Tensor, rows: Tensor, matrix: Tensor) -> Tensor:
    """Return `rows @ matrix + bias`, or several such; integers are multiplied on the CPU, where torch has such a product."""
    function = torch.addmm if matrix.dim() == 2 else torch.baddbmm
    if matrix.dtype is torch.int64 and matrix.device.type != "cpu":
        return function(bias.cpu(), rows.cpu(), matrix.cpu()).to(matrix.device)
    return function(bias, rows, matrix)


class _PadValues:
    """Surround (n, height, width, channels) by one value a channel."""

    def __init__(self, values: tuple[int, ...], padding: Padding, device: str) -> None:
        self.padding = padding
        self.values = torch.tensor(values, dtype=torch.float32, device=device)

    def __call__(self, x: Tensor) -> Tensor:
        """Return the padded maps; without padding, the maps themselves."""
        pad = self.padding
        if pad == Padding():
            return x
        n, height, width, channels = x.shape
        bottom, right = pad.top + height, pad.left + width
        padded = x.new_empty((n, bottom + pad.bottom, right + pad.right, channels))
        padded[:, : pad.top], padded[:, bottom:] = self.values, self.values
        padded[:, :, : pad.left], padded[:, :, right:] = self.values, self.values
        padded[:, pad.top : bottom, pad.left : right] = x
        return padded


def _taps(padded: Tensor, window: Window, rows: int, columns: int) -> Tensor:
    """Return a view of what each output pixel sees, (n, rows, columns, kernel height, kernel width, channels)."""
    n, _, _, channels = padded.shape
    image, row, column, channel = padded.stride()
    (down, across), (below, beside) = window.stride, window.dilation
    size = (n, rows, columns, *window.kernel, channels)
    return padded.as_strided(
        size, (image, row * down, column * across, row * below, column * beside, channel)
    )


def _seen(padded: Tensor, window: Window, rows: int, columns: int) -> Tensor:
    """Return a matrix with what each output pixel sees, (n * rows * columns, taps * channels)."""
    if window == Window(padding=window.padding):
        return padded.view(-1, padded.shape[3])
    return _taps(padded, window, rows, columns).reshape(len(padded) * rows * columns, -1)
