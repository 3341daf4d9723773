# SPDX-License-Identifier: Apache-2.0
"""Images from folders and zip files of strangers: labelled, scaled and cut as stated, or refused by name."""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hsflow import images
from hsflow.data import Reading, held_out, load_dataset
from hsflow.errors import ConfigurationError, HsflowError
from hsflow.images import Geometry, natural, read_image_files
from tests.shared_data import shared_file

Image = pytest.importorskip("PIL.Image", reason="Pillow is not installed")

RNG = np.random.default_rng(0)


def picture(height: int = 6, width: int = 8, mode: str = "RGB", seed: int = 0, form: str = "PNG") -> bytes:
    array = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(array).convert(mode).save(buffer, form)
    return buffer.getvalue()


def pixels(content: bytes) -> Any:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).transpose(2, 0, 1)


def put(path: Path, files: dict[str, bytes]) -> Path:
    """Write a zip file, or else a folder."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
        return path
    for name, content in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(content)
    return path


CLASSES = {f"all/{kind}/{number}.png": picture(seed=number) for kind in ("b", "a") for number in (10, 9, 2)}


@pytest.mark.parametrize("place", ["set", "set.zip"])
def test_folders_are_classes_in_natural_order(tmp_path: Path, place: str) -> None:
    found = read_image_files(put(tmp_path / place, {**CLASSES, "all/readme.txt": b"?"}), Geometry())
    assert found.classes == ("a", "b")
    assert found.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert (found.images.dtype, found.images.shape) == (np.uint8, (6, 3, 6, 8))
    for index, number in enumerate((2, 9, 10, 2, 9, 10)):
        assert np.array_equal(found.images[index], pixels(picture(seed=number)))


@pytest.mark.parametrize("place", ["set", "set.zip"])
def test_names_that_begin_with_the_class(tmp_path: Path, place: str) -> None:
    files = {
        f"{label:04d}_n0144_{name}.png": picture(seed=label) for label, name in ((2, "c"), (0, "a"), (1, "b"))
    }
    found = read_image_files(put(tmp_path / place, files), Geometry())
    assert (found.labels.tolist(), found.classes) == ([0, 1, 2], ("0", "1", "2"))
    assert np.array_equal(found.images[1], pixels(picture(seed=1)))


def test_natural_order() -> None:
    assert sorted(["b10", "a", "b9", "10", "2"], key=natural) == ["2", "10", "a", "b9", "b10"]


@pytest.mark.parametrize(
    ("size", "resize", "scaled"), [((6, 8), 3, (3, 4)), ((8, 6), 3, (4, 3)), ((7, 10), 14, (14, 20)), ((5, 9), 4, (4, 7))]
)  # fmt: skip
def test_the_shorter_side_is_scaled(tmp_path: Path, size: tuple[int, int], resize: int, scaled: Any) -> None:
    content = picture(*size)
    found = read_image_files(put(tmp_path, {"0_a.png": content}), Geometry(resize))
    bilinear = Image.open(io.BytesIO(content)).resize(scaled[::-1], Image.Resampling.BILINEAR)
    assert np.array_equal(found.images[0], np.asarray(bilinear).transpose(2, 0, 1))


def test_the_crop_is_the_centre(tmp_path: Path) -> None:
    content = picture(7, 10)
    found = read_image_files(put(tmp_path, {"0_a.png": content}), Geometry(None, (3, 4)))
    assert np.array_equal(found.images[0], pixels(content)[:, 2:5, 3:7])


@pytest.mark.parametrize(("mode", "channels"), [("L", 1), ("RGB", 3), ("P", 3), ("RGBA", 3), ("CMYK", 3)])
def test_the_first_image_says_whether_all_are_grey(tmp_path: Path, mode: str, channels: int) -> None:
    form = "JPEG" if mode == "CMYK" else "PNG"
    files = {"0_a.png": picture(mode=mode, form=form), "1_b.png": picture()}
    assert read_image_files(put(tmp_path, files), Geometry()).images.shape[1] == channels


def test_a_share_is_held_out_evenly(tmp_path: Path) -> None:
    files = {f"{index // 6}_{index:02d}.png": picture(seed=index) for index in range(12)}
    put(tmp_path / "set", files)
    whole = read_image_files(tmp_path / "set", Geometry())
    dataset = load_dataset("set", tmp_path)
    assert np.array_equal(dataset.test_images, whole.images[2::3])
    assert dataset.test_labels.tolist() == [0, 0, 1, 1]
    assert len(dataset.train_images) == 8 and dataset.classes == ("0", "1")
    half = load_dataset("set", tmp_path, Reading(held_out=0.5))
    assert np.array_equal(half.test_images, whole.images[1::2])


@pytest.mark.parametrize("share", [0.1, 1 / 3, 0.5, 0.9])
def test_the_share_is_kept(share: float) -> None:
    held = held_out(1000, share)
    assert abs(held.sum() - 1000 * share) <= 1 and not held[0]


def test_held_out_images_by_name(tmp_path: Path) -> None:
    put(tmp_path / "train.zip", CLASSES)
    put(tmp_path / "test.zip", {"b/1.png": picture(seed=77), "b/2.png": picture(seed=78)})
    dataset = load_dataset("train.zip", tmp_path, Reading(test="test.zip"))
    assert dataset.test_labels.tolist() == [1, 1] and len(dataset.train_labels) == 6
    put(tmp_path / "other.zip", {"b/1.png": picture(), "c/1.png": picture()})
    with pytest.raises(ConfigurationError, match="not among the others"):
        load_dataset("train.zip", tmp_path, Reading(test="other.zip"))
    put(tmp_path / "wide.zip", {"a/1.png": picture(9, 9), "b/1.png": picture(9, 9)})
    with pytest.raises(ConfigurationError, match="differ in shape"):
        load_dataset("train.zip", tmp_path, Reading(test="wide.zip"))


def test_a_single_image_cannot_be_split(tmp_path: Path) -> None:
    put(tmp_path / "set", {"0_a.png": picture()})
    with pytest.raises(ConfigurationError, match="too few images"):
        load_dataset("set", tmp_path)


BROKEN: dict[str, tuple[dict[str, bytes], str]] = {
    "nothing": ({"a/readme.txt": b"?"}, "no images"),
    "text": ({"0_a.png": picture(), "1_b.jpg": b"no picture"}, r"1_b\.jpg.*broken image"),
    "cut off": ({"0_a.png": picture(60, 60)[:3000]}, "broken image"),
    "cut off, JPEG": ({"0_a.jpg": picture(99, 99, form="JPEG")[:2000]}, "broken image"),
    "another format": ({"0_a.png": picture(form="TIFF")}, "broken image"),
    "sizes": ({"0_a.png": picture(), "1_b.png": picture(7, 7)}, "differ in size"),
    "no class": ({"a.png": picture()}, "has no class"),
    "class out of range": ({"100000_a.png": picture()}, "has no class"),
    "nested": ({"x/a/1.png": picture(), "y/a/1.png": picture()}, "not one for each class"),
    "at the top": ({"1.png": picture(), "a/1.png": picture()}, "not one for each class"),
}


@pytest.mark.parametrize("place", ["set", "set.zip"])
@pytest.mark.parametrize("name", BROKEN)
def test_what_cannot_be_read_is_named(tmp_path: Path, place: str, name: str) -> None:
    files, match = BROKEN[name]
    with pytest.raises(ConfigurationError, match=f"(?s){match}") as caught:
        read_image_files(put(tmp_path / place, files), Geometry())
    assert place in str(caught.value)


def test_a_crop_that_does_not_fit(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="does not fit"):
        read_image_files(put(tmp_path, {"0_a.png": picture()}), Geometry(None, (7, 7)))


def test_bombs_are_refused_before_they_are_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path / "set.zip", {f"{index}_a.png": picture(64, 64, "L") for index in range(4)})
    assert len(read_image_files(path, Geometry()).images) == 4
    for name, limit, match in (
        ("MAX_PIXELS", 4095, "pixels are more than"),
        ("MAX_FILE_BYTES", 100, "image file is too large"),
        ("MAX_BYTES", 4 * 64 * 64 - 1, "too many or too large"),
        ("MAX_IMAGES", 3, "too many images"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(images, name, limit)
            with pytest.raises(ConfigurationError, match=match):
                read_image_files(path, Geometry())


def test_a_thin_image_is_not_scaled_to_a_wall(tmp_path: Path) -> None:
    put(tmp_path, {"0_a.png": picture(1, 8000, "L")})
    with pytest.raises(ConfigurationError, match="pixels are more than"):
        read_image_files(tmp_path, Geometry(1000))


def test_damaged_archives_end_in_one_error(tmp_path: Path) -> None:
    whole = put(tmp_path / "set.zip", CLASSES).read_bytes()
    rng, path = np.random.default_rng(2), tmp_path / "damaged.zip"
    refused = 0
    for trial in range(150):
        raw = bytearray(whole[: rng.integers(1, len(whole))] if trial % 5 == 0 else whole)
        for place in rng.integers(0, len(raw), size=4):
            raw[place] = rng.integers(256)
        path.write_bytes(raw)
        try:
            read_image_files(path, Geometry())
        except ConfigurationError:
            refused += 1
    assert refused > 50


def test_without_pillow_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path, {"0_a.png": picture()})
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    with pytest.raises(HsflowError, match=r"hsflow\[images\]"):
        read_image_files(tmp_path, Geometry())


def test_the_sample_of_imagenet() -> None:
    path = shared_file("imagenet_sample/imagenet_sample_256.zip")
    found = read_image_files(path, Geometry(256, (224, 224)))
    assert found.images.shape == (1000, 3, 224, 224)
    assert np.array_equal(found.labels, np.arange(1000))


def test_cifar_10() -> None:
    found = read_image_files(shared_file("cifar10/cifar10_test.zip"), Geometry())
    assert found.images.shape == (10_000, 3, 32, 32)
    assert (np.bincount(found.labels) == 1000).all() and found.classes[0] == "airplane"
