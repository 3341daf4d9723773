# SPDX-License-Identifier: Apache-2.0
"""Distil an integer graph: learn its biases, so that its logits become those of the float network, without labels.

Weights, scales and formats stay as they are, and with them every adder and wire of the hardware. A power of two cannot
move a little, and a few hundred images cannot say which of millions should jump; biases can, and take away what all
roundings together shift. The graph is computed in its own integers, gradients pass straight through the roundings.

Sources: Hinton et al., "Distilling the Knowledge in a Neural Network", 2015; Bengio et al., "Estimating or Propagating
Gradients Through Stochastic Neurons", 2013.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import numpy as np
import torch
from hsflow_torch.module import NetworkModule, max_pool, pad, stream_order, sum_pool
from hsflow_torch.training import Recipe, fit
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hsflow.errors import ModelError
from hsflow.ir import graph as ir
from hsflow.ir.network import INPUT_NAME, Network
from hsflow.ir.tensor import Constant, TensorFormat
from hsflow.progress import Track, untracked
from hsflow_po2.export import assemble

_BATCH = 10
_TEMPERATURE = 2.0


def distillation_recipe(epochs: int, learning_rate: float, threads: int = 1) -> Recipe:
    """Return how `distill` is trained; the learning rate is in units of each layer's output integers."""
    return Recipe(
        epochs,
        learning_rate,
        batch_size=_BATCH,
        distillation=1.0,
        temperature=_TEMPERATURE,
        threads=threads,
    )


def distill(
    graph: ir.Graph,
    network: Network,
    images: NDArray[np.uint8],
    recipe: Recipe,
    seed: int,
    *,
    track: Track = untracked,
) -> ir.Graph:
    """Return `graph` with biases that bring its logits closer to those of `network`.

    Args:
        graph: the quantized network; ends in a `Dense` layer, which is left alone.
        network: the float network.
        images: uint8, shape (n, channels, height, width); they need no labels.
        recipe: how to train; the learning rate is in units of each layer's output integers.
        seed: fixes order and augmentation.
        track: shows progress.

    Raises:
        ModelError: if the graph does not end in logits, or training diverges.
    """
    if graph.classifier is None:
        raise ModelError(
            "only logits can be distilled",
            where=graph.name,
            expected="a dense last layer",
            hint="set distillation_epochs = 0",
        )
    module = GraphModule(graph)
    teacher = NetworkModule(network).eval().requires_grad_(False)
    fit(module, images, None, recipe, seed, teacher=teacher, track=track, description="distillation")
    return assemble(network, graph.input.format, module.layers())


class GraphModule(nn.Module):
    """Compute a graph's logits, float of shape (n, classes), differentiably in its convolutions' biases.

    Feature maps hold the graph's integers as float32. Where sums stay below 2**24 they are exact; the emulator measures,
    not this.
    """

    def __init__(self, graph: ir.Graph) -> None:
        super().__init__()
        self.graph = graph
        maps = graph.feature_maps
        self.steps = nn.ModuleList(
            _STEPS[type(layer)](layer, *[maps[source].format for source in layer.sources])
            for layer in graph.layers
        )

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the logits for pixels 0..255, shape (n, channels, height, width)."""
        values = {INPUT_NAME: pixels.float().contiguous(memory_format=torch.channels_last)}
        for layer, step in zip(self.graph.layers, self.steps, strict=True):
            values[layer.name] = step(*[values[source] for source in layer.sources])
        return values[self.graph.layers[-1].name]

    def layers(self) -> list[ir.GraphLayer]:
        """Return the graph's layers with the biases learned so far."""
        return [
            step.learned() if isinstance(step, _Convolution) else layer
            for layer, step in zip(self.graph.layers, self.steps, strict=True)
        ]


class _Convolution(nn.Module):
    """Hold the weights in units of the output, and `move`, what is added to the bias in these units."""

    def __init__(self, layer: ir.Conv, source: TensorFormat) -> None:
        super().__init__()
        self.layer = layer
        shifts = torch.tensor(ir.requantize_shifts(layer, (source,)))
        outputs, inputs = layer.weight.shape[:2]
        aligned = torch.from_numpy(source.alignment).reshape(layer.groups, inputs)
        seen = aligned.repeat_interleave(outputs // layer.groups, dim=0) - shifts[:, None]
        integers = torch.from_numpy(layer.weight.integers).float()
        self.weight = nn.Buffer(integers * torch.exp2(seen.float())[:, :, None, None])
        self.unit = nn.Buffer(torch.exp2(shifts.double()))
        self.bias = nn.Buffer((torch.from_numpy(layer.bias.array.copy()) / self.unit).float())
        self.move = nn.Parameter(torch.zeros(outputs))
        self.requantize = _Requantize(layer.output)

    def forward(self, x: Tensor) -> Tensor:
        """Return the requantized convolution."""
        layer, window = self.layer, self.layer.window
        padded = pad(x, window, tuple(map(float, layer.pad_values)))
        bias = self.bias + self.move
        total = functional.conv2d(padded, self.weight, bias, window.stride, 0, window.dilation, layer.groups)
        return cast(Tensor, self.requantize(total))

    def learned(self) -> ir.Conv:
        """Return the layer with its new bias."""
        move = (self.move.detach() * self.unit).round().long().numpy()
        return replace(self.layer, bias=Constant(self.layer.bias.array + move))


class _Addition(nn.Module):
    def __init__(self, layer: ir.Add, left: TensorFormat, right: TensorFormat) -> None:
        super().__init__()
        self.left, self.right = (nn.Buffer(_between(form, layer.output)) for form in (left, right))
        self.requantize = _Requantize(layer.output)

    def forward(self, left: Tensor, right: Tensor) -> Tensor:
        """Return the requantized sum."""
        return cast(Tensor, self.requantize(left * self.left + right * self.right))


class _Average(nn.Module):
    def __init__(self, layer: ir.AveragePool, source: TensorFormat) -> None:
        super().__init__()
        self.window = layer.window
        self.scale = nn.Buffer(_between(source, layer.output) / (1 << layer.divisor_shift))
        self.requantize = _Requantize(layer.output)

    def forward(self, x: Tensor) -> Tensor:
        """Return the requantized averages."""
        return cast(Tensor, self.requantize(sum_pool(x, self.window) * self.scale))


class _Maximum(nn.Module):
    def __init__(self, layer: ir.MaxPool, source: TensorFormat) -> None:
        super().__init__()
        self.window = layer.window

    def forward(self, x: Tensor) -> Tensor:
        """Return the maxima."""
        return max_pool(x, self.window)


class _Classifier(nn.Module):
    def __init__(self, layer: ir.Dense, source: TensorFormat) -> None:
        super().__init__()
        unit = 2.0**-layer.fraction
        self.weight, self.bias = (
            nn.Buffer((torch.from_numpy(values.array.copy()).double() * unit).float())
            for values in (layer.weight, layer.bias)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits as floats."""
        return functional.linear(stream_order(x), self.weight, self.bias)


_STEPS: dict[type[ir.GraphLayer], Callable[..., nn.Module]] = {
    ir.Conv: _Convolution,
    ir.Add: _Addition,
    ir.AveragePool: _Average,
    ir.MaxPool: _Maximum,
    ir.Dense: _Classifier,
}
"""What computes a layer; made from the layer and the formats of its sources."""


class _Requantize(nn.Module):
    """Round values in units of `form` half up, and saturate."""

    def __init__(self, form: TensorFormat) -> None:
        super().__init__()
        self.low, self.high = (
            nn.Buffer(torch.tensor(ends, dtype=torch.float32).view(-1, 1, 1))
            for ends in (form.low, form.high)
        )

    def forward(self, value: Tensor) -> Tensor:
        """Return integers, with the gradient of what does not saturate."""
        return cast(Tensor, _StraightThrough.apply(value, self.low, self.high))  # type: ignore[no-untyped-call]


class _StraightThrough(torch.autograd.Function):
    """Keep one mask for the way back, where a chain of simple operations would keep half a dozen feature maps."""

    @staticmethod
    def forward(context: Any, value: Tensor, low: Tensor, high: Tensor) -> Tensor:
        """Return `value` rounded half up and saturated."""
        rounded = torch.floor(value + 0.5)
        context.save_for_backward((rounded >= low) & (rounded <= high))
        return torch.minimum(torch.maximum(rounded, low), high)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """Return the gradient where nothing saturates."""
        (free,) = context.saved_tensors
        return gradients[0] * free, None, None


def _between(source: TensorFormat, output: TensorFormat) -> Tensor:
    """Return how many units of each channel of `output` one of `source` is, shape (channels, 1, 1)."""
    difference = torch.tensor(output.fractions) - torch.tensor(source.fractions)
    return torch.exp2(difference.float()).view(-1, 1, 1)
