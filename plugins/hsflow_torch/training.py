# SPDX-License-Identifier: Apache-2.0
"""The one training loop of the first-party stages: seeded, small, for fine-tuning rather than for records."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hsflow.errors import ModelError
from hsflow.progress import Track, untracked
from hsflow_torch.augment import augment

_BATCH_VALUES = 1 << 22
"""The most values of the images of a batch: a network's feature maps take some tens of times as many."""


@dataclass(frozen=True)
class Recipe:
    """Hold how to train: Adam with a cosine learning rate, after a short warm-up, and label smoothing."""

    epochs: int
    learning_rate: float
    batch_size: int = 64
    weight_decay: float = 0.0
    label_smoothing: float = 0.0
    augmentation: float = 0.0
    """Strength of random shifts, rotations, scalings and noise; 0 is none, 1 fits small digits."""
    distillation: float = 0.0
    """Share of the loss that follows the teacher's logits, 0..1."""
    temperature: float = 2.0
    warm_up: float = 0.05
    """Share of the steps in which the learning rate rises."""
    threads: int = 1
    """Float sums depend on how they are split; with one number everywhere, a seed gives one result."""


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Draw from torch's global generators from `seed` on, and leave their state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch use `count` threads, and afterwards as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def fit(
    module: nn.Module,
    images: NDArray[np.uint8],
    labels: NDArray[np.int64] | None,
    recipe: Recipe,
    seed: int,
    *,
    teacher: nn.Module | None = None,
    before_epoch: Callable[[], None] | None = None,
    track: Track = untracked,
    description: str = "training",
) -> None:
    """Train `module` in place; it takes pixels 0..255 as float, shape (n, channels, height, width), and gives logits.

    Args:
        module: what to train; left in evaluation mode.
        images: uint8, shape (n, channels, height, width).
        labels: shape (n,); None where the teacher's logits are all that is followed.
        recipe: how.
        seed: fixes order, augmentation and dropout.
        teacher: gives the logits that `recipe.distillation` follows.
        before_epoch: called before each epoch.
        track: shows progress over the batches.
        description: what the progress bar says.

    Raises:
        ModelError: if the loss is no longer finite, or needs labels that are missing.
    """
    pixels = torch.from_numpy(np.array(images))
    targets = None if labels is None else torch.from_numpy(np.array(labels))
    steps = math.ceil(len(pixels) / recipe.batch_size) * recipe.epochs
    optimizer = torch.optim.AdamW(
        module.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, _cosine(steps, recipe.warm_up))
    with seeded(seed), threads(recipe.threads):
        batches = _batches(module, len(pixels), recipe, before_epoch)
        for _, batch in zip(track(range(steps), description), batches, strict=False):
            view = augment(pixels[batch].float(), recipe.augmentation)
            known = None if targets is None else targets[batch]
            _step(optimizer, _loss(module, view, known, recipe, teacher))
            schedule.step()
    module.eval()


def _batches(
    module: nn.Module, count: int, recipe: Recipe, before_epoch: Callable[[], None] | None
) -> Iterator[Tensor]:
    """Yield the images' indices, shuffled anew in each epoch."""
    for _ in range(recipe.epochs):
        if before_epoch is not None:
            before_epoch()
        module.train()
        yield from torch.split(torch.randperm(count), recipe.batch_size)


def _cosine(steps: int, warm_up: float) -> Callable[[int], float]:
    rising = max(1, round(steps * warm_up))

    def factor(step: int) -> float:
        if step < rising:
            return (step + 1) / rising
        return 0.5 * (1 + math.cos(math.pi * (step - rising) / max(1, steps - rising)))

    return factor


def _loss(
    module: nn.Module, view: Tensor, targets: Tensor | None, recipe: Recipe, teacher: nn.Module | None
) -> Tensor:
    logits = module(view).flatten(1)
    share = 0.0 if teacher is None else recipe.distillation
    if teacher is None or share == 0:
        return _hard_loss(logits, targets, recipe)
    with torch.no_grad():
        wanted = (teacher(view).flatten(1) / recipe.temperature).softmax(1)
    soft = nn.functional.cross_entropy(logits / recipe.temperature, wanted) * recipe.temperature**2
    return soft if share == 1 else _hard_loss(logits, targets, recipe) * (1 - share) + soft * share


def _hard_loss(logits: Tensor, targets: Tensor | None, recipe: Recipe) -> Tensor:
    if targets is None:
        raise ModelError("images have no labels to train with", expected="labels, or distillation alone")
    return nn.functional.cross_entropy(logits, targets, label_smoothing=recipe.label_smoothing)


def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    if not torch.isfinite(loss):
        raise ModelError(
            "training diverged", got=f"loss {loss.item()}", hint="lower learning_rate or check the data"
        )
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()


@torch.no_grad()
def logits_of(module: nn.Module, images: NDArray[np.uint8], batch_size: int = 256) -> Tensor:
    """Return the module's outputs in evaluation mode, flattened to shape (n, outputs); large images in smaller batches."""
    module.eval()
    batch_size = max(1, min(batch_size, _BATCH_VALUES // math.prod(images.shape[1:])))
    pixels = torch.from_numpy(np.array(images))
    return torch.cat([module(batch.float()).flatten(1) for batch in torch.split(pixels, batch_size)])


def accuracy(module: nn.Module, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> float:
    """Return the share of images whose largest output is the label, in percent."""
    return float((logits_of(module, images).argmax(1).numpy() == labels).mean() * 100)
