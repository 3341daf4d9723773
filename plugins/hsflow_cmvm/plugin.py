# SPDX-License-Identifier: Apache-2.0
"""Hook implementation of the adder-graph optimizer."""

from __future__ import annotations

from hsflow import hookimpl
from hsflow.fixedpoint import IntArray, Interval
from hsflow.ir.addergraph import AdderGraph
from hsflow.lowering import LoweringGoal


@hookimpl(trylast=True)
def hsflow_lower_layer(
    matrix: IntArray, inputs: tuple[Interval, ...], layer: str, goal: LoweringGoal
) -> AdderGraph:
    """Lower any matrix by sharing common subexpressions; other plugins are asked first."""
    # Importing numba takes a second: only who lowers pays it.
    from hsflow_cmvm.optimizer import lower

    return lower(matrix, inputs, goal, layer)
