# SPDX-License-Identifier: Apache-2.0
"""The torch loader: architectures and their weights, options, and what its fingerprint knows of a factory."""

from __future__ import annotations

import importlib
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hsflow_torch import architectures
from hsflow_torch.architectures import build
from hsflow_torch.checkpoint import load_checkpoint
from hsflow_torch.lower import lower
from hsflow_torch.models import digits
from hsflow_torch.module import NetworkModule
from hsflow_torch.recipes import digits as recipe
from hsflow_torch.stage import TorchLoader, TorchOptions
from hsflow_torch.training import accuracy
from pydantic import ValidationError
from torch import Tensor, nn

from hsflow import cachekey
from hsflow.errors import HsflowError, ModelError
from hsflow.images import Geometry, read_image_files
from hsflow.ir import network as ir
from hsflow.ir.tensor import Shape
from tests.shared_data import shared_file
from tests.torch_models import CHECKPOINT, Context, MobileNetV2, pixels, randomize


def test_the_twin_is_torchvisions_own() -> None:
    models = pytest.importorskip(
        "torchvision.models", reason="torchvision is not installed", exc_type=ImportError
    )
    for width in (0.35, 1.0, 1.4):
        theirs = models.mobilenet_v2(weights=None, num_classes=7, width_mult=width)
        ours = build("torchvision:mobilenet_v2", classes=7, seed=1, width=width)
        ours.load_state_dict(theirs.state_dict())
        images = torch.rand(2, 3, 64, 64)
        with torch.no_grad():
            assert torch.equal(ours.eval()(images), theirs.eval()(images))


@pytest.mark.parametrize("model", ["mobilenet_v2", "torchvision:mobilenet_v2"])
def test_mobilenet_v2_at_any_width_and_size(model: str) -> None:
    network = lower(build(model, classes=7, seed=1, width=0.35), Shape(3, 96, 64))
    assert network.shapes["features.0.0"] == Shape(16, 48, 32)
    assert network.shapes[network.layers[-1].name] == Shape(7, 1, 1)


def test_other_architectures_are_not_scaled() -> None:
    with pytest.raises(ModelError, match="cannot be scaled"):
        build("resnet20", classes=7, seed=1, width=0.5)


def test_published_resnet20(tmp_path: Path) -> None:
    """The published 91.7 % are of the original images; as JPEG of quality 75 with halved colours they are harder."""
    path = shared_file("models/cifar_resnet/resnet20-12fca82f.th")
    archive = shared_file("cifar10/cifar10_test.zip")
    module = build("resnet20", classes=10, seed=1)
    load_checkpoint(module, path)
    network = lower(module, Shape(3, 32, 32), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    files = read_image_files(archive, Geometry())
    assert accuracy(NetworkModule(network), files.images[::5], files.labels[::5]) > 79


def test_a_checkpoint_in_order(tmp_path: Path) -> None:
    module, other = (randomize(build("resnet20", classes=10, seed=seed)) for seed in (1, 2))
    renamed = {
        f"{index:03d}.{name.rpartition('.')[2]}": each
        for index, (name, each) in enumerate(other.state_dict().items())
    }
    torch.save(renamed, tmp_path / "m.pth")
    with pytest.raises(ModelError, match="by_order"):
        load_checkpoint(module, tmp_path / "m.pth")
    load_checkpoint(module, tmp_path / "m.pth", by_order=True)
    assert torch.equal(module.layer3[2].conv2.weight, other.layer3[2].conv2.weight)
    backwards = dict(reversed(renamed.items()))
    torch.save(backwards, tmp_path / "m.pth")
    with pytest.raises(ModelError, match="does not fit"):
        load_checkpoint(module, tmp_path / "m.pth", by_order=True)


def test_a_forward_frees_what_nobody_reads() -> None:
    network = lower(randomize(build("resnet20", classes=10, seed=1)), Shape(3, 32, 32))
    module, images = NetworkModule(network), torch.from_numpy(pixels(network))
    maps = module.feature_maps(images)
    assert len(maps) == len(network.layers) + 1
    assert torch.equal(module(images), maps[network.layers[-1].name])
    alive: list[int] = []
    module.finish = lambda layer, value: (alive.append(len(values)), value)[1]  # type: ignore[method-assign]
    values: dict[str, Tensor] = {}
    for layer, _ in module._walk(images, values):
        for source in module._last_reads[layer.name]:
            del values[source]
    assert max(alive) == 2 and len(values) == 1


def test_stage_loads_the_shipped_checkpoint() -> None:
    context = Context()
    network = TorchLoader().run(None, TorchOptions(checkpoint=CHECKPOINT), context)
    assert context.metrics["accuracy_float"] >= 98.5
    assert network.classes == tuple("0123456789")
    weights = sum(layer.weight.array.size for layer in network.layers if isinstance(layer, ir.Conv))
    assert f"{weights:,} convolution weights" in str(digits.__doc__)


def test_stage_without_a_checkpoint_is_random_and_seeded() -> None:
    context, options = Context(seed=3), TorchOptions(random_weights=True)
    first, second = (TorchLoader().run(None, options, context) for _ in range(2))
    assert first == second
    assert context.metrics["accuracy_float"] < 60
    assert "random weights" in context.lines[0]


@pytest.mark.parametrize("model", ["digits", "torchvision:mobilenet_v2"])
def test_an_architecture_without_weights_is_refused(model: str) -> None:
    with pytest.raises(ModelError, match="no trained weights") as caught:
        TorchLoader().run(None, TorchOptions(model=model), Context())
    assert "random_weights = true" in str(caught.value)
    assert ("pretrained" in str(caught.value)) == (model != "digits")


def digits_of_a_factory() -> nn.Module:
    return randomize(digits.DigitsNet())


def test_a_factory_brings_its_own_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(architectures.ALLOW_CODE, "1")
    context = Context()
    TorchLoader().run(None, TorchOptions(model=f"{__name__}:digits_of_a_factory"), context)
    assert context.lines == []


VISION = "torchvision:mobilenet_v2"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"pretrained": True}, "pretrained is for torchvision:NAME"),
        ({"pretrained": True, "model": "a.b:c"}, "pretrained is for torchvision:NAME"),
        ({"pretrained": True, "model": VISION, "checkpoint": CHECKPOINT}, "pretrained and checkpoint"),
        ({"pretrained": True, "model": VISION, "classes": 7}, "pretrained and classes"),
        ({"classes": 7, "model": "a.b:c"}, "classes is not for a factory"),
        ({"pretrained": True, "model": VISION, "width": 0.5}, "pretrained and width"),
        ({"by_order": True}, "by_order is for a checkpoint"),
        ({"random_weights": True, "checkpoint": CHECKPOINT}, "random_weights contradicts"),
        ({"random_weights": True, "model": VISION, "pretrained": True}, "random_weights contradicts"),
    ],
)
def test_contradictions_are_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TorchOptions(**options)
    (detail,) = caught.value.errors()
    assert reason in detail["msg"] and not detail["msg"].startswith("Value error")


def test_options_that_agree_are_taken() -> None:
    TorchOptions(model=VISION, pretrained=True)
    TorchOptions(model=VISION, classes=7, checkpoint=CHECKPOINT)
    TorchOptions(classes=7, random_weights=True)


def write_module(folder: Path, name: str, text: str = "def make(): ...") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("files", "model", "matters"),
    [
        (["fp_single.py"], "fp_single:make", "fp_single.py"),
        (["fp_regular/__init__.py", "fp_regular/a/b.py"], "fp_regular.a:make", "fp_regular/a/b.py"),
        (["fp_space/models.py", "fp_space/layers.py"], "fp_space.models:make", "fp_space/layers.py"),
        (["fp_deep/a/models.py", "fp_deep/a/b/c.py"], "fp_deep.a.models:make", "fp_deep/a/b/c.py"),
        (["fp_mixed/in/__init__.py", "fp_mixed/in/m.py"], "fp_mixed.in.m:make", "fp_mixed/in/m.py"),
    ],
)
@pytest.mark.parametrize("imported", [False, True])
def test_the_fingerprint_knows_the_factorys_code(
    files: list[str],
    model: str,
    matters: str,
    imported: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    package = model.partition(":")[0].partition(".")[0]
    for name in files:
        write_module(tmp_path, name, "" if imported else "raise SystemExit('imported')")
    if imported:
        importlib.invalidate_caches()
        monkeypatch.setitem(sys.modules, package, importlib.import_module(package))
    found = []
    for text in ("a = 1", "a = 2", "a = 1"):
        cachekey.module_digest.cache_clear()
        cachekey.source_digest.cache_clear()
        write_module(tmp_path, matters, text)
        found.append(TorchLoader().fingerprint(TorchOptions(model=model)))
    assert found[0] == found[2] != found[1] and "missing" not in found


@pytest.mark.parametrize("model", ["sys:make", "builtins:make", "__main__:make", "_io:make"])
def test_the_fingerprint_of_a_module_without_a_file(model: str) -> None:
    assert TorchLoader().fingerprint(TorchOptions(model=model)) != "missing"


def test_the_fingerprint_of_a_module_that_cannot_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> str:
        raise PermissionError

    with zipfile.ZipFile(tmp_path / "code.zip", "w") as archive:
        archive.writestr("fp_zipped.py", "")
    monkeypatch.syspath_prepend(str(tmp_path / "code.zip"))
    assert TorchLoader().fingerprint(TorchOptions(model="fp_zipped:make")) in {"missing", "no source"}
    monkeypatch.setattr("hsflow_torch.naming.source_digest", refuse)
    assert TorchLoader().fingerprint(TorchOptions(model="tests.torch_models:make")) == "missing"


@pytest.mark.parametrize(
    "model",
    [
        ":f",
        ".a:f",
        "no_such_module:f",
        "no_such.module:f",
        "a\0b:f",
        "tests.nothing:f",
        "tests:f",
        "a..b:f",
        ":",
    ],
)
def test_the_fingerprint_of_what_is_not_there(model: str) -> None:
    assert TorchLoader().fingerprint(TorchOptions(model=model)) == "missing"
    assert TorchLoader().fingerprint(TorchOptions()) == ""


def test_options_are_checked() -> None:
    with pytest.raises(ValidationError):
        TorchOptions(std=(0.0,))
    with pytest.raises(ModelError, match="mean does not fit"):
        TorchLoader().run(None, TorchOptions(mean=(0.1, 0.2), checkpoint=CHECKPOINT), Context())


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        ("digit", "did you mean 'digits'"),
        ("no_such_package:model", "ModuleNotFoundError"),
        ("tests.torch_models:nothing", "AttributeError"),
        ("tests.torch_models:Context", "no module"),
    ],
)
def test_unknown_architectures(model: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(architectures.ALLOW_CODE, "1")
    with pytest.raises(ModelError, match=reason):
        build(model, classes=10, seed=1)


def test_factory(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(HsflowError, match="may not run code of its own accord"):
        build("tests.torch_models:MobileNetV2", classes=10, seed=1)
    monkeypatch.setenv(architectures.ALLOW_CODE, "1")
    assert isinstance(build("tests.torch_models:MobileNetV2", classes=10, seed=1), MobileNetV2)


def test_broken_torchvision_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(name: str) -> None:
        raise RuntimeError("operator torchvision::nms does not exist")

    monkeypatch.setattr(architectures.importlib, "import_module", broken)
    with pytest.raises(HsflowError, match="next: install both from one index"):
        build("torchvision:resnet18", classes=10, seed=1)


def test_plugin_imports_no_torch() -> None:
    program = (
        "import sys, hsflow_torch.plugin, hsflow_prune.plugin, hsflow_po2.plugin as p;"
        "p.hsflow_stages()[0].options_model();"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_recipe_is_reproducible(tmp_path: object) -> None:
    short = recipe.replace(recipe.RECIPE, epochs=1)
    dataset = Context().dataset
    (first, a), (second, b) = (recipe.train(dataset, 5, short) for _ in range(2))
    assert a == b
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name])
