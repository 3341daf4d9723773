# SPDX-License-Identifier: Apache-2.0
"""Random shifts, rotations, scalings and noise, as much as small images bear."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

_ROTATION = math.radians(12)
_SCALE = 0.12
_SHEAR = 0.12
_SHIFT = 0.25
_NOISE = 8.0
_BRIGHTNESS = 0.1


def augment(pixels: Tensor, strength: float) -> Tensor:
    """Return distorted copies of `pixels`, 0..255 in float, shape (n, channels, height, width).

    At `strength` 1 images turn by up to 12 degrees, scale by 12 %, shear by 0.12, shift by an eighth of their size and
    gain noise of up to 8 levels; 0 gives the images back. Draws from torch's global generator.
    """
    if strength == 0:
        return pixels
    moved = nn.functional.grid_sample(
        pixels,
        nn.functional.affine_grid(_matrices(len(pixels), strength), list(pixels.shape), align_corners=False),
        align_corners=False,
    )
    gain = 1 + _uniform(len(pixels), _BRIGHTNESS * strength).view(-1, 1, 1, 1)
    noise = torch.randn_like(pixels) * (_NOISE * strength * torch.rand(len(pixels), 1, 1, 1))
    return (moved * gain + noise).round().clamp(0, 255)


def _matrices(count: int, strength: float) -> Tensor:
    angle = _uniform(count, _ROTATION * strength)
    across, down = 1 + _uniform(count, _SCALE * strength), 1 + _uniform(count, _SCALE * strength)
    shear = _uniform(count, _SHEAR * strength)
    x, y = _uniform(count, _SHIFT * strength), _uniform(count, _SHIFT * strength)
    top = torch.stack([angle.cos() * across, -angle.sin() + shear, x], dim=1)
    bottom = torch.stack([angle.sin(), angle.cos() * down, y], dim=1)
    return torch.stack([top, bottom], dim=1)


def _uniform(count: int, bound: float) -> Tensor:
    return (torch.rand(count) * 2 - 1) * bound
