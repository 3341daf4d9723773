# SPDX-License-Identifier: Apache-2.0
"""Train the digits network: `python -m hsflow_torch.recipes.digits --output digits.safetensors`.

The held-out third is scored once, after the last epoch; nothing is chosen by it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from hsflow.data import DIGITS, Dataset, load_dataset
from hsflow.progress import Track, untracked
from hsflow_torch.models.digits import DigitsNet
from hsflow_torch.training import Recipe, accuracy, fit, seeded

RECIPE = Recipe(
    epochs=150,
    learning_rate=6e-3,
    batch_size=64,
    weight_decay=1e-2,
    label_smoothing=0.05,
    augmentation=1.0,
)


class _Pixels(nn.Module):
    """Let a network of values 0..1 take pixels 0..255."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = self.network(pixels / 255)
        return logits


def train(
    dataset: Dataset, seed: int, recipe: Recipe = RECIPE, track: Track = untracked
) -> tuple[DigitsNet, float]:
    """Return the trained network, in evaluation mode, and its accuracy on the held-out test in percent."""
    with seeded(seed):
        network = DigitsNet(len(dataset.classes))
    module = _Pixels(network)
    fit(module, dataset.train_images, dataset.train_labels, recipe, seed, track=track)
    return network, accuracy(module, dataset.test_images, dataset.test_labels)


def save(network: nn.Module, path: Path, seed: int, percent: float, recipe: Recipe = RECIPE) -> None:
    """Write the weights as safetensors, with how they came to be in the metadata."""
    metadata = {
        "architecture": "digits",
        "dataset": DIGITS,
        "seed": str(seed),
        "epochs": str(recipe.epochs),
        "accuracy_percent": f"{percent:.3f}",
        "torch": torch.__version__,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.contiguous() for name, tensor in network.state_dict().items()}
    save_file(tensors, str(path), metadata)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and write a checkpoint."""
    parser = argparse.ArgumentParser(description="Train the digits network.")
    parser.add_argument("--output", type=Path, required=True, help="the .safetensors file to write")
    parser.add_argument(
        "--seed", type=int, default=1, help="fixes weights, order and augmentation (default 1)"
    )
    parser.add_argument("--epochs", type=int, default=RECIPE.epochs, help="passes over the training images")
    given = parser.parse_args(arguments)
    recipe = replace(RECIPE, epochs=given.epochs)
    print(f"training for {recipe.epochs} epochs")
    network, percent = train(load_dataset(DIGITS, Path()), given.seed, recipe)
    save(network, given.output, given.seed, percent, recipe)
    print(f"{given.output}: {percent:.2f} % of the held-out images")


if __name__ == "__main__":
    main()
