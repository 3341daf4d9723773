# SPDX-License-Identifier: Apache-2.0
"""The torch loader: every supported operator against torch itself; everything else refused by name."""

from __future__ import annotations

import importlib
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hsflow_torch import architectures
from hsflow_torch.architectures import build
from hsflow_torch.checkpoint import load_checkpoint
from hsflow_torch.lower import lower
from hsflow_torch.models import digits
from hsflow_torch.models.resnet20 import Shortcut
from hsflow_torch.module import NetworkModule
from hsflow_torch.recipes import digits as recipe
from hsflow_torch.stage import TorchLoader, TorchOptions
from hsflow_torch.training import accuracy
from pydantic import ValidationError
from torch import Tensor, nn
from torch.nn import functional as f

from hsflow import cachekey
from hsflow.errors import HsflowError, ModelError
from hsflow.images import Geometry, read_image_files
from hsflow.ir import network as ir
from hsflow.ir.tensor import Padding, Shape
from tests.shared_data import shared_file
from tests.torch_models import CHECKPOINT, Context, MobileNetV2, pixels, randomize

SHAPE = Shape(4, 9, 10)


class Body(nn.Module):
    """Run a function on `net`'s output, so that a test can spell functions and methods."""

    def __init__(self, net: nn.Module, function: Callable[..., Tensor]) -> None:
        super().__init__()
        self.net, self.function = net, function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self.net, x)


def conv(outputs: int = 6, **options: object) -> nn.Conv2d:
    return nn.Conv2d(4, outputs, **{"kernel_size": 3, **options})  # type: ignore[arg-type]


def residual(net: nn.Module, x: Tensor) -> Tensor:
    return f.relu(x.add_(net(x)))


LAYERS: dict[str, nn.Module] = {
    "conv": conv(),
    "conv without bias": conv(bias=False),
    "strided": conv(stride=2, padding=1),
    "asymmetric": conv(kernel_size=(3, 2), stride=(1, 2), padding=(2, 1)),
    "dilated": conv(dilation=2, padding=2),
    "grouped": conv(8, groups=2),
    "depthwise": conv(4, groups=4, padding=1),
    "depthwise with multiplier": conv(8, groups=4),
    "same": conv(padding="same"),
    "same, even kernel": conv(padding="same", kernel_size=(2, 4)),
    "valid": conv(padding="valid"),
    "stride above kernel": conv(kernel_size=1, stride=3),
    "batch norm": nn.Sequential(conv(bias=False), nn.BatchNorm2d(6), nn.ReLU()),
    "batch norm without affine": nn.Sequential(conv(), nn.BatchNorm2d(6, affine=False)),
    "batch norm first": nn.Sequential(nn.BatchNorm2d(4), nn.ReLU(), conv(padding=1)),
    "relu6": nn.Sequential(conv(), nn.ReLU6(inplace=True)),
    "hardtanh": nn.Sequential(conv(), nn.Hardtanh(0, 6)),
    "relu twice": nn.Sequential(conv(), nn.ReLU(), nn.ReLU(), nn.ReLU6()),
    "relu after pool": nn.Sequential(conv(), nn.MaxPool2d(2), nn.ReLU()),
    "relu first": nn.Sequential(nn.ReLU(), conv()),
    "max pool": nn.Sequential(conv(), nn.MaxPool2d(3, 2, 1)),
    "max pool, dilated": nn.Sequential(conv(), nn.MaxPool2d(2, 1, dilation=2)),
    "max pool, ceil_mode": nn.Sequential(conv(padding=1), nn.MaxPool2d(2, 2, ceil_mode=True)),
    "max pool, ceil_mode and padding": nn.Sequential(conv(), nn.MaxPool2d(3, 3, 1, ceil_mode=True)),
    "average pool": nn.Sequential(conv(), nn.AvgPool2d(3, 2)),
    "average pool with padding": nn.Sequential(conv(), nn.AvgPool2d(3, 1, 1)),
    "average pool first": nn.AvgPool2d(3),
    "adaptive pool": nn.Sequential(conv(), nn.AdaptiveAvgPool2d(1)),
    "adaptive pool to None": nn.Sequential(conv(), nn.AdaptiveAvgPool2d((None, 1))),
    "linear": nn.Sequential(conv(), nn.Flatten(), nn.Linear(6 * 7 * 8, 5), nn.Identity(), nn.Dropout()),
    "linear on the image": nn.Sequential(nn.Flatten(), nn.Linear(360, 5)),
    "linear in the middle": nn.Sequential(
        conv(), nn.Flatten(), nn.Linear(6 * 7 * 8, 12), nn.BatchNorm1d(12), nn.ReLU(), nn.Linear(12, 5)
    ),
    "linear, then relu": nn.Sequential(conv(), nn.Flatten(), nn.Linear(6 * 7 * 8, 5), nn.ReLU()),
}

FUNCTIONS: dict[str, tuple[nn.Module, Callable[..., Tensor]]] = {
    "add": (conv(4, padding=1), lambda net, x: x + net(x)),
    "torch.add": (conv(4, padding=1), lambda net, x: torch.add(net(x), x)),
    "add_ kept by name": (nn.Identity(), lambda net, x: _in_place(net(x))),
    "relu after add": (conv(4, padding=1), residual),
    "add to itself": (conv(), lambda net, x: (y := net(x)) + y),
    "relu of one branch": (conv(), lambda net, x: (y := net(x)) + f.relu(y)),
    "relu in place of both": (conv(), lambda net, x: (y := net(x)) + f.relu(y, inplace=True) + y),
    "relu_ kept by name": (conv(), lambda net, x: _relu_in_place(net(x))),
    "mean": (conv(), lambda net, x: net(x).mean([2, 3])),
    "mean, kept": (conv(), lambda net, x: net(x).mean((-1, -2), keepdim=True)),
    "torch.mean": (conv(), lambda net, x: torch.mean(net(x), dim=[2, 3])),
    "functional pools": (conv(), lambda net, x: f.avg_pool2d(f.max_pool2d(net(x), 2), 2)),
    "view": (nn.Linear(360, 5), lambda net, x: net(x.view(x.size(0), -1))),
    "reshape": (nn.Linear(360, 5), lambda net, x: net(x.reshape(x.shape[0], 360))),
    "reshape, -1 first": (nn.Linear(360, 5), lambda net, x: net(x.reshape(-1, 360))),
    "flatten, 1x1": (nn.Linear(4, 5), lambda net, x: net(f.adaptive_avg_pool2d(x, (1, 1)).flatten(1))),
    "dropout": (conv(), lambda net, x: f.dropout(net(x), training=False)),
    "relu methods": (conv(), lambda net, x: torch.relu(net(x).relu())),
    "dead code": (conv(), lambda net, x: (net(f.relu(x)), net(x))[1]),
    "keywords": (conv(), lambda net, x: torch.flatten(input=f.relu6(input=net(x)), start_dim=1)),
    "weights used twice": (conv(4, padding=1), lambda net, x: net(f.relu(net(x)))),
}


def _in_place(y: Tensor) -> Tensor:
    z = f.relu(y)
    z.add_(y)
    return f.relu6(z)


def _relu_in_place(y: Tensor) -> Tensor:
    y.relu_()
    return y + y


def agree(
    module: nn.Module,
    shape: Shape = SHAPE,
    mean: tuple[float, ...] = (0.0,),
    std: tuple[float, ...] = (1.0,),
) -> ir.Network:
    """Lower a module, check that the network computes what the module does, and return it."""
    randomize(module)
    network = lower(module, shape, mean=mean, std=std)
    images = torch.from_numpy(pixels(network))
    normalized = (images / 255 - torch.tensor(mean).view(-1, 1, 1)) / torch.tensor(std).view(-1, 1, 1)
    with torch.no_grad():
        wanted, found = module(normalized.clone()), NetworkModule(network)(images)
    assert torch.allclose(found.flatten(1), wanted.flatten(1), atol=2e-5, rtol=1e-4)
    last = network.shapes[network.layers[-1].name]
    assert wanted.flatten(1).shape[1] == last.elements
    return network


@pytest.mark.parametrize("name", LAYERS)
def test_layers_equal_torch(name: str) -> None:
    agree(LAYERS[name])


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_equal_torch(name: str) -> None:
    net, function = FUNCTIONS[name]
    agree(Body(net, function))


class WithDeadBranch(nn.Module):
    """Compute a branch that nothing reads before or after the live one."""

    def __init__(self, dead_first: bool, dead: nn.Module) -> None:
        super().__init__()
        self.dead_first, self.live, self.dead, self.fc = (
            dead_first,
            nn.Conv2d(4, 3, 3),
            dead,
            nn.Linear(168, 5),
        )

    def forward(self, x: Tensor) -> Tensor:
        if self.dead_first:
            self.dead(x)
        y = self.live(x)
        if not self.dead_first:
            self.dead(x)
        return self.fc(y.flatten(1))


@pytest.mark.parametrize("dead_first", [True, False])
@pytest.mark.parametrize(
    "dead",
    [nn.Conv2d(4, 3, 3), nn.AvgPool2d(3), nn.Sequential(nn.Flatten(), nn.Linear(360, 7))],
    ids=["conv", "pool", "linear"],
)
def test_dead_code_leaves_no_layer(dead_first: bool, dead: nn.Module) -> None:
    network = agree(WithDeadBranch(dead_first, dead))
    assert [layer.name for layer in network.layers] == ["live", "fc"]
    assert [name for name, _ in network.origins] == ["live", "fc"]


def test_dead_code_behind_the_output_leaves_no_layer() -> None:
    module = Body(conv(), lambda net, x: (y := net(x), f.max_pool2d(y, 2))[0])
    assert [layer.name for layer in agree(module).layers] == ["net"]


def test_a_network_that_differs_is_noticed() -> None:
    """The twin: the comparison above can fail."""
    module = randomize(nn.Sequential(conv()))
    network = lower(module, SHAPE)
    images = torch.from_numpy(pixels(network))
    with torch.no_grad():
        module[0].bias += 0.01
        assert not torch.allclose(NetworkModule(network)(images), module(images / 255), atol=2e-5)


def test_preprocessing_is_folded_with_its_padding() -> None:
    mean, std = (0.4, 0.5, 0.2, 0.0), (0.2, 0.3, 0.25, 1.0)
    exact = tuple(round(value * 255) / 255 for value in mean)
    network = agree(nn.Sequential(conv(padding=1), nn.ReLU()), mean=exact, std=std)
    first = network.layers[0]
    assert isinstance(first, ir.Conv)
    assert first.pad_values == tuple(round(value * 255) / 256 for value in mean)
    agree(nn.AvgPool2d(3), mean=exact, std=std)
    grouped = nn.Sequential(nn.Conv2d(4, 8, 3, groups=2, padding=1))
    agree(grouped, mean=exact, std=std)


def test_torchvisions_structure_at_full_depth() -> None:
    mean = tuple(round(value * 255) / 255 for value in (0.485, 0.456, 0.406))
    network = agree(MobileNetV2(), Shape(3, 64, 64), mean, (0.229, 0.224, 0.225))
    convs = [layer for layer in network.layers if isinstance(layer, ir.Conv)]
    adds = [layer for layer in network.layers if isinstance(layer, ir.Add)]
    assert (len(convs), len(adds)) == (52, 10)
    assert {"features.0.0", "features.2.conv.1.0", "features.18.0"} <= {layer.name for layer in convs}
    assert isinstance(network.layers[-1], ir.Dense)


def test_real_torchvision_mobilenet_v2() -> None:
    models = pytest.importorskip(
        "torchvision.models", reason="torchvision is not installed", exc_type=ImportError
    )
    agree(models.mobilenet_v2(weights=None, num_classes=10), Shape(3, 64, 64))


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


def test_resnet20s_shortcuts_are_slices_padded_by_zeros() -> None:
    images = torch.rand(2, 16, 8, 8)
    shortcut = Shortcut(16, 32, 2)
    assert torch.equal(shortcut(images), f.pad(images[:, :, ::2, ::2], (0, 0, 0, 0, 8, 8)))
    assert not list(shortcut.state_dict())
    network = agree(build("resnet20", classes=10, seed=1), Shape(3, 32, 32))
    assert (len([layer for layer in network.layers if isinstance(layer, ir.Conv)])) == 19 + 2


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


def test_last_linear_takes_features_in_stream_order() -> None:
    linear = nn.Linear(4 * 9 * 10, 3)
    network = agree(nn.Sequential(nn.Flatten(), linear))
    dense = network.layers[-1]
    assert isinstance(dense, ir.Dense)
    torch_order = linear.weight.detach().numpy().reshape(3, 4, 9, 10)
    assert np.allclose(dense.weight.array[:, 7], torch_order[:, 3, 0, 1])


def test_same_padding_of_even_kernels_is_lopsided() -> None:
    first = lower(nn.Sequential(conv(kernel_size=(2, 4), padding="same")), SHAPE).layers[0]
    assert isinstance(first, ir.Conv)
    assert first.window.padding == Padding(0, 1, 1, 2)


def test_all_unsupported_operators_are_named_at_once() -> None:
    module = nn.Sequential(
        conv(), nn.SiLU(), nn.Conv2d(6, 6, 3, padding=1, padding_mode="reflect"), nn.GELU()
    )
    module.add_module("tail", nn.Upsample(scale_factor=2))
    with pytest.raises(ModelError) as caught:
        lower(module, SHAPE)
    message = str(caught.value)
    for expected in ("4 operators", "1 (SiLU)", "2 (Conv2d)", "3 (GELU)", "tail (Upsample)"):
        assert expected in message


REFUSED: dict[str, tuple[nn.Module, str]] = {
    "padding mode": (conv(padding=1, padding_mode="circular"), "padding_mode"),
    "leaky": (nn.Sequential(nn.LeakyReLU()), "0 .LeakyReLU."),
    "hardtanh": (nn.Hardtanh(-1, 1), "bounds"),
    "divisor": (nn.AvgPool2d(2, divisor_override=3), "divisor_override"),
    "count_include_pad": (nn.AvgPool2d(3, 1, 1, count_include_pad=False), "count_include_pad"),
    "empty": (nn.AdaptiveAvgPool2d(0), "an output of 0x0 is empty"),
    "empty row": (nn.AdaptiveAvgPool2d((0, None)), "an output of 0x10 is empty"),
    "no kernel": (nn.AvgPool2d(0, 1), "at least 1"),
    "no stride": (nn.MaxPool2d(2, (1, 0), ceil_mode=True), "at least 1"),
    "no dilation": (nn.MaxPool2d(2, 1, dilation=0), "at least 1"),
    "negative padding": (nn.AvgPool2d(3, 1, -1), "negative"),
    "indivisible": (nn.AdaptiveAvgPool2d(4), "does not divide"),
    "window": (nn.MaxPool2d(12), "does not fit"),
    "channels": (nn.Conv2d(5, 3, 1), "takes 5 channels"),
    "unflattened": (nn.Linear(10, 3), "flattened"),
    "statistics": (nn.BatchNorm2d(4, track_running_stats=False), "running statistics"),
    "no layer": (nn.Identity(), "no layer"),
    "unchanged input": (Body(nn.ReLU(), lambda net, x: (net(x), x)[1]), "returns its input"),
    "broadcast": (Body(nn.AvgPool2d((9, 10)), lambda net, x: x + net(x)), "adds"),
    "scalar": (Body(nn.Identity(), lambda net, x: x + 1), "not a feature map"),
    "product": (Body(nn.Identity(), lambda net, x: x * x), "mul"),
    "alpha": (Body(nn.Identity(), lambda net, x: torch.add(x, x, alpha=2)), "alpha"),
    "slice": (Body(nn.Identity(), lambda net, x: x[:, :2]), "getitem"),
    "two outputs": (Body(nn.ReLU(), lambda net, x: (net(x), x)), "one tensor"),
    "mean over channels": (Body(nn.Identity(), lambda net, x: x.mean(1)), "mean over 1"),
    "control flow": (Body(nn.Identity(), lambda net, x: x if x.sum() > 0 else -x), "traced"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    module, reason = REFUSED[name]
    with pytest.raises(ModelError, match=reason):
        lower(module, SHAPE)


def test_hooks_on_a_layer_are_refused() -> None:
    layer = conv()
    layer.register_forward_hook(lambda *_: None)
    with pytest.raises(ModelError, match="hooks"):
        lower(nn.Sequential(layer), SHAPE)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(value: float) -> None:
    module = nn.Sequential(conv(), nn.BatchNorm2d(6))
    module[0].weight.data[2, 1, 0, 0] = value
    module[1].running_var.data[0] = value
    with pytest.raises(ModelError) as caught:
        lower(module, SHAPE)
    assert "0.weight, 1.running_var" in str(caught.value)


@pytest.mark.filterwarnings("error")
def test_a_variance_below_0_is_refused() -> None:
    module = nn.Sequential(conv(), nn.BatchNorm2d(6))
    module[1].running_var.data[0] = -1
    with pytest.raises(ModelError, match="running variance"):
        lower(module, SHAPE)


def test_an_unchanged_subclass_is_its_layer() -> None:
    class Marked(nn.Conv2d):
        """Change nothing."""

    class Changed(nn.Conv2d):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * 2

    agree(nn.Sequential(Marked(4, 2, 3)))
    with pytest.raises(ModelError):
        lower(nn.Sequential(Changed(4, 2, 3)), SHAPE)


def test_hostile_layer_names_survive() -> None:
    names = ["a;b", "x" * 10_000, "$(reboot)", "input", "ü\n", 'endmodule"']
    module = nn.Sequential()
    for name in names:
        module.add_module(name, nn.Conv2d(4, 4, 3, padding=1))
    network = agree(module)
    assert [origin for _, origin in network.origins] == names
    assert len({layer.name for layer in network.layers}) == len(names)
    module.add_module("y" * 10_000, nn.SiLU())
    with pytest.raises(ModelError) as caught:
        lower(module, SHAPE)
    assert len(str(caught.value)) < 2_000


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
    ("mean", "std", "reason"),
    [
        ((), (1.0,), "mean does not fit"),
        ((0.1, 0.2), (1.0,), "mean does not fit"),
        ((0.1,), (1.0,) * 3, "std does not fit"),
        ((float("nan"),), (1.0,), "mean is out of range"),
        ((0.0,), (float("inf"),), "std is out of range"),
        ((0.0,), (1.0, 1.0, 0.0, 1.0), "std is out of range"),
        ((0.0,), (-1.0,), "std is out of range"),
    ],
)
def test_preprocessing_that_does_not_fit(
    mean: tuple[float, ...], std: tuple[float, ...], reason: str
) -> None:
    with pytest.raises(ModelError, match=reason):
        lower(nn.Sequential(conv()), SHAPE, mean=mean, std=std)


@pytest.mark.parametrize("last", [nn.ReLU(), nn.SiLU()], ids=["lowered", "refused"])
def test_the_module_keeps_its_modes(last: nn.Module) -> None:
    module = nn.Sequential(conv(), nn.BatchNorm2d(6), nn.Dropout(), last).train()
    module[1].eval()
    before = [layer.training for layer in module.modules()]
    try:
        lower(module, SHAPE)
    except ModelError:
        assert isinstance(last, nn.SiLU)
    assert [layer.training for layer in module.modules()] == before
    single = conv().train()
    lower(single, SHAPE)
    assert single.training


def test_the_mode_does_not_matter() -> None:
    module = randomize(nn.Sequential(conv(), nn.BatchNorm2d(6), nn.Dropout(), nn.ReLU()))
    wanted = lower(module, SHAPE)
    assert lower(module.train(), SHAPE) == wanted
    function = Body(conv(), lambda net, x: f.dropout(net(x), training=net.training))
    assert len(lower(function.train(), SHAPE).layers) == 1


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
