# SPDX-License-Identifier: Apache-2.0
"""The search: tries depths, derivations of rows and starts, and refines the best of each."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

import numpy as np

from hsflow.errors import ConfigurationError
from hsflow.fixedpoint import IntArray
from hsflow.ir.matrix import common_factors, count_digits, fewest_levels, signed_digits
from hsflow.lowering import Effort, LoweringGoal, Objective
from hsflow_cmvm.differences import Derivation, derive, difference, no_derivation
from hsflow_cmvm.patterns import new_table
from hsflow_cmvm.pricing import price_of, register_price
from hsflow_cmvm.reduction import Merge, Rows, distinct_rows, merged_columns
from hsflow_cmvm.refinement import refine
from hsflow_cmvm.sharing import ONE, Search, share
from hsflow_cmvm.summation import Prices, Program, join, summation
from hsflow_cmvm.terms import NONE, Terms, Values, absorb, append_all, define, new_terms, new_values
from hsflow_cmvm.transposition import transpose

_DEEPEST = 40
"""The deepest graph that is searched for; more levels than this gain nothing."""

_MORE_LEVELS = 2
"""The levels above the fewest that are tried: deeper graphs share little more and need more registers."""

_HEIGHTS = (1, 2, 4, 8, 16)
"""The most joins on a path of rows that are derived from each other, each tried."""

_SEVERAL = 20_000
"""The most signed digits of a matrix for which several depths and derivations are tried, and not just one."""


class Plan(NamedTuple):
    """Hold how long to search.

    `candidates` are compared for each choice, `candidates_again` in refinement, which looks at `work` pairs of terms;
    a block of columns has about `pairs`.
    """

    starts: int
    candidates: int
    candidates_again: int
    work: int
    pairs: int


class Task(NamedTuple):
    """Hold rows to sum within `most` levels, and what each sum is multiplied by then, with further levels."""

    matrix: IntArray
    factors: IntArray
    most: int


class Problem(NamedTuple):
    """Hold rows to sum within a depth: what is left of them (distinct), with equal columns added, and what to join.

    Each row's sum is multiplied by its factor at the end. If `transposed`, patterns are those of the columns.
    """

    rest: Rows
    matrix: IntArray
    merges: tuple[Merge, ...]
    ranges: IntArray
    derivation: Derivation
    depth: int
    factors: IntArray
    transposed: bool = False


class Solution(NamedTuple):
    """Hold a program with the term (value, shift, minus) of each row, and its price."""

    price: int
    program: Program
    terms: IntArray


State = tuple[Terms, Values]


class Attempt(NamedTuple):
    """Hold a problem, a state in which everything is shared, and the solution that it gives."""

    problem: Problem
    state: State
    solution: Solution


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
    tasks = _tasks(matrix, goal, where)
    sizes = count_digits(tasks[0].matrix)
    digits = int(sizes.sum())
    plan = _plan(goal.effort, digits, int(sizes.max(initial=1)))
    several = digits <= _SEVERAL
    tasks = tasks if several else tasks[:1]
    problems = (problem for task in tasks for problem in _problems(task, ranges, goal, several))
    attempts = (attempt for problem in problems if (attempt := _attempt(problem, plan, goal, 0)))
    enough = None if several or goal.objective is Objective.DIGIT_SERIAL else 1
    best = min(islice(attempts, enough), key=_price)
    seeds = range(1, plan.starts)
    started = [best, *(attempt for seed in seeds if (attempt := _attempt(best.problem, plan, goal, seed)))]
    refined = [_refined(attempt, plan, goal, seed) for seed, attempt in enumerate(started)]
    return min([*started, *refined], key=_price).solution


def _price(attempt: Attempt) -> int:
    return attempt.solution.price


def _plan(effort: Effort, digits: int, longest: int) -> Plan:
    """Return what an effort means for so many signed digits, and so many in the longest row.

    Small matrices are searched longer. To compare candidates takes as long as rows are.
    """
    small = min(digits, 4_000) if digits <= _SEVERAL else 0
    starts = 1 + (digits < _SEVERAL // 2)
    match effort:
        case Effort.LOW:
            return Plan(1, _within(8, 1_000, longest), 1, 0, 1_000_000)
        case Effort.NORMAL:
            candidates = _within(64 if small else 24, 6_000, longest)
            again = _within(16, 1_000, longest)
            return Plan(starts, candidates, again, 30 * digits + 1_000 * small, 8_000_000)
        case Effort.HIGH:
            candidates, again = _within(256, 50_000, longest), _within(16, 5_000, longest)
            return Plan(4 * starts, candidates, again, 1_000 * digits + 5_000 * small, 80_000_000)


def _within(most: int, work: int, longest: int) -> int:
    return min(most, max(work // max(longest, 1), 1))


def _tasks(matrix: IntArray, goal: LoweringGoal, where: str) -> tuple[Task, ...]:
    """Return the rows without their common factors, if they have any and that is not too deep, then as they are."""
    fewest, most = fewest_levels(matrix), _most_levels(matrix, goal)
    if most < fewest:
        raise ConfigurationError(
            "a row needs more adder levels", where=where, got=f"{most} levels", expected=f"{fewest} or more"
        )
    plain = Task(matrix, np.ones(matrix.shape[0], np.int64), most)
    factors = common_factors(matrix)
    rest, left = matrix // factors[:, None], most - fewest_levels(factors[:, None])
    if left == most or fewest_levels(rest) > left:
        return (plain,)
    return Task(rest, factors, left), plain


def _problems(task: Task, ranges: IntArray, goal: LoweringGoal, several: bool) -> Iterator[Problem]:
    """Yield the rows at each depth worth a try, then rows derived from each other where they are close.

    If not `several`, the first that is not too deep will do: the columns of a large wide matrix cost less area in each
    that was tried, from 1 % (three columns for two rows, four zeros of five) to 25 % (six for one, none).
    """
    fewest = fewest_levels(task.matrix)
    deepest = min(fewest + _MORE_LEVELS, task.most)
    plain = _problem(task.matrix, task, ranges, no_derivation(task.matrix.shape[0]), deepest)
    wide = [plain._replace(transposed=True)] * _is_wide(task.matrix)
    if not several:
        yield from wide
        yield plain._replace(depth=min(_filled(fewest, goal.adder_levels_per_stage), task.most))
        return
    yield from _within_depths(plain, fewest, deepest)
    yield from wide
    for height in _HEIGHTS:
        derivation = derive(task.matrix, height)
        if derivation is not None:
            yield from _derived(task, ranges, derivation)


def _is_wide(matrix: IntArray) -> bool:
    """Tell whether rows are so long that sharing them as columns may gain."""
    rows, columns = matrix.shape
    return 2 * columns >= 3 * rows


def _within_depths(problem: Problem, fewest: int, most: int) -> Iterator[Problem]:
    return (problem._replace(depth=depth) for depth in range(fewest, most + 1))


def _filled(fewest: int, levels: int) -> int:
    """Return one level more than the fewest, unless it begins a pipeline stage of its own."""
    return min(-(-fewest // levels) * levels, fewest + 1)


def _derived(task: Task, ranges: IntArray, derivation: Derivation) -> Iterator[Problem]:
    rest = difference(task.matrix, derivation)
    fewest, room = fewest_levels(rest), task.most - int(derivation.height.max())
    most = min(fewest + _MORE_LEVELS, room)
    yield from _within_depths(_problem(rest, task, ranges, derivation, most), fewest, most)


def _problem(matrix: IntArray, task: Task, ranges: IntArray, derivation: Derivation, depth: int) -> Problem:
    rest = distinct_rows(matrix)
    merged, merges = merged_columns(rest.matrix)
    return Problem(rest, merged, merges, ranges, derivation, depth, task.factors)


def _most_levels(matrix: IntArray, goal: LoweringGoal) -> int:
    if goal.max_depth is not None:
        return min(goal.max_depth, _DEEPEST)
    slack = 0 if goal.objective is Objective.LATENCY else _DEEPEST
    return min(fewest_levels(matrix) + (slack if goal.depth_slack is None else goal.depth_slack), _DEEPEST)


def _attempt(problem: Problem, plan: Plan, goal: LoweringGoal, seed: int) -> Attempt | None:
    """Return what one start gives, or None if that is too deep; equals are shuffled by the seed, 0 for not at all."""
    state = (_transposed if problem.transposed else _shared)(problem, plan, seed)
    return None if state is None else Attempt(problem, state, _finished(problem, state, goal))


def _refined(attempt: Attempt, plan: Plan, goal: LoweringGoal, seed: int) -> Attempt:
    """Return what refinement makes of an attempt, whose state it uses up."""
    if plan.work == 0:
        return attempt
    problem, (terms, values), _ = attempt
    how = Search(problem.depth, plan.candidates_again, ONE - 1, np.full(1, seed))
    state = refine(terms, values, how, problem.matrix.shape[1], plan.work), values
    return Attempt(problem, state, _finished(problem, state, goal))


def _shared(problem: Problem, plan: Plan, seed: int) -> State:
    """Return the rows with everything shared: within blocks of columns first, then in all that is left of the rows."""
    digits = _digits(problem.matrix)
    how = Search(problem.depth, plan.candidates, ONE - 1 if seed else 0, np.full(1, seed))
    terms, values = _state(problem, digits)
    inputs = int(values.count[0])
    load = np.zeros(terms.load.size, np.int64)
    np.add.at(load, digits[0], 1 << values.depth[digits[1]])
    for block in _blocks(problem, digits, plan.pairs):
        part, part_values = _state(problem, block)
        append_all(part, part_values, block)
        part.load[:] = load  # of the whole row, whose depth all blocks use up together
        share(part, part_values, new_table(16), how)
        load = part.load
        absorb(terms, values, part, part_values, inputs)
    share(terms, values, new_table(16), how)
    return terms, values


def _transposed(problem: Problem, plan: Plan, seed: int) -> State | None:
    """Return the rows shared and refined as columns, or None if that is too deep."""
    columns = np.ascontiguousarray(problem.matrix.T)
    ranges = np.zeros((2, columns.shape[1]), np.int64)
    turned = problem._replace(matrix=columns, merges=(), ranges=ranges, depth=_DEEPEST)
    longest = int(count_digits(columns).max(initial=1))
    shared, links = _shared(turned, plan._replace(candidates=_within(64, 6_000, longest)), seed)
    how = Search(_DEEPEST, plan.candidates_again, ONE - 1, np.full(1, seed))
    shared = refine(shared, links, how, columns.shape[1], plan.work)
    terms, values = _state(problem, _digits(problem.matrix))
    transpose(shared, links, terms, values)
    if values.depth.max() > problem.depth or terms.load.max(initial=0) > 1 << problem.depth:
        return None
    return terms, values


def _state(problem: Problem, digits: IntArray) -> State:
    """Return rows with a place for each digit but none in it yet, and the inputs with the columns that were added."""
    room = problem.matrix.shape[1] + digits.shape[1]
    values = new_values(problem.ranges[0], problem.ranges[1], room)
    for merge in problem.merges:
        define(values, *merge)
    starts = np.searchsorted(digits[0], np.arange(problem.matrix.shape[0]))
    return new_terms(starts, digits.shape[1], room), values


def _digits(matrix: IntArray) -> IntArray:
    """Return (row, column, shift, minus) of all signed digits, one a column, by rows."""
    rows, columns = np.nonzero(matrix)
    found = []
    for minus, masks in enumerate(signed_digits(matrix[rows, columns])):
        for shift in range(64):
            places = np.flatnonzero((masks >> np.uint64(shift)) & np.uint64(1))
            same = np.ones_like(places)
            found.append(np.stack([rows[places], columns[places], shift * same, minus * same]))
    digits = np.concatenate(found, axis=1)
    return digits[:, np.lexsort((digits[2], digits[1], digits[0]))]


def _blocks(problem: Problem, digits: IntArray, pairs: int) -> Iterator[IntArray]:
    """Yield the digits in blocks of columns, so many that a block has about `pairs` pairs of terms in its rows."""
    sizes = np.bincount(digits[0])
    count = max(round(int((sizes * sizes).sum()) / 2 / pairs), 1)
    for block in range(count):
        yield np.ascontiguousarray(digits[:, digits[1] * count // problem.matrix.shape[1] == block])


def _finished(problem: Problem, state: State, goal: LoweringGoal) -> Solution:
    """Return the state as a program: sums of the rows, joins of rows that are derived from each other, then factors."""
    prices = Prices(problem.depth, goal.adder_levels_per_stage, register_price(goal))
    spare = 2 * problem.derivation.parent.size + int(count_digits(problem.factors[:, None]).sum())
    program, sums = summation(*state, prices, spare)
    terms = sums[problem.rest.which]
    terms[:, 1] += problem.rest.shift
    terms[:, 2] ^= problem.rest.minus
    _join(program, terms, problem.derivation)
    _multiply(program, terms, problem.factors)
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


def _multiply(program: Program, terms: IntArray, factors: IntArray) -> None:
    """Multiply each row's term by its factor; what several rows have in common, once."""
    known: dict[tuple[int, int], IntArray] = {}
    for row in np.flatnonzero((factors > 1) & (terms[:, 0] != NONE)).tolist():
        value, shift, minus = terms[row].tolist()
        key = value, int(factors[row])
        if key not in known:
            known[key] = _product(program, *key)
        terms[row] = known[key] + (0, shift, 0)
        terms[row, 2] ^= minus


def _product(program: Program, value: int, factor: int) -> IntArray:
    """Return the term of a value times a factor: a balanced tree over the factor's signed digits."""
    _, _, shifts, signs = _digits(np.array([[factor]]))
    level = [np.array([value, shift, minus]) for shift, minus in zip(shifts, signs, strict=True)]
    while len(level) > 1:
        pairs = zip(level[::2], level[1::2], strict=False)
        level = [join(program, *pair) for pair in pairs] + level[len(level) & ~1 :]
    return level[0]
