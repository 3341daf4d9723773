# SPDX-License-Identifier: Apache-2.0
"""MobileNetV2 at any width, with the structure and the names of torchvision's, whose checkpoints fit.

Source: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018, table 2.
"""

from __future__ import annotations

from torch import Tensor, nn

from hsflow_torch.mobilenet import STEM_CHANNELS, bottlenecks, head_channels, round_channels
from hsflow_torch.models.digits import conv_norm

DROPOUT = 0.2


class InvertedResidual(nn.Module):
    """Expand by a 1x1 convolution (unless by 1), filter each channel, project linearly; add the input where it fits."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.use_res_connect = stride == 1 and inputs == outputs
        expand: list[nn.Module] = [] if expansion == 1 else [conv_norm(inputs, hidden)]
        self.conv = nn.Sequential(
            *expand,
            conv_norm(hidden, hidden, kernel=3, stride=stride, groups=hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output; `x` has shape (n, inputs, height, width)."""
        branch: Tensor = self.conv(x)
        return x + branch if self.use_res_connect else branch


class MobileNetV2(nn.Module):
    """Classify images of shape (n, 3, height, width)."""

    def __init__(self, classes: int = 1000, width: float = 1.0) -> None:
        super().__init__()
        stem = conv_norm(3, round_channels(STEM_CHANNELS * width), kernel=3, stride=2)
        blocks = [InvertedResidual(*block) for block in bottlenecks(width)]
        *_, (_, last, _, _) = bottlenecks(width)
        head = head_channels(width)
        self.features = nn.Sequential(stem, *blocks, conv_norm(last, head))
        self.classifier = nn.Sequential(nn.Dropout(DROPOUT), nn.Linear(head, classes))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits, shape (n, classes)."""
        pooled = nn.functional.adaptive_avg_pool2d(self.features(x), (1, 1))
        logits: Tensor = self.classifier(pooled.flatten(1))
        return logits


def mobilenet_v2(classes: int = 1000, width: float = 1.0) -> nn.Module:
    """Return the network with fresh weights, drawn from torch's global generator."""
    return MobileNetV2(classes, width)
