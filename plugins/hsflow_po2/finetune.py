# SPDX-License-Identifier: Apache-2.0
"""Teach the programmable last layer a new task, with everything before it fixed in hardware.

The features are the hardware's own integers, so what is trained is what will run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from hsflow_torch.training import seeded, threads
from numpy.typing import NDArray
from torch import Tensor, nn

from hsflow.errors import ModelError
from hsflow.fixedpoint import IntArray
from hsflow.ir.graph import Dense, Graph
from hsflow.ir.tensor import Constant
from hsflow.ir.verify import verify
from hsflow.progress import Track, untracked
from hsflow_po2.dense import FloatArray, feature_fractions, quantize_dense
from hsflow_po2.emulator import features

UNUSED_CLASS = "(unused)"
_NEVER = -(2**31)


@dataclass(frozen=True)
class FinetuneOptions:
    """Hold how to train the classifier: full-batch Adam on standardized features."""

    steps: int = 400
    learning_rate: float = 0.05
    weight_decay: float = 1e-3


def finetune_classifier(
    graph: Graph,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    classes: Sequence[str] | int,
    seed: int,
    *,
    options: FinetuneOptions | None = None,
    device: str = "cpu",
    track: Track = untracked,
) -> Graph:
    """Return `graph` with a last layer trained for a new task; the hardened layers stay the same.

    Args:
        graph: ends in a `Dense` layer.
        images: uint8, shape (n, channels, height, width).
        labels: integers 0..len(classes)-1, shape (n,).
        classes: the new task's class names, or their number; at most as many as the layer has outputs. Outputs that
            are left get zero weights and the lowest bias, so that argmax never picks them.
        seed: fixes the training.
        options: how to train.
        device: where the emulator runs.
        track: shows progress.

    Raises:
        ModelError: if there is no programmable layer, or images, labels and classes do not fit.
    """
    classifier = _classifier(graph)
    outputs = classifier.weight.array.shape[0]
    wanted = tuple(map(str, range(classes))) if isinstance(classes, int) else tuple(classes)
    _check_task(labels, len(images), wanted, outputs)
    source = graph.feature_maps[classifier.source]
    fractions = feature_fractions(source.format, source.shape.pixels)
    values = features(graph, images, device=device, track=track) * 2.0**-fractions
    weight, bias = fit_linear(values, labels, len(wanted), seed, options or FinetuneOptions(), track)
    trained = quantize_dense(classifier.name, classifier.source, source, weight, bias)
    names = (*wanted, *[UNUSED_CLASS] * (outputs - len(wanted)))
    return verify(replace(graph, layers=(*graph.layers[:-1], pad_classes(trained, outputs)), classes=names))


def pad_classes(layer: Dense, outputs: int) -> Dense:
    """Return `layer` with so many outputs; the added ones never win, since argmax takes the lowest index of equals."""
    missing = outputs - layer.weight.array.shape[0]
    weight = np.pad(layer.weight.array, ((0, missing), (0, 0)))
    bias = np.pad(layer.bias.array, (0, missing), constant_values=_NEVER)
    return replace(layer, weight=Constant(weight), bias=Constant(bias))


def fit_linear(
    values: FloatArray,
    labels: IntArray,
    classes: int,
    seed: int,
    options: FinetuneOptions,
    track: Track = untracked,
) -> tuple[FloatArray, FloatArray]:
    """Return weight (classes, features) and bias (classes,) of a logistic regression on `values` (n, features)."""
    mean, deviation = values.mean(axis=0), values.std(axis=0)
    deviation = np.where(deviation > 0, deviation, 1.0)
    inputs = torch.from_numpy((values - mean) / deviation).float()
    with seeded(seed), threads(1):
        layer = nn.Linear(inputs.shape[1], classes)
        _descend(layer, inputs, torch.from_numpy(np.array(labels)), options, track)
    weight = _float64(layer.weight) / deviation
    return weight, _float64(layer.bias) - weight @ mean


def _descend(
    layer: nn.Linear, inputs: Tensor, targets: Tensor, options: FinetuneOptions, track: Track
) -> None:
    optimizer = torch.optim.AdamW(
        layer.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, options.steps)
    for _ in track(range(options.steps), "training the classifier"):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(layer(inputs), targets)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()


def _float64(tensor: Tensor) -> FloatArray:
    array: FloatArray = tensor.detach().double().numpy()
    return array


def _classifier(graph: Graph) -> Dense:
    if graph.classifier is None:
        raise ModelError(
            "the graph has no programmable layer",
            where=graph.name,
            expected="a dense last layer",
            hint="load a network that ends in a Linear layer",
        )
    return graph.classifier


def _check_task(labels: IntArray, images: int, classes: Sequence[str], outputs: int) -> None:
    if not 1 <= len(classes) <= outputs:
        raise ModelError(
            "the new task's classes do not fit the hardware",
            got=f"{len(classes)} classes",
            expected=f"1 to {outputs}",
            hint="harden a network with more classes",
        )
    if images == 0 or labels.shape != (images,):
        raise ModelError(
            "images and labels do not fit together", got=f"{images} images, labels {labels.shape}"
        )
    if labels.min() < 0 or labels.max() >= len(classes):
        raise ModelError(
            "a label is out of range",
            got=f"{labels.min()}..{labels.max()}",
            expected=f"0..{len(classes) - 1}",
        )
