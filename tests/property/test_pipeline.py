# SPDX-License-Identifier: Apache-2.0
"""Pipelining: registers for every crossing of a stage, and no stage that is too deep."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from lowered import share
from random_matrices import matrices, ranges

from hsflow.fixedpoint import IntArray, Interval
from hsflow.ir.addergraph import Adder, AdderGraph, Output
from hsflow.ir.pipeline import Pipeline, stages_needed

BYTE = Interval(0, 255)
UNHURRIED = settings(deadline=None)


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
    graph = AdderGraph((BYTE,), (Adder(0, 0, 3, 0, True),), (Output(1), Output(0)))
    pipeline = Pipeline(graph, 1, 1)
    assert pipeline.last_use == (1, 1)
    assert pipeline.register_bits == 8 + 12
    assert Pipeline(graph, 1, 2).register_bits == 2 * (8 + 12)
    assert Pipeline(graph, 1, 1).register_bits != registers_by_brute_force(graph, 1, 2)
