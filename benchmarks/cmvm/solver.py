# SPDX-License-Identifier: Apache-2.0
"""hsflow's optimizer as the bench calls it: one function, in this process."""

from __future__ import annotations

from hsflow_cmvm import optimize

from benchmarks.cmvm.figures import INPUT_BITS
from benchmarks.cmvm.matrices import Matrix
from hsflow.ir.addergraph import AdderGraph


def solve(
    matrix: Matrix, effort: str, max_depth: int | None = None, adder_levels_per_stage: int | None = None
) -> AdderGraph:
    """Return hsflow's adder graph of a matrix, shape (inputs, outputs), for unsigned 8-bit inputs.

    Without `adder_levels_per_stage` it is a graph without registers, which then do not count.
    """
    return optimize(
        matrix,
        input_bits=INPUT_BITS,
        signed=False,
        effort=effort,
        max_depth=max_depth,
        adder_levels_per_stage=adder_levels_per_stage,
    )
