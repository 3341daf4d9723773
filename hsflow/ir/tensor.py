# SPDX-License-Identifier: Apache-2.0
"""Shapes, window geometry and the formats of integer feature maps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsflow.errors import ModelError
from hsflow.fixedpoint import IntArray, Interval

MAX_ACTIVATION_WIDTH = 16


@dataclass(frozen=True, eq=False)
class Constant:
    """Hold a read-only array that compares and hashes by its content."""

    array: NDArray[Any]

    def __post_init__(self) -> None:
        frozen = np.ascontiguousarray(self.array)
        frozen = frozen.copy() if frozen is self.array or frozen.base is not None else frozen
        frozen.setflags(write=False)
        object.__setattr__(self, "array", frozen)

    def _key(self) -> tuple[str, tuple[int, ...], bytes]:
        return self.array.dtype.str, self.array.shape, self.array.tobytes()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Constant) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        return f"Constant({self.array.dtype}, shape={self.array.shape})"


@dataclass(frozen=True)
class Shape:
    """Hold the size of a feature map: channels, height, width, each at least 1."""

    channels: int
    height: int
    width: int

    @property
    def pixels(self) -> int:
        """Return the number of pixels, `height * width`."""
        return self.height * self.width

    @property
    def elements(self) -> int:
        """Return the number of values, `channels * height * width`."""
        return self.channels * self.pixels

    def __str__(self) -> str:
        return f"{self.channels}x{self.height}x{self.width}"


@dataclass(frozen=True)
class Block:
    """Hold the size of the rectangle of pixels that one transfer of a stream carries; each side at least 1.

    A feature map is a grid of blocks, which are sent in raster order; the pixels of a block lie side by side, also in
    raster order, the first one in the low bits. A block of one pixel is a plain stream of pixels.

    Raises:
        ModelError: if a side is below 1.
    """

    rows: int = 1
    columns: int = 1

    def __post_init__(self) -> None:
        if self.rows < 1 or self.columns < 1:
            raise ModelError(
                "a block has no pixels",
                where=f"block {self}",
                got=f"{self.rows} rows, {self.columns} columns",
                expected="at least one row and one column",
                hint="a block of 1x1 pixels is the smallest",
            )

    @property
    def pixels(self) -> int:
        """Return the pixels of a transfer, `rows * columns`."""
        return self.rows * self.columns

    def grid(self, shape: Shape) -> tuple[int, int]:
        """Return the (rows, columns) of blocks that a feature map of `shape` consists of.

        Raises:
            ModelError: if the blocks do not tile the feature map.
        """
        if shape.height % self.rows or shape.width % self.columns:
            raise ModelError(
                "the blocks do not tile the feature map",
                where=f"block {self}",
                got=f"a feature map of {shape.height}x{shape.width} pixels",
                expected=f"a height divisible by {self.rows} and a width divisible by {self.columns}",
                hint="choose a block whose sides divide the feature map's",
            )
        return shape.height // self.rows, shape.width // self.columns

    def beats(self, shape: Shape) -> int:
        """Return the transfers that carry a feature map of `shape`; raise ModelError as `grid` does."""
        rows, columns = self.grid(shape)
        return rows * columns

    def __str__(self) -> str:
        return f"{self.rows}x{self.columns}"


ONE_PIXEL = Block()
"""The block of a plain stream of pixels."""


class OneSource:
    """Give a layer that reads one feature map the tuple `sources` that every layer has."""

    source: str

    @property
    def sources(self) -> tuple[str, ...]:
        """Return the names of the inputs."""
        return (self.source,)


@dataclass(frozen=True)
class Padding:
    """Hold the pixels added on each side before a window slides."""

    top: int = 0
    bottom: int = 0
    left: int = 0
    right: int = 0

    @classmethod
    def same_on_all_sides(cls, vertical: int, horizontal: int) -> Padding:
        """Return symmetric padding, as torch's `padding=(vertical, horizontal)`."""
        return cls(vertical, vertical, horizontal, horizontal)


@dataclass(frozen=True)
class Window:
    """Hold how a kernel slides over a feature map; pairs are (vertical, horizontal)."""

    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    padding: Padding = Padding()

    @property
    def extent(self) -> tuple[int, int]:
        """Return the pixels that the dilated kernel spans, `(kernel - 1) * dilation + 1`."""
        (height, width), (vertical, horizontal) = self.kernel, self.dilation
        return (height - 1) * vertical + 1, (width - 1) * horizontal + 1

    @property
    def taps(self) -> int:
        """Return the number of kernel positions."""
        return self.kernel[0] * self.kernel[1]

    @property
    def is_pointwise(self) -> bool:
        """Tell whether each output pixel comes from the input pixel at its place, and from it alone."""
        return self == Window()

    def output_size(self, height: int, width: int) -> tuple[int, int]:
        """Return the (height, width) of the output, which is below 1 where the kernel does not fit."""
        pad = self.padding
        rows = (height + pad.top + pad.bottom - self.extent[0]) // self.stride[0] + 1
        columns = (width + pad.left + pad.right - self.extent[1]) // self.stride[1] + 1
        return rows, columns


@dataclass(frozen=True)
class TensorFormat:
    """Hold the integer format of a feature map.

    A value of channel `c` stands for `q * 2**-fractions[c]` with `low[c] <= q <= high[c]`; every channel is stored
    in `width` bits (1 to 16), two's complement if `signed`.
    """

    width: int
    signed: bool
    fractions: tuple[int, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]

    @classmethod
    def uniform(cls, width: int, signed: bool, fraction: int, channels: int) -> TensorFormat:
        """Return the format whose channels are alike and use the whole range of `width` bits."""
        whole = Interval.of_format(width, signed)
        return cls(width, signed, (fraction,) * channels, (whole.low,) * channels, (whole.high,) * channels)

    @property
    def channels(self) -> int:
        """Return the number of channels."""
        return len(self.fractions)

    @property
    def intervals(self) -> tuple[Interval, ...]:
        """Return each channel's range."""
        return tuple(Interval(low, high) for low, high in zip(self.low, self.high, strict=True))

    @property
    def alignment(self) -> IntArray:
        """Return each channel's left shift that brings all channels to the finest fraction, shape (channels,)."""
        fractions = np.array(self.fractions, dtype=np.int64)
        return np.asarray(fractions.max() - fractions, dtype=np.int64)

    @property
    def finest_fraction(self) -> int:
        """Return the largest fraction of any channel."""
        return max(self.fractions)

    def __str__(self) -> str:
        low, high = min(self.fractions), max(self.fractions)
        fraction = str(low) if low == high else f"{low}..{high}"
        return f"{'s' if self.signed else 'u'}{self.width}.{fraction}"
