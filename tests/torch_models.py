# SPDX-License-Identifier: Apache-2.0
"""Torch models and a stage context for the tests of the machine-learning stages."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hsflow_torch.models.digits import conv_norm
from torch import Tensor, nn

from hsflow.data import Dataset, load_dataset
from hsflow.ir.network import Network
from hsflow.stage import FlowSettings

torch.set_num_threads(1)  # other tests run beside these, and waiting threads would only steal from them

CHECKPOINT = Path(__file__).parent.parent / "cores/hashiflex/model/digits.safetensors"


class Context:
    """Be a stage's context that remembers what was recorded."""

    def __init__(self, dataset: Dataset | None = None, seed: int = 1) -> None:
        self.settings = FlowSettings(name="test", seed=seed)
        self.dataset = dataset or load_dataset("digits", Path())
        self.hooks: Any = None
        self.metrics: dict[str, Any] = {}
        self.lines: list[str] = []

    def track(self, items: Iterable[Any], description: str, total: int | None = None) -> Iterable[Any]:
        return items

    def record(self, name: str, value: Any, *, unit: str = "", better: str = "") -> None:
        self.metrics[name] = value

    def log(self, message: str) -> None:
        self.lines.append(message)


def small(images: int = 320, seed: int = 1) -> Context:
    """Return a context with so few training images that an epoch takes a fraction of a second."""
    context = Context(seed=seed)
    data = context.dataset
    context.dataset = replace(
        data, train_images=data.train_images[:images], train_labels=data.train_labels[:images]
    )
    return context


class InvertedResidual(nn.Module):
    """Be torchvision's block, built by hand with its structure and names."""

    def __init__(self, inputs: int, outputs: int, stride: int, expand: int) -> None:
        super().__init__()
        hidden = inputs * expand
        self.use_res_connect = stride == 1 and inputs == outputs
        layers: list[nn.Module] = [] if expand == 1 else [conv_norm(inputs, hidden)]
        layers += [
            conv_norm(hidden, hidden, kernel=3, stride=stride, groups=hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        self.conv = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv(x) if self.use_res_connect else self.conv(x)


class MobileNetV2(nn.Module):
    """Be torchvision's MobileNetV2, narrow by `width`, built by hand with its structure and names."""

    SETTINGS = (
        (1, 16, 1, 1),
        (6, 24, 2, 2),
        (6, 32, 3, 2),
        (6, 64, 4, 2),
        (6, 96, 3, 1),
        (6, 160, 3, 2),
        (6, 320, 1, 1),
    )

    def __init__(self, classes: int = 10, width: float = 0.25) -> None:
        super().__init__()
        channels = max(4, int(32 * width))
        blocks: list[nn.Module] = [conv_norm(3, channels, kernel=3, stride=2)]
        for expand, outputs, count, stride in self.SETTINGS:
            wide = max(4, int(outputs * width))
            for index in range(count):
                blocks.append(InvertedResidual(channels, wide, stride if index == 0 else 1, expand))
                channels = wide
        last = int(1280 * width)
        self.features = nn.Sequential(*blocks, conv_norm(channels, last))
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(last, classes))

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.adaptive_avg_pool2d(self.features(x), (1, 1))
        return self.classifier(torch.flatten(x, 1))


class Bottleneck(nn.Module):
    """The shapes of MobileNetV2: an expansion, a depthwise convolution, a projection that is added."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU6())
        self.first = nn.Conv2d(6, 8, 1)
        self.expand = nn.Sequential(nn.Conv2d(8, 24, 1), nn.ReLU6())
        self.depthwise = nn.Sequential(nn.Conv2d(24, 24, 3, 1, 1, groups=24), nn.ReLU6())
        self.project = nn.Conv2d(24, 8, 1)
        self.last = nn.Sequential(nn.Conv2d(8, 16, 1), nn.ReLU6(), nn.AvgPool2d(6), nn.Flatten())
        self.classifier = nn.Linear(16, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(self.stem(x))
        x = x + self.project(self.depthwise(self.expand(x)))
        logits: Tensor = self.classifier(self.last(x))
        return logits


def randomize(module: nn.Module, seed: int = 0) -> nn.Module:
    """Give every parameter and statistic a random value, as training would, and return the module in evaluation mode."""
    generator = torch.Generator().manual_seed(seed)
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            fan = layer.weight[0].numel()
            layer.weight.data = torch.randn(layer.weight.shape, generator=generator) * (2 / fan) ** 0.5
            if layer.bias is not None:
                layer.bias.data = torch.randn(layer.bias.shape, generator=generator) * 0.2
        if isinstance(layer, nn.BatchNorm2d | nn.BatchNorm1d):
            assert layer.running_mean is not None and layer.running_var is not None
            layer.running_mean.data = torch.randn(layer.num_features, generator=generator) * 0.2
            layer.running_var.data = torch.rand(layer.num_features, generator=generator) + 0.5
            if layer.affine:
                layer.weight.data = torch.rand(layer.num_features, generator=generator) + 0.5
                layer.bias.data = torch.randn(layer.num_features, generator=generator) * 0.2
    return module.eval()


def pixels(network: Network, count: int = 4, seed: int = 0) -> np.ndarray:
    """Return random images that fit a network."""
    shape = network.input_shape
    size = (count, shape.channels, shape.height, shape.width)
    return np.random.default_rng(seed).integers(0, 256, size).astype(np.uint8)


def coarse(count: int) -> np.ndarray:
    """Return images, 3x12x12, of four patches each, so that their averages differ."""
    patches_of = np.random.default_rng(1).integers(0, 256, (count, 3, 2, 2), dtype=np.uint8)
    return np.kron(patches_of, np.ones((1, 1, 6, 6), dtype=np.uint8))
