# SPDX-License-Identifier: Apache-2.0
"""Running images through the integer network, bit for bit what the hardware computes, and scoring the result."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsflow.errors import ConfigurationError
from hsflow.fixedpoint import IntArray
from hsflow.ir.graph import Graph
from hsflow.ir.interp import interpret

_IMAGES = ("images", "test_images")
_LABELS = ("labels", "test_labels")


@dataclass(frozen=True, eq=False)
class LabelledImages:
    """Hold images, integers of shape (n, channels, height, width), and labels of shape (n,) if there are any."""

    images: NDArray[Any]
    labels: NDArray[np.int64] | None

    def first(self, count: int | None) -> LabelledImages:
        """Return the first `count` images; None is all."""
        return LabelledImages(self.images[:count], None if self.labels is None else self.labels[:count])


def read_images(path: Path) -> LabelledImages:
    """Read images from an .npy file, or images and labels from an .npz file.

    An .npz file holds `images` and optionally `labels`, or `test_images` and `test_labels`.

    Raises:
        ConfigurationError: if the file cannot be read or lacks the images.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return LabelledImages(loaded, None)
        with loaded:
            arrays = {name: loaded[name] for name in (*_IMAGES, *_LABELS) if name in loaded.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ConfigurationError(
            "the images cannot be read", where=str(path), got=error, expected=".npy or .npz"
        ) from error
    images = next((arrays[name] for name in _IMAGES if name in arrays), None)
    labels = next((arrays[name] for name in _LABELS if name in arrays), None)
    if images is None or (labels is not None and labels.shape != images.shape[:1]):
        raise ConfigurationError(
            "the file lacks images, or their labels do not fit",
            where=str(path),
            got=sorted(arrays),
            expected="images, labels",
        )
    return LabelledImages(images, None if labels is None else labels.astype(np.int64))


def emulate(graph: Graph, images: NDArray[Any], hooks: Any) -> IntArray:
    """Return what the graph makes of `images`: by a plugin's fast emulator, or else by the reference interpreter.

    Both give the same integers: (n, classes) after a dense layer, else (n, channels, height, width). `hooks` is
    pluggy's relay.
    """
    result: IntArray | None = hooks.hsflow_emulate(graph=graph, images=images)
    return interpret(graph, images) if result is None else result


def accuracy(logits: IntArray, labels: NDArray[np.int64]) -> float:
    """Return the part of the images whose largest logit (the first of equals) is their label's."""
    return float((logits.reshape(len(logits), -1).argmax(axis=1) == labels).mean())
