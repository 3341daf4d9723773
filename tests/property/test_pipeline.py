# SPDX-License-Identifier: Apache-2.0
"""Pipelining: no stage holds more than it may, none less than it could, and registers are counted one by one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from math import log2

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lowered import share
from random_matrices import matrices, ranges

from hsflow.errors import ConfigurationError
from hsflow.fixedpoint import IntArray, Interval
from hsflow.ir.addergraph import Adder, AdderGraph, Output
from hsflow.ir.delays import LevelTimes
from hsflow.ir.pipeline import ClockCut, LevelCut, Pipeline, combinational, pipelined
from hsflow.ir.placement import Ends, Placement
from hsflow.technology import Delays, longest_chain

BYTE = Interval(0, 255)
UNHURRIED = settings(deadline=None)
OTHERS = {"gate": 0.0, "compare": 0.0, "requantize": 0.0}
DELAYS = Delays(
    clk_to_q=50.0,
    setup=10.0,
    add=70.0,
    carry=30.0,
    carry_ahead=15.0,
    fanout=20.0,
    sum_fanout=25.0,
    tree=55.0,
    **OTHERS,
)
WEIRD = Delays(
    clk_to_q=1.0,
    setup=2.0,
    add=3.0,
    carry=100.0,
    carry_ahead=100.0,
    fanout=7.0,
    sum_fanout=3.0,
    tree=15.0,
    **OTHERS,
)
RIPPLE = replace(DELAYS, carry_ahead=DELAYS.carry)
EXACT = 1e-6

delays = st.sampled_from([DELAYS, WEIRD])
ends = st.sampled_from([Ends(50.0), Ends(400.0), Ends(50.0, 200.0), Ends(300.0, 700.0)])
shares = st.floats(0.0, 1.0)


# ---- The twins: a register for each value and boundary, and each adder built bit by bit


def registers_by_brute_force(pipeline: Pipeline) -> int:
    """Count a flip-flop for each bit of a value and each boundary that it must cross to reach a reader."""
    graph, inputs = pipeline.graph, len(pipeline.graph.inputs)
    crossings: set[tuple[int, int]] = set()
    readers = [(pipeline.stage(inputs + n), o) for n, a in enumerate(graph.adders) for o in (a.left, a.right)]
    readers += [(pipeline.stages, output.value) for output in graph.outputs if output.value is not None]
    for reader_stage, value in readers:
        assert reader_stage >= pipeline.stage(value)
        crossings |= {(value, boundary) for boundary in range(pipeline.stage(value), reader_stage)}
    return sum(graph.intervals[value].width for value, _ in crossings)


def levels_by_brute_force(pipeline: Pipeline) -> int:
    """Return the most adders in a row within a stage."""
    inputs, within = len(pipeline.graph.inputs), [0] * len(pipeline.graph.depths)
    for number, adder in enumerate(pipeline.graph.adders, start=inputs):
        same = [v for v in (adder.left, adder.right) if pipeline.stage(v) == pipeline.stage(number)]
        within[number] = 1 + max((within[v] for v in same), default=0)
    return max(within)


def arrivals_by_brute_force(pipeline: Pipeline, cut: ClockCut, entry: float) -> list[list[float]]:
    """Return when each bit of each value reaches its readers in the value's own stage, adder after adder."""
    graph = pipeline.graph
    found = [[entry + load(graph, v, cut.delays)] * i.width for v, i in enumerate(graph.inputs)]
    for number, adder in enumerate(graph.adders, start=len(graph.inputs)):
        found.append(list(bits_of_sum(pipeline, cut, found, number, adder)))
    return found


def bits_of_sum(
    pipeline: Pipeline, cut: ClockCut, known: list[list[float]], number: int, adder: Adder
) -> Iterator[float]:
    times = cut.delays
    intervals, width = pipeline.graph.intervals, pipeline.graph.intervals[number].width
    first = adder.right_shift if adder.subtract else max(adder.left_shift, adder.right_shift)
    first = min(first, width - 1)
    is_long = width - first > longest_chain(1e6 / cut.clock_mhz)
    carry: list[float] = []
    for bit in range(width):
        there = []
        for value, shift in ((adder.left, adder.left_shift), (adder.right, adder.right_shift)):
            registered = times.clk_to_q + load(pipeline.graph, value, times)
            inside = pipeline.stage(value) == pipeline.stage(number)
            bits = known[value] if inside else [registered] * intervals[value].width
            if shift <= bit < shift + len(bits) or (bit >= shift and intervals[value].signed):
                there.append(bits[min(bit - shift, len(bits) - 1)])
        driven = load(pipeline.graph, number, times)
        if bit < first:
            yield max(there, default=-1e9) + driven
        else:
            latest = max([*there, *carry], default=-1e9)
            carry = [latest + (times.carry_ahead if is_long else times.carry)]
            yield latest + times.add + driven


def load(graph: AdderGraph, value: int, times: Delays) -> float:
    reads = [o for adder in graph.adders for o in (adder.left, adder.right)]
    reads += [output.value for output in graph.outputs if output.value is not None]
    fanout = times.fanout if value < len(graph.inputs) else times.sum_fanout
    return min(times.tree, fanout * log2(max(1, reads.count(value))))


def longest_path(pipeline: Pipeline, cut: ClockCut, around: Ends) -> float:
    """Return the longest path of any stage, from the clock's edge to the register or what is behind the outputs."""
    arrivals = [max(bits) for bits in arrivals_by_brute_force(pipeline, cut, around.entry)]
    inputs, times = len(pipeline.graph.inputs), cut.delays
    # An input that comes late may be registered at once, which is its source's matter.
    paths = [arrival + times.setup for arrival in arrivals[inputs:]]
    for output in pipeline.graph.outputs:
        if output.value is not None and around.exit is not None:
            registered = pipeline.stage(output.value) < pipeline.stages
            driven = times.clk_to_q + load(pipeline.graph, output.value, times)
            paths.append((driven if registered else arrivals[output.value]) + around.exit)
    return max(paths, default=0.0)


def rippling(times: Delays) -> ClockCut:
    """Return a clock so slow that every adder ripples."""
    return ClockCut(1.0, 0.0, times)


def clock(graph: AdderGraph, times: Delays, share_: float, around: Ends) -> ClockCut:
    """Return a clock between what the longest adder alone needs and what the whole graph needs."""
    deep = Pipeline(graph, tuple(graph.depths), graph.depth)  # each level a stage of its own
    shortest = longest_path(deep, rippling(times), Ends(times.clk_to_q)) + EXACT
    if around.exit is not None:
        driven = max(load(graph, value, times) for value in range(len(graph.widths)))
        shortest = max(shortest, times.clk_to_q + driven + around.exit + EXACT)
    whole = longest_path(combinational(graph), rippling(times), around) + EXACT
    return ClockCut(1e6 / (shortest + share_ * max(0.0, whole - shortest)), 0.0, times)


# ---- By levels


@UNHURRIED
@given(matrices(), st.integers(1, 4), st.integers(0, 2))
def test_register_bits_are_those_of_every_crossing(matrix: IntArray, levels: int, extra: int) -> None:
    placement = LevelCut(levels).placement(share(matrix, ranges(matrix)))
    pipeline = pipelined(placement, placement.fewest + extra)
    assert pipeline.register_bits == registers_by_brute_force(pipeline)
    assert all(pipeline.stage(v) <= last <= pipeline.stages for v, last in enumerate(pipeline.last_use))


@UNHURRIED
@given(matrices(), st.integers(1, 4), st.integers(0, 2))
def test_no_stage_is_deeper_than_its_levels_and_none_is_missing(
    matrix: IntArray, levels: int, extra: int
) -> None:
    graph = share(matrix, ranges(matrix))
    placement = LevelCut(levels).placement(graph)
    pipeline = pipelined(placement, placement.fewest + extra)
    assert levels_by_brute_force(pipeline) <= levels
    assert placement.fewest == -(-graph.depth // levels)
    assert all(
        pipeline.stage(value) < pipeline.stages for value in graph.output_values if value >= len(graph.inputs)
    )


@UNHURRIED
@given(matrices(), st.integers(1, 3))
def test_placement_never_takes_more_registers_than_the_earliest_stages(matrix: IntArray, levels: int) -> None:
    graph = share(matrix, ranges(matrix))
    stages = -(-graph.depth // levels)
    placed = tuple(max(0, depth - 1) // levels for depth in graph.depths)
    assert (
        pipelined(LevelCut(levels).placement(graph)).register_bits
        <= Pipeline(graph, placed, stages).register_bits
    )


def test_registers_by_hand() -> None:
    # 7x = 8x - x, 8 + 3 bits signed; with one level a stage: x is not kept, the sum is, once.
    graph = AdderGraph((BYTE,), (Adder(0, 0, 3, 0, True),), (Output(1), Output(0)))
    pipeline = pipelined(LevelCut(1).placement(graph))
    assert pipeline.last_use == (1, 1)
    assert pipeline.register_bits == 8 + 12
    longer = pipelined(LevelCut(1).placement(graph), 2)
    assert (longer.placed, longer.register_bits) == ((0, 1), 2 * 8 + 12)
    assert replace(longer, placed=(0, 0)).register_bits == 2 * (8 + 12)
    assert pipeline.register_bits != registers_by_brute_force(longer)


# ---- By time


@UNHURRIED
@given(matrices(), delays, ends, shares, st.integers(0, 2))
def test_no_path_is_longer_than_the_period(
    matrix: IntArray, times: Delays, around: Ends, share_: float, extra: int
) -> None:
    graph = share(matrix, ranges(matrix))
    cut = clock(graph, times, share_, around)
    placement = cut.placement(graph, around)
    pipeline = pipelined(placement, placement.fewest + extra)
    assert longest_path(pipeline, cut, around) <= cut.period + EXACT
    assert pipeline.register_bits == registers_by_brute_force(pipeline)
    # Beside adders' paths `longest` counts those from a register, or an input, to the next register.
    loads = [load(graph, value, times) for value in range(len(graph.widths))]
    passing = max(times.clk_to_q, around.entry) + max(loads) + times.setup
    found, made = (
        placement.longest(np.array(pipeline.placed), pipeline.stages),
        longest_path(pipeline, cut, around),
    )
    assert made - EXACT <= found <= max(made, passing) + EXACT


@UNHURRIED
@given(matrices(), delays, ends, shares)
def test_a_stage_has_no_time_for_another_adder(
    matrix: IntArray, times: Delays, around: Ends, share_: float
) -> None:
    graph = share(matrix, ranges(matrix))
    cut = clock(graph, times, share_, around)
    placement = cut.placement(graph, around)
    early = Pipeline(graph, tuple(placement.earliest.tolist()), placement.fewest)
    inputs = len(graph.inputs)
    for number, adder in enumerate(graph.adders, start=inputs):
        stage = early.stage(number)
        if stage > max(early.stage(adder.left), early.stage(adder.right)):
            placed = [*early.placed[:number], stage - 1, *early.placed[number + 1 :]]
            moved = arrivals_by_brute_force(replace(early, placed=tuple(placed)), cut, around.entry)
            assert max(moved[number]) + times.setup > cut.period - EXACT


@UNHURRIED
@given(matrices(), delays, shares)
def test_there_is_no_register_too_many_in_a_row(matrix: IntArray, times: Delays, share_: float) -> None:
    graph, around = share(matrix, ranges(matrix)), Ends(50.0, 200.0)
    cut = clock(graph, times, share_, around)
    placement = cut.placement(graph, around)
    if placement.fewest:
        # Everything as early as possible, and still a result is too late to do without the last register.
        placed = np.minimum(placement.earliest, placement.fewest - 1)
        shorter = Pipeline(graph, tuple(placed.tolist()), placement.fewest - 1)
        assert longest_path(shorter, cut, around) > cut.period - EXACT


@UNHURRIED
@given(matrices(), delays, ends, shares, st.integers(0, 2))
def test_everything_lies_between_the_earliest_and_the_latest_stage(
    matrix: IntArray, times: Delays, around: Ends, share_: float, extra: int
) -> None:
    graph = share(matrix, ranges(matrix))
    placement = clock(graph, times, share_, around).placement(graph, around)
    count = placement.fewest + extra
    best, latest = placement.best(count), placement.latest(count)
    assert (placement.earliest <= best).all()
    assert (best <= latest).all()


def test_an_adder_longer_than_the_period_is_refused_with_the_clock_that_would_do() -> None:
    graph = AdderGraph((BYTE,), (Adder(0, 0, 3, 0, True),), (Output(1),))
    # x in 8x - x: two readers (20 ps); nine bits from the subtrahend's lowest, 12 from bit 0: 11 carries and a sum.
    needed = 50 + 20 + 11 * 30 + 70 + 10
    with pytest.raises(ConfigurationError, match=r"here: an adder takes longer[^$]*at most 2083 MHz"):
        ClockCut(2100.0, 0.0, RIPPLE).placement(graph, Ends(50.0), "here")
    assert 1e6 / needed == pytest.approx(2083.3, abs=0.1)
    assert pipelined(ClockCut(2083.0, 0.0, RIPPLE).placement(graph, Ends(50.0))).stages == 1
    with pytest.raises(ConfigurationError, match="at most 1666 MHz"):
        ClockCut(1700.0, 0.2, RIPPLE).placement(graph, Ends(50.0))
    # What looks its carries ahead is faster: 11 of them save 15 ps each.
    assert longest_chain(1e6 / 2100.0) < 12
    ahead = ClockCut(2100.0, 0.0, DELAYS).placement(graph, Ends(50.0))
    assert ahead.alone.max() == needed - 10 - 11 * 15


def test_a_chain_of_ripple_adders_takes_little_longer_than_one() -> None:
    # ((x + y) + z) + w: the carries run side by side, each adder begins `add` after the one before.
    adders = (Adder(0, 1), Adder(4, 2), Adder(5, 3))
    graph = AdderGraph((BYTE,) * 4, adders, (Output(6),))
    path = 50 + 3 * 70 + 9 * 30 + 10
    assert longest_path(combinational(graph), rippling(DELAYS), Ends(50.0)) == path
    fits = ClockCut(1e6 / (path + EXACT), 0.0, RIPPLE).placement(graph, Ends(50.0))
    short = ClockCut(1e6 / (path - EXACT), 0.0, RIPPLE).placement(graph, Ends(50.0))
    assert (fits.fewest, short.fewest) == (1, 2)


def test_late_inputs_are_registered_first() -> None:
    graph = AdderGraph((BYTE, BYTE), (Adder(0, 1),), (Output(2),))
    cut = ClockCut(1e6 / 500, 0.0, RIPPLE)
    assert pipelined(cut.placement(graph, Ends(50.0))).placed == (0, 0, 0)
    assert pipelined(cut.placement(graph, Ends(200.0))).placed == (0, 0, 1)


def test_results_need_no_register_if_what_follows_has_time() -> None:
    graph = AdderGraph((BYTE, BYTE), (Adder(0, 1),), (Output(2),))
    cut = ClockCut(1e6 / 1000, 0.0, RIPPLE)
    assert [pipelined(cut.placement(graph, Ends(50.0, late))).stages for late in (0.0, 590.0, 700.0)] == [
        0,
        0,
        1,
    ]
    assert pipelined(cut.placement(graph, Ends(50.0))).stages == 1


def test_levels_of_a_width_are_what_fits() -> None:
    cut = ClockCut(1000.0, 0.1, RIPPLE)
    levels = cut.levels_of(16)
    adders = tuple(Adder(0 if n == 0 else n + 7, n + 1) for n in range(levels + 1))
    wide = AdderGraph((Interval(0, 2**13 - 1),) * 8, adders[:levels], (Output(7 + levels),))
    assert pipelined(cut.placement(wide, Ends(50.0))).stages == 1
    assert 50 + 10 + 15 * 30 + (levels + 1) * 70 > 900
    assert LevelCut(3).levels_of(16) == 3
    with pytest.raises(ConfigurationError, match="an adder of 30 bits takes longer"):
        cut.levels_of(30)


# ---- How good


def test_placement_is_close_to_the_optimum() -> None:
    """Compare with all placements of small graphs."""
    generator, found, optimum = np.random.default_rng(5), 0, 0
    for _ in range(40):
        graph = random_graph(generator, inputs=3, adders=6)
        placement = Placement(LevelTimes(graph), 1)
        count = placement.fewest + 1
        best = placement.register_bits(placement.best(count), count)
        least = min(placement.register_bits(stages, count) for stages in all_placements(graph, count))
        assert best >= least
        found, optimum = found + best, optimum + least
    assert optimum <= found <= 1.02 * optimum


def random_graph(generator: np.random.Generator, inputs: int, adders: int) -> AdderGraph:
    made = []
    for number in range(inputs, inputs + adders):
        left, right = generator.integers(max(0, number - 5), number, 2).tolist()
        made.append(Adder(left, right, int(generator.integers(0, 4))))
    results = {inputs + adders - 1, *generator.integers(inputs, inputs + adders, 2).tolist()}
    return AdderGraph((BYTE,) * inputs, tuple(made), tuple(map(Output, sorted(results)))).without_unused()


def all_placements(graph: AdderGraph, count: int) -> Iterator[IntArray]:
    """Yield all stages with one adder level in each."""
    inputs = len(graph.inputs)
    for chosen in product(range(count), repeat=len(graph.adders)):
        stages = [-1] * inputs + list(chosen)
        if all(stages[o] < stages[inputs + n] for n, a in enumerate(graph.adders) for o in (a.left, a.right)):
            yield np.array([0] * inputs + list(chosen))
