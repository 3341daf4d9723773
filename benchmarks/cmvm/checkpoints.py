# SPDX-License-Identifier: Apache-2.0
"""The layers of the project's trained checkpoints: the matrices that the hardener lowers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

import hsflow
from benchmarks.cmvm.matrices import Matrix
from benchmarks.cmvm.tools import ROOT
from hsflow.ir.graph import Conv

FOLDER = ROOT / "cores" / "hashiflex"
CHECKPOINT = Path("model") / "digits.safetensors"


def checkpoint_layers() -> Iterator[tuple[str, Matrix]]:
    """Yield each convolution of the quantized example network, shape (inputs, outputs).

    The flow's store has the network after the first run; until then this trains for a minute or two.
    """
    flow = hsflow.load("digits", use="torch", checkpoint=str(CHECKPOINT), name="hashiflex", folder=FOLDER)
    for layer in flow.graph.layers:
        if isinstance(layer, Conv):
            yield f"digits-{layer.name}", conv_matrix(layer)


def conv_matrix(layer: Conv) -> Matrix:
    """Return a convolution's matrix, shape (inputs * taps, outputs); block-diagonal if it has groups."""
    outputs = layer.weight.shape[0]
    kernels = layer.weight.integers.reshape(outputs, -1)
    size, width = outputs // layer.groups, kernels.shape[1]
    matrix = np.zeros((layer.groups * width, outputs), dtype=np.int64)
    for group in range(layer.groups):
        channels = slice(group * size, (group + 1) * size)
        matrix[group * width : (group + 1) * width, channels] = kernels[channels].T
    return matrix
