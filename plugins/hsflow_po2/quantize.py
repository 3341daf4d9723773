# SPDX-License-Identifier: Apache-2.0
"""Quantize a float network: calibrate, round, correct, train if asked for, export.

`quantize` takes any `WeightRounding`, so a plugin with another number system for weights needs its own rounding and
nothing else.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from hsflow_torch.augment import augment
from hsflow_torch.training import Recipe, fit, seeded, threads
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from hsflow.ir.graph import Conv, Graph
from hsflow.ir.network import Network
from hsflow.progress import Track, untracked
from hsflow_po2.averages import absorb_averages
from hsflow_po2.correct import correct_biases
from hsflow_po2.export import export_graph
from hsflow_po2.formats import FormatOptions, calibrate
from hsflow_po2.rounding import Po2Rounding, WeightRounding
from hsflow_po2.simulate import AverageModule, QuantizedModule

_BATCH = 256


@dataclass(frozen=True)
class QuantizeOptions:
    """Hold how to quantize; without a `recipe` nothing is trained."""

    formats: FormatOptions = field(default_factory=FormatOptions)
    calibration_images: int = 512
    recipe: Recipe | None = None
    threads: int = 1
    """Float sums depend on how they are split; with one number everywhere, a seed gives one graph."""


def quantize(
    network: Network,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    options: QuantizeOptions,
    seed: int,
    *,
    rounding: WeightRounding | None = None,
    track: Track = untracked,
) -> Graph:
    """Return the integer graph of `network`.

    Args:
        network: the float network; weights that are zero there are zero in the graph.
        images: training images, uint8, shape (n, channels, height, width).
        labels: shape (n,); read only in training.
        options: formats, calibration, training.
        seed: fixes the choice of calibration images and the training.
        rounding: how weights become sums of powers of two; by default one of 8 exponents.
        track: shows progress.

    Raises:
        ModelError: if a weight is not finite, training diverges or a width is out of range.
    """
    with threads(options.threads):
        return _quantize(network, images, labels, options, seed, rounding or Po2Rounding(), track)


def _quantize(
    network: Network,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    options: QuantizeOptions,
    seed: int,
    rounding: WeightRounding,
    track: Track,
) -> Graph:
    absorbed = absorb_averages(network)
    reference = AverageModule(absorbed)
    sample = torch.from_numpy(calibration_images(images, options.calibration_images, seed))
    formats = calibrate(reference, sample, options.formats)
    quantized = QuantizedModule(absorbed, rounding, formats)
    correct_biases(quantized, reference, sample)
    if options.recipe is not None and options.recipe.epochs:
        train(quantized, reference, images, labels, options.recipe, seed, track)
    return export_graph(quantized)


def calibration_images(images: NDArray[np.uint8], count: int, seed: int) -> NDArray[np.uint8]:
    """Return `count` of the images, drawn by `seed`, in their order."""
    chosen = np.random.default_rng(seed).permutation(len(images))[:count]
    return images[np.sort(chosen)]


def train(
    quantized: QuantizedModule,
    teacher: AverageModule,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    recipe: Recipe,
    seed: int,
    track: Track = untracked,
) -> None:
    """Train a quantized module in place, with its roundings; windows are placed anew before each epoch.

    A weight near the middle of two powers flips between them up to the last step, so the last epoch is as good as luck
    has it. What stays is the epoch with the least loss on the training images and one distorted view of them.
    """
    best = BestEpoch(quantized, images, labels, recipe.augmentation, seed)
    fit(
        quantized,
        images,
        labels,
        recipe,
        seed,
        teacher=teacher,
        before_epoch=best.visit,
        track=track,
        description="quantization-aware training",
    )
    best.visit()
    best.restore()


class BestEpoch:
    """Remember the weights of a module that had the least training loss so far."""

    def __init__(
        self,
        module: QuantizedModule,
        images: NDArray[np.uint8],
        labels: NDArray[np.int64],
        augmentation: float,
        seed: int,
    ) -> None:
        self.module = module
        clean = torch.from_numpy(np.array(images)).float()
        with seeded(seed):
            self.views = torch.cat([clean, augment(clean, augmentation)])
        self.labels = torch.from_numpy(np.tile(labels, 2))
        self.loss = math.inf
        self.state: dict[str, Tensor] = {}

    @torch.no_grad()
    def visit(self) -> None:
        """Place the windows anew, and keep the weights if they are the best so far."""
        self.module.refresh()
        self.module.eval()
        loss = float(functional.cross_entropy(self._logits(), self.labels))
        if loss < self.loss or not self.state:
            self.loss = loss
            self.state = {name: tensor.clone() for name, tensor in self.module.state_dict().items()}

    def restore(self) -> None:
        """Put the best weights back."""
        self.module.load_state_dict(self.state)
        self.module.refresh()

    def _logits(self) -> Tensor:
        batches = torch.split(self.views, _BATCH)
        return torch.cat([self.module(batch).flatten(1) for batch in batches])


def zero_fraction(graph: Graph) -> float:
    """Return the share of the hardened weights that are exactly zero."""
    weights = [layer.weight.integers for layer in graph.layers if isinstance(layer, Conv)]
    total = sum(weight.size for weight in weights)
    return sum(int((weight == 0).sum()) for weight in weights) / total if total else 0.0


def weight_count(graph: Graph) -> int:
    """Return the number of hardened weights, zeros included."""
    return sum(layer.weight.integers.size for layer in graph.layers if isinstance(layer, Conv))


def second_term_fraction(graph: Graph) -> float:
    """Return the share of the hardened weights that are a sum of two or more powers of two, times the output's factor."""
    terms = [layer.weight.terms for layer in graph.layers if isinstance(layer, Conv)]
    total = sum(each.size for each in terms)
    return sum(int((each > 1).sum()) for each in terms) / total if total else 0.0
