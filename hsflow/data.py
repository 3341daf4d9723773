# SPDX-License-Identifier: Apache-2.0
"""Labelled images for training, calibration and the held-out test."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsflow.errors import ConfigurationError

DIGITS = "digits"
_HELD_OUT = 1 / 3
_ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")


@dataclass(frozen=True, eq=False)
class Dataset:
    """Hold images, uint8 of shape (n, channels, height, width), and labels, int64 of shape (n,).

    `train` may be used by any stage; `test` is held out and only ever scored.
    """

    name: str
    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]
    classes: tuple[str, ...]


def load_dataset(source: str, folder: Path) -> Dataset:
    """Load `digits` (scikit-learn's 1,797 images of 8x8) or an `.npz` file, its path relative to `folder`.

    An `.npz` file holds the arrays train_images, train_labels, test_images and test_labels.

    Raises:
        ConfigurationError: if the source is unknown or its arrays do not fit together.
    """
    if source == DIGITS:
        return _load_digits()
    if source.endswith(".npz"):
        return _load_npz(folder / source)
    raise ConfigurationError(
        "an unknown data source",
        where="flow.toml, data",
        got=source,
        expected=f"'{DIGITS}' or the path of an .npz file",
    )


def _load_digits() -> Dataset:
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    images = np.round(digits.images * (255 / 16)).astype(np.uint8)[:, np.newaxis]
    labels = digits.target.astype(np.int64)
    train_x, test_x, train_y, test_y = train_test_split(
        images, labels, test_size=_HELD_OUT, random_state=0, stratify=labels
    )
    return Dataset(DIGITS, train_x, train_y, test_x, test_y, tuple(map(str, range(10))))


def _load_npz(path: Path) -> Dataset:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = [archive[name] for name in _ARRAYS]
    except (OSError, KeyError, ValueError, zipfile.BadZipFile) as error:
        raise ConfigurationError(
            "the data file cannot be read",
            where=str(path),
            got=error,
            expected=f"arrays {', '.join(_ARRAYS)}",
        ) from error
    return _checked(path, arrays)


def _checked(path: Path, arrays: list[NDArray[Any]]) -> Dataset:
    train_x, train_y, test_x, test_y = arrays
    for images, labels in ((train_x, train_y), (test_x, test_y)):
        if (
            images.dtype != np.uint8
            or images.ndim != 4
            or labels.shape != images.shape[:1]
            or not len(labels)
        ):
            raise ConfigurationError(
                "the data file's arrays do not fit together",
                where=str(path),
                got=f"{images.dtype} images {images.shape}, labels {labels.shape}",
                expected="uint8 images of shape (n, channels, height, width), labels of shape (n,), n > 0",
            )
    classes = tuple(map(str, range(int(max(train_y.max(), test_y.max())) + 1)))
    return Dataset(path.stem, train_x, train_y.astype(np.int64), test_x, test_y.astype(np.int64), classes)
