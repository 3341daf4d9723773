# SPDX-License-Identifier: Apache-2.0
"""Proofs that a sum of products may be computed in floats, and the settings under which floats are what they seem.

Floats compute integers exactly while every partial sum stays below 2**24 (float32) or 2**53 (float64), in any order of
summation, with fused multiply-add or without. A partial sum is the sum of some of the products, and so it lies between
the sum of the negative extremes and the sum of the positive ones. A power-of-two scale changes nothing of this.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from hsflow.fixedpoint import IntArray, rounding_constant
from hsflow.ir.graph import Conv, requantize_shifts
from hsflow.ir.tensor import TensorFormat
from hsflow.ir.verify import input_intervals

FLOAT32_EXACT = 1 << 24
FLOAT64_EXACT = 1 << 53
_INT64_SAFE = 2.0**61
_MANY_ZEROS = 62


def number_type(bound: int) -> torch.dtype:
    """Return the fastest type that holds every integer up to `bound` exactly."""
    if bound < FLOAT32_EXACT:
        return torch.float32
    return torch.float64 if bound < FLOAT64_EXACT else torch.int64


@dataclass(frozen=True, eq=False)
class Sums:
    """Hold sums of products, one an output: `requantize(weight @ x + bias)`, rounding and alignment folded in.

    `weight` is int64 of shape (outputs, products); `bias` and the right shifts `shifts` are int64 of shape (outputs,), a
    negative shift being an exact left shift. No partial sum is larger than `bound`, nor any constant.
    """

    weight: IntArray
    bias: IntArray
    shifts: IntArray
    bound: int


def convolution_sums(layer: Conv, source: TensorFormat) -> Sums:
    """Return a convolution's sums; products are in the weight's order (inputs / groups, kernel height, kernel width)."""
    outputs, inputs = layer.weight.shape[:2]
    first = np.arange(outputs) // (outputs // layer.groups) * inputs
    channels = first[:, None] + np.arange(inputs)  # which input channel each weight reads
    intervals = input_intervals(layer, source)
    low = np.array([interval.low for interval in intervals])[channels]
    high = np.array([interval.high for interval in intervals])[channels]
    taps = layer.window.taps
    return sums(
        layer.weight.integers.reshape(outputs, -1),
        np.repeat(source.alignment[channels], taps, axis=1),
        (np.repeat(low, taps, axis=1), np.repeat(high, taps, axis=1)),
        layer.bias.array.astype(np.int64),
        np.array(requantize_shifts(layer, (source,)), dtype=np.int64),
    )


def sums(
    weight: IntArray, alignment: IntArray, ranges: tuple[IntArray, IntArray], bias: IntArray, shifts: IntArray
) -> Sums:
    """Fold the inputs' left shifts into the weights and the rounding constant into the bias, and bound the sums.

    `weight`, `alignment` and both ends of the inputs' `ranges` have the shape (outputs, products).

    Bits that are zero in all of an output's products can neither be changed by its bias nor survive its shift:
    `floor((m * 2**u + b) / 2**s) == floor((m + floor(b / 2**u)) / 2**(s - u))` for `u <= s`. They are left out.
    """
    low, high = ranges
    alive = (weight != 0) & ((low != 0) | (high != 0))
    weight, alignment = np.where(alive, weight, 0), np.where(alive, alignment, 0)
    half = np.array([rounding_constant(int(shift)) for shift in shifts], dtype=np.int64)
    if not _fits_int64(weight, alignment, ranges, bias, half):
        return Sums(np.left_shift(weight, alignment), bias + half, shifts, FLOAT64_EXACT)
    aligned = np.left_shift(weight, alignment)
    spare = np.minimum(_trailing_zeros(aligned), np.maximum(shifts, 0))
    aligned, constant = np.right_shift(aligned, spare[:, None]), np.right_shift(bias + half, spare)
    return Sums(aligned, constant, shifts - spare, _bound(aligned, ranges, constant))


def _fits_int64(
    weight: IntArray, alignment: IntArray, ranges: tuple[IntArray, IntArray], bias: IntArray, half: IntArray
) -> bool:
    """Tell whether the bound itself can be computed in 64-bit integers, by an estimate with room for its rounding."""
    largest = np.maximum(np.abs(ranges[0]), np.abs(ranges[1])).astype(np.float64)
    products = np.ldexp(np.abs(weight).astype(np.float64), alignment) * np.maximum(largest, 1)
    total = products.sum(axis=1) + np.abs(bias) + half
    return bool((total < _INT64_SAFE).all())


def _trailing_zeros(aligned: IntArray) -> IntArray:
    """Return how many of the lowest bits are zero in all of a row's integers."""
    bits = np.bitwise_or.reduce(aligned, axis=1)
    lowest = bits & -bits
    return np.where(bits == 0, _MANY_ZEROS, np.log2(np.maximum(lowest, 1)).astype(np.int64))


def _bound(aligned: IntArray, ranges: tuple[IntArray, IntArray], constant: IntArray) -> int:
    ends = aligned * ranges[0], aligned * ranges[1]
    most = np.maximum(np.maximum(*ends), 0).sum(axis=1) + np.maximum(constant, 0)
    least = np.minimum(np.minimum(*ends), 0).sum(axis=1) + np.minimum(constant, 0)
    return int(max(most.max(initial=0), -least.min(initial=0), np.abs(aligned).max(initial=0)))


@contextmanager
def exact_products() -> Iterator[None]:
    """Keep products in true float32, whatever the user chose: no TF32 on a GPU, no bfloat16 on a CPU, no autocast.

    cuDNN is left out, since it may choose an algorithm that rounds.
    """
    matrices = torch.get_float32_matmul_precision()
    convolutions: Any = getattr(torch.backends.mkldnn, "conv", None)
    precision = None if convolutions is None else convolutions.fp32_precision
    with ExitStack() as stack:
        stack.enter_context(torch.backends.cudnn.flags(enabled=False))
        stack.callback(torch.set_float32_matmul_precision, matrices)
        torch.set_float32_matmul_precision("highest")
        if precision is not None:
            stack.callback(setattr, convolutions, "fp32_precision", precision)
            convolutions.fp32_precision = "ieee"
        yield
