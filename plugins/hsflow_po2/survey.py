# SPDX-License-Identifier: Apache-2.0
"""Look at the float network once: what values its feature maps take, and how much the logits mind an error."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from hsflow.ir.network import INPUT_NAME, PIXEL_FRACTION, Conv, Dense
from hsflow_po2.simulate import AverageModule

_BATCH = 16
_SAMPLES = 8192
"""Values kept of each channel."""


@dataclass(frozen=True, eq=False)
class Survey:
    """Hold `samples`, each feature map's values, shape (n, channels), and `sensitivity`, one a channel of each Conv.

    An error of variance v in every pixel of a channel before its activation raises the Kullback-Leibler divergence of
    the classes by about `sensitivity * v`: half the diagonal of Fisher's information, summed over pixels.
    """

    samples: dict[str, Tensor]
    sensitivity: dict[str, Tensor]


def survey(module: AverageModule, images: Tensor, seed: int, backward: int) -> Survey:
    """Return what `module` does with `images`; the gradients are of the first `backward` of them."""
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, list[Tensor]] = {}
    squares: dict[str, Tensor] = {}
    for start, batch in _batches(images):
        graded = start < backward
        with torch.set_grad_enabled(graded):
            values, raws = _run(module, batch, graded)
        for name, value in values.items():
            found.setdefault(name, []).append(_sampled(value.detach(), len(images), generator))
        if graded:
            for name, square in _fisher(module, values, raws, generator).items():
                squares[name] = squares.get(name, 0) + square
    count = min(backward, len(images))
    sensitivity = {name: square / (2 * count) for name, square in squares.items()}
    return Survey({name: torch.cat(parts) for name, parts in found.items()}, sensitivity)


def _batches(images: Tensor) -> Iterator[tuple[int, Tensor]]:
    for start in range(0, len(images), _BATCH):
        yield start, images[start : start + _BATCH]


def _run(module: AverageModule, batch: Tensor, graded: bool) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return each feature map, and each convolution's value before its activation."""
    pixels = batch.float() / (1 << PIXEL_FRACTION)
    values = {INPUT_NAME: pixels.contiguous(memory_format=torch.channels_last)}
    raws: dict[str, Tensor] = {}
    for layer in module.network.layers:
        raw = module.compute(layer, [values[source] for source in layer.sources])
        if isinstance(layer, Conv) and graded:
            raw.retain_grad()
            raws[layer.name] = raw
        values[layer.name] = module.finish(layer, raw)
    return values, raws


def _fisher(
    module: AverageModule, values: dict[str, Tensor], raws: dict[str, Tensor], generator: torch.Generator
) -> dict[str, Tensor]:
    """Return the summed squares of the gradients of the likelihood of a class that the network itself draws.

    Where the network ends in a feature map instead, they are of the map's sum with random signs.
    """
    last = module.network.layers[-1]
    output = values[last.name].flatten(1)
    if isinstance(last, Dense):
        drawn = torch.multinomial(output.detach().softmax(dim=1), 1, generator=generator)[:, 0]
        total = functional.cross_entropy(output, drawn, reduction="sum")
    else:
        signs = torch.randint(2, output.shape, generator=generator) * 2.0 - 1.0
        total = (output * signs).sum()
    torch.autograd.backward(total)
    squares = {name: _channel_squares(raw) for name, raw in raws.items()}
    module.zero_grad(set_to_none=True)
    return squares


def _channel_squares(raw: Tensor) -> Tensor:
    if raw.grad is None:
        return torch.zeros(raw.shape[1])
    return raw.grad.square().sum(dim=(0, 2, 3))


def _sampled(value: Tensor, images: int, generator: torch.Generator) -> Tensor:
    """Return random pixels of (n, channels, height, width), so many of each image that all give enough."""
    flat = value.permute(0, 2, 3, 1).flatten(0, 2) if value.dim() == 4 else value
    wanted = -(-_SAMPLES * len(value) // images)
    if len(flat) <= wanted:
        return flat.clone()
    return flat[torch.randint(len(flat), (wanted,), generator=generator)]
