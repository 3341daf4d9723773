# SPDX-License-Identifier: Apache-2.0
"""Accuracy of a network of powers of two that was made from published weights and unlabelled images."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from hsflow_po2.distill import distill, distillation_recipe
from hsflow_po2.emulator import emulate
from hsflow_po2.phases import SCALES
from hsflow_po2.reconstruct import ReconstructOptions, reconstruct
from hsflow_po2.stage import DISTILLATION_EPOCHS, DISTILLATION_LEARNING_RATE
from hsflow_torch.module import NetworkModule
from numpy.typing import NDArray

from hsflow.images import LabelledFiles
from hsflow.ir.graph import Conv, Dense, Graph
from hsflow.ir.matrix import count_digits
from hsflow.ir.network import Network

BATCH = 20
THREADS = 1

Logits = NDArray[np.floating | np.integer]


@dataclass(frozen=True)
class Recipe:
    """Name a way to quantize: the largest share of the weights that get a second power of two."""

    name: str
    budget: float


RECIPES = (Recipe("one term", 0.0), Recipe("15 % two terms", 0.15), Recipe("two terms", 1.0))


@dataclass(frozen=True)
class Protocol:
    """Say which random numbers to use, what output scales may be (`SCALES`), and whether to score both folds."""

    seed: int = 1
    scale: str = "po2"
    both: bool = False


@dataclass(frozen=True)
class Score:
    """Hold what was measured on images that took no part in the quantization.

    Shares are percent; `divergence` is of the classes from those of the float network, in nats. `second_terms` of the
    weights have two terms; each is an extra adder before sharing, and so is a second digit of an output's scale.
    `seconds` is processor time, `peak_mib` the process's peak memory up to then.
    """

    name: str
    images: int
    top1: float
    top5: float
    agreement: float
    divergence: float
    second_terms: float
    extra_adders: int
    zeros: float
    seconds: float
    peak_mib: int


def float_logits(network: Network, images: NDArray[np.uint8]) -> Logits:
    """Return the float network's logits, shape (n, classes)."""
    import torch

    module = NetworkModule(network).eval()
    with torch.inference_mode():
        batches = [
            module(torch.from_numpy(images[first : first + BATCH]).float()).flatten(1).numpy()
            for first in range(0, len(images), BATCH)
        ]
    return np.concatenate(batches)


def folds(count: int, both: bool) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield (calibration, scored) images: every second one calibrates, the others are scored; then the reverse."""
    every = np.arange(count)
    yield every[0::2], every[1::2]
    if both:
        yield every[1::2], every[0::2]


def score(network: Network, files: LabelledFiles, reference: Logits, recipe: Recipe, how: Protocol) -> Score:
    """Quantize once for each fold, emulate the images that are held out, and compare with labels and float logits."""
    began = time.process_time()
    logits = np.zeros_like(reference)
    scored, graphs = [], []
    for calibration, held_out in folds(len(files.images), how.both):
        graph = _quantized(network, files.images[calibration], recipe.budget, how)
        logits[held_out] = _logits(graph, files.images[held_out])
        scored.append(held_out)
        graphs.append(graph)
    chosen = np.sort(np.concatenate(scored))
    return _score(recipe.name, logits[chosen], reference[chosen], files.labels[chosen], graphs[0], began)


def _quantized(network: Network, images: NDArray[np.uint8], budget: float, how: Protocol) -> Graph:
    options = ReconstructOptions(budget=budget, threads=THREADS, phases=SCALES[how.scale])
    graph = reconstruct(network, images, options, how.seed)
    recipe = distillation_recipe(DISTILLATION_EPOCHS, DISTILLATION_LEARNING_RATE, THREADS)
    return distill(graph, network, images, recipe, how.seed)


def _logits(graph: Graph, images: NDArray[np.uint8]) -> Logits:
    """Return the logits in the float network's unit."""
    last = graph.layers[-1]
    fraction = last.fraction if isinstance(last, Dense) else 0
    return np.asarray(emulate(graph, images, batch_size=BATCH) * 2.0**-fraction)


def float_score(reference: Logits, labels: NDArray[np.int64]) -> Score:
    """Return the float network's own score."""
    return Score(
        "float",
        len(labels),
        _top(reference, labels, 1),
        _top(reference, labels, 5),
        100.0,
        0.0,
        0,
        0,
        0,
        0,
        _peak(),
    )


def _score(
    name: str, logits: Logits, reference: Logits, labels: NDArray[np.int64], graph: Graph, began: float
) -> Score:
    weights = [layer.weight for layer in graph.layers if isinstance(layer, Conv)]
    terms = np.concatenate([weight.terms.reshape(-1) for weight in weights])
    factors = sum(int((count_digits(weight.factors[:, np.newaxis]) - 1).sum()) for weight in weights)
    return Score(
        name,
        len(labels),
        _top(logits, labels, 1),
        _top(logits, labels, 5),
        100.0 * float((logits.argmax(axis=1) == reference.argmax(axis=1)).mean()),
        _divergence(reference, logits),
        100.0 * float((terms > 1).mean()),
        int((terms - 1).clip(min=0).sum()) + factors,
        100.0 * float((terms == 0).mean()),
        time.process_time() - began,
        _peak(),
    )


def _top(logits: Logits, labels: NDArray[np.int64], count: int) -> float:
    """Return the share of images whose label is among the `count` largest logits, in percent."""
    best = np.argsort(-logits, axis=1, kind="stable")[:, :count]
    return 100.0 * float((best == labels[:, np.newaxis]).any(axis=1).mean())


def _divergence(reference: Logits, logits: Logits) -> float:
    """Return the mean Kullback-Leibler divergence of the classes, in nats."""
    wanted, found = (_log_softmax(values.astype(np.float64)) for values in (reference, logits))
    return float((np.exp(wanted) * (wanted - found)).sum(axis=1).mean())


def _log_softmax(logits: NDArray[np.float64]) -> NDArray[np.float64]:
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
