# SPDX-License-Identifier: Apache-2.0
"""Adder graphs: values against coefficients, ranges against every input, and a proof that a fault cannot pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from hsflow_harden.kernel import build_kernel
from hypothesis import given, settings
from hypothesis import strategies as st
from lowered import share
from random_graphs import GraphBuilder

from hsflow.errors import MismatchError, ModelError
from hsflow.fixedpoint import IntArray, Interval
from hsflow.ir.addergraph import Adder, AdderGraph, Output
from hsflow.ir.pipeline import LevelCut
from hsflow.ir.tensor import Shape

UNHURRIED = settings(deadline=None)

BYTE = Interval(0, 255)
# value 2 = 4a - b, value 3 = a + 4b, value 4 = (4a - b) + 2(a + 4b) = 6a + 7b
GRAPH = AdderGraph(
    (BYTE, Interval(-8, 7)),
    (Adder(0, 1, 2, 0, subtract=True), Adder(0, 1, 0, 2), Adder(2, 3, 0, 1)),
    (Output(4), Output(2, 3, negate=True), Output(None), Output(1, 1), Output(3)),
)
MATRIX = np.array([[6, 7], [-32, 8], [0, 0], [0, 2], [1, 4]])


def test_by_hand() -> None:
    assert GRAPH.coefficients().tolist() == MATRIX.tolist()
    assert GRAPH.evaluate(np.array([[10, 0], [-3, 7]])).T.tolist() == [
        [39, -344, 0, -6, -2],
        [49, 56, 0, 14, 28],
    ]
    assert GRAPH.intervals[2:] == (Interval(-7, 1028), Interval(-32, 283), Interval(-71, 1594))
    assert GRAPH.depths == (0, 0, 1, 1, 2)
    assert GRAPH.depth == 2
    assert GRAPH.output_interval(GRAPH.outputs[1]) == Interval(-1028 * 8, 7 * 8)
    assert GRAPH.output_interval(Output(None)) == Interval(0, 0)
    # 12 bits less nothing (the subtrahend is not shifted), 10 bits less 2, 12 bits less 1.
    assert GRAPH.full_adder_bits == 12 + 8 + 11
    GRAPH.prove(MATRIX, "here")


def test_without_inputs_or_outputs() -> None:
    assert AdderGraph((BYTE,), (), ()).depth == 0
    assert AdderGraph((BYTE,), (), (Output(None),)).coefficients().tolist() == [[0]]
    assert AdderGraph((BYTE,), (), (Output(0, 2),)).evaluate(np.array([[3, 4]])).tolist() == [[12, 16]]


@st.composite
def adder_graphs(draw: st.DrawFn) -> AdderGraph:
    """Draw any legal program, useful or not, of small inputs."""
    inputs = []
    for _ in range(draw(st.integers(1, 3))):
        low, high = sorted((draw(st.integers(-3, 3)), draw(st.integers(-3, 3))))
        inputs.append(Interval(low, high))
    adders = []
    for number in range(draw(st.integers(0, 6))):
        values = st.integers(0, len(inputs) + number - 1)
        shifts = st.integers(0, 4)
        adders.append(Adder(draw(values), draw(values), draw(shifts), draw(shifts), draw(st.booleans())))
    values = st.one_of(st.none(), st.integers(0, len(inputs) + len(adders) - 1))
    outputs = [
        Output(draw(values), draw(st.integers(0, 3)), draw(st.booleans()))
        for _ in range(draw(st.integers(1, 4)))
    ]
    return AdderGraph(tuple(inputs), tuple(adders), tuple(outputs))


def every_input(graph: AdderGraph) -> IntArray:
    """Return all inputs, shape (inputs, n)."""
    return np.array(list(product(*(range(i.low, i.high + 1) for i in graph.inputs)))).T


@UNHURRIED
@given(adder_graphs())
def test_evaluation_is_the_matrix_product(graph: AdderGraph) -> None:
    inputs = every_input(graph)
    assert np.array_equal(graph.evaluate(inputs), graph.coefficients() @ inputs)


def wrong_intervals(graph: AdderGraph) -> list[int]:
    """Return the outputs that leave their range for some input."""
    values = graph.evaluate(every_input(graph))
    ranges = [graph.output_interval(output) for output in graph.outputs]
    return [
        number
        for number, (interval, row) in enumerate(zip(ranges, values, strict=True))
        if not interval.contains(Interval(int(row.min()), int(row.max())))
    ]


@UNHURRIED
@given(adder_graphs())
def test_ranges_hold_every_value(graph: AdderGraph) -> None:
    everything = tuple(Output(value) for value in range(len(graph.depths)))
    assert wrong_intervals(graph) == []
    assert wrong_intervals(replace(graph, outputs=everything)) == []


def test_a_range_that_is_too_small_is_seen() -> None:
    class Lying(AdderGraph):
        intervals = (Interval(0, 3), Interval(0, 3), Interval(0, 5))  # type: ignore[assignment]

    assert wrong_intervals(Lying((Interval(0, 3),) * 2, (Adder(0, 1),), (Output(2),))) == [0]


@UNHURRIED
@given(adder_graphs())
def test_a_sum_of_inputs_used_once_reaches_both_ends(graph: AdderGraph) -> None:
    tree = AdderGraph(graph.inputs, (), ())
    matrix = np.array([[(-3) ** column for column in range(len(tree.inputs))]])
    shared = share(matrix, tree.inputs)
    exact = matrix @ every_input(shared)
    once = all(bin(abs(int(weight))).count("1") <= 1 for weight in matrix[0])
    found = shared.output_interval(shared.outputs[0])
    assert found.contains(Interval(int(exact.min()), int(exact.max())))
    if once:
        assert found == Interval(int(exact.min()), int(exact.max()))


# ---- The proof and its twins


def faulty(change: Callable[[AdderGraph, int], AdderGraph]) -> list[AdderGraph]:
    return [change(GRAPH, number) for number in range(len(GRAPH.adders))]


def edit_adder(graph: AdderGraph, number: int, **changes: object) -> AdderGraph:
    adders = list(graph.adders)
    adders[number] = replace(adders[number], **changes)  # type: ignore[arg-type]
    return replace(graph, adders=tuple(adders))


def flip_sign(graph: AdderGraph, number: int) -> AdderGraph:
    return edit_adder(graph, number, subtract=not graph.adders[number].subtract)


def wrong_shift(graph: AdderGraph, number: int) -> AdderGraph:
    return edit_adder(graph, number, right_shift=graph.adders[number].right_shift + 1)


def swap_operands(graph: AdderGraph, number: int) -> AdderGraph:
    adder = graph.adders[number]
    return edit_adder(graph, number, left=adder.right, right=adder.left)


def drop_adder(graph: AdderGraph, number: int) -> AdderGraph:
    """Let readers of the adder read its left operand instead; later numbers move down."""
    dropped = len(graph.inputs) + number

    def moved(value: int) -> int:
        value = graph.adders[number].left if value == dropped else value
        return value - 1 if value > dropped else value

    adders = [
        replace(adder, left=moved(adder.left), right=moved(adder.right))
        for index, adder in enumerate(graph.adders)
        if index != number
    ]
    outputs = [
        output if output.value is None else replace(output, value=moved(output.value))
        for output in graph.outputs
    ]
    return replace(graph, adders=tuple(adders), outputs=tuple(outputs))


@pytest.mark.parametrize("number", range(len(GRAPH.adders)))
@pytest.mark.parametrize("fault", [flip_sign, wrong_shift, swap_operands, drop_adder])
def test_no_fault_in_an_adder_passes_the_proof(
    fault: Callable[[AdderGraph, int], AdderGraph], number: int
) -> None:
    with pytest.raises(MismatchError, match=r"features\.3: the adder graph computes other coefficients"):
        fault(GRAPH, number).prove(MATRIX, "features.3")


@pytest.mark.parametrize("number", range(len(GRAPH.outputs)))
@pytest.mark.parametrize("changes", [{"negate": None}, {"shift": 5}, {"value": 0}])
def test_no_fault_in_an_output_passes_the_proof(number: int, changes: dict[str, int | None]) -> None:
    output = GRAPH.outputs[number]
    if output.value is None and "value" not in changes:
        output = replace(output, value=1)
    edited = dict(changes)
    if "negate" in edited:
        edited["negate"] = not output.negate
    outputs = list(GRAPH.outputs)
    outputs[number] = replace(output, **edited)  # type: ignore[arg-type]
    with pytest.raises(MismatchError, match=f"at output {number}"):
        replace(GRAPH, outputs=tuple(outputs)).prove(MATRIX, "here")


def test_the_proof_shows_both_rows() -> None:
    with pytest.raises(MismatchError) as caught:
        flip_sign(GRAPH, 1).prove(MATRIX, "here")
    assert caught.value.got == [2 + 4, -1 - 8]
    assert caught.value.expected == [6, 7]


def test_a_graph_of_another_size_does_not_pass_by_broadcasting() -> None:
    equal_rows = np.array([[1, 2], [1, 2]])
    one = share(equal_rows[:1], (BYTE, BYTE))
    one.prove(equal_rows[:1], "here")
    with pytest.raises(MismatchError, match="another size"):
        one.prove(equal_rows, "here")
    with pytest.raises(MismatchError, match="another size"):
        share(equal_rows, (BYTE, BYTE)).prove(equal_rows[:1], "here")
    with pytest.raises(MismatchError, match="another size"):
        one.prove(np.array([[1, 2, 0]]), "here")


@UNHURRIED
@given(st.integers(0, 10**6))
def test_any_single_change_of_a_matrix_is_found(seed: int) -> None:
    generator = np.random.default_rng(seed)
    matrix = generator.integers(-9, 10, (3, 4))
    graph = share(matrix, (BYTE,) * 4)
    graph.prove(matrix, "here")
    changed = matrix.copy()
    changed[generator.integers(3), generator.integers(4)] += generator.choice([-4, -1, 1, 8])
    with pytest.raises(MismatchError):
        graph.prove(changed, "here")


# ---- What the hardener accepts from a plugin


def kernel_with(lower: Callable[[IntArray, tuple[Interval, ...], str], AdderGraph]) -> None:
    graph = GraphBuilder(Shape(3, 2, 2), 5).conv(4, zeros=0.0, name="stem").build()
    build_kernel(graph.layers[0], (graph.input,), "net_stem", lower, LevelCut(2))  # type: ignore[arg-type]


def test_the_hardener_proves_what_a_plugin_lowers() -> None:
    kernel_with(lambda matrix, inputs, layer: share(matrix, inputs))
    with pytest.raises(MismatchError, match="stem: "):
        kernel_with(lambda matrix, inputs, layer: share(-matrix, inputs))
    with pytest.raises(MismatchError, match="stem: "):
        kernel_with(lambda matrix, inputs, layer: share(matrix[:1], inputs))
    with pytest.raises(MismatchError, match=r"stem: .*other input ranges"):
        kernel_with(lambda matrix, inputs, layer: share(matrix, (Interval(0, 1),) * len(inputs)))


@pytest.mark.parametrize(
    ("adders", "output"),
    [
        ((Adder(0, 2),), Output(2)),
        ((Adder(0, -1),), Output(2)),
        ((Adder(0, 1, left_shift=-1),), Output(2)),
        ((Adder(0, 1),), Output(-1)),
        ((Adder(0, 1),), Output(3)),
        ((Adder(0, 1),), Output(2, shift=-1)),
    ],
)
def test_what_is_no_program_is_refused(adders: tuple[Adder, ...], output: Output) -> None:
    inputs = (Interval(0, 3), Interval(0, 3))
    AdderGraph(inputs, (Adder(0, 1),), (Output(2),)).prove(np.array([[1, 1]]), "twin")
    with pytest.raises(ModelError):
        AdderGraph(inputs, adders, (output,)).prove(np.array([[1, 1]]), "here")


BYTE, SIGNED = Interval(0, 255), Interval(-128, 127)


@pytest.mark.parametrize(
    ("inputs", "adder", "bits", "full"),
    [
        ((BYTE, BYTE), Adder(0, 1), 9, 7),  # the lowest bit has no carry, the highest no operand
        ((SIGNED, SIGNED), Adder(0, 1), 9, 8),  # operands are extended by their signs
        ((BYTE, BYTE), Adder(0, 1, 0, 4), 9, 3),  # four bits pass, four overlap
        ((BYTE, BYTE), Adder(0, 1, 4, 0, True), 13, 4),  # below the minuend the subtrahend is negated
        ((BYTE, BYTE), Adder(0, 1, 0, 8), 8, 0),
    ],
)
def test_full_adders_are_where_both_operands_and_a_carry_are(
    inputs: tuple[Interval, ...], adder: Adder, bits: int, full: int
) -> None:
    graph = AdderGraph(inputs, (adder,), (Output(2),))
    assert graph.adder_bits.tolist() == [bits]
    assert graph.full_adders.tolist() == [full]
    assert graph.readers.tolist() == [1, 1, 1]
