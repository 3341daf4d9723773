# SPDX-License-Identifier: Apache-2.0
"""Choose what one unit of every channel stands for, from the values that the float network gives it.

A channel's integer q stands for `gain * (y - offset)`, times `2**fraction`, where y is the float network's value:
gains go into the weights on both sides, so any scale is free where a convolution makes the channel, as an offset is
where nothing pads it. Feature maps that are added or pooled share their gains.

Source of the equalization: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", 2019;
here the scale is that of the least squared error of the activation itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
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
    Network,
    NetworkLayer,
)
from hsflow.ir.tensor import Padding, TensorFormat
from hsflow_po2.formats import FRACTION_SPREAD, RELU6_CAP, is_signed

_STEPS = 8
"""Scales tried within a factor of two."""

_CLIPS = 24
"""Scales tried; with any part that is no power of two, one of them at least saturates nothing."""

_SMALLEST_RANGE = 2.0**-20


@dataclass(frozen=True, eq=False)
class Scale:
    """Hold a feature map's format, and gain and offset of every channel, float32 of shape (channels,)."""

    format: TensorFormat
    gain: Tensor
    offset: Tensor

    @property
    def unit(self) -> Tensor:
        """Return 2**fraction of every channel."""
        return torch.exp2(torch.tensor(self.format.fractions, dtype=torch.float32))


def choose_scales(network: Network, samples: Mapping[str, Tensor], width: int) -> dict[str, Scale]:
    """Return the scale of every feature map but the logits, the image's as `input`.

    Args:
        network: with averages absorbed.
        samples: values of each feature map, shape (n, channels).
        width: bits of a feature map.
    """
    offsets = _offsets(network, samples)
    intervals = _intervals(network, width)
    layers = {layer.name: layer for layer in network.layers}
    scales = {INPUT_NAME: _image(network.input_shape.channels)}
    for group in _groups(network):
        steps = {name: _measure(samples[name] - offsets[name], intervals[name]) for name in group}
        phase = _common_phase(list(steps.values()), free=not _reads_image(network, group))
        for name in group:
            index, _ = steps[name].best(phase)
            scales[name] = _scale(layers[name], intervals[name], index, phase, offsets[name], width)
    return _with_pools(network, scales)


def _with_pools(network: Network, scales: dict[str, Scale]) -> dict[str, Scale]:
    """Give maximum pools the very scale of what they read."""
    for layer in network.layers:
        if isinstance(layer, MaxPool):
            scales[layer.name] = scales[layer.source]
    return scales


def _intervals(network: Network, width: int) -> dict[str, Interval]:
    signed = {INPUT_NAME: False}
    for layer in network.layers:
        signed[layer.name] = is_signed(layer, any(signed[source] for source in layer.sources))
    return {name: Interval.of_format(width, sign) for name, sign in signed.items()}


def _reads_image(network: Network, group: list[str]) -> bool:
    """Tell whether the image, whose unit is given, shares its gain with the group."""
    return any(
        INPUT_NAME in layer.sources and not isinstance(layer, Conv)
        for layer in network.layers
        if layer.name in group
    )


def _common_phase(steps: list[_Steps], *, free: bool) -> Tensor:
    """Return the part of the unit that is no power of two, as a power of `2**(1 / _STEPS)`, best for all maps."""
    phases = torch.arange(_STEPS if free else 1)[:, None].expand(-1, steps[0].coarsest.shape[0])
    totals = torch.stack([sum((step.best(phase)[1] for step in steps), torch.zeros(())) for phase in phases])
    return totals.argmin(dim=0)


def _image(channels: int) -> Scale:
    form = TensorFormat.uniform(PIXEL_WIDTH, False, PIXEL_FRACTION, channels)
    return Scale(form, torch.ones(channels), torch.zeros(channels))


def _groups(network: Network) -> list[list[str]]:
    """Return the feature maps in groups that must share their gains, each in the network's order."""
    group = {layer.name: [layer.name] for layer in network.layers if not isinstance(layer, Dense)}
    for layer in network.layers:
        if isinstance(layer, Add | AveragePool | MaxPool):
            members = [name for name in (*layer.sources, layer.name) if name != INPUT_NAME]
            merged = [name for name in group if any(name in group[member] for member in members)]
            group.update(dict.fromkeys(merged, merged))
    return [members for name, members in group.items() if members[0] == name]


def _offsets(network: Network, samples: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return what is subtracted from each channel: the middle of its values, where nothing pads or clips them."""
    movable = _movable(network)
    offsets = {INPUT_NAME: torch.zeros(network.input_shape.channels)}
    for layer in network.layers:
        channels = network.shapes[layer.name].channels
        offsets[layer.name] = torch.zeros(channels)
        if isinstance(layer, Add) and layer.name in movable:
            offsets[layer.name] = offsets[layer.sources[0]] + offsets[layer.sources[1]]
        elif isinstance(layer, Conv) and layer.name in movable:
            ends = torch.quantile(samples[layer.name], torch.tensor([0.005, 0.995]), dim=0)
            offsets[layer.name] = ends.mean(dim=0)
    return offsets


def _movable(network: Network) -> set[str]:
    """Return the feature maps to which a constant may be added, the readers' biases making up for it."""
    readers: dict[str, list[NetworkLayer]] = {}
    for layer in network.layers:
        for source in layer.sources:
            readers.setdefault(source, []).append(layer)
    movable: set[str] = set()
    for layer in reversed(network.layers):
        free = isinstance(layer, Conv | Add) and layer.activation is Activation.NONE
        readers_of = readers.get(layer.name, [])
        if free and readers_of and all(_absorbs(reader, movable) for reader in readers_of):
            movable.add(layer.name)
    return movable


def _absorbs(reader: NetworkLayer, movable: set[str]) -> bool:
    if isinstance(reader, Add):
        return reader.name in movable
    return isinstance(reader, Conv) and reader.window.padding == Padding()


@dataclass(frozen=True, eq=False)
class _Steps:
    """Hold the squared error of the units `2**((coarsest - i) / _STEPS)`, i = 0..., shape (candidates, channels)."""

    errors: Tensor
    coarsest: Tensor

    def best(self, phase: Tensor) -> tuple[Tensor, Tensor]:
        """Return each channel's best unit as a power of `2**(1 / _STEPS)`, of those equal to `phase`, and its error."""
        index = self.coarsest - torch.arange(_CLIPS)[:, None]
        allowed = (index - phase) % _STEPS == 0
        errors = torch.where(allowed, self.errors, float("inf"))
        error, chosen = errors.min(dim=0)
        return self.coarsest - chosen, error


def _measure(values: Tensor, interval: Interval) -> _Steps:
    """Return the errors of rounding `values`, shape (n, channels), to integers of `interval`."""
    largest = values.amax(dim=0).clamp(min=0) / max(1, interval.high)
    if interval.low:
        largest = torch.maximum(largest, -values.amin(dim=0) / -interval.low)
    unsaturated = torch.ceil(torch.log2(largest.clamp(min=_SMALLEST_RANGE)) * _STEPS - 1e-3).long()
    coarsest = unsaturated + _STEPS - 1
    errors = [_error(values, coarsest - clip, interval) for clip in range(_CLIPS)]
    return _Steps(torch.stack(errors), coarsest)


def _error(values: Tensor, index: Tensor, interval: Interval) -> Tensor:
    unit = torch.exp2(index / _STEPS)
    rounded = torch.floor(values / unit + 0.5).clamp(interval.low, interval.high) * unit
    return (rounded - values).square().mean(dim=0)


def _scale(
    layer: NetworkLayer, interval: Interval, index: Tensor, phase: Tensor, offset: Tensor, width: int
) -> Scale:
    fractions = -torch.div(index - phase, _STEPS, rounding_mode="floor")
    fractions = torch.minimum(fractions, fractions.min() + FRACTION_SPREAD)
    gain = torch.exp2(-phase / _STEPS)
    high = torch.full_like(fractions, interval.high)
    if isinstance(layer, Conv | Add) and layer.activation is Activation.RELU6:
        cap = torch.floor(RELU6_CAP * gain * torch.exp2(fractions.float()) + 0.5)
        high = torch.minimum(high, cap.long())
    low = (interval.low,) * len(gain)
    form = TensorFormat(width, interval.low < 0, tuple(fractions.tolist()), low, tuple(high.tolist()))
    return Scale(form, gain, offset)
