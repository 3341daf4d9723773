# SPDX-License-Identifier: Apache-2.0
"""The CMVM bench: its matrices, its reading of the peers' programs, its ratios, and the check of the reference."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.cmvm import check, report, suites
from benchmarks.cmvm.checkpoints import conv_matrix
from benchmarks.cmvm.compare import Row, geometric_mean, load, save
from benchmarks.cmvm.exchange import graph_from_json, graph_to_json, peer_graph
from benchmarks.cmvm.figures import OK, Cost, Result, input_intervals, measure
from benchmarks.cmvm.growth import Points
from benchmarks.cmvm.matrices import block_diagonal, parse
from benchmarks.cmvm.mobilenet import layers
from hsflow.errors import MismatchError
from hsflow.fixedpoint import Interval


def adders_without_sharing(name: str) -> int:
    return int(np.maximum((parse(name).build() != 0).sum(axis=0) - 1, 0).sum())


@pytest.mark.parametrize(
    ("name", "naive"),
    [("16x96-g8-z0", 1440), ("16x96-g8-z50", 672), ("24x144-g8-z50", 1584), ("64x384-g8-z80", 4532)],
)
def test_the_families_have_the_published_sizes(name: str, naive: int) -> None:
    assert adders_without_sharing(name) == naive


def test_a_matrix_is_the_same_every_time_and_pruning_only_removes() -> None:
    dense, half = parse("16x96-g8-z0").build(), parse("16x96-g8-z50").build()
    assert (dense == parse("16x96-g8-z0").build()).all()
    assert (half[half != 0] == dense[half != 0]).all()
    assert set(np.unique(np.abs(dense))) <= {1 << exponent for exponent in range(8)}


@pytest.mark.parametrize("suite", suites.SUITES)
def test_names_are_unique_and_say_all(suite: str) -> None:
    specs = suites.SUITES[suite]()
    assert len({spec.name for spec in specs}) == len(specs)
    assert all(parse(spec.name) == spec for spec in specs)


@pytest.mark.parametrize("name", ["16x96", "16x96-g9-z0", "16x96-g8-z100", "ax96-g8-z0"])
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        parse(name)


def test_mobilenet_has_its_published_convolutions() -> None:
    assert len(layers()) == 52
    assert sum(layer.weights for layer in layers()) == 2_189_760
    taps = next(layers()[1].matrices(seed=1))
    assert taps.shape == (9 * 32, 32)
    assert (np.count_nonzero(taps, axis=0) <= 9).all()


PARTS = [
    {
        "inputs": [0, 2],
        "outputs": [0, 3],
        "stages": [
            {
                "input_shifts": [0, 1],
                # x0, 2*x1, x0/2 - 2*x1 as (x1*2 - x0/2) negated, a sum that nothing reads
                "ops": [[-1, 0, -1, 0], [-1, 1, -1, 0], [1, 1, 0, -1], [-2, 2, -1, 0], [0, 0, 1, 3]],
                "outputs": [[3, 1, False], [0, 0, True], [-1, 0, False]],
            },
            {
                "input_shifts": [0, 0, 0],
                "ops": [[-1, 0, -1, 0], [-1, 1, -1, 0], [-1, 2, -1, 0], [0, 0, 1, 2], [0, 1, 2, 0]],
                "outputs": [[3, 0, False], [4, 0, False], [2, 0, False]],
            },
        ],
    },
    {
        "inputs": [2, 3],
        "outputs": [0, 3],
        "stages": [
            {
                "input_shifts": [0],
                "ops": [[-1, 0, -1, 0]],
                "outputs": [[0, 2, True], [-1, 0, False], [0, 0, False]],
            }
        ],
    },
]
MATRIX = np.array([[-3, -1, 0], [-4, 0, 0], [-4, 0, 1]], dtype=np.int64)


def test_a_peers_program_becomes_the_graph_of_its_matrix() -> None:
    graph = peer_graph(PARTS, input_intervals(MATRIX), outputs=3)
    cost = measure(graph, MATRIX, "test")
    # Free: halves, negations, adding zero, copies, and what nothing reads. One adder sums the two input tiles.
    assert (cost.adders, cost.depth) == (3, 3)


def test_a_peers_wrong_program_is_found() -> None:
    wrong = copy.deepcopy(PARTS)
    wrong[0]["stages"][1]["ops"][3] = [1, 0, 1, 2]
    graph = peer_graph(wrong, input_intervals(MATRIX), outputs=3)
    with pytest.raises(MismatchError):
        measure(graph, MATRIX, "test")


def test_an_operation_that_is_no_sum_is_refused() -> None:
    wrong = copy.deepcopy(PARTS)
    wrong[0]["stages"][0]["ops"][2] = [7, 1, 0, 0]
    with pytest.raises(ValueError, match="opcode"):
        peer_graph(wrong, input_intervals(MATRIX), outputs=3)


def test_a_graph_survives_the_way_to_another_process() -> None:
    inputs = (Interval(0, 255),) * 3
    graph = peer_graph(PARTS, inputs, outputs=3)
    assert graph_from_json(graph_to_json(graph), inputs) == graph


def row_of(**costs: tuple[int, int]) -> Row:
    results = {
        name.replace("_", "-"): Result(OK, Cost(adders, adders, adders, adders, depth), 1.0)
        for name, (adders, depth) in costs.items()
    }
    return Row("m", 10, {**results, "alkaid": Result("timeout")})


def test_a_ratio_is_taken_at_equal_or_smaller_depth() -> None:
    row = row_of(da4ml=(100, 5), da4ml_shallow=(120, 4), hsflow_normal=(80, 5))
    assert row.better_peer == "da4ml"
    assert row.ratio("normal", "da4ml", "adders") == pytest.approx(0.8)
    assert row.ratio("normal", "da4ml-shallow", "adders") is None
    assert row.ratio("normal", "alkaid", "adders") is None
    row.results["hsflow-normal-d4"] = Result(OK, Cost(90, 90, 90, 90, 4))
    assert row.ratio("normal", "da4ml-shallow", "adders") == pytest.approx(0.75)


def test_a_graph_deeper_than_it_was_told_counts_for_nothing() -> None:
    row = row_of(da4ml=(100, 4), hsflow_normal=(80, 6), hsflow_normal_d4=(70, 5))
    assert row.ratio("normal", "da4ml", "adders") is None
    bars = {bar.text: bar for bar in report.bars([row], growth=None)}
    assert bars["effort normal, matrices without a graph as shallow as da4ml's"].missed
    assert bars["effort high, matrices without a graph as shallow as da4ml's"].value is None


def test_pipelined_graphs_are_compared_with_the_smallest_peers() -> None:
    row = row_of(da4ml=(100, 5))
    assert row.pipelined("normal", 2) is None
    row.results["da4ml-shallow"] = Result(OK, Cost(120, 120, 64, 64, 4))
    row.results["hsflow-normal-p2"] = Result(OK, Cost(100, 84, 0, 32, 6))
    ours, theirs = row.pipelined("normal", 2) or pytest.fail("no pair")
    assert (ours.area(2), theirs.area(2)) == (84 + 36, 120 + 72)
    *_, line = report.pipelines_table([row], ["normal"])
    assert line.split() == ["normal", "2", "1", "0.625", "0.625", "0.500"]


def test_bars_are_met_or_missed() -> None:
    rows = [row_of(da4ml=(100, 5), hsflow_normal=(80, 5)), row_of(da4ml=(100, 5), hsflow_normal=(110, 5))]
    rows[1].name = "n"
    found = {bar.text: bar for bar in report.bars(rows, growth=1.4)}
    mean = found["effort normal, adders over da4ml, geometric mean"]
    assert mean.value == pytest.approx(geometric_mean([0.8, 1.1]))
    assert mean.missed
    assert found["effort normal, adders over da4ml, worst"].missed
    assert found["growth of CPU time: exponent in nonzeros"].missed
    assert not report.Bar("x", 0.9, 0.9).missed
    assert not report.Bar("x", 0.9, None).missed


def test_the_exponent_of_growth_is_the_slope() -> None:
    sizes = (100, 1000, 10000)
    assert Points("t", sizes, tuple(0.01 * n**1.5 for n in sizes), sizes).exponent() == pytest.approx(1.5)
    assert Points("t", (100, 100, 200), (1.0, 1.0, 2.0), sizes).exponent() is None


def test_results_survive_the_way_to_a_file(tmp_path) -> None:
    rows = [row_of(da4ml=(100, 5))]
    save(rows, tmp_path / "results.json")
    assert load(tmp_path / "results.json") == rows


def test_a_depthwise_matrix_is_block_diagonal() -> None:
    matrix = block_diagonal(np.array([[1, 2], [3, 0]], dtype=np.int64))
    assert matrix.tolist() == [[1, 0], [2, 0], [0, 3], [0, 0]]


def test_groups_of_a_convolution_share_no_input() -> None:
    class Weight:
        integers = np.arange(1, 9).reshape(4, 1, 1, 2)
        shape = (4, 1, 1, 2)

    class Layer:
        weight = Weight()
        groups = 2

    assert conv_matrix(Layer()).tolist() == [[1, 3, 0, 0], [2, 4, 0, 0], [0, 0, 5, 7], [0, 0, 6, 8]]


@pytest.mark.slow
def test_no_ratio_is_worse_than_the_reference() -> None:
    reference = check.read_reference()
    assert {spec.name for spec in suites.small()} == set(reference)
    today = check.measured({name: entry.peers for name, entry in reference.items()})
    assert not [str(problem) for problem in check.worse(reference, today)]


def test_a_ratio_that_got_worse_fails() -> None:
    name = "16x96-g8-z80"
    entry = check.read_reference()[name]
    today = check.measured({name: entry.peers})
    peer, metrics = next((peer, metrics) for peer, metrics in today[name].ratios.items() if metrics)

    def with_adders(ratio: float) -> dict[str, check.Entry]:
        changed = {**today[name].ratios, peer: {**metrics, "adders": ratio}}
        return {name: replace(entry, ratios=changed)}

    assert not list(check.worse(with_adders(metrics["adders"] / 1.015), today))
    (problem,) = check.worse(with_adders(metrics["adders"] / 1.03), today)
    assert "adders over da4ml" in str(problem)
    assert "+3.0 %" in str(problem)
    assert list(check.worse(today, {}))
