# SPDX-License-Identifier: Apache-2.0
"""The optimizer as others call it: a matrix in, a proved adder graph out."""

from __future__ import annotations

from functools import cache
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike

from hsflow.errors import ConfigurationError
from hsflow.fixedpoint import IntArray, Interval
from hsflow.ir.addercolumns import AdderColumns
from hsflow.ir.addergraph import AdderGraph, Output
from hsflow.ir.matrix import check_accumulators, check_matrix
from hsflow.lowering import COMBINATIONAL, Effort, LoweringGoal, Objective
from hsflow_cmvm.compiled import alone
from hsflow_cmvm.reduction import distinct_rows
from hsflow_cmvm.search import search
from hsflow_cmvm.sharing import share
from hsflow_cmvm.summation import Program
from hsflow_cmvm.terms import NONE

E = TypeVar("E", Objective, Effort)


def optimize(
    matrix: ArrayLike,
    *,
    input_bits: int = 8,
    signed: bool = False,
    effort: str = "normal",
    objective: str = "area",
    max_depth: int | None = None,
    depth_slack: int | None = None,
    adder_levels_per_stage: int | None = 2,
) -> AdderGraph:
    """Return an adder graph that multiplies a vector of integers by a constant matrix, proved to be exact.

    Args:
        matrix: any integers, shape (inputs, outputs), in C or Fortran order: output o is the sum over i of
            input i times `matrix[i, o]`. A number that is no power of two counts as its signed digits.
        input_bits: the width of each input, 1 to 62.
        signed: whether inputs are signed (two's complement); else they are at least 0.
        effort: "low", "normal" or "high": how long to search. The same matrix gives the same graph, on any machine.
        objective: "area" (full-adder bits and register bits), "registers" (these before all), "latency" (as few adder
            levels as possible) or "digit-serial" (as few adders as possible, whatever their width).
        max_depth: the adder levels that any path may have.
        depth_slack: the same, as levels above the fewest that the matrix needs.
        adder_levels_per_stage: adder levels between two pipeline registers, which price the registers; None for none.

    Returns:
        The graph: `adders`, `outputs`, `full_adder_bits`, `depth`; `evaluate` computes with it.

    Raises:
        ModelError: if the matrix is no matrix of integers, or sums would need more than 62 bits.
        ConfigurationError: if an option is out of range, or a row needs more levels than `max_depth`.
    """
    where = "the matrix"
    weights = np.ascontiguousarray(check_matrix(matrix, where).T)
    if not 1 <= input_bits <= 62:
        raise ConfigurationError("input_bits is out of range", got=input_bits, expected="1 to 62")
    inputs = (Interval.of_format(input_bits, signed),) * weights.shape[1]
    check_accumulators(weights, inputs, where)
    levels = COMBINATIONAL if adder_levels_per_stage is None else adder_levels_per_stage
    goal = LoweringGoal(
        _member(Objective, objective), _member(Effort, effort), max_depth, depth_slack, levels
    )
    graph = lower(weights, inputs, goal, where)
    graph.prove(weights, where)
    return graph


def lower(matrix: IntArray, inputs: tuple[Interval, ...], goal: LoweringGoal, where: str) -> AdderGraph:
    """Return an adder graph for a matrix of shape (outputs, inputs) whose accumulators fit 62 bits.

    Raises:
        ConfigurationError: if a row needs more levels than the goal allows.
    """
    _load()
    return _lower(np.ascontiguousarray(matrix), inputs, goal, where)


@cache
def _load() -> None:
    """Compile everything, or load what is compiled, by a small matrix.

    One process at a time: several would do the same work, and numba does not keep what they store apart.
    """
    with alone(share):
        _lower(np.array([[3, 5], [7, -45]]), (Interval(0, 1),) * 2, LoweringGoal(), "warm-up")


def _lower(matrix: IntArray, inputs: tuple[Interval, ...], goal: LoweringGoal, where: str) -> AdderGraph:
    rows = distinct_rows(matrix)
    ranges = np.array([[i.low for i in inputs], [i.high for i in inputs]], dtype=np.int64)
    solution = search(rows.matrix, ranges, goal, where)
    terms = solution.terms[rows.which]
    terms[:, 1] += rows.shift
    terms[:, 2] ^= rows.minus
    outputs = tuple(_output(*term) for term in terms.tolist())
    return AdderGraph.from_columns(inputs, _columns(solution.program, len(inputs)), outputs).without_unused()


def _output(value: int, shift: int, minus: int) -> Output:
    return Output(None) if value == NONE else Output(value, shift, bool(minus))


def _columns(program: Program, inputs: int) -> AdderColumns:
    made = slice(inputs, int(program.count[0]))
    return AdderColumns(
        program.left[made],
        program.right[made],
        program.left_shift[made],
        program.right_shift[made],
        program.subtract[made].astype(np.bool_),
    )


def _member(choices: type[E], name: str) -> E:
    if name not in list(choices):
        raise ConfigurationError(f"no such {choices.__name__.lower()}", got=name, expected=", ".join(choices))
    return choices(name)
