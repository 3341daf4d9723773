# SPDX-License-Identifier: Apache-2.0
"""Adder graphs in arrays against a plain one-adder-at-a-time implementation, and against graphs that mean harm."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hsflow.ir.addercolumns as addercolumns
from hsflow.errors import MismatchError, ModelError
from hsflow.fixedpoint import MAX_WIDTH, Interval
from hsflow.ir.addercolumns import AdderColumns
from hsflow.ir.addergraph import Adder, AdderGraph, Output
from hsflow.ir.pipeline import LevelCut, pipelined

UNHURRIED = settings(deadline=None)
BYTE = Interval(0, 255)


@st.composite
def adder_graphs(draw: st.DrawFn) -> AdderGraph:
    """Draw any legal program of up to 20 adders: unused values, equal operands, constant and negative inputs."""
    inputs = tuple(
        Interval(*sorted((draw(st.integers(-300, 300)), draw(st.integers(-300, 300)))))
        for _ in range(draw(st.integers(1, 5)))
    )
    adders = []
    for number in range(draw(st.integers(0, 20))):
        values, shifts = st.integers(0, len(inputs) + number - 1), st.integers(0, 1)
        adders.append(Adder(draw(values), draw(values), draw(shifts), draw(shifts), draw(st.booleans())))
    values = st.one_of(st.none(), st.integers(0, len(inputs) + len(adders) - 1))
    made = st.builds(Output, values, st.integers(0, 4), st.booleans())
    return AdderGraph(inputs, tuple(adders), tuple(draw(st.lists(made, max_size=5))))


def slow_values(graph: AdderGraph, inputs: list[int]) -> list[int]:
    """Run the program with Python's integers."""
    values = list(inputs)
    for adder in graph.adders:
        right = values[adder.right] << adder.right_shift
        values.append((values[adder.left] << adder.left_shift) + (-right if adder.subtract else right))
    return values


def slow_outputs(graph: AdderGraph, inputs: list[int]) -> list[int]:
    values = slow_values(graph, inputs)
    return [
        0 if o.value is None else (values[o.value] << o.shift) * (-1 if o.negate else 1)
        for o in graph.outputs
    ]


def slow_intervals(graph: AdderGraph) -> list[Interval]:
    ranges = list(graph.inputs)
    for adder in graph.adders:
        left, right = ranges[adder.left] << adder.left_shift, ranges[adder.right] << adder.right_shift
        ranges.append(left - right if adder.subtract else left + right)
    return ranges


def slow_depths(graph: AdderGraph) -> list[int]:
    depths = [0] * len(graph.inputs)
    for adder in graph.adders:
        depths.append(1 + max(depths[adder.left], depths[adder.right]))
    return depths


def slow_adder_bits(adder: Adder, interval: Interval) -> int:
    untouched = adder.right_shift if adder.subtract else max(adder.left_shift, adder.right_shift)
    return max(interval.width - untouched, 1)


@UNHURRIED
@given(adder_graphs())
def test_what_is_computed_of_all_adders_at_once(graph: AdderGraph) -> None:
    intervals = slow_intervals(graph)
    assert graph.intervals == tuple(intervals)
    assert graph.depths == tuple(slow_depths(graph))
    assert graph.widths.tolist() == [interval.width for interval in intervals]
    made = zip(graph.adders, intervals[len(graph.inputs) :], strict=True)
    bits = [slow_adder_bits(adder, interval) for adder, interval in made]
    assert graph.adder_bits.tolist() == bits
    assert graph.full_adder_bits == sum(bits)
    pipeline = pipelined(LevelCut(2).placement(graph))
    lives = zip(pipeline.last_use, graph.widths.tolist(), strict=True)
    kept = ((last - pipeline.stage(v)) * width for v, (last, width) in enumerate(lives))
    assert pipeline.register_bits == sum(kept)


@UNHURRIED
@given(adder_graphs(), st.data())
def test_values_and_coefficients(graph: AdderGraph, data: st.DataObject) -> None:
    numbers = st.integers(-64, 63)  # 60 bits at most: 20 adders of two operands, and a shift of 4
    vectors = data.draw(st.lists(st.lists(numbers, min_size=len(graph.inputs), max_size=len(graph.inputs))))
    inputs = np.array(vectors, dtype=np.int64).reshape(len(vectors), len(graph.inputs)).T
    assert graph.evaluate(inputs).T.tolist() == [slow_outputs(graph, vector) for vector in vectors]
    unit = np.eye(len(graph.inputs), dtype=np.int64).tolist()
    assert graph.coefficients().T.tolist() == [slow_outputs(graph, vector) for vector in unit]


@UNHURRIED
@given(adder_graphs(), st.sampled_from([1, 40, 1000]))
def test_blocks_of_columns_change_nothing(graph: AdderGraph, size: int) -> None:
    whole = graph.coefficients()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(addercolumns, "_BLOCK_BYTES", size)
        assert np.array_equal(graph.coefficients(), whole)
        graph.prove(whole, "here")


@UNHURRIED
@given(adder_graphs())
def test_columns_are_the_adders_and_copies_are_equal(graph: AdderGraph) -> None:
    again = AdderGraph.from_columns(graph.inputs, graph.columns, graph.outputs)
    assert again == graph and hash(again) == hash(graph) and repr(again) == repr(graph)
    _ = graph.intervals
    for copied in (pickle.loads(pickle.dumps(graph)), copy.deepcopy(graph)):
        assert copied == graph and copied.intervals == graph.intervals


def test_a_graph_of_an_array_is_of_plain_numbers() -> None:
    columns = AdderColumns([0], np.array([1], np.int32), [np.int8(2)], [0], [1])  # type: ignore[arg-type]
    (adder,) = AdderGraph.from_columns((BYTE, BYTE), columns, ()).adders
    assert adder == Adder(0, 1, 2, 0, True)
    assert [type(value) for value in (adder.left, adder.left_shift, adder.subtract)] == [int, int, bool]


@pytest.mark.parametrize("wrong", [[0.0], [0, 0], [[0]], ["0"], [2**63], 0])
def test_columns_that_are_none_are_refused(wrong: Any) -> None:
    AdderColumns([0], [1], [0], [0], [False])  # type: ignore[arg-type]
    with pytest.raises(ModelError, match="columns of adders"):
        AdderColumns([0], wrong, [0], [0], [False])  # type: ignore[arg-type]


def test_columns_cannot_be_changed() -> None:
    left = np.array([0])
    columns = AdderColumns(left, left, left, left, left == 1)
    left[0] = 7
    assert columns.left.tolist() == [0]
    with pytest.raises(ValueError, match="read-only"):
        columns.left[0] = 7


# ---- Graphs that mean harm


def chain(length: int, shift: int, inputs: Interval = BYTE) -> AdderGraph:
    """Return `x << (shift * length)` plus all that lies between."""
    adders = tuple(Adder(number, 0, shift) for number in range(length))
    return AdderGraph((inputs,), adders, (Output(length),))


@pytest.mark.parametrize("shift", [63, 64, 70, 4096, 10**9, 2**62, 2**70])
def test_no_shift_wraps_into_a_proof(shift: int) -> None:
    zero = Interval(0, 0)  # whose range never grows, while its coefficient does
    graphs = [
        AdderGraph((interval, interval), adders, (output,))
        for interval in (BYTE, zero)
        for adders, output in [
            ((Adder(0, 1, shift),), Output(2)),
            ((Adder(0, 1, 0, shift),), Output(2)),
            ((Adder(0, 1, 0, shift, True),), Output(2)),
            ((Adder(0, 1),), Output(2, shift)),
        ]
    ]
    for graph in graphs:
        for matrix in ([[0, 0]], [[0, 1]], [[1, 0]], [[1, 1]]):
            with pytest.raises(ModelError if shift > 63 else (ModelError, MismatchError)):
                graph.prove(np.array(matrix), "here")


@pytest.mark.parametrize("interval", [BYTE, Interval(0, 0), Interval(-1, 0)])
def test_no_chain_of_shifts_wraps_into_a_proof_or_takes_forever(interval: Interval) -> None:
    chain(7, 7, interval).prove(np.array([[sum(1 << 7 * n for n in range(8))]]), "twin")
    # Modulo 2**64, x << 64 and all above vanish: the sum of the chain's last terms is what is left.
    for length, shift in [(16, 4), (64, 1), (20_000, 62), (2_000, 4096)]:
        graph = chain(length, shift, interval)
        left = sum(1 << shift * n for n in range(length + 1)) % 2**64 if length < 100 else 1
        with pytest.raises(ModelError):
            graph.prove(np.array([[left if left < 2**63 else left - 2**64]]), "here")


def test_a_difference_of_two_to_the_64_is_seen() -> None:
    """The coefficients 2**64 + 1 and 1 are one modulo 2**64."""
    wrong = AdderGraph((Interval(0, 0), BYTE), (Adder(0, 0, 63, 63), Adder(2, 1)), (Output(3),))
    with pytest.raises(ModelError):
        wrong.prove(np.array([[0, 1]]), "here")
    wrong = AdderGraph((Interval(0, 0),), (Adder(0, 0, 62, 62), Adder(1, 1)), (Output(2),))
    with pytest.raises(ModelError, match="64 bits"):
        wrong.prove(np.array([[0]]), "here")


@pytest.mark.parametrize("bits", [15, 16, 17, 31, 32, 33, 53])
def test_small_words_do_not_wrap_into_a_proof(bits: int) -> None:
    right = AdderGraph((BYTE, BYTE), (Adder(0, 1, bits),), (Output(2), Output(2, 0, True)))
    right.prove(np.array([[1 << bits, 1], [-(1 << bits), -1]]), "here")
    with pytest.raises(MismatchError):
        right.prove(np.array([[0, 1], [0, -1]]), "here")
    with pytest.raises(MismatchError):
        right.prove(np.array([[1 << bits, 1], [1 << bits, -1]]), "here")


def test_the_widest_number_proves_and_one_bit_more_does_not() -> None:
    def graph(width: int) -> AdderGraph:
        return AdderGraph((Interval(0, 1), Interval(0, 1)), (Adder(0, 1, width - 1),), (Output(2),))

    assert graph(MAX_WIDTH).widths.max() == MAX_WIDTH
    graph(MAX_WIDTH).prove(np.array([[1 << (MAX_WIDTH - 1), 1]]), "here")
    with pytest.raises(ModelError, match=r"value 2: an accumulator is too wide"):
        graph(MAX_WIDTH + 1).prove(np.array([[1 << MAX_WIDTH, 1]]), "here")
    shifted = replace(graph(MAX_WIDTH), outputs=(Output(2, 1),))
    with pytest.raises(ModelError, match=r"output 0: an accumulator is too wide"):
        shifted.prove(np.array([[1 << MAX_WIDTH, 2]]), "here")


def test_ranges_of_any_width_are_exact() -> None:
    graph = AdderGraph((Interval(-(2**100), 2**90), BYTE), (Adder(0, 1, 70, 3, True),), ())
    assert graph.intervals == tuple(slow_intervals(graph))
    assert graph.widths.tolist() == [101, 8, 172]


def test_results_that_64_bits_do_not_hold_are_refused() -> None:
    graph = AdderGraph((BYTE,), (Adder(0, 0, 10),), (Output(1),))
    assert graph.evaluate(np.array([[2**52, -(2**52)]])).tolist() == [[1025 * 2**52, -1025 * 2**52]]
    with pytest.raises(ModelError, match="64 bits"):
        graph.evaluate(np.array([[2**53]]))
    with pytest.raises(ModelError, match="do not fit"):
        graph.evaluate(np.array([[1], [2]]))


@pytest.mark.parametrize("adder", [Adder(0, 1, 1.0), Adder(0, "1"), Adder(0, 2**70), Adder(0, 1, None)])  # type: ignore[arg-type]
def test_fields_that_are_no_integers_are_refused(adder: Adder) -> None:
    with pytest.raises(ModelError):
        AdderGraph((BYTE, BYTE), (adder,), ()).prove(np.zeros((0, 2), np.int64), "here")


def test_a_large_graph_is_proved_in_blocks() -> None:
    """Prove 60,000 adders on 96 inputs, and see that one of them matters; time is bounded by the test's patience."""
    generator = np.random.default_rng(5)
    count, inputs = 60_000, 96
    left = np.array([generator.integers(max(0, n - 5_000), n) for n in range(inputs, inputs + count)])
    right = generator.integers(0, inputs, count)
    shift = (generator.random(count) < 0.2).astype(np.int64)
    columns = AdderColumns(left, right, np.zeros(count, np.int64), shift, generator.random(count) < 0.5)
    outputs = tuple(Output(inputs + count - 1 - n) for n in range(100))
    graph = AdderGraph.from_columns((BYTE,) * inputs, columns, outputs)
    matrix = graph.coefficients()
    graph.prove(matrix, "here")
    for row in (0, 99):
        assert matrix[row].tolist() == _slow_row(graph, outputs[row])
    last = replace(graph.adders[-1], subtract=not graph.adders[-1].subtract)
    with pytest.raises(MismatchError, match="at output 0"):
        replace(graph, adders=(*graph.adders[:-1], last)).prove(matrix, "here")


def _slow_row(graph: AdderGraph, output: Output) -> list[int]:
    """Return the coefficients of one output, walked backwards from it: another way to the same numbers."""
    inputs = len(graph.inputs)
    weights: dict[int, int] = {output.value: 1}  # type: ignore[dict-item]
    for number in range(inputs + len(graph.adders) - 1, inputs - 1, -1):
        weight = weights.pop(number, 0)
        if weight:
            adder = graph.adders[number - inputs]
            sign = -1 if adder.subtract else 1
            weights[adder.left] = weights.get(adder.left, 0) + (weight << adder.left_shift)
            weights[adder.right] = weights.get(adder.right, 0) + sign * (weight << adder.right_shift)
    return [weights.get(number, 0) for number in range(inputs)]
