# SPDX-License-Identifier: Apache-2.0
"""Running images through the integer network, bit for bit what the hardware computes, and scoring the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsflow.data import check_images, check_labels, read_npy, read_npz
from hsflow.errors import ConfigurationError
from hsflow.fixedpoint import IntArray
from hsflow.ir.graph import Graph
from hsflow.ir.interp import interpret, interpret_all
from hsflow.progress import Reporter

_PAIRS = (("images", "labels"), ("test_images", "test_labels"))


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

    An .npz file holds `images` and optionally `labels`, or `test_images` and optionally `test_labels`.

    Raises:
        ConfigurationError: if the file cannot be read, has no images, or labels that do not fit them.
    """
    if path.suffix == ".npy":
        images = read_npy(path)
        check_images(images, str(path))
        return LabelledImages(images, None)
    arrays = read_npz(path, [name for pair in _PAIRS for name in pair])
    for images_name, labels_name in _PAIRS:
        if images_name in arrays:
            return _labelled(path, arrays[images_name], arrays.get(labels_name))
    raise ConfigurationError(
        "the file lacks images",
        where=str(path),
        got=", ".join(arrays) or "none of these",
        expected=" or ".join(" and ".join(pair) for pair in _PAIRS),
    )


def _labelled(path: Path, images: NDArray[Any], labels: NDArray[Any] | None) -> LabelledImages:
    check_images(images, str(path))
    if labels is None:
        return LabelledImages(images, None)
    check_labels(labels, len(images), str(path))
    return LabelledImages(images, labels.astype(np.int64))


def emulate(graph: Graph, images: NDArray[Any], hooks: Any, reporter: Reporter | None = None) -> IntArray:
    """Return what the graph makes of `images`: by a plugin's fast emulator, or else by the reference interpreter.

    Both give the same integers: (n, classes) after a dense layer, else (n, channels, height, width). `hooks` is
    pluggy's relay; `reporter` shows the progress.
    """
    track = (reporter or Reporter()).track
    result: IntArray | None = hooks.hsflow_emulate(graph=graph, images=images, track=track)
    return interpret(graph, images) if result is None else result


def feature_maps(graph: Graph, images: NDArray[Any], hooks: Any) -> Mapping[str, IntArray]:
    """Return every feature map by name, (n, channels, height, width), by a plugin's emulator or else the interpreter."""
    maps: Mapping[str, IntArray] | None = hooks.hsflow_feature_maps(graph=graph, images=images)
    return interpret_all(graph, images) if maps is None else maps


def accuracy(logits: IntArray, labels: NDArray[np.int64]) -> float:
    """Return the part of the images whose largest logit (the first of equals) is their label's."""
    return float((logits.reshape(len(logits), -1).argmax(axis=1) == labels).mean())
