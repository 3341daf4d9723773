# SPDX-License-Identifier: Apache-2.0
"""Read labelled images, JPEG, PNG and the like, from a folder or a zip file that nobody vouches for.

The label is the folder that an image lies in (`cat/7.jpg`; classes in natural order), or, where all images lie in one
folder, the number that their names begin with (`0007_cat.jpg`). Nothing is unpacked to disk. Decoding is Pillow's.
"""

from __future__ import annotations

import importlib
import io
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsflow.errors import ConfigurationError, HsflowError

SUFFIXES = frozenset({".bmp", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".webp"})
FORMATS = ("BMP", "JPEG", "PNG", "PPM", "WEBP")
MAX_IMAGES = 2_000_000
MAX_BYTES = 4 << 30
"""The most that the images may take in memory, and a zip file unpacked."""

MAX_FILE_BYTES = 64 << 20
MAX_PIXELS = 1 << 26
"""The most pixels that one image may have before it is resized; a few bytes can claim any size."""

_INDEXED = re.compile(r"(\d{1,5})(?!\d)")
_DIGITS = re.compile(r"(\d+)")
_SHOWN = 100


@dataclass(frozen=True)
class Geometry:
    """Say how an image becomes one of the network's size.

    `resize` scales the shorter side to so many pixels (bilinear, antialiased, as torchvision's `Resize`); then `crop` cuts
    (height, width) from the centre. None leaves out either.
    """

    resize: int | None = None
    crop: tuple[int, int] | None = None


@dataclass(frozen=True, eq=False)
class LabelledFiles:
    """Hold decoded images, uint8 of shape (n, channels, height, width), labels and the classes' names.

    They are in the order of the label, then of the path.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]
    classes: tuple[str, ...]


def is_image_source(path: Path) -> bool:
    """Tell whether `path` is a folder, or is called as a zip file."""
    return path.suffix == ".zip" or path.is_dir()


def read_image_files(
    path: Path, geometry: Geometry, classes: Sequence[str] | None = None, channels: int | None = None
) -> LabelledFiles:
    """Return the images in a folder or zip file.

    Args:
        path: the folder or zip file.
        geometry: how images of any size become alike.
        classes: what the classes must be, in this order; None takes those that are there.
        channels: 1 (grey) or 3 (red, green, blue); None takes what the first image has.

    Raises:
        HsflowError: if Pillow is not installed.
        ConfigurationError: if there are no images or too many, one is broken, or they differ in size.
    """
    _library()
    with _opened(path) as files:
        labels, found = _labels(list(files), str(path), classes)
        order = sorted(files, key=lambda name: (labels[name], natural(name)))
        images = _decoded(order, files, geometry, channels, path)
    return LabelledFiles(images, np.array([labels[name] for name in order], dtype=np.int64), found)


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """Return a key by which 2 comes before 10."""
    return tuple(
        (0, int(part), "") if part.isdigit() else (1, 0, part) for part in _DIGITS.split(name) if part
    )


# Where the files are.


Files = Mapping[str, Callable[[], bytes]]


@contextmanager
def _opened(path: Path) -> Iterator[Files]:
    """Give the images by their relative paths, each with what reads it."""
    try:
        if path.is_dir():
            yield _in_folder(path)
        else:
            with zipfile.ZipFile(path) as archive:
                yield _in_archive(archive, path)
    except HsflowError:
        raise
    except Exception as error:  # zipfile and its decompressors raise anything at all on a damaged file
        raise ConfigurationError(
            "the images cannot be read",
            where=str(path),
            got=f"{type(error).__name__}: {error}",
            expected="a folder, or a zip file",
        ) from error


def _in_folder(path: Path) -> Files:
    found = [file for file in path.rglob("*") if _is_image(file.name) and file.is_file()]
    _check_count(len(found), path)
    return {file.relative_to(path).as_posix(): partial(_content, file, path) for file in found}


def _content(file: Path, path: Path) -> bytes:
    _check_size(file.stat().st_size, file.name, path)
    return file.read_bytes()


def _in_archive(archive: zipfile.ZipFile, path: Path) -> Files:
    members = [each for each in archive.infolist() if _is_image(each.filename) and not each.is_dir()]
    _check_count(len(members), path)
    _check_total(sum(each.file_size for each in members), path)
    for each in members:
        _check_size(each.file_size, each.filename, path)
    return {each.filename: partial(archive.read, each) for each in members}


def _is_image(name: str) -> bool:
    path = PurePosixPath(name)
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and "__MACOSX" not in path.parts


def _check_count(count: int, path: Path) -> None:
    if not 0 < count <= MAX_IMAGES:
        raise ConfigurationError(
            "no images" if count == 0 else "too many images",
            where=str(path),
            got=f"{count:,} files of images",
            expected=f"1 to {MAX_IMAGES:,}, called {', '.join(sorted(SUFFIXES))}",
        )


def _check_size(size: int, name: str, path: Path) -> None:
    if size > MAX_FILE_BYTES:
        raise ConfigurationError(
            "an image file is too large",
            where=f"{path}, {_shown(name)}",
            got=f"{size:,} bytes",
            expected=f"at most {MAX_FILE_BYTES:,}",
        )


def _check_total(size: int, path: Path) -> None:
    if size > MAX_BYTES:
        raise ConfigurationError(
            "the images are too many or too large",
            where=str(path),
            got=f"{size:,} bytes",
            expected=f"at most {MAX_BYTES:,}",
            hint="take fewer images, or set resize and crop in [flow]",
        )


# Which label an image has.


def _labels(
    names: Sequence[str], where: str, classes: Sequence[str] | None
) -> tuple[dict[str, int], tuple[str, ...]]:
    """Return each image's label and the names of the classes."""
    folders = {name: PurePosixPath(name).parent.as_posix() for name in names}
    known = {PurePosixPath(folder).name for folder in folders.values()} <= set(classes or ())
    if len(set(folders.values())) > 1 or known:
        return _labels_of_folders(folders, where, classes)
    labels = {name: _index(name, where) for name in names}
    count = max(labels.values()) + 1 if classes is None else len(classes)
    if max(labels.values()) >= count:
        raise ConfigurationError(
            "an image's class is not among the others'",
            where=where,
            got=f"class {max(labels.values())}",
            expected=f"0..{count - 1}",
        )
    return labels, tuple(classes or map(str, range(count)))


def _labels_of_folders(
    folders: Mapping[str, str], where: str, classes: Sequence[str] | None
) -> tuple[dict[str, int], tuple[str, ...]]:
    last = {name: PurePosixPath(folder).name for name, folder in folders.items()}
    found = tuple(sorted(set(last.values()), key=natural))
    if len(found) != len(set(folders.values())) or "" in found:
        raise ConfigurationError(
            "the folders are not one for each class",
            where=where,
            got=", ".join(_shown(folder) for folder in sorted(set(folders.values()))[:4]),
            expected="images in CLASS/NAME, or in one folder with names such as 0007_cat.jpg",
            hint="name the folder of the training images in data, and that of the others in test_data",
        )
    known = found if classes is None else tuple(classes)
    if strangers := [name for name in found if name not in known]:
        raise ConfigurationError(
            "an image's class is not among the others'", where=where, got=_shown(strangers[0]),
            expected=", ".join(map(_shown, known[:20])),
        )  # fmt: skip
    number = {name: index for index, name in enumerate(known)}
    return {name: number[folder] for name, folder in last.items()}, known


def _index(name: str, where: str) -> int:
    match = _INDEXED.match(PurePosixPath(name).name)
    if match is None:
        raise ConfigurationError(
            "an image has no class",
            where=f"{where}, {_shown(name)}",
            expected="images in CLASS/NAME, or in one folder with names such as 0007_cat.jpg",
        )
    return int(match.group(1))


# Decoding.


def _decoded(
    names: Sequence[str], files: Files, geometry: Geometry, channels: int | None, path: Path
) -> NDArray[np.uint8]:
    images: NDArray[np.uint8] | None = None
    for index, name in enumerate(names):
        with _named(path, name):
            image = _image(files[name](), geometry, channels)
        if images is None:
            _check_total(len(names) * image.size, path)
            images = np.empty((len(names), *image.shape), dtype=np.uint8)
            channels = len(image)
        if image.shape != images.shape[1:]:
            raise ConfigurationError(
                "the images differ in size", where=f"{path}, {_shown(name)}", got=_size(image),
                expected=f"{_size(images[0])}, as {_shown(names[0])}", hint="set resize and crop in [flow]",
            )  # fmt: skip
        images[index] = image
    return np.zeros((0, 1, 1, 1), np.uint8) if images is None else images


def _size(image: NDArray[np.uint8]) -> str:
    return "x".join(map(str, image.shape))


@contextmanager
def _named(path: Path, name: str) -> Iterator[None]:
    """Turn whatever Pillow raises on a broken image into an error that names it."""
    try:
        yield
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(
            "a broken image",
            where=f"{path}, {_shown(name)}",
            got=f"{type(error).__name__}: {error}"[:200],
            expected=f"a whole image of one of {', '.join(FORMATS)}",
            hint="take it out, or fetch it again",
        ) from error


def _image(content: bytes, geometry: Geometry, channels: int | None) -> NDArray[np.uint8]:
    """Return one image, shape (channels, height, width)."""
    with _library().open(io.BytesIO(content), formats=FORMATS) as opened:
        width, height = opened.size
        if width * height > MAX_PIXELS:
            raise ValueError(f"{width} x {height} pixels are more than {MAX_PIXELS:,}")
        grey = channels == 1 if channels is not None else opened.mode in {"1", "L"}
        image = _resized(opened.convert("L" if grey else "RGB"), geometry)
    array: NDArray[np.uint8] = np.asarray(image, dtype=np.uint8)
    return array[np.newaxis] if grey else array.transpose(2, 0, 1)


def _resized(image: Any, geometry: Geometry) -> Any:
    width, height = image.size
    if geometry.resize is not None and geometry.resize != min(width, height):
        wanted = geometry.resize
        size = (wanted, wanted * height // width) if width <= height else (wanted * width // height, wanted)
        if size[0] * size[1] > MAX_PIXELS:
            raise ValueError(f"{size[0]} x {size[1]} pixels are more than {MAX_PIXELS:,}")
        image = image.resize(size, resample=_BILINEAR)
    return image if geometry.crop is None else _cropped(image, geometry.crop)


_BILINEAR = 2
"""Pillow's number of bilinear interpolation."""


def _cropped(image: Any, crop: tuple[int, int]) -> Any:
    width, height = image.size
    if crop[0] > height or crop[1] > width:
        raise ValueError(f"a crop of {crop[0]} x {crop[1]} does not fit {height} x {width} pixels")
    top, left = round((height - crop[0]) / 2), round((width - crop[1]) / 2)
    return image.crop((left, top, left + crop[1], top + crop[0]))


def _library() -> Any:
    try:
        return importlib.import_module("PIL.Image")
    except ImportError as error:
        raise HsflowError(
            "the package that reads images is missing",
            where="[flow] data",
            got=str(error),
            hint="pip install 'hsflow[images]'",
        ) from error


def _shown(name: str) -> str:
    printable = "".join(letter if letter.isprintable() else "?" for letter in name[:_SHOWN])
    return printable if len(name) <= _SHOWN else f"{printable}..."
