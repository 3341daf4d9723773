# SPDX-License-Identifier: Apache-2.0
"""hsflow's optimizer as the bench calls it: one function, in this process."""

from __future__ import annotations

import importlib.util

from benchmarks.cmvm.figures import INPUT_BITS, input_intervals
from benchmarks.cmvm.matrices import Matrix
from hsflow.ir.addergraph import AdderGraph


def solve(matrix: Matrix, effort: str, max_depth: int | None = None) -> AdderGraph:
    """Return hsflow's adder graph of a matrix, shape (inputs, outputs), for unsigned 8-bit inputs."""
    if importlib.util.find_spec("hsflow_cmvm") is None:
        from hsflow_harden.sharing import share

        return share(matrix.T, input_intervals(matrix))
    from hsflow_cmvm import optimize

    return optimize(matrix, input_bits=INPUT_BITS, signed=False, effort=effort, max_depth=max_depth)
