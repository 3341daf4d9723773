# SPDX-License-Identifier: Apache-2.0
"""What the NPU computes, in NumPy integers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hsflow.errors import ModelError


def dense(
    activations: NDArray[np.integer],
    weights: NDArray[np.integer],
    bias: NDArray[np.integer],
) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Compute the logits and the class of images.

    `activations` is (..., features) in the NPU's feature order, `weights` (classes, features), `bias`
    (classes,). Returns int32 logits (..., classes) and the argmax (...), the lowest index among equals.
    Raises ModelError where a logit leaves the signed 32-bit range: the hardware would wrap.
    """
    exact = np.asarray(activations, np.int64) @ np.asarray(weights, np.int64).T
    exact = exact + np.asarray(bias, np.int64)
    logits = exact.astype(np.int32)
    if not np.array_equal(logits, exact):
        raise ModelError(
            "a logit does not fit 32 bits",
            where="npu",
            got=int(exact.flat[np.abs(exact).argmax()]),
            expected="a signed 32-bit integer",
            hint="scale the layer's weights down; assemble() tells the class",
        )
    return logits, exact.argmax(axis=-1)
