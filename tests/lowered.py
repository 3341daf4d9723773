# SPDX-License-Identifier: Apache-2.0
"""Adder graphs for tests that need some graph of a matrix, whatever it is."""

from __future__ import annotations

from hsflow_cmvm.optimizer import lower

from hsflow.fixedpoint import IntArray, Interval
from hsflow.ir.addergraph import AdderGraph
from hsflow.lowering import Effort, LoweringGoal

QUICK = LoweringGoal(effort=Effort.LOW)


def share(matrix: IntArray, inputs: tuple[Interval, ...]) -> AdderGraph:
    """Return an adder graph with shared subexpressions for a matrix, shape (outputs, inputs), quickly."""
    return lower(matrix, inputs, QUICK, "a test")
