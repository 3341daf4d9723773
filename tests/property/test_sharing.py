# SPDX-License-Identifier: Apache-2.0
"""Sharing on any integer matrix: the same matrix, never more adders, the same graph in every process."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hsflow_harden.sharing import adders_without_sharing, share, signed_digits
from hypothesis import given, settings
from hypothesis import strategies as st

from hsflow.errors import MismatchError
from hsflow.fixedpoint import IntArray, Interval
from hsflow.ir.addergraph import AdderGraph
from hsflow.ir.pipeline import Pipeline, stages_needed

BYTE = Interval(0, 255)
UNHURRIED = settings(deadline=None)


@st.composite
def matrices(draw: st.DrawFn) -> IntArray:
    """Draw a matrix with the rows and columns that optimizers trip over, in C or Fortran order."""
    outputs, inputs = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    values = draw(
        st.sampled_from(
            [
                st.integers(-1, 1),
                st.sampled_from([-8, -4, -2, -1, 0, 1, 2, 4, 8]),
                st.integers(-300, 300),
                st.integers(-(2**40), 2**40),
            ]
        )
    )
    rows = [[draw(values) for _ in range(inputs)] for _ in range(outputs)]
    matrix = np.array(rows, dtype=np.int64)
    for kind in draw(
        st.lists(st.sampled_from(["zero", "column", "negated", "equal", "shifted"]), max_size=3)
    ):
        one, other = draw(st.integers(0, outputs - 1)), draw(st.integers(0, outputs - 1))
        match kind:
            case "zero":
                matrix[one] = 0
            case "column":
                matrix[:, draw(st.integers(0, inputs - 1))] = 0
            case "negated":
                matrix[one] = -matrix[other]
            case "equal":
                matrix[one] = matrix[other]
            case _:
                matrix[one] = matrix[other] << 3
    return np.asfortranarray(matrix) if draw(st.booleans()) else matrix


def ranges(matrix: IntArray) -> tuple[Interval, ...]:
    return tuple(Interval(-(column % 3), 255 >> column) for column in range(matrix.shape[1]))


@UNHURRIED
@given(matrices())
def test_sharing_proves_and_never_costs_an_adder(matrix: IntArray) -> None:
    graph = share(matrix, ranges(matrix))
    graph.prove(matrix, "here")
    assert len(graph.adders) <= adders_without_sharing(matrix)
    assert graph.inputs == ranges(matrix)


@UNHURRIED
@given(matrices())
def test_order_in_memory_changes_nothing(matrix: IntArray) -> None:
    one, other = np.ascontiguousarray(matrix), np.asfortranarray(matrix)
    assert share(one, ranges(matrix)) == share(other, ranges(matrix)) == share(one, ranges(matrix))


@UNHURRIED
@given(matrices())
def test_no_adder_is_useless(matrix: IntArray) -> None:
    graph = share(matrix, ranges(matrix))
    read = {output.value for output in graph.outputs}
    for adder in graph.adders:
        read |= {adder.left, adder.right}
    assert set(range(len(graph.inputs), len(graph.depths))) <= read


@UNHURRIED
@given(matrices(), st.integers(0, 10**6))
def test_a_changed_matrix_does_not_prove(matrix: IntArray, seed: int) -> None:
    generator = np.random.default_rng(seed)
    graph = share(matrix, ranges(matrix))
    wrong = matrix.copy()
    wrong[generator.integers(matrix.shape[0]), generator.integers(matrix.shape[1])] += 1
    with pytest.raises(MismatchError):
        graph.prove(wrong, "here")


def test_what_is_shared_by_hand() -> None:
    inputs = (BYTE,) * 3
    # x + y occurs in all three rows, once negated and once shifted: one adder, then one more for the last row.
    matrix = np.array([[1, 1, 0], [-1, -1, 0], [4, 4, 1]])
    assert adders_without_sharing(matrix) == 4
    assert len(share(matrix, inputs).adders) == 2
    # A number with a pattern in itself: 45 = 101101b = 5 * 9 in two adders; separate digits need three.
    single = np.array([[45]])
    assert adders_without_sharing(single) == 3
    assert len(share(single, inputs[:1]).adders) == 2
    # Nothing to share, nothing to add.
    assert share(np.diag([1, -2, 8]), inputs).adders == ()
    assert share(np.zeros((2, 3), np.int64), inputs).adders == ()


@UNHURRIED
@given(st.integers(-(2**62), 2**62))
def test_signed_digits_are_the_number_and_never_adjacent(value: int) -> None:
    digits = signed_digits(value)
    assert sum(sign << shift for shift, sign in digits) == value
    shifts = [shift for shift, _ in digits]
    assert all(later - earlier > 1 for earlier, later in pairwise(shifts))
    assert len(digits) <= bin(abs(value)).count("1") or value == 0


CHILD = """
import sys
import numpy as np
from hsflow.fixedpoint import Interval
from hsflow_harden.sharing import share
generator = np.random.default_rng(3)
for size in ((9, 12), (16, 27)):
    matrix = generator.choice([-8, -4, -2, -1, 0, 0, 0, 1, 2, 3, 4, 45], size)
    graph = share(matrix, (Interval(0, 255),) * size[1])
    sys.stdout.write(repr((graph.adders, graph.outputs)))
"""


def test_every_hash_seed_gives_the_same_graph() -> None:
    found = set()
    for seed in ("0", "1", "4711"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", CHILD]
        result = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        found.add(result.stdout)
    assert len(found) == 1
    assert "Adder(" in found.pop()


def test_a_hash_seed_does_change_what_depends_on_it() -> None:
    code = "print(list({str(i) for i in range(50)}))"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            cwd=Path(__file__).parent,
        ).stdout
        for seed in ("0", "1", "4711")
    }
    assert len(outputs) > 1


# ---- Pipelining


def registers_by_brute_force(graph: AdderGraph, levels: int, stages: int) -> int:
    """Count a flip-flop for each value and stage boundary that the value must cross to reach a reader."""
    inputs = len(graph.inputs)
    born = [0 if v < inputs else -(-graph.depths[v] // levels) - 1 for v in range(len(graph.depths))]
    crossings: set[tuple[int, int]] = set()
    readers = [(born[inputs + n], o) for n, a in enumerate(graph.adders) for o in (a.left, a.right)]
    readers += [(stages, output.value) for output in graph.outputs if output.value is not None]
    for reader_stage, value in readers:
        assert reader_stage >= born[value]
        crossings |= {(value, boundary) for boundary in range(born[value], reader_stage)}
    return sum(graph.intervals[value].width for value, _ in crossings)


@UNHURRIED
@given(matrices(), st.integers(1, 4), st.integers(0, 2))
def test_register_bits_are_those_of_every_crossing(matrix: IntArray, levels: int, extra: int) -> None:
    graph = share(matrix, ranges(matrix))
    stages = stages_needed(graph, levels) + extra
    pipeline = Pipeline(graph, levels, stages)
    assert pipeline.register_bits == registers_by_brute_force(graph, levels, stages)
    assert all(pipeline.stage(v) <= last <= stages for v, last in enumerate(pipeline.last_use))


@UNHURRIED
@given(matrices(), st.integers(1, 4))
def test_no_stage_is_deeper_than_its_levels_and_none_is_missing(matrix: IntArray, levels: int) -> None:
    graph = share(matrix, ranges(matrix))
    pipeline = Pipeline(graph, levels, stages_needed(graph, levels))
    inputs = len(graph.inputs)
    within = [0] * len(graph.depths)
    for number, adder in enumerate(graph.adders, start=inputs):
        same = [
            v
            for v in (adder.left, adder.right)
            if v >= inputs and pipeline.stage(v) == pipeline.stage(number)
        ]
        within[number] = 1 + max((within[v] for v in same), default=0)
        assert all(pipeline.stage(v) <= pipeline.stage(number) for v in (adder.left, adder.right))
    assert max(within) <= levels
    used = {pipeline.stage(output.value) for output in graph.outputs if output.value is not None}
    deepest = max(used, default=0) if graph.depth else -1
    assert pipeline.stages == deepest + 1


def test_registers_by_hand() -> None:
    # 7x = 8x - x, 8 + 3 bits signed; with one level a stage: x is not kept, the sum is, once.
    graph = share(np.array([[7], [1]]), (BYTE,))
    pipeline = Pipeline(graph, 1, 1)
    assert pipeline.last_use == (1, 1)
    assert pipeline.register_bits == 8 + 12
    assert Pipeline(graph, 1, 2).register_bits == 2 * (8 + 12)
    assert Pipeline(graph, 1, 1).register_bits != registers_by_brute_force(graph, 1, 2)
