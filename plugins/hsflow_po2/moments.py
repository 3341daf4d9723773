# SPDX-License-Identifier: Apache-2.0
"""Gather what a layer-wise least-squares problem needs of a convolution's inputs and of the outputs it shall have."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from hsflow_torch.module import pad
from torch import Tensor

from hsflow.ir.network import Conv


@dataclass(eq=False)
class Moments:
    """Sum products over pixels: of inputs x, shape (groups, n, k), and wanted outputs t, (groups, n, rows)."""

    count: int = 0
    sums: list[Tensor] = field(default_factory=list)

    def add(self, x: Tensor, t: Tensor) -> None:
        """Add pixels."""
        parts = [x.sum(dim=1), t.sum(dim=1), x.transpose(1, 2) @ x, t.transpose(1, 2) @ x]
        self.count += x.shape[1]
        if not self.sums:
            self.sums = [torch.zeros(part.shape, dtype=torch.float64) for part in parts]
        for total, part in zip(self.sums, parts, strict=True):
            total += part

    def centred(self) -> Statistics:
        """Return means and covariances."""
        x, t, xx, tx = (total / self.count for total in self.sums)
        hessian = xx - x[:, :, None] * x[:, None, :]
        cross = tx - t[:, :, None] * x[:, None, :]
        return Statistics(x, t, hessian, cross)


@dataclass(frozen=True, eq=False)
class Statistics:
    """Hold the means of x (groups, k) and t (groups, rows), and covariances: (groups, k, k) and (groups, rows, k)."""

    inputs: Tensor
    outputs: Tensor
    hessian: Tensor
    cross: Tensor


@dataclass(eq=False)
class Halves:
    """Hold the moments of every second image and of the others, so that one can judge a fit to the other.

    `pixels` are of single pixels, `means` of each image's mean pixel; `coherence` and `count` are for `blend`.
    """

    coherence: float
    count: int
    pixels: tuple[Moments, Moments] = field(default_factory=lambda: (Moments(), Moments()))
    means: tuple[Moments, Moments] = field(default_factory=lambda: (Moments(), Moments()))

    def add(self, x: Tensor, t: Tensor, images: int) -> None:
        """Add pixels of so many images, as many of each, one image after the other."""
        _add_halves(self.pixels, x, t, images)

    def add_means(self, x: Tensor, t: Tensor) -> None:
        """Add the mean pixel of each image."""
        _add_halves(self.means, x, t, x.shape[1])

    def together(self) -> Statistics:
        """Return the statistics of all images."""
        return self._blended(_sum(self.pixels), _sum(self.means))

    def apart(self) -> tuple[Statistics, Statistics]:
        """Return the statistics of both halves; a single image is its own judge."""
        even, odd = (
            self._blended(*half)
            for half in zip(self._known(self.pixels), self._known(self.means), strict=True)
        )
        return even, odd

    def _known(self, halves: tuple[Moments, Moments]) -> tuple[Moments, Moments]:
        return halves if halves[1].sums else (halves[0], halves[0])

    def _blended(self, pixels: Moments, means: Moments) -> Statistics:
        return blend(pixels.centred(), means.centred(), self.coherence, self.count)


def _add_halves(halves: tuple[Moments, Moments], x: Tensor, t: Tensor, images: int) -> None:
    for parity, half in enumerate(halves):
        if parity < images:
            half.add(_every_second(x, images, parity), _every_second(t, images, parity))


def _sum(halves: tuple[Moments, Moments]) -> Moments:
    even, odd = halves
    if not odd.sums:
        return even
    return Moments(even.count + odd.count, [a + b for a, b in zip(even.sums, odd.sums, strict=True)])


def _every_second(value: Tensor, images: int, parity: int) -> Tensor:
    groups, pixels, size = value.shape
    return value.reshape(groups, images, pixels // images, size)[:, parity::2].flatten(1, 2)


def blend(pixels: Statistics, means: Statistics, coherence: float, count: int) -> Statistics:
    """Return statistics in which the mean error of an image of `count` pixels counts more, as `coherence` says.

    With gradients g that have the share c in common, E(sum of g e)^2 is in proportion to `(1 - c) mean(e^2) + c count
    mean(e)^2`.
    """
    hessian = (1 - coherence) * pixels.hessian + coherence * count * means.hessian
    cross = (1 - coherence) * pixels.cross + coherence * count * means.cross
    return Statistics(pixels.inputs, pixels.outputs, hessian, cross)


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


def mean_patches(x: Tensor, layer: Conv, rows: int, columns: int) -> Tensor:
    """Return what the kernel sees on average over each image's `rows` x `columns` outputs: (groups, n, k)."""
    window = layer.window
    padded = pad(x, window, layer.pad_values)
    taps = []
    for row in range(window.kernel[0]):
        for column in range(window.kernel[1]):
            top, left = row * window.dilation[0], column * window.dilation[1]
            bottom, right = top + (rows - 1) * window.stride[0], left + (columns - 1) * window.stride[1]
            seen = padded[:, :, top : bottom + 1 : window.stride[0], left : right + 1 : window.stride[1]]
            taps.append(seen.mean(dim=(2, 3)))
    stacked = torch.stack(taps, dim=-1)
    return stacked.reshape(len(x), layer.groups, -1).transpose(0, 1)
