# SPDX-License-Identifier: Apache-2.0
"""A MobileNetV2 for scikit-learn's 8x8 digits, small enough that every weight becomes an adder in a simulation.

The structure and the names of the modules are torchvision's (Sandler et al., "MobileNetV2: Inverted Residuals and
Linear Bottlenecks", 2018, table 2), with fewer and narrower blocks: 12,192 convolution weights.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

STEM_CHANNELS = 12
HEAD_CHANNELS = 64
DROPOUT = 0.1


@dataclass(frozen=True)
class Bottleneck:
    """Hold one inverted residual: how far it expands, its output channels and its stride."""

    expansion: int
    channels: int
    stride: int


BOTTLENECKS = (
    Bottleneck(2, 12, 1),
    Bottleneck(3, 16, 2),
    Bottleneck(3, 16, 1),
    Bottleneck(3, 24, 2),
    Bottleneck(3, 24, 1),
)


def conv_norm(
    inputs: int, outputs: int, *, kernel: int = 1, stride: int = 1, groups: int = 1, activation: bool = True
) -> nn.Sequential:
    """Return convolution, batch normalization and, unless the layer is linear, ReLU6."""
    padding = (kernel - 1) // 2
    layers: list[nn.Module] = [
        nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, *([nn.ReLU6()] if activation else []))


class InvertedResidual(nn.Module):
    """Expand by a 1x1 convolution, filter each channel, project linearly; add the input where shapes allow."""

    def __init__(self, inputs: int, block: Bottleneck) -> None:
        super().__init__()
        hidden = inputs * block.expansion
        self.use_res_connect = block.stride == 1 and inputs == block.channels
        self.conv = nn.Sequential(
            conv_norm(inputs, hidden),
            conv_norm(hidden, hidden, kernel=3, stride=block.stride, groups=hidden),
            nn.Conv2d(hidden, block.channels, 1, bias=False),
            nn.BatchNorm2d(block.channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output; `x` has shape (n, inputs, height, width)."""
        branch: Tensor = self.conv(x)
        return x + branch if self.use_res_connect else branch


class DigitsNet(nn.Module):
    """Classify images of shape (n, 1, 8, 8) with values 0..1."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        blocks: list[nn.Module] = [conv_norm(1, STEM_CHANNELS, kernel=3)]
        channels = STEM_CHANNELS
        for block in BOTTLENECKS:
            blocks.append(InvertedResidual(channels, block))
            channels = block.channels
        self.features = nn.Sequential(*blocks, conv_norm(channels, HEAD_CHANNELS))
        self.classifier = nn.Sequential(nn.Dropout(DROPOUT), nn.Linear(HEAD_CHANNELS, classes))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, shape (n, classes)."""
        pooled = nn.functional.adaptive_avg_pool2d(self.features(x), (1, 1))
        logits: Tensor = self.classifier(pooled.flatten(1))
        return logits


def digits_net(classes: int = 10) -> nn.Module:
    """Return the network with fresh weights, drawn from torch's global generator."""
    return DigitsNet(classes)
