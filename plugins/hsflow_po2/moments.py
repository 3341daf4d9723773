# SPDX-License-Identifier: Apache-2.0
"""Gather what a layer-wise least-squares problem needs of a convolution's inputs and of the outputs it shall have."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from hsflow_torch.module import pad
from torch import Tensor

from hsflow.ir.network import Conv

_ROWS = 64
"""Rows whose weighted products are held at a time."""


@dataclass(eq=False)
class Moments:
    """Sum products over pixels: of inputs x, shape (groups, n, k), and wanted outputs t, (groups, n, rows)."""

    sums: list[Tensor] = field(default_factory=list)

    def add(self, x: Tensor, t: Tensor) -> None:
        """Add pixels; all rows of a group count every pixel alike."""
        count = torch.full((len(x), 1), float(x.shape[1]))
        self._accumulate([count, x.sum(dim=1), t.sum(dim=1), x.transpose(1, 2) @ x, t.transpose(1, 2) @ x])

    def add_weighted(self, x: Tensor, t: Tensor, weight: Tensor) -> None:
        """Add pixels that count `weight`, of t's shape: each row becomes a group of its own."""
        groups, _, rows = t.shape
        parts: list[list[Tensor]] = []
        for group in range(groups):
            for start in range(0, rows, _ROWS):
                some = slice(start, start + _ROWS)
                parts.append(_weighted(x[group], t[group, :, some].T, weight[group, :, some].T))
        self._accumulate([torch.cat(part) for part in zip(*parts, strict=True)])

    def add_single(self, x: Tensor, t: Tensor, weight: Tensor) -> None:
        """Add weighted pixels where each group has one row."""
        weighted = x * weight
        products = (t.transpose(1, 2) @ weighted, x.transpose(1, 2) @ weighted)
        self._accumulate(
            [weight.sum(dim=1), weighted.sum(dim=1), (t * weight).sum(dim=1), products[1], products[0]]
        )

    def _accumulate(self, parts: list[Tensor]) -> None:
        if not self.sums:
            self.sums = [torch.zeros(part.shape, dtype=torch.float64) for part in parts]
        for total, part in zip(self.sums, parts, strict=True):
            total += part

    def centred(self) -> Statistics:
        """Return means and covariances."""
        count = self.sums[0].clamp(min=1e-9)
        x, t = self.sums[1] / count, self.sums[2] / count
        xx, tx = self.sums[3] / count[:, :, None], self.sums[4] / count[:, :, None]
        hessian = xx - x[:, :, None] * x[:, None, :]
        cross = tx - t[:, :, None] * x[:, None, :]
        return Statistics(x, t, hessian, cross)


def _weighted(x: Tensor, t: Tensor, weight: Tensor) -> list[Tensor]:
    """Return the sums of x (n, k) and t (rows, n), weighted by `weight` (rows, n), one group a row."""
    rows = weight[:, None] * x.T
    return [
        weight.sum(dim=1, keepdim=True),
        weight @ x,
        (t * weight).sum(dim=1, keepdim=True),
        rows @ x,
        ((t * weight) @ x)[:, None],
    ]


@dataclass(frozen=True, eq=False)
class Statistics:
    """Hold the means of x (groups, k) and t (groups, rows), and covariances: (groups, k, k) and (groups, rows, k)."""

    inputs: Tensor
    outputs: Tensor
    hessian: Tensor
    cross: Tensor


def choose_pixels(height: int, width: int, images: int, wanted: int, generator: torch.Generator) -> Tensor:
    """Return which pixels of each image to look at, shape (images, pixels), so many that all give `wanted`."""
    count = min(height * width, max(1, -(-wanted // images)))
    if count == height * width:
        return torch.arange(count).expand(images, -1)
    scores = torch.rand((images, height * width), generator=generator)
    return scores.argsort(dim=1)[:, :count].sort(dim=1).values


def patches(x: Tensor, layer: Conv, pixels: Tensor, columns: int) -> Tensor:
    """Return what the kernel sees at output `pixels` (n, count) of x (n, channels, h, w): (groups, n * count, k).

    `columns` is the output's width.
    """
    window = layer.window
    padded = pad(x, window, layer.pad_values).permute(0, 2, 3, 1)
    image = torch.arange(len(x))[:, None]
    top, left = (pixels // columns) * window.stride[0], (pixels % columns) * window.stride[1]
    taps = [
        padded[image, top + row * window.dilation[0], left + column * window.dilation[1]]
        for row in range(window.kernel[0])
        for column in range(window.kernel[1])
    ]
    stacked = torch.stack(taps, dim=-1).flatten(0, 1)
    return stacked.reshape(len(stacked), layer.groups, -1).transpose(0, 1)
