# SPDX-License-Identifier: Apache-2.0
"""Labelled images for training, calibration and the held-out test, and the one reader of array files from strangers."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from hsflow.errors import ConfigurationError
from hsflow.images import Geometry, is_image_source, read_image_files

DIGITS = "digits"
MAX_BYTES = 4 << 30
"""The most that one file may unpack to; a few kilobytes of zeros can claim any size."""

MAX_LABEL = (1 << 16) - 1
_HELD_OUT = 1 / 3
_WHOLE = Geometry()
_ARRAYS = ("train_images", "train_labels", "test_images", "test_labels")
_SUFFIX = ".npy"
_INTEGERS = "iu"

Array = NDArray[Any]


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


@dataclass(frozen=True)
class Reading:
    """Say how files of images become a dataset.

    `channels` is 1 (grey) or 3; None takes what the first image has. `test` names the held-out images; without it, `held_out` is the share of the others that is held out: of the images in
    the order of the class and then of the path, those at which `floor((index + 1) * held_out)` steps up.
    """

    geometry: Geometry = _WHOLE
    test: str | None = None
    held_out: float = _HELD_OUT
    channels: int | None = None


_PLAIN = Reading()


def load_dataset(source: str, folder: Path, reading: Reading = _PLAIN) -> Dataset:
    """Load `digits` (scikit-learn's 1,797 images of 8x8), an `.npz` file, or a folder or zip file of images.

    An `.npz` file holds the arrays train_images, train_labels, test_images and test_labels: uint8 images of shape (n,
    channels, height, width), integer labels 0..65535 of shape (n,), n > 0. For images see `hsflow.images`; they need
    Pillow.

    Args:
        source: `digits` or a path.
        folder: what paths are relative to.
        reading: for folders and zip files of images.

    Raises:
        ConfigurationError: if the source is unknown, a file cannot be read or its arrays do not fit together.
    """
    if source == DIGITS:
        return _load_digits()
    if source.endswith(".npz"):
        return _load_npz(folder / source)
    if is_image_source(folder / source):
        return _load_images(folder / source, folder, reading)
    raise ConfigurationError(
        "an unknown data source",
        where="flow.toml, data",
        got=source,
        expected=f"'{DIGITS}', or the path of an .npz file, or of a folder or .zip file of images",
    )


def _load_images(path: Path, folder: Path, reading: Reading) -> Dataset:
    train = read_image_files(path, reading.geometry, channels=reading.channels)
    if reading.test is None:
        held = held_out(len(train.labels), reading.held_out)
        parts = (train.images[~held], train.labels[~held], train.images[held], train.labels[held])
        if 0 in (len(parts[0]), len(parts[2])):
            raise ConfigurationError(
                "too few images to hold some out",
                where=str(path),
                got=len(held),
                expected="test_data, or more images",
            )
        return Dataset(path.stem, *parts, train.classes)
    test = read_image_files(folder / reading.test, reading.geometry, train.classes, train.images.shape[1])
    if test.images.shape[1:] != train.images.shape[1:]:
        raise ConfigurationError(
            "images for training and for the test differ in shape",
            where=reading.test,
            got=f"{train.images.shape[1:]} and {test.images.shape[1:]}",
            hint="set resize and crop in [flow]",
        )
    return Dataset(path.stem, train.images, train.labels, test.images, test.labels, train.classes)


def held_out(count: int, share: float) -> NDArray[np.bool_]:
    """Return which of `count` images in order are held out: evenly spread, the first one never for shares below 1."""
    steps = np.floor(np.arange(count + 1) * share + 1e-9)
    return np.asarray(np.diff(steps) > 0)


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
    arrays = read_npz(path, _ARRAYS)
    if missing := [name for name in _ARRAYS if name not in arrays]:
        raise ConfigurationError(
            "the data file lacks arrays",
            where=str(path),
            got=f"no {', '.join(missing)}",
            expected=", ".join(_ARRAYS),
        )
    train_x, train_y, test_x, test_y = (arrays[name] for name in _ARRAYS)
    for part, images, labels in (("train", train_x, train_y), ("test", test_x, test_y)):
        check_images(images, f"{path}, {part}_images")
        if images.dtype != np.uint8:
            raise ConfigurationError(
                "images must be uint8", where=f"{path}, {part}_images", got=images.dtype, expected="uint8"
            )
        check_labels(labels, len(images), f"{path}, {part}_labels")
    if train_x.shape[1:] != test_x.shape[1:]:
        raise ConfigurationError(
            "images for training and for the test differ in shape",
            where=str(path),
            got=f"train_images {train_x.shape}, test_images {test_x.shape}",
            expected="equal channels, heights and widths",
        )
    classes = tuple(map(str, range(int(max(train_y.max(), test_y.max())) + 1)))
    return Dataset(path.stem, train_x, train_y.astype(np.int64), test_x, test_y.astype(np.int64), classes)


def check_images(images: Array, where: str) -> None:
    """Refuse anything but an array of images.

    Raises:
        ConfigurationError: if the shape is not (n, channels, height, width) with every size at least 1.
    """
    if images.ndim != 4 or 0 in images.shape:
        raise ConfigurationError(
            "no images",
            where=where,
            got=f"shape {images.shape}",
            expected="shape (n, channels, height, width), every size at least 1",
        )


def check_labels(labels: Array, images: int, where: str) -> None:
    """Refuse anything but one label an image.

    Raises:
        ConfigurationError: if the shape is not (images,), or a label is negative or above `MAX_LABEL`.
    """
    if labels.shape != (images,):
        raise ConfigurationError(
            "labels do not fit the images",
            where=where,
            got=f"shape {labels.shape}",
            expected=f"shape ({images},)",
        )
    if int(labels.min()) < 0 or int(labels.max()) > MAX_LABEL:
        raise ConfigurationError(
            "a label is out of range",
            where=where,
            got=f"{labels.min()}..{labels.max()}",
            expected=f"0..{MAX_LABEL}",
        )


def read_npz(path: Path, names: Sequence[str]) -> dict[str, Array]:
    """Return those arrays of an `.npz` file from a stranger that are among `names`.

    Raises:
        ConfigurationError: if the file is no readable `.npz` file, holds more than `MAX_BYTES` in all, or one of the arrays
            is not of integers.
    """
    with _readable(path, ".npz"), zipfile.ZipFile(path) as archive:
        _check_size(path, sum(member.file_size for member in archive.infolist()))
        members = {
            name: archive.getinfo(name + _SUFFIX) for name in names if name + _SUFFIX in archive.NameToInfo
        }
        return {
            name: _read_array(partial(archive.open, member), member.file_size, f"{path}, {name}")
            for name, member in members.items()
        }


def read_npy(path: Path, kinds: str = _INTEGERS) -> Array:
    """Return the array of an `.npy` file from a stranger; `kinds` are NumPy's letters of the types that are taken.

    Raises:
        ConfigurationError: if the file is no readable `.npy` file, larger than `MAX_BYTES`, or not of integers.
    """
    with _readable(path, _SUFFIX):
        size = path.stat().st_size
        _check_size(path, size)
        return _read_array(partial(path.open, "rb"), size, str(path), kinds)


@contextmanager
def _readable(path: Path, kind: str) -> Iterator[None]:
    """Turn whatever a damaged file raises in zipfile, its decompressors and NumPy into one error."""
    try:
        yield
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(
            "the file cannot be read",
            where=str(path),
            got=f"{type(error).__name__}: {error}",
            expected=f"{kind} file as NumPy writes it",
        ) from error


def _check_size(path: Path, size: int) -> None:
    if size > MAX_BYTES:
        raise ConfigurationError(
            "the file holds too much",
            where=str(path),
            got=f"{size:,} bytes unpacked",
            expected=f"at most {MAX_BYTES:,}",
            hint="take fewer images",
        )


def _read_array(opened: Callable[[], Any], size: int, where: str, kinds: str = _INTEGERS) -> Array:
    """Read an array of `size` bytes, its header included, after the header was found to tell the truth.

    NumPy allocates what a header claims before it reads; so what it claims must be there.
    """
    with opened() as file:
        shape, dtype = _header(file)
        length = size - file.tell()
    if dtype.kind not in kinds:
        raise ConfigurationError(
            "an array is not of integers",
            where=where,
            got=f"type {dtype}",
            expected="integers",
            hint="make integers of it as they are meant to be, then save `array.astype(np.int64)`",
        )
    if math.prod(shape) * dtype.itemsize != length:
        raise ConfigurationError(
            "an array has another size than it claims",
            where=where,
            got=f"{length:,} bytes",
            expected=f"{dtype} of shape {shape}",
        )
    with opened() as file:
        array: Array = np.lib.format.read_array(file, allow_pickle=False)
    return array


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    return shape, dtype
