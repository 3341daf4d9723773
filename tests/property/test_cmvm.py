# SPDX-License-Identifier: Apache-2.0
"""The optimizer on any integer matrix: the same matrix, within the depth, never more adders, the same graph everywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import combinations

import numpy as np
import pytest
from hsflow_cmvm.optimizer import lower
from hsflow_cmvm.patterns import new_table, pattern_key
from hsflow_cmvm.pricing import _full_adder_bits, _register_bits
from hsflow_cmvm.reduction import distinct_rows
from hsflow_cmvm.refinement import refine
from hsflow_cmvm.search import _digits, search
from hsflow_cmvm.sharing import ONE, Search, share
from hsflow_cmvm.summation import Program
from hsflow_cmvm.terms import NONE, Terms, Values, append_all, new_terms, new_values
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_matrices import matrices, ranges

from hsflow.errors import ConfigurationError, MismatchError
from hsflow.fixedpoint import IntArray, Interval
from hsflow.ir.addercolumns import AdderColumns
from hsflow.ir.addergraph import AdderGraph, Output
from hsflow.ir.matrix import count_digits, fewest_levels
from hsflow.ir.pipeline import LevelCut
from hsflow.lowering import Effort, LoweringGoal, Objective

SOME = settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
FEW = settings(deadline=None, max_examples=10, suppress_health_check=list(HealthCheck))
DEEP = 40
LOW = LoweringGoal(effort=Effort.LOW)

goals = st.builds(
    LoweringGoal,
    st.sampled_from(list(Objective)),
    st.sampled_from([Effort.LOW, Effort.NORMAL]),
    adder_levels_per_stage=st.sampled_from([1, 2, 3, 64]),
)


def solve(matrix: IntArray, goal: LoweringGoal = LOW) -> AdderGraph:
    return lower(matrix, ranges(matrix), goal, "here")


def digits_alone(matrix: IntArray) -> int:
    """Return the adders of a tree of signed digits for each row."""
    return int(np.maximum(count_digits(matrix) - 1, 0).sum())


@SOME
@given(matrices(), goals)
def test_a_graph_is_proved_and_never_costs_an_adder(matrix: IntArray, goal: LoweringGoal) -> None:
    graph = solve(matrix, goal)
    graph.prove(matrix, "here")
    assert len(graph.adders) <= digits_alone(matrix)
    assert graph.inputs == ranges(matrix)


@FEW
@given(matrices(most=4), st.sampled_from(list(Objective)))
def test_the_highest_effort_is_proved_too(matrix: IntArray, objective: Objective) -> None:
    graph = solve(matrix, LoweringGoal(objective, Effort.HIGH))
    graph.prove(matrix, "here")
    assert len(graph.adders) <= digits_alone(matrix)


@SOME
@given(st.integers(1, 5), st.integers(1, 40), st.integers(0, 10**6), goals)
def test_large_ternary_matrices_are_proved(outputs: int, inputs: int, seed: int, goal: LoweringGoal) -> None:
    matrix = np.random.default_rng(seed).integers(-1, 2, (outputs, inputs))
    for given_inputs in ((Interval(0, 0),) * inputs, (Interval(0, 1),) * inputs, (Interval(-8, 7),) * inputs):
        graph = lower(matrix, given_inputs, goal, "here")
        graph.prove(matrix, "here")
        assert len(graph.adders) <= digits_alone(matrix)


@SOME
@given(matrices(), goals)
def test_order_in_memory_changes_nothing(matrix: IntArray, goal: LoweringGoal) -> None:
    one, other = np.ascontiguousarray(matrix), np.asfortranarray(matrix)
    assert solve(one, goal) == solve(other, goal) == solve(one, goal)


@SOME
@given(matrices(), goals)
def test_no_adder_is_useless(matrix: IntArray, goal: LoweringGoal) -> None:
    graph = solve(matrix, goal)
    read = {output.value for output in graph.outputs}
    for adder in graph.adders:
        read |= {adder.left, adder.right}
    assert set(range(len(graph.inputs), len(graph.depths))) <= read


@SOME
@given(matrices(), st.integers(0, 10**6))
def test_a_changed_matrix_does_not_prove(matrix: IntArray, seed: int) -> None:
    generator = np.random.default_rng(seed)
    wrong = matrix.copy()
    wrong[generator.integers(matrix.shape[0]), generator.integers(matrix.shape[1])] += 1
    with pytest.raises(MismatchError):
        solve(matrix).prove(wrong, "here")


# ---- Depth


@SOME
@given(matrices(), goals, st.integers(0, 2))
def test_no_graph_is_deeper_than_its_bound(matrix: IntArray, goal: LoweringGoal, more: int) -> None:
    fewest = fewest_levels(matrix)
    how = (goal.objective, goal.effort)
    limited = solve(matrix, LoweringGoal(*how, max_depth=fewest + more))
    limited.prove(matrix, "here")
    assert limited.depth <= fewest + more
    assert limited == solve(matrix, LoweringGoal(*how, depth_slack=more))
    if fewest:
        with pytest.raises(ConfigurationError, match="more adder levels"):
            solve(matrix, LoweringGoal(*how, max_depth=fewest - 1))


@SOME
@given(matrices(), st.sampled_from([Effort.LOW, Effort.NORMAL]))
def test_least_latency_is_the_fewest_levels(matrix: IntArray, effort: Effort) -> None:
    assert solve(matrix, LoweringGoal(Objective.LATENCY, effort)).depth <= fewest_levels(matrix)


def test_a_bound_does_bind() -> None:
    matrix = np.random.default_rng(0).integers(-1, 2, (16, 16))
    free = solve(matrix, LoweringGoal(Objective.DIGIT_SERIAL))
    bound = solve(matrix, LoweringGoal(Objective.DIGIT_SERIAL, depth_slack=0))
    assert free.depth > fewest_levels(matrix) == bound.depth
    assert len(free.adders) < len(bound.adders)


# ---- Prices


def graph_of(program: Program, terms: IntArray, inputs: tuple[Interval, ...]) -> AdderGraph:
    made = slice(len(inputs), int(program.count[0]))
    fields = (program.left, program.right, program.left_shift, program.right_shift)
    columns = AdderColumns(*(field[made] for field in fields), program.subtract[made].astype(bool))
    outputs = (Output(None) if v == NONE else Output(v, s, bool(m)) for v, s, m in terms.tolist())
    return AdderGraph.from_columns(inputs, columns, tuple(outputs))


@SOME
@given(matrices(), goals, st.integers(1, 4))
def test_prices_are_what_the_graph_costs(matrix: IntArray, goal: LoweringGoal, levels: int) -> None:
    inputs = ranges(matrix)
    bounds = np.array([[i.low for i in inputs], [i.high for i in inputs]])
    found = search(distinct_rows(matrix).matrix, bounds, goal, "here")
    graph = graph_of(found.program, found.terms, inputs)
    assert graph == graph.without_unused()
    placement = LevelCut(levels).placement(graph)
    stages = placement.earliest, placement.latest(placement.fewest)
    registers = min(placement.register_bits(each, placement.fewest) for each in stages)
    assert _full_adder_bits(found.program) == graph.full_adder_bits
    assert _register_bits(found.program, found.terms, levels) == registers
    if goal.objective is Objective.DIGIT_SERIAL:
        assert found.price == len(inputs) + len(graph.adders)


# ---- Sharing and refinement


def shared(matrix: IntArray, depth: int, jitter: int = 0) -> tuple[Terms, Values]:
    rows = distinct_rows(matrix).matrix
    digits = np.ascontiguousarray(_digits(rows))
    room = rows.shape[1] + digits.shape[1]
    inputs = ranges(rows)
    values = new_values(np.array([i.low for i in inputs]), np.array([i.high for i in inputs]), room)
    terms = new_terms(np.searchsorted(digits[0], np.arange(len(rows))), digits.shape[1], room)
    append_all(terms, values, digits)
    share(terms, values, new_table(16), Search(depth, 16, jitter, np.zeros(1, np.int64)))
    return terms, values


def rows_of(terms: Terms) -> list[list[tuple[int, int, int]]]:
    places = [range(start, start + length) for start, length in zip(terms.start, terms.length, strict=True)]
    return [[(int(terms.value[p]), int(terms.shift[p]), int(terms.minus[p])) for p in row] for row in places]


def matrix_of(terms: Terms, values: Values, inputs: int) -> list[list[int]]:
    made = [[int(i == value) for i in range(inputs)] for value in range(inputs)]
    for value in range(inputs, int(values.count[0])):
        first, second = made[values.first[value]], made[values.second[value]]
        offset, sign = int(values.offset[value]), 1 - 2 * int(values.minus[value])
        left, right = max(0, -offset), max(0, offset)
        made.append([(a << left) + sign * (b << right) for a, b in zip(first, second, strict=True)])
    return [
        [sum((1 - 2 * minus) * (made[v][i] << shift) for v, shift, minus in row) for i in range(inputs)]
        for row in rows_of(terms)
    ]


def cost(terms: Terms, values: Values, inputs: int) -> int:
    alive = int(np.count_nonzero(values.alive[inputs : values.count[0]]))
    return alive + sum(max(int(length) - 1, 0) for length in terms.length)


@SOME
@given(matrices(), st.sampled_from([0, ONE - 1]))
def test_no_pattern_is_left_that_occurs_twice(matrix: IntArray, jitter: int) -> None:
    terms, values = shared(matrix, DEEP, jitter)
    seen = {
        pattern_key(
            int(values.first[v]),
            max(0, -int(values.offset[v])),
            0,
            int(values.second[v]),
            max(0, int(values.offset[v])),
            int(values.minus[v]),
        )
        for v in range(matrix.shape[1], int(values.count[0]))
    }
    for row in rows_of(terms):
        for one, other in combinations(row, 2):
            key = pattern_key(*one, *other)
            assert key not in seen
            seen.add(key)


@SOME
@given(matrices(), st.integers(0, 2))
def test_shared_rows_are_the_rows_and_fit_their_depth(matrix: IntArray, more: int) -> None:
    rows = distinct_rows(matrix).matrix
    depth = fewest_levels(rows) + more
    terms, values = shared(matrix, depth)
    assert matrix_of(terms, values, rows.shape[1]) == rows.tolist()
    loads = [sum(1 << int(values.depth[value]) for value, _, _ in row) for row in rows_of(terms)]
    assert terms.load.tolist() == loads
    assert max(loads) <= 1 << depth


@SOME
@given(matrices(), st.integers(0, 100), st.integers(0, 2))
def test_refinement_never_costs_an_adder(matrix: IntArray, seed: int, more: int) -> None:
    rows = distinct_rows(matrix).matrix
    depth = fewest_levels(rows) + more
    terms, values = shared(matrix, depth)
    before = cost(terms, values, rows.shape[1])
    terms = refine(terms, values, Search(depth, 16, ONE - 1, np.full(1, seed)), rows.shape[1], 5_000)
    assert cost(terms, values, rows.shape[1]) <= before
    assert matrix_of(terms, values, rows.shape[1]) == rows.tolist()
    assert (terms.load <= 1 << depth).all()


def test_refinement_does_find_something() -> None:
    matrix = np.random.default_rng(5).integers(-40, 40, (8, 8))
    terms, values = shared(matrix, DEEP)
    before = cost(terms, values, 8)
    terms = refine(terms, values, Search(DEEP, 16, ONE - 1, np.zeros(1, np.int64)), 8, 200_000)
    assert cost(terms, values, 8) < before


# ---- The same everywhere

CHILD = """
import sys
import numpy as np
from hsflow_cmvm.optimizer import lower
from hsflow.fixedpoint import Interval
from hsflow.lowering import LoweringGoal
generator = np.random.default_rng(3)
for size in ((9, 12), (16, 27)):
    matrix = generator.choice([-8, -4, -2, -1, 0, 0, 0, 1, 2, 3, 4, 45], size)
    graph = lower(matrix, (Interval(0, 255),) * size[1], LoweringGoal(), "here")
    sys.stdout.write(repr((graph.adders, graph.outputs)))
"""


def test_every_hash_seed_and_number_of_threads_gives_the_same_graph() -> None:
    found = set()
    for seed, threads in (("0", "1"), ("1", "2"), ("4711", "1")):
        settings = {"PYTHONHASHSEED": seed, "NUMBA_NUM_THREADS": threads, "OMP_NUM_THREADS": threads}
        environment = {**os.environ, **settings, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", CHILD]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        found.add(result.stdout)
    assert len(found) == 1
    assert "Adder(" in found.pop()


def test_a_hash_seed_does_change_what_depends_on_it() -> None:
    command = [sys.executable, "-c", "print(list({str(i) for i in range(50)}))"]
    outputs = {
        subprocess.run(
            command, env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("0", "1", "4711")
    }
    assert len(outputs) > 1
