# SPDX-License-Identifier: Apache-2.0
"""The search: tries depths, derivations of rows and starts, and refines the best of each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from hsflow.errors import ConfigurationError
from hsflow.fixedpoint import IntArray
from hsflow.ir.matrix import count_digits, fewest_levels, signed_digits
from hsflow.lowering import Effort, LoweringGoal, Objective
from hsflow_cmvm.differences import Derivation, derive, difference, no_derivation
from hsflow_cmvm.patterns import new_table
from hsflow_cmvm.pricing import price_of, register_price
from hsflow_cmvm.reduction import Merge, Rows, distinct_rows, merged_columns
from hsflow_cmvm.refinement import refine
from hsflow_cmvm.sharing import ONE, Search, share
from hsflow_cmvm.summation import Prices, Program, join, summation
from hsflow_cmvm.terms import NONE, Terms, Values, append_all, define, new_terms, new_values

_DEEPEST = 40
"""The deepest graph that is searched for; more levels than this gain nothing."""

_MORE_LEVELS = 2
"""The levels above the fewest that are tried: deeper graphs share little more and need more registers."""

_HEIGHTS = (1, 2, 4, 8)
"""The most joins on a path of rows that are derived from each other, each tried."""


class Plan(NamedTuple):
    """Hold how long to search: starts, candidates for each choice, pairs of terms to look at again."""

    starts: int
    candidates: int
    work: int


class Problem(NamedTuple):
    """Hold rows to sum within a depth: what is left of them (distinct), with equal columns added, and what to join."""

    rest: Rows
    matrix: IntArray
    merges: tuple[Merge, ...]
    ranges: IntArray
    derivation: Derivation
    depth: int


class Solution(NamedTuple):
    """Hold a program with the term (value, shift, minus) of each row, and its price."""

    price: int
    program: Program
    terms: IntArray


State = tuple[Terms, Values]


def search(matrix: IntArray, ranges: IntArray, goal: LoweringGoal, where: str) -> Solution:
    """Return the cheapest program that was found for distinct rows, shape (outputs, inputs).

    Args:
        matrix: the rows.
        ranges: the least and the greatest value of each input, shape (2, inputs).
        goal: what to look for.
        where: the layer, for messages.

    Raises:
        ConfigurationError: if a row needs more levels than the goal allows.
    """
    plan = _plan(goal.effort, int(count_digits(matrix).sum()))
    first = [(problem, *_started(problem, plan, goal)) for problem in _problems(matrix, ranges, goal, where)]
    problem, state, solution = min(first, key=lambda found: found[2].price)
    return _refined(problem, state, solution, plan, goal)


def _plan(effort: Effort, digits: int) -> Plan:
    small = min(digits, 4_000)
    match effort:
        case Effort.LOW:
            return Plan(1, 8, 0)
        case Effort.NORMAL:
            starts = min(max(20_000 // max(digits, 1), 1), 4)
            return Plan(starts, 64 if digits < 20_000 else 16, 100 * digits + 300 * small)
        case Effort.HIGH:
            starts = min(max(200_000 // max(digits, 1), 1), 16)
            return Plan(starts, 256 if digits < 40_000 else 32, 2_000 * digits + 10_000 * small)


def _problems(matrix: IntArray, ranges: IntArray, goal: LoweringGoal, where: str) -> Iterator[Problem]:
    """Yield the rows at each depth worth a try, then rows derived from each other where they are close."""
    fewest, most = fewest_levels(matrix), _most_levels(matrix, goal)
    if most < fewest:
        raise ConfigurationError(
            "a row needs more adder levels", where=where, got=f"{most} levels", expected=f"{fewest} or more"
        )
    plain = no_derivation(matrix.shape[0])
    for depth in range(fewest, min(fewest + _MORE_LEVELS, most) + 1):
        yield _problem(matrix, ranges, plain, depth)
    for height in _HEIGHTS:
        derivation = derive(matrix, height)
        if derivation is not None:
            yield from _derived(matrix, ranges, derivation, most)


def _derived(matrix: IntArray, ranges: IntArray, derivation: Derivation, most: int) -> Iterator[Problem]:
    rest = difference(matrix, derivation)
    fewest, room = fewest_levels(rest), most - int(derivation.height.max())
    for depth in range(fewest, min(fewest + _MORE_LEVELS, room) + 1):
        yield _problem(rest, ranges, derivation, depth)


def _problem(matrix: IntArray, ranges: IntArray, derivation: Derivation, depth: int) -> Problem:
    rest = distinct_rows(matrix)
    merged, merges = merged_columns(rest.matrix)
    return Problem(rest, merged, merges, ranges, derivation, depth)


def _most_levels(matrix: IntArray, goal: LoweringGoal) -> int:
    if goal.max_depth is not None:
        return min(goal.max_depth, _DEEPEST)
    slack = 0 if goal.objective is Objective.LATENCY else _DEEPEST
    return min(fewest_levels(matrix) + (slack if goal.depth_slack is None else goal.depth_slack), _DEEPEST)


def _started(problem: Problem, plan: Plan, goal: LoweringGoal) -> tuple[State, Solution]:
    """Return the best of several starts."""
    states = (_start(problem, plan, seed) for seed in range(plan.starts))
    found = [(state, _finish(problem, state, goal)) for state in states]
    return min(found, key=lambda pair: pair[1].price)


def _start(problem: Problem, plan: Plan, seed: int) -> State:
    """Return the rows with everything shared; equals are shuffled by the seed, 0 for not at all."""
    terms, values = _state(problem)
    jitter = ONE - 1 if seed else 0
    share(terms, values, new_table(16), Search(problem.depth, plan.candidates, jitter, np.full(1, seed)))
    return terms, values


def _state(problem: Problem) -> State:
    """Return the rows as terms of the inputs and of the columns that were added."""
    digits = _digits(problem.matrix)
    room = problem.matrix.shape[1] + digits.shape[1]
    values = new_values(problem.ranges[0], problem.ranges[1], room)
    for merge in problem.merges:
        define(values, *merge)
    starts = np.searchsorted(digits[0], np.arange(problem.matrix.shape[0]))
    terms = new_terms(starts, digits.shape[1], room)
    append_all(terms, values, digits)
    return terms, values


def _digits(matrix: IntArray) -> IntArray:
    """Return (row, column, shift, minus) of all signed digits, one a column, by rows."""
    found = []
    for minus, masks in enumerate(signed_digits(matrix)):
        for shift in range(64):
            row, column = np.nonzero((masks >> np.uint64(shift)) & np.uint64(1))
            found.append(np.stack([row, column, np.full_like(row, shift), np.full_like(row, minus)]))
    digits = np.concatenate(found, axis=1)
    return digits[:, np.lexsort((digits[2], digits[1], digits[0]))]


def _refined(problem: Problem, state: State, solution: Solution, plan: Plan, goal: LoweringGoal) -> Solution:
    if plan.work == 0:
        return solution
    terms, values = state
    terms = refine(terms, values, Search(problem.depth, 16, ONE - 1, np.zeros(1, np.int64)), plan.work)
    return min(solution, _finish(problem, (terms, values), goal), key=lambda found: found.price)


def _finish(problem: Problem, state: State, goal: LoweringGoal) -> Solution:
    """Return the state as a program: sums of the rows, then joins of rows that are derived from each other."""
    prices = Prices(problem.depth, goal.adder_levels_per_stage, register_price(goal))
    program, sums = summation(*state, prices, problem.derivation.parent.size)
    terms = sums[problem.rest.which]
    terms[:, 1] += problem.rest.shift
    terms[:, 2] ^= problem.rest.minus
    _join(program, terms, problem.derivation)
    return Solution(price_of(program, terms, prices, goal.objective), program, terms)


def _join(program: Program, terms: IntArray, derivation: Derivation) -> None:
    for row in derivation.order.tolist():
        for near, minus in (
            (derivation.other, derivation.other_minus),
            (derivation.parent, derivation.minus),
        ):
            if near[row] != NONE:
                parent = terms[near[row]].copy()
                parent[2] ^= minus[row]
                terms[row] = join(program, terms[row].copy(), parent)
