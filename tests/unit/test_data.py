# SPDX-License-Identifier: Apache-2.0
"""Array files from strangers: read as integers that fit together, or refused by name, whatever is in them."""

from __future__ import annotations

import io
import pickle
import struct
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hsflow import data
from hsflow.data import load_dataset
from hsflow.emulation import read_images
from hsflow.errors import ConfigurationError

FILE = "set.npz"
WORK = tempfile.TemporaryDirectory()


def arrays(**changed: Any) -> dict[str, Any]:
    """Return a small task with some arrays replaced, or left out where they are None."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (6, 2, 3, 4), dtype=np.uint8)
    labels = np.array([0, 1, 2, 0, 1, 2])
    task = {
        "train_images": images,
        "train_labels": labels,
        "test_images": images[:4],
        "test_labels": labels[:4],
    }
    return {name: value for name, value in {**task, **changed}.items() if value is not None}


def refused(path: Path, match: str | None = None, *, also_for_emulation: bool = True) -> None:
    """Check that both readers refuse the file, and name it."""
    with pytest.raises(ConfigurationError, match=match) as caught:
        load_dataset(path.name, path.parent)
    assert path.name in str(caught.value)
    if also_for_emulation:
        with pytest.raises(ConfigurationError, match=match) as caught:
            read_images(path)
        assert path.name in str(caught.value)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.dtype(">i4")])
def test_a_good_file(tmp_path: Path, save: Callable[..., None], kind: Any) -> None:
    given_arrays = arrays(
        train_labels=np.array([0, 1, 2, 0, 1, 65_535 if kind is np.int64 else 5], dtype=kind)
    )
    save(tmp_path / FILE, **given_arrays)
    loaded = load_dataset(FILE, tmp_path)
    for name, value in given_arrays.items():
        assert np.array_equal(getattr(loaded, name), value)
    assert loaded.train_labels.dtype == np.int64
    assert len(loaded.classes) == given_arrays["train_labels"].max() + 1
    found = read_images(tmp_path / FILE)
    assert found.labels is not None
    assert np.array_equal(found.images, loaded.test_images)
    assert np.array_equal(found.labels, loaded.test_labels)


def test_fortran_order_is_kept(tmp_path: Path) -> None:
    images = np.asfortranarray(arrays()["train_images"])
    np.savez(tmp_path / FILE, **arrays(train_images=images))
    assert np.array_equal(load_dataset(FILE, tmp_path).train_images, images)


IMAGES = arrays()["train_images"]
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "missing": ({"test_labels": None}, "no test_labels"),
    "bool labels": ({"train_labels": np.zeros(6, bool)}, "train_labels: an array is not of integers"),
    "float labels": ({"train_labels": np.zeros(6)}, "not of integers"),
    "NaN labels": ({"train_labels": np.full(6, np.nan)}, "not of integers"),
    "text labels": ({"train_labels": np.array(list("abcdef"))}, "not of integers"),
    "object labels": ({"train_labels": np.array([None] * 6)}, "not of integers"),
    "negative labels": ({"test_labels": np.array([0, -1, 0, 0])}, "test_labels: a label is out of range"),
    "high labels": ({"test_labels": np.array([0, 65_536, 0, 0])}, "out of range"),
    "huge labels": ({"test_labels": np.full(4, 2**64 - 1, np.uint64)}, "out of range"),
    "too few labels": ({"train_labels": np.zeros(5, int)}, "labels do not fit"),
    "2-D labels": ({"train_labels": np.zeros((6, 1), int)}, "labels do not fit"),
    "a label": ({"train_labels": np.array(1)}, "labels do not fit"),
    "float images": ({"train_images": IMAGES / 255}, "not of integers"),
    "wide images": ({"train_images": IMAGES.astype(np.int64)}, "train_images: images must be uint8"),
    "flat images": ({"train_images": IMAGES[:, 0]}, "train_images: no images"),
    "an image": ({"train_images": IMAGES[0]}, "no images"),
    "a number": ({"train_images": np.array(1, np.uint8)}, "no images"),
    "no images": ({"train_images": IMAGES[:0], "train_labels": np.zeros(0, int)}, "no images"),
    "empty images": ({"train_images": IMAGES[:, :, :0]}, "no images"),
    "other shape": ({"test_images": IMAGES[:4, :, :2]}, "differ in shape"),
    "other channels": ({"test_images": IMAGES[:4, :1]}, "differ in shape"),
}


@pytest.mark.parametrize("name", BAD)
def test_arrays_that_do_not_fit_are_named(name: str, tmp_path: Path) -> None:
    changed, match = BAD[name]
    np.savez(tmp_path / FILE, **arrays(**changed))
    refused(tmp_path / FILE, match, also_for_emulation=False)


BAD_FOR_EMULATION: dict[str, tuple[dict[str, Any], str]] = {
    "no images": ({"images": IMAGES[:0]}, "no images"),
    "a number": ({"images": np.array(3)}, "no images"),
    "an image": ({"images": IMAGES[0]}, "no images"),
    "no array of images": ({"labels": np.zeros(3, int)}, "lacks images"),
    "labels of others": ({"images": IMAGES, "labels": np.zeros(5, int)}, "labels do not fit"),
    "float labels": ({"images": IMAGES, "labels": np.zeros(6)}, "not of integers"),
    "negative labels": ({"images": IMAGES, "labels": np.full(6, -1)}, "out of range"),
    "objects": ({"images": np.array([None])}, "not of integers"),
}


@pytest.mark.parametrize("name", BAD_FOR_EMULATION)
def test_images_that_cannot_be_emulated_are_refused(name: str, tmp_path: Path) -> None:
    changed, match = BAD_FOR_EMULATION[name]
    np.savez(tmp_path / FILE, **changed)
    with pytest.raises(ConfigurationError, match=match):
        read_images(tmp_path / FILE)


@pytest.mark.parametrize("array", [np.array(3), IMAGES[:0], IMAGES[0], IMAGES / 255, np.array([None])])
def test_bad_npy_files_are_refused(array: Any, tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", array)
    with pytest.raises(ConfigurationError, match=r"images\.npy"):
        read_images(tmp_path / "images.npy")


def test_images_alone(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", IMAGES)
    found = read_images(tmp_path / "images.npy")
    assert np.array_equal(found.images, IMAGES) and found.labels is None


def test_labels_are_those_of_the_images(tmp_path: Path) -> None:
    np.savez(tmp_path / FILE, images=IMAGES, test_images=IMAGES[:2], test_labels=np.zeros(2, int))
    assert read_images(tmp_path / FILE).labels is None


def content_of(**given_arrays: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **given_arrays)
    return buffer.getvalue()


def npy(array: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def of_members(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


GOOD = content_of(**arrays())
NOT_NPZ: dict[str, bytes] = {
    "empty": b"",
    "renamed .npy": npy(IMAGES),
    "pickle": pickle.dumps({"test_images": 1}),
    "truncated": GOOD[: len(GOOD) // 2],
    "short by one byte": GOOD[:-1],
    "start of a zip": b"PK\x03\x04",
    "no array": of_members(**dict.fromkeys(arrays(), b"no array")),
    "empty members": of_members(**dict.fromkeys(arrays(), b"")),
    "future version": of_members(**dict.fromkeys(arrays(), b"\x93NUMPY\x09\x00" + bytes(200))),
    "header of brackets": of_members(**dict.fromkeys(arrays(), b"\x93NUMPY\x01\x00\x00\x20" + b"(" * 0x2000)),
    "cut array": of_members(**dict.fromkeys(arrays(), npy(IMAGES)[:-1])),
    "long array": of_members(**dict.fromkeys(arrays(), npy(IMAGES) + b"0")),
}


@pytest.mark.parametrize("name", NOT_NPZ)
def test_what_is_no_npz_file_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(NOT_NPZ[name])
    refused(tmp_path / FILE)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    refused(tmp_path / FILE)
    (tmp_path / FILE).mkdir()
    refused(tmp_path / FILE)


def test_a_damaged_stream_is_refused(tmp_path: Path) -> None:
    """zlib's own error, from bytes in the middle of a compressed member."""
    noise = np.random.default_rng(0).integers(0, 2, (40, 1, 32, 32), dtype=np.uint8)
    content = bytearray(content_of(**arrays(train_images=noise, test_images=noise, images=noise)))
    for start in range(200, len(content) - 1000, 500):
        content[start : start + 50] = b"\xff" * 50
    (tmp_path / FILE).write_bytes(content)
    refused(tmp_path / FILE)


def test_a_header_that_claims_a_terabyte_is_refused_before_it_is_allocated(tmp_path: Path) -> None:
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (1099511627776, 1, 1, 1), }\n"
    claim = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header
    (tmp_path / FILE).write_bytes(of_members(**dict.fromkeys(arrays(), claim)))
    refused(tmp_path / FILE, "another size than it claims")
    (tmp_path / "one.npy").write_bytes(claim)
    with pytest.raises(ConfigurationError, match="another size than it claims"):
        read_images(tmp_path / "one.npy")


def test_what_unpacks_to_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zeros = np.zeros((100, 1, 100, 100), np.uint8)
    (tmp_path / FILE).write_bytes(content_of(**arrays(images=zeros)))
    np.save(tmp_path / "zeros.npy", zeros)
    assert (tmp_path / FILE).stat().st_size < 10_000
    assert load_dataset(FILE, tmp_path).name == "set"
    monkeypatch.setattr(data, "MAX_BYTES", 1_000_000)
    refused(tmp_path / FILE, "holds too much")
    with pytest.raises(ConfigurationError, match="holds too much"):
        read_images(tmp_path / "zeros.npy")


@given(st.lists(st.tuples(st.integers(0, len(GOOD) - 1), st.integers(0, 255)), min_size=1, max_size=4))
@settings(max_examples=200, deadline=None)
def test_flipped_bytes_raise_nothing_else(flips: list[tuple[int, int]]) -> None:
    content = bytearray(GOOD)
    for place, value in flips:
        content[place] = value
    path = Path(WORK.name) / FILE
    path.write_bytes(content)
    for read in (lambda: load_dataset(FILE, path.parent), lambda: read_images(path)):
        try:
            read()
        except ConfigurationError as error:
            assert FILE in str(error)
