# SPDX-License-Identifier: Apache-2.0
"""Look at the float network once: what values its feature maps take, and how much the logits mind an error."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from hsflow.ir.network import INPUT_NAME, PIXEL_FRACTION, Conv, Dense, Network
from hsflow.progress import Track, untracked
from hsflow_po2.simulate import AverageModule

_BATCH = 16
_SAMPLES = 8192
"""Values kept of each channel."""

_TINY = 1e-12


@dataclass(frozen=True, eq=False)
class Survey:
    """Hold `samples`, each feature map's values, shape (n, channels), and `sensitivity`, one an output of each Conv.

    Rounding errors in the weights of an output that add up to a variance v before its activation raise the
    Kullback-Leibler divergence of the classes by about `sensitivity * v`: half of Fisher's information of the weights
    over the variance of their inputs. It counts that one weight's error is the same in every pixel.
    """

    samples: dict[str, Tensor]
    sensitivity: dict[str, Tensor]
    coherence: dict[str, float]
    """How much alike the gradients of an image's pixels are, 0..1: so much more its mean error counts."""


def survey(
    module: AverageModule, images: Tensor, seed: int, backward: int, *, track: Track = untracked
) -> Survey:
    """Return what `module` does with `images`; the gradients are of `backward` of them."""
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, list[Tensor]] = {}
    with torch.no_grad():
        for start in track(range(0, len(images), _BATCH), "ranges of the float network"):
            for name, value in _run(module, images[start : start + _BATCH]).items():
                found.setdefault(name, []).append(_sampled(value, len(images), generator))
    samples = {name: torch.cat(parts) for name, parts in found.items()}
    graded = images[torch.randperm(len(images), generator=generator)[:backward]]
    return Survey(samples, *_gradients(module, graded, samples, generator, track))


def _run(module: AverageModule, batch: Tensor, raws: dict[str, Tensor] | None = None) -> dict[str, Tensor]:
    """Return each feature map; put what convolutions give before their activations in `raws`."""
    pixels = batch.float() / (1 << PIXEL_FRACTION)
    values = {INPUT_NAME: pixels.contiguous(memory_format=torch.channels_last)}
    for layer in module.network.layers:
        raw = module.compute(layer, [values[source] for source in layer.sources])
        if raws is not None and isinstance(layer, Conv):
            raw.retain_grad()
            raws[layer.name] = raw
        values[layer.name] = module.finish(layer, raw)
    return values


def _gradients(
    module: AverageModule,
    images: Tensor,
    samples: dict[str, Tensor],
    generator: torch.Generator,
    track: Track,
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Return sensitivity and coherence of each convolution; one image at a time, as each has its gradient."""
    convs = [layer for layer in module.network.layers if isinstance(layer, Conv)]
    squares = {layer.name: torch.zeros(layer.weight.array.shape[0]) for layer in convs}
    pixelwise, together = dict.fromkeys(squares, 0.0), dict.fromkeys(squares, 0.0)
    for index in track(range(len(images)), "gradients of the float network"):
        module.zero_grad(set_to_none=True)
        raws: dict[str, Tensor] = {}
        output = _run(module, images[index : index + 1], raws)[module.network.layers[-1].name].flatten(1)
        torch.autograd.backward(_likelihood(output, module.network, generator))
        for layer in convs:
            squares[layer.name] += _squared_gradient(module, layer, samples[layer.source].mean(dim=0))
            gradient = raws[layer.name].grad
            if gradient is not None:
                pixelwise[layer.name] += float(gradient.square().sum())
                together[layer.name] += float(gradient.sum(dim=(2, 3)).square().sum())
    module.zero_grad(set_to_none=True)
    sensitivity = {
        layer.name: squares[layer.name] / (2 * len(images) * _input_variance(layer, samples[layer.source]))
        for layer in convs
    }
    shapes = module.network.shapes
    return sensitivity, {n: _coherence(together[n], pixelwise[n], shapes[n].pixels) for n in squares}


def _coherence(together: float, pixelwise: float, pixels: int) -> float:
    """Return the share of a gradient that all pixels have in common, from its square summed in two ways."""
    if pixels == 1 or pixelwise == 0:
        return 0.0
    return min(1.0, max(0.0, (together / pixelwise - 1) / (pixels - 1)))


def _likelihood(output: Tensor, network: Network, generator: torch.Generator) -> Tensor:
    """Return the likelihood of a class that the network itself draws.

    Where the network ends in a feature map instead, return the map's sum with random signs.
    """
    if isinstance(network.layers[-1], Dense):
        drawn = torch.multinomial(output.detach().softmax(dim=1), 1, generator=generator)[:, 0]
        return functional.cross_entropy(output, drawn, reduction="sum")
    signs = torch.randint(2, output.shape, generator=generator) * 2.0 - 1.0
    return (output * signs).sum()


def _squared_gradient(module: AverageModule, layer: Conv, mean: Tensor) -> Tensor:
    """Return each output's squared gradient of its weights, while the bias keeps the mean output what it was."""
    parameters = module.parameters_of(layer)
    weight, bias = parameters.weight.grad, parameters.bias.grad
    if weight is None or bias is None:
        return torch.zeros(layer.weight.array.shape[0])
    centred = weight - bias.view(-1, 1, 1, 1) * _by_output(layer, mean)
    return centred.square().sum(dim=(1, 2, 3))


def _input_variance(layer: Conv, samples: Tensor) -> Tensor:
    """Return the summed variance of what each output reads, shape (outputs,)."""
    variance = _by_output(layer, samples.var(dim=0, unbiased=False))
    return (variance.sum(dim=(1, 2, 3)) * layer.window.taps).clamp(min=_TINY)


def _by_output(layer: Conv, channels: Tensor) -> Tensor:
    """Return one value an input channel as each output reads them, shape (outputs, inputs / groups, 1, 1)."""
    outputs, inputs = layer.weight.array.shape[:2]
    grouped = channels.reshape(layer.groups, inputs).repeat_interleave(outputs // layer.groups, dim=0)
    return grouped.view(outputs, inputs, 1, 1)


def _sampled(value: Tensor, images: int, generator: torch.Generator) -> Tensor:
    """Return random pixels of (n, channels, height, width), so many of each image that all give enough."""
    flat = value.permute(0, 2, 3, 1).flatten(0, 2) if value.dim() == 4 else value
    wanted = -(-_SAMPLES * len(value) // images)
    if len(flat) <= wanted:
        return flat.clone()
    return flat[torch.randint(len(flat), (wanted,), generator=generator)]
