# SPDX-License-Identifier: Apache-2.0
"""ResNet-20 for CIFAR-10's 32x32 images, with shortcuts that have no weights.

Source: He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, section 4.2, shortcuts of option A. Modules are
named as in the widely used checkpoints of akamaster/pytorch_resnet_cifar10, which fit.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

STAGES = ((16, 1), (32, 2), (64, 2))
"""Channels and first stride of each stage."""

BLOCKS = 3


class Shortcut(nn.Conv2d):
    """Take every second pixel and surround the channels by zeros: a convolution whose weights are 0 and 1.

    They are no part of a checkpoint.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__(inputs, outputs, 1, stride, bias=False)
        weight = torch.zeros(outputs, inputs, 1, 1)
        first = (outputs - inputs) // 2
        weight[first : first + inputs, :, 0, 0] = torch.eye(inputs)
        del self.weight
        self.register_buffer("weight", weight, persistent=False)


class Block(nn.Module):
    """Add two 3x3 convolutions' output to the input."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else Shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output; `x` has shape (n, inputs, height, width)."""
        branch = self.bn2(self.conv2(nn.functional.relu(self.bn1(self.conv1(x)))))
        return nn.functional.relu(branch + self.shortcut(x))


class ResNet20(nn.Module):
    """Classify images of shape (n, 3, 32, 32), or larger."""

    def __init__(self, classes: int = 10) -> None:
        super().__init__()
        channels = STAGES[0][0]
        self.conv1 = nn.Conv2d(3, channels, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        for number, (outputs, first_stride) in enumerate(STAGES, 1):
            strides = (first_stride, *[1] * (BLOCKS - 1))
            inputs = (channels, *[outputs] * (BLOCKS - 1))
            blocks = [Block(each, outputs, stride) for each, stride in zip(inputs, strides, strict=True)]
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
            channels = outputs
        self.linear = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, shape (n, classes)."""
        x = nn.functional.relu(self.bn1(self.conv1(x)))
        for number in range(1, len(STAGES) + 1):
            x = getattr(self, f"layer{number}")(x)
        logits: Tensor = self.linear(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits


def resnet20(classes: int = 10) -> nn.Module:
    """Return the network with fresh weights, drawn from torch's global generator."""
    return ResNet20(classes)
