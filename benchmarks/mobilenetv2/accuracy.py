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
from hsflow_po2.reconstruct import ReconstructOptions, reconstruct
from hsflow_po2.stage import DISTILLATION_EPOCHS, DISTILLATION_LEARNING_RATE
from hsflow_torch.module import NetworkModule
from numpy.typing import NDArray

from hsflow.images import LabelledFiles
from hsflow.ir.graph import Conv, Graph
from hsflow.ir.network import Network

BATCH = 20
SEED = 1
THREADS = 2

Logits = NDArray[np.floating | np.integer]


@dataclass(frozen=True)
class Recipe:
    """Name a way to quantize: the largest share of the weights that get a second power of two."""

    name: str
    budget: float


RECIPES = (Recipe("one term", 0.0), Recipe("15 % two terms", 0.15), Recipe("two terms", 1.0))


@dataclass(frozen=True)
class Score:
    """Hold what was measured on images that took no part in the quantization.

    Shares are percent; `second_terms` of the weights have two terms, each an adder before sharing; `seconds` is processor
    time, `peak_mib` the process's peak memory up to then.
    """

    name: str
    images: int
    top1: float
    top5: float
    agreement: float
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


def score(network: Network, files: LabelledFiles, reference: Logits, recipe: Recipe, both: bool) -> Score:
    """Quantize once for each fold, emulate the images that are held out, and compare with labels and float logits."""
    began = time.process_time()
    logits = np.zeros_like(reference, dtype=np.int64)
    scored, graphs = [], []
    for calibration, held_out in folds(len(files.images), both):
        graph = _quantized(network, files.images[calibration], recipe.budget)
        logits[held_out] = emulate(graph, files.images[held_out], batch_size=BATCH)
        scored.append(held_out)
        graphs.append(graph)
    chosen = np.sort(np.concatenate(scored))
    return _score(recipe.name, logits[chosen], reference[chosen], files.labels[chosen], graphs[0], began)


def _quantized(network: Network, images: NDArray[np.uint8], budget: float) -> Graph:
    graph = reconstruct(network, images, ReconstructOptions(budget=budget, threads=THREADS), SEED)
    recipe = distillation_recipe(DISTILLATION_EPOCHS, DISTILLATION_LEARNING_RATE, THREADS)
    return distill(graph, network, images, recipe, SEED)


def float_score(reference: Logits, labels: NDArray[np.int64]) -> Score:
    """Return the float network's own score."""
    return Score(
        "float",
        len(labels),
        _top(reference, labels, 1),
        _top(reference, labels, 5),
        100.0,
        0,
        0,
        0,
        0,
        _peak(),
    )


def _score(
    name: str, logits: Logits, reference: Logits, labels: NDArray[np.int64], graph: Graph, began: float
) -> Score:
    terms = np.concatenate([_terms(layer) for layer in graph.layers if isinstance(layer, Conv)])
    return Score(
        name,
        len(labels),
        _top(logits, labels, 1),
        _top(logits, labels, 5),
        100.0 * float((logits.argmax(axis=1) == reference.argmax(axis=1)).mean()),
        100.0 * float((terms > 1).mean()),
        int((terms - 1).clip(min=0).sum()),
        100.0 * float((terms == 0).mean()),
        time.process_time() - began,
        _peak(),
    )


def _terms(layer: Conv) -> NDArray[np.int64]:
    """Return how many powers of two each weight has."""
    return np.asarray((layer.weight.sign.array != 0).sum(axis=0), dtype=np.int64).reshape(-1)


def _top(logits: Logits, labels: NDArray[np.int64], count: int) -> float:
    """Return the share of images whose label is among the `count` largest logits, in percent."""
    best = np.argsort(-logits, axis=1, kind="stable")[:, :count]
    return 100.0 * float((best == labels[:, np.newaxis]).any(axis=1).mean())


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
