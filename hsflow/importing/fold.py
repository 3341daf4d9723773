# SPDX-License-Identifier: Apache-2.0
"""Fold batch normalization and image preprocessing into convolutions: float64 inside, float32 out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsflow.errors import ModelError
from hsflow.ir.network import INPUT_NAME, PIXEL_FRACTION, Add, Conv, NetworkLayer
from hsflow.ir.tensor import Constant, Window

FloatArray = NDArray[np.float64]

PIXEL_LEVELS = 1 << PIXEL_FRACTION
BRIGHTEST_PIXEL = PIXEL_LEVELS - 1
PREPROCESS_NAME = "preprocess"

overflowing = np.errstate(over="ignore", invalid="ignore")
"""Decorate arithmetic on weights: what is too large becomes infinite or NaN, which `check_finite` refuses by its layer."""


@overflowing
def single(values: NDArray[Any]) -> Constant:
    """Return `values` as a float32 constant."""
    return Constant(values.astype(np.float32))


@overflowing
def fold_scale(conv: Conv, scale: FloatArray, offset: FloatArray) -> Conv:
    """Return `conv` followed by `y * scale + offset`, one of each for an output channel."""
    weight = conv.weight.array.astype(np.float64) * scale.reshape(-1, 1, 1, 1)
    bias = conv.bias.array.astype(np.float64) * scale + offset
    return replace(conv, weight=single(weight), bias=single(bias))


def per_channel_conv(name: str, source: str, scale: FloatArray, offset: FloatArray) -> Conv:
    """Return a depthwise 1x1 convolution that computes `x * scale + offset`."""
    channels = len(scale)
    weight = single(scale.reshape(-1, 1, 1, 1))
    return Conv(name, source, weight, single(offset), Window(), channels, pad_values=(0.0,) * channels)


def identity_conv(name: str, source: str, channels: int) -> Conv:
    """Return a depthwise 1x1 convolution that changes nothing; its weight 1 costs no adder."""
    return per_channel_conv(name, source, np.ones(channels), np.zeros(channels))


@overflowing
def fold_preprocessing(
    layers: Sequence[NetworkLayer], channels: int, mean: Sequence[float], std: Sequence[float]
) -> tuple[NetworkLayer, ...]:
    """Let layers that expect `(pixel / 255 - mean) / std` take `pixel / 256` instead.

    The factors go into the convolutions that read the image; where something else reads it as well, into a depthwise
    layer of their own. Padding becomes the pixel nearest to `mean`, which is what zero stood for.
    """
    means, stds = _spread(mean, channels), _spread(std, channels)
    scale = PIXEL_LEVELS / BRIGHTEST_PIXEL / stds
    readers = [layer for layer in layers if INPUT_NAME in layer.sources]
    if all(isinstance(layer, Conv) for layer in readers):
        return tuple(
            _fold_input(layer, scale, means, stds)
            if isinstance(layer, Conv) and layer.source == INPUT_NAME
            else layer
            for layer in layers
        )
    first = per_channel_conv(_free_name(layers), INPUT_NAME, scale, -means / stds)
    return (first, *(_reading(layer, first.name) for layer in layers))


def check_preprocessing(channels: int, mean: Sequence[float], std: Sequence[float]) -> None:
    """Refuse preprocessing that does not fit an image of so many channels.

    Raises:
        ModelError: if there is neither one value nor one a channel, a value is not finite, or a `std` is not positive.
    """
    for label, values in (("mean", mean), ("std", std)):
        if len(values) not in {1, channels}:
            raise ModelError(
                f"{label} does not fit the images",
                where=label,
                got=f"{len(values)} values",
                expected=f"1 or {channels}",
            )
        if not all(math.isfinite(value) and (value > 0 or label == "mean") for value in values):
            raise ModelError(
                f"{label} is out of range",
                where=label,
                got=", ".join(map(str, values)),
                expected="finite numbers" if label == "mean" else "finite numbers above 0",
            )


def _spread(values: Sequence[float], channels: int) -> FloatArray:
    return np.broadcast_to(np.array(values, dtype=np.float64), (channels,))


def _fold_input(conv: Conv, scale: FloatArray, means: FloatArray, stds: FloatArray) -> Conv:
    weight = conv.weight.array.astype(np.float64)
    outputs, inputs = weight.shape[:2]
    group = np.arange(outputs) // (outputs // conv.groups)
    channel = group[:, np.newaxis] * inputs + np.arange(inputs)
    shift = (weight.sum(axis=(2, 3)) * (means / stds)[channel]).sum(axis=1)
    pads = tuple((np.floor(means * BRIGHTEST_PIXEL + 0.5) / PIXEL_LEVELS).tolist())
    return replace(
        conv,
        weight=single(weight * scale[channel][:, :, np.newaxis, np.newaxis]),
        bias=single(conv.bias.array - shift),
        pad_values=pads,
    )


def _free_name(layers: Sequence[NetworkLayer]) -> str:
    taken = {layer.name for layer in layers}
    name = PREPROCESS_NAME
    while name in taken:
        name += "_"
    return name


def _reading(layer: NetworkLayer, name: str) -> NetworkLayer:
    """Return `layer` with the image replaced by the layer `name`."""
    sources = tuple(name if source == INPUT_NAME else source for source in layer.sources)
    if isinstance(layer, Add):
        return replace(layer, sources=(sources[0], sources[1]))
    return replace(layer, source=sources[0])
