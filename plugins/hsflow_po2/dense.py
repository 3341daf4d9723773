# SPDX-License-Identifier: Apache-2.0
"""Quantize the programmable last layer: int8 weights of one common scale, int32 biases in the logits' unit."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hsflow.errors import ModelError
from hsflow.ir.graph import Dense, FeatureMap
from hsflow.ir.tensor import Constant, TensorFormat

WEIGHT_LIMIT = 127
BIAS_LIMIT = 2**31 - 1
_FINEST = 30

FloatArray = NDArray[np.float64]


def feature_fractions(form: TensorFormat, pixels: int) -> NDArray[np.int64]:
    """Return the fraction of every feature in stream order, shape (features,)."""
    return np.tile(np.array(form.fractions, dtype=np.int64), pixels)


def dense_fraction(weight: FloatArray, bias: FloatArray, fractions: NDArray[np.int64]) -> int:
    """Return the finest fraction of the logits at which all weights fit 8 bits and all biases 32."""
    raw = float(np.abs(weight * 2.0**-fractions).max(initial=0.0))
    offset = float(np.abs(bias).max(initial=0.0))
    by_weight = math.log2((WEIGHT_LIMIT + 0.49) / raw) if raw > 0 else _FINEST
    by_bias = math.log2(BIAS_LIMIT / 2 / offset) if offset > 0 else _FINEST
    return math.floor(min(by_weight, by_bias, _FINEST))


def quantize_dense(
    name: str, source_name: str, source: FeatureMap, weight: FloatArray, bias: FloatArray
) -> Dense:
    """Return the integer layer for float `weight`, shape (classes, features), and `bias`, shape (classes,).

    Raises:
        ModelError: if a weight or bias is not finite.
    """
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise ModelError("a weight or bias of the last layer is not finite", where=name, hint="train again")
    fractions = feature_fractions(source.format, source.shape.pixels)
    fraction = dense_fraction(weight, bias, fractions)
    integers = np.rint(weight * 2.0 ** (fraction - fractions))
    return Dense(
        name,
        source_name,
        Constant(np.clip(integers, -WEIGHT_LIMIT, WEIGHT_LIMIT).astype(np.int8)),
        Constant(np.rint(bias * 2.0**fraction).astype(np.int32)),
        fraction,
    )
