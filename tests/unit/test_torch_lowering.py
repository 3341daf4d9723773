# SPDX-License-Identifier: Apache-2.0
"""From a torch module to a network: every supported operator against torch itself; everything else refused by name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hsflow_torch.architectures import build
from hsflow_torch.lower import lower
from hsflow_torch.models.resnet20 import Shortcut
from hsflow_torch.module import NetworkModule
from torch import Tensor, nn
from torch.nn import functional as f

from hsflow.errors import ModelError
from hsflow.ir import network as ir
from hsflow.ir.tensor import Padding, Shape
from tests.torch_models import MobileNetV2, pixels, randomize

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


def test_resnet20s_shortcuts_are_slices_padded_by_zeros() -> None:
    images = torch.rand(2, 16, 8, 8)
    shortcut = Shortcut(16, 32, 2)
    assert torch.equal(shortcut(images), f.pad(images[:, :, ::2, ::2], (0, 0, 0, 0, 8, 8)))
    assert not list(shortcut.state_dict())
    network = agree(build("resnet20", classes=10, seed=1), Shape(3, 32, 32))
    assert (len([layer for layer in network.layers if isinstance(layer, ir.Conv)])) == 19 + 2


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
