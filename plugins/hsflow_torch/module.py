# SPDX-License-Identifier: Apache-2.0
"""A `Network` as a trainable torch module, and back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hsflow.ir.network import (
    INPUT_NAME,
    PIXEL_FRACTION,
    Activation,
    Add,
    AveragePool,
    Conv,
    Dense,
    MaxPool,
    Network,
    NetworkLayer,
)
from hsflow.ir.tensor import Constant, Window
from hsflow.stage import StageContext
from hsflow_torch.training import accuracy


class LayerParameters(nn.Module):
    """Hold the weight, bias and pruning mask of one layer."""

    mask: Tensor | None

    def __init__(self, layer: Conv | Dense) -> None:
        super().__init__()
        self.weight = nn.Parameter(_tensor(layer.weight))
        self.bias = nn.Parameter(_tensor(layer.bias))
        mask = _tensor(layer.mask) if isinstance(layer, Conv) and layer.mask is not None else None
        self.register_buffer("mask", mask)

    def masked(self) -> Tensor:
        """Return the weight with what was pruned at exactly zero."""
        return self.weight if self.mask is None else self.weight * self.mask


class NetworkModule(nn.Module):
    """Compute a `Network` on pixels 0..255 of shape (n, channels, height, width), differentiably.

    A subclass changes the arithmetic by overriding `weight_of`, `bias_of` and `finish`.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        trained = [layer for layer in network.layers if isinstance(layer, Conv | Dense)]
        self.index = {layer.name: index for index, layer in enumerate(trained)}
        self._last_reads = _last_reads(network)
        self.blocks = nn.ModuleList(LayerParameters(layer) for layer in trained)

    def parameters_of(self, layer: NetworkLayer) -> LayerParameters:
        """Return the parameters of a `Conv` or `Dense`."""
        return cast(LayerParameters, self.blocks[self.index[layer.name]])

    def weight_of(self, layer: Conv | Dense) -> Tensor:
        """Return the weight to compute with, of the layer's shape."""
        return self.parameters_of(layer).masked()

    def bias_of(self, layer: Conv | Dense) -> Tensor:
        """Return the bias to compute with, shape (outputs,)."""
        return self.parameters_of(layer).bias

    def finish(self, layer: NetworkLayer, value: Tensor) -> Tensor:
        """Return a layer's output, given its value before the activation."""
        match layer.activation if isinstance(layer, Conv | Add) else Activation.NONE:
            case Activation.RELU:
                return functional.relu(value)
            case Activation.RELU6:
                return functional.relu6(value)
            case Activation.NONE:
                return value

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the last layer's output: logits (n, classes), or a feature map."""
        values: dict[str, Tensor] = {}
        for layer, value in self._walk(pixels, values):
            for source in self._last_reads[layer.name]:
                del values[source]
            last = value
        return last

    def feature_maps(self, pixels: Tensor) -> dict[str, Tensor]:
        """Return every feature map by its layer's name, the image as `input`."""
        values: dict[str, Tensor] = {}
        for _ in self._walk(pixels, values):
            pass
        return values

    def _walk(self, pixels: Tensor, values: dict[str, Tensor]) -> Iterator[tuple[NetworkLayer, Tensor]]:
        """Yield each layer with its output, which is entered in `values`; what nobody reads any more may be deleted."""
        values[INPUT_NAME] = pixels.float() / (1 << PIXEL_FRACTION)
        for layer in self.network.layers:
            raw = self.compute(layer, [values[source] for source in layer.sources])
            values[layer.name] = self.finish(layer, raw)
            yield layer, values[layer.name]

    def compute(self, layer: NetworkLayer, sources: list[Tensor]) -> Tensor:
        """Return a layer's value before its activation."""
        x = sources[0]
        match layer:
            case Conv():
                return convolve(x, self.weight_of(layer), self.bias_of(layer), layer)
            case Add():
                return x + sources[1]
            case MaxPool():
                return max_pool(x, layer.window)
            case AveragePool():
                return average_pool(x, layer.window)
            case Dense():
                return functional.linear(stream_order(x), self.weight_of(layer), self.bias_of(layer))

    def to_network(self) -> Network:
        """Return the network with the module's present weights; pruned ones are exactly zero."""
        return replace(self.network, layers=tuple(self._exported(layer) for layer in self.network.layers))

    def _exported(self, layer: NetworkLayer) -> NetworkLayer:
        if not isinstance(layer, Conv | Dense):
            return layer
        parameters = self.parameters_of(layer)
        weight, bias = constant(parameters.masked()), constant(parameters.bias)
        return replace(layer, weight=weight, bias=bias)


def _last_reads(network: Network) -> dict[str, tuple[str, ...]]:
    """Return by layer the feature maps that nothing behind it reads."""
    last = {source: layer.name for layer in network.layers for source in layer.sources}
    return {
        layer.name: tuple(source for source, reader in last.items() if reader == layer.name)
        for layer in network.layers
    }


def convolve(x: Tensor, weight: Tensor, bias: Tensor, layer: Conv) -> Tensor:
    """Return the convolution of `x`, padded by the layer's padding values."""
    window = layer.window
    padded = pad(x, window, layer.pad_values)
    return functional.conv2d(padded, weight, bias, window.stride, 0, window.dilation, layer.groups)


def pad(x: Tensor, window: Window, values: tuple[float, ...]) -> Tensor:
    """Surround `x` by `values`, one for each channel."""
    padding = window.padding
    sides = (padding.left, padding.right, padding.top, padding.bottom)
    if not any(sides):
        return x
    if not any(values):
        return functional.pad(x, sides)
    offset = torch.tensor(values, dtype=x.dtype, device=x.device).view(-1, 1, 1)
    return functional.pad(x - offset, sides) + offset


def max_pool(x: Tensor, window: Window) -> Tensor:
    """Return the maximum of each window."""
    padding = window.padding
    sides = (padding.left, padding.right, padding.top, padding.bottom)
    padded = functional.pad(x, sides, value=float("-inf"))
    return functional.max_pool2d(padded, window.kernel, window.stride, 0, window.dilation)


def average_pool(x: Tensor, window: Window) -> Tensor:
    """Return the mean of each window; padding counts as zeros."""
    return sum_pool(x, window, 1 / window.taps)


def sum_pool(x: Tensor, window: Window, scale: float = 1.0) -> Tensor:
    """Return the sum of each window, each value times `scale`; padding counts as zeros."""
    channels = x.shape[1]
    kernel = torch.full((channels, 1, *window.kernel), scale, dtype=x.dtype, device=x.device)
    padded = pad(x, window, ())
    return functional.conv2d(padded, kernel, None, window.stride, 0, window.dilation, channels)


def stream_order(x: Tensor) -> Tensor:
    """Return features in stream order (height, width, channels), shape (n, features)."""
    return x.permute(0, 2, 3, 1).flatten(1)


def constant(tensor: Tensor) -> Constant:
    """Return a tensor's values as a frozen array."""
    return Constant(tensor.detach().cpu().numpy().copy())


def record_accuracy(context: StageContext, name: str, network: Network) -> None:
    """Record the network's accuracy on the held-out images, where its outputs are the classes."""
    dataset = context.dataset
    if network.shapes[network.layers[-1].name].elements != len(dataset.classes):
        context.log(f"{name} is not measured: the network's outputs are not the data's classes")
        return
    percent = accuracy(NetworkModule(network), dataset.test_images, dataset.test_labels)
    context.record(name, percent, unit="%", better="higher")


def _tensor(values: Constant) -> Tensor:
    array = values.array
    return torch.from_numpy(np.array(array, dtype=np.float32))
