# SPDX-License-Identifier: Apache-2.0
"""A trainable module that computes what the integer graph will: rounded weights, biases and activations.

Gradients pass straight through each rounding (Bengio et al., "Estimating or Propagating Gradients Through Stochastic
Neurons", 2013) and stop where an activation saturates. In float32 the sums are exact as long as they stay below 2**24
units, so the simulation differs from the graph rarely and by one unit at most; the emulator measures, not this.
"""

from __future__ import annotations

from typing import cast

import torch
from hsflow_torch.module import NetworkModule
from torch import Tensor, nn

from hsflow.ir.network import AveragePool, Conv, Dense, MaxPool, Network, NetworkLayer
from hsflow.ir.tensor import TensorFormat
from hsflow_po2.averages import divisor
from hsflow_po2.dense import WEIGHT_LIMIT, dense_fraction, feature_fractions
from hsflow_po2.formats import Formats
from hsflow_po2.rounding import WeightRounding

GUARD_BITS = 16
"""How many bits finer than the output the accumulator may be; smaller weights could not change the output."""


class ChannelFormat(nn.Module):
    """Round a feature map to a `TensorFormat`."""

    scale: Tensor
    low: Tensor
    high: Tensor

    def __init__(self, form: TensorFormat) -> None:
        super().__init__()
        scale = torch.exp2(torch.tensor(form.fractions, dtype=torch.float32))
        self.register_buffer("scale", scale.view(-1, 1, 1))
        self.register_buffer("low", torch.tensor(form.low, dtype=torch.float32).view(-1, 1, 1))
        self.register_buffer("high", torch.tensor(form.high, dtype=torch.float32).view(-1, 1, 1))

    def forward(self, value: Tensor) -> Tensor:
        """Return `value` rounded half up and saturated."""
        clamped = torch.minimum(torch.maximum(value * self.scale, self.low), self.high)
        return straight_through(clamped, torch.floor(clamped + 0.5)) / self.scale


class AverageModule(NetworkModule):
    """Compute a network whose average pools divide by powers of two (see `averages.py`), in float."""

    def compute(self, layer: NetworkLayer, sources: list[Tensor]) -> Tensor:
        """Return a layer's value before its activation."""
        value = super().compute(layer, sources)
        if isinstance(layer, AveragePool):
            return value * (layer.window.taps / divisor(layer.window))
        return value


class QuantizedModule(AverageModule):
    """Compute the integer graph to be, differentiably; `export.export_graph` makes the graph itself of it."""

    def __init__(self, network: Network, rounding: WeightRounding, formats: Formats) -> None:
        super().__init__(network)
        self.rounding = rounding
        self.formats = formats
        names = [layer.name for layer in network.layers if not isinstance(layer, Dense | MaxPool)]
        self.position = {name: index for index, name in enumerate(names)}
        self.roundings = nn.ModuleList(ChannelFormat(formats[name]) for name in names)
        self.fractions: dict[str, Tensor] = {}
        self.refresh()

    @torch.no_grad()
    def refresh(self) -> None:
        """Place the windows of all weights anew, as the weights are now."""
        for layer in self.network.layers:
            if isinstance(layer, Conv):
                placed = self.rounding.place(self.parameters_of(layer).masked())
                self.fractions[layer.name] = torch.minimum(placed, self._finest_fractions(layer))
            elif isinstance(layer, Dense):
                self.fractions[layer.name] = torch.tensor(self._dense_fraction(layer))

    def weight_of(self, layer: Conv | Dense) -> Tensor:
        """Return the rounded weight."""
        weight = self.parameters_of(layer).masked()
        fractions = self.fractions[layer.name]
        if isinstance(layer, Conv):
            return straight_through(weight, self.rounding(weight, fractions).values)
        scale = torch.exp2(fractions - self._feature_fractions(layer)).float()
        integers = torch.round(weight * scale).clamp(-WEIGHT_LIMIT, WEIGHT_LIMIT)
        return straight_through(weight, integers / scale)

    def bias_of(self, layer: Conv | Dense) -> Tensor:
        """Return the bias rounded to the accumulator's unit."""
        bias = self.parameters_of(layer).bias
        finest = self.formats[layer.source].finest_fraction if isinstance(layer, Conv) else 0
        scale = torch.exp2((self.fractions[layer.name] + finest).float())
        return straight_through(bias, torch.round(bias * scale) / scale)

    def finish(self, layer: NetworkLayer, value: Tensor) -> Tensor:
        """Return the layer's output in its format; the format's bounds are the activation."""
        if layer.name not in self.position:
            return value
        return cast(Tensor, self.roundings[self.position[layer.name]](value))

    def _finest_fractions(self, layer: Conv) -> Tensor:
        output = torch.tensor(self.formats[layer.name].fractions)
        return output + GUARD_BITS - self.formats[layer.source].finest_fraction

    def _feature_fractions(self, layer: Dense) -> Tensor:
        pixels = self.network.shapes[layer.source].pixels
        return torch.from_numpy(feature_fractions(self.formats[layer.source], pixels))

    def _dense_fraction(self, layer: Dense) -> int:
        parameters = self.parameters_of(layer)
        weight, bias = (t.detach().double().numpy() for t in (parameters.weight, parameters.bias))
        return dense_fraction(weight, bias, self._feature_fractions(layer).numpy())


def straight_through(value: Tensor, rounded: Tensor) -> Tensor:
    """Return `rounded`, with the gradient of `value`."""
    return value + (rounded - value).detach()
