# SPDX-License-Identifier: Apache-2.0
"""Choose the integer format of every feature map: a width, a sign, and a fraction for each channel."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from hsflow_torch.module import NetworkModule
from torch import Tensor

from hsflow.fixedpoint import Interval
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
    NetworkLayer,
)
from hsflow.ir.tensor import TensorFormat

RELU6_CAP = 6
FRACTION_SPREAD = 6
"""How much finer than a layer's coarsest channel another may be: what goes beyond widens adders for nothing."""

_BATCH = 64
_SMALLEST_RANGE = 2.0**-20

Formats = Mapping[str, TensorFormat]


@dataclass(frozen=True)
class FormatOptions:
    """Hold how ranges become formats."""

    width: int = 8
    percentile: float = 99.9
    """The least share of a channel's values, in percent, that must not saturate in any batch (see `observe`)."""


def calibrate(module: NetworkModule, images: Tensor, options: FormatOptions) -> dict[str, TensorFormat]:
    """Return the format of every feature map of the module's network, the image's as `input`.

    Args:
        module: computes the float feature maps.
        images: pixels, shape (n, channels, height, width).
        options: width and percentile.
    """
    ranges = observe(module, images, options.percentile)
    network = module.network
    channels = network.input_shape.channels
    formats = {INPUT_NAME: TensorFormat.uniform(PIXEL_WIDTH, False, PIXEL_FRACTION, channels)}
    for layer in network.layers:
        if not isinstance(layer, Dense):
            formats[layer.name] = _format_of(layer, formats, ranges[layer.name], options.width)
    return formats


@torch.no_grad()
def observe(module: NetworkModule, images: Tensor, percentile: float) -> dict[str, Tensor]:
    """Return for each feature map a magnitude a channel that its values stay within, shape (channels,).

    Images are taken in batches of 64. In each batch `percentile` percent of a channel's values are at most a certain
    magnitude; the largest of these over the batches is returned. So in every batch, and over all images, at least that
    share of the values stays within, while the feature maps of one batch are all that is held. Over one batch it is
    the percentile itself; over many it is closer to the largest value than their common percentile.
    """
    module.eval()
    ranges: dict[str, Tensor] = {}
    for batch in torch.split(images, _BATCH):
        for name, value in module.feature_maps(batch).items():
            found = _percentile(value, percentile)
            ranges[name] = torch.maximum(ranges[name], found) if name in ranges else found
    return ranges


def _percentile(value: Tensor, percentile: float) -> Tensor:
    magnitudes = value.abs().transpose(0, 1).flatten(1)
    count = magnitudes.shape[1]
    rank = max(1, math.ceil(count * percentile / 100))
    return magnitudes.kthvalue(rank, dim=1).values


def _format_of(layer: NetworkLayer, formats: Formats, ranges: Tensor, width: int) -> TensorFormat:
    sources = [formats[source] for source in layer.sources]
    if isinstance(layer, MaxPool):
        return sources[0]
    signed = is_signed(layer, any(source.signed for source in sources))
    whole = Interval.of_format(width, signed)
    fractions = _fractions(ranges.tolist(), max(1, whole.high))
    relu6 = isinstance(layer, Conv | Add) and layer.activation is Activation.RELU6
    high = tuple(min(whole.high, _capped(fraction)) if relu6 else whole.high for fraction in fractions)
    return TensorFormat(width, signed, fractions, (whole.low,) * len(fractions), high)


def is_signed(layer: NetworkLayer, source_signed: bool) -> bool:
    """Tell whether a layer's output has a sign: not after ReLU, nor after a pool or an add of unsigned values."""
    match layer:
        case Conv():
            return layer.activation is Activation.NONE
        case Add():
            return layer.activation is Activation.NONE and source_signed
        case AveragePool() | MaxPool():
            return source_signed
        case Dense():
            return True


def _fractions(ranges: list[float], highest: int) -> tuple[int, ...]:
    """Return the finest fraction at which each range fits; a channel that is always zero takes the finest of all."""
    found = [
        math.floor(math.log2((highest + 0.5) / value)) if value > _SMALLEST_RANGE else None
        for value in ranges
    ]
    known = [fraction for fraction in found if fraction is not None] or [PIXEL_FRACTION]
    finest = min(max(known), min(known) + FRACTION_SPREAD)
    return tuple(finest if fraction is None else min(fraction, finest) for fraction in found)


def _capped(fraction: int) -> int:
    return math.floor(RELU6_CAP * 2.0**fraction)
