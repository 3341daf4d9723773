# SPDX-License-Identifier: Apache-2.0
"""The bench's matrices: seeded, named, and the same on every machine.

A name says all: `16x96-g8-z50` is 16 inputs by 96 outputs, family g8, half of the entries zero; `dw96-g8-z0` is a 9-tap
depthwise layer of 96 channels, a block-diagonal matrix of 864 inputs by 96 outputs.

Families, each a way from random weights to integers:

* `g4`, `g8`: standard normal weights over their largest magnitude, each rounded to the nearest of the powers of two 1, 1/2,
  ... (4 or 8 of them; a smaller weight becomes the smallest one), times what makes the smallest 1;
* `g15`: the same with 7 powers of two, where a weight below half the smallest becomes zero: 15 values with signs and zero;
* `u8`: signs and 8 exponents uniform;
* `t`: signs only (ternary with the zeros).

Zeros of `z50` are the `int(share * entries)` entries of the smallest random weight, chosen before rounding (magnitude
pruning), so that `z0`, `z50` and `z80` of one shape and family are one layer pruned further and further. What is left has
few exponents: `g4`, `g8` and `g15` differ by a shift then. Zeros of `r50` are as many, anywhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.int64]
"""Integers of shape (inputs, outputs)."""

SEED = 1
DEPTHWISE_TAPS = 9
_EXPONENTS = {"g4": 4, "g8": 8, "g15": 7, "u8": 8, "t": 1}
_NAME = re.compile(
    r"(?:dw(?P<channels>\d+)|(?P<inputs>\d+)x(?P<outputs>\d+))-(?P<family>\w+)-(?P<where>[zr])(?P<zeros>\d+)"
)


@dataclass(frozen=True)
class Spec:
    """Describe one matrix: `zeros` in percent, anywhere if `scattered`; `channels` is None for a dense one."""

    inputs: int
    outputs: int
    family: str
    zeros: int
    scattered: bool = False
    channels: int | None = None

    def __post_init__(self) -> None:
        if self.family not in _EXPONENTS:
            raise ValueError(f"family must be one of {', '.join(_EXPONENTS)}, not {self.family!r}")
        if not 0 <= self.zeros < 100:
            raise ValueError(f"zeros must be 0 to 99 percent, not {self.zeros}")

    @property
    def name(self) -> str:
        """Return the name that `parse` reads."""
        shape = f"{self.inputs}x{self.outputs}" if self.channels is None else f"dw{self.channels}"
        return f"{shape}-{self.family}-{'r' if self.scattered else 'z'}{self.zeros}"

    def build(self) -> Matrix:
        """Return the matrix."""
        if self.channels is None:
            return weights((self.inputs, self.outputs), self.family, self.zeros, self.scattered)
        taps = weights((self.channels, DEPTHWISE_TAPS), self.family, self.zeros, self.scattered)
        return block_diagonal(taps)


def parse(name: str) -> Spec:
    """Return the matrix that a name describes.

    Raises:
        ValueError: if it describes none.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"a matrix's name must be like 16x96-g8-z50 or dw96-g8-z0, not {name!r}")
    family, zeros, scattered = match["family"], int(match["zeros"]), match["where"] == "r"
    if match["channels"]:
        channels = int(match["channels"])
        return Spec(channels * DEPTHWISE_TAPS, channels, family, zeros, scattered, channels)
    return Spec(int(match["inputs"]), int(match["outputs"]), family, zeros, scattered)


def weights(
    shape: tuple[int, int], family: str, zeros: int, scattered: bool = False, seed: int = SEED
) -> Matrix:
    """Return random integers of `shape` of a family, `zeros` percent of them zero."""
    generator = np.random.default_rng(seed)
    real = generator.normal(size=shape)
    matrix = _rounded(real, family, generator)
    count = zeros * real.size // 100
    order = generator.permutation(real.size) if scattered else np.argsort(abs(real), axis=None, kind="stable")
    matrix.flat[order[:count]] = 0
    return matrix


def _rounded(real: NDArray[np.float64], family: str, generator: np.random.Generator) -> Matrix:
    count = _EXPONENTS[family]
    uniform = family == "u8"
    exponents = generator.integers(0, count, real.shape) if uniform else _nearest_exponents(abs(real), count)
    matrix = np.sign(real).astype(np.int64) << np.maximum(exponents, 0)
    if family == "g15":
        matrix[exponents < 0] = 0
    return matrix


def block_diagonal(taps: Matrix) -> Matrix:
    """Return the matrix of a depthwise layer, shape (channels * taps, channels), from taps (channels, taps)."""
    channels, count = taps.shape
    matrix = np.zeros((channels * count, channels), dtype=np.int64)
    matrix[np.arange(channels * count), np.repeat(np.arange(channels), count)] = taps.reshape(-1)
    return matrix


def nonzeros(matrix: Matrix) -> int:
    """Return the entries that are not zero."""
    return int(np.count_nonzero(matrix))


def _nearest_exponents(magnitudes: NDArray[np.float64], count: int) -> NDArray[np.int64]:
    """Return the nearest exponent of each magnitude, `count - 1` for the largest; -1 where zero is nearer than 0."""
    relative = magnitudes / magnitudes.max()
    # 1.5 lies halfway between 1 and 2; exact comparisons, so that no logarithm differs between machines.
    thresholds = 0.75 * 2.0 ** np.arange(1 - count, 1)
    above: NDArray[np.int64] = (relative[..., None] >= thresholds).sum(axis=-1)
    zero = relative < 0.5 * 2.0 ** (1 - count)
    return np.where(zero, -1, np.maximum(above - 1, 0))
