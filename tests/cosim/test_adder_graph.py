# SPDX-License-Identifier: Apache-2.0
"""The module of an adder graph by itself: every output of every vector, in the cycle that its head promises."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import simulator
from hsflow_harden.emit_graph import emit_adder_graph
from lowered import share

from hsflow.fixedpoint import IntArray, Interval
from hsflow.ir.addergraph import Adder, AdderGraph, Output

VECTORS = 60


def pack(numbers: IntArray, intervals: tuple[Interval, ...]) -> int:
    packed = offset = 0
    for number, interval in zip(numbers.tolist(), intervals, strict=True):
        packed |= (number & ((1 << interval.width) - 1)) << offset
        offset += interval.width
    return packed


def vectors(graph: AdderGraph, seed: int = 1) -> IntArray:
    """Return corners and random vectors, shape (inputs, VECTORS)."""
    generator = np.random.default_rng(seed)
    low = np.array([[interval.low] for interval in graph.inputs])
    high = np.array([[interval.high] for interval in graph.inputs])
    drawn = generator.integers(low, high + 1, (len(low), VECTORS))
    corners = np.where(generator.random(drawn.shape) < 0.5, low, high)
    mixed = np.where(np.arange(VECTORS) % 2 == 0, drawn, corners)
    return np.concatenate([low, high, mixed[:, 2:]], axis=1)


def bench(graph: AdderGraph, module: str, stimulus: IntArray, latency: int | None) -> str:
    """Return a testbench that feeds a vector a cycle and compares each result in its very cycle."""
    ranges = tuple(graph.output_interval(output) for output in graph.outputs)
    expected = graph.evaluate(stimulus)
    wide_i = sum(interval.width for interval in graph.inputs)
    wide_o = sum(interval.width for interval in ranges)
    words_i = [f"{wide_i}'h{pack(column, graph.inputs):x}" for column in stimulus.T]
    words_o = [f"{wide_o}'h{pack(column, ranges):x}" for column in expected.T]
    fill = [f"    stimulus[{n}] = {word};" for n, word in enumerate(words_i)]
    fill += [f"    expected[{n}] = {word};" for n, word in enumerate(words_o)]
    clock = ".clk_i(clk), " if latency else ""
    return "\n".join(
        [
            "module bench;",
            "  reg clk = 0;",
            f"  reg [{wide_i - 1}:0] stimulus [0:{VECTORS - 1}];",
            f"  reg [{wide_o - 1}:0] expected [0:{VECTORS - 1}];",
            f"  reg [{wide_i - 1}:0] data_i;",
            f"  wire [{wide_o - 1}:0] data_o;",
            "  integer cycle, failures;",
            f"  {module} dut ({clock}.data_i(data_i), .data_o(data_o));",
            "  initial begin",
            *fill,
            "    failures = 0;",
            f"    for (cycle = 0; cycle < {VECTORS + (latency or 0)}; cycle = cycle + 1) begin",
            f"      data_i = stimulus[cycle < {VECTORS} ? cycle : 0];",
            "      #1;",
            f"      if (cycle >= {latency or 0} && data_o !== expected[cycle - {latency or 0}])",
            "        failures = failures + 1;",
            "      #1 clk = 1;",
            "      #1 clk = 0;",
            "    end",
            '    $display("FAILURES %0d", failures);',
            "    $finish;",
            "  end",
            "endmodule",
            "",
        ]
    )


def failures(
    graph: AdderGraph, levels: int | None, folder: Path, *, believed: AdderGraph | None = None, late: int = 0
) -> int:
    """Return the vectors on which the module of `graph` differs from what `believed` computes."""
    text = emit_adder_graph(graph, "dut_sums", levels)
    latency = -(-graph.depth // levels) if levels else 0
    (folder / "dut_sums.sv").write_text(text)
    stimulus = vectors(believed or graph)
    (folder / "bench.sv").write_text(bench(believed or graph, "dut_sums", stimulus, latency + late))
    program = simulator.build([folder / "dut_sums.sv", folder / "bench.sv"], "bench", folder)
    (count,) = re.findall(r"FAILURES (\d+)", simulator.run(program))
    return int(count)


def lint(graph: AdderGraph, levels: int | None, folder: Path) -> list[str]:
    (folder / "dut_sums.sv").write_text(emit_adder_graph(graph, "dut_sums", levels))
    return simulator.lint([folder / "dut_sums.sv"], "dut_sums")


def random_graph(seed: int, signed: bool) -> AdderGraph:
    """Return a shared graph with a zero row, a zero column, a negated single weight and large constants."""
    generator = np.random.default_rng(seed)
    matrix = generator.choice([-128, -32, -8, -3, -1, 0, 0, 0, 1, 2, 5, 45, 64], (9, 7))
    matrix[2] = 0
    matrix[:, 4] = 0
    matrix[3] = [0, -16, 0, 0, 0, 0, 0]
    matrix[5] = -np.abs(matrix[5])
    inputs = tuple(Interval.of_format(1 + (n * 3 + seed) % 8, signed) for n in range(7))
    return share(matrix, inputs)


ODD = AdderGraph(
    (Interval(-3, -2), Interval(5, 5), Interval(0, 0), Interval(200, 255), Interval(201, 254)),
    (Adder(0, 1, 0, 2, True), Adder(3, 4, subtract=True), Adder(5, 2), Adder(1, 1, 1), Adder(6, 0, 3, 3)),
    (
        Output(5),
        Output(6, 3, True),
        Output(None),
        Output(0, 1, True),
        Output(2),
        Output(9, 0, True),
        Output(5),
    ),
)
"""Ranges without 0, differences narrower than their operands, an output twice, and two adders that nothing reads."""


@pytest.mark.parametrize("levels", [None, 0, 1, 2, 3])
@pytest.mark.parametrize("signed", [False, True])
def test_the_module_computes_every_integer_in_its_cycle(
    tmp_path: Path, levels: int | None, signed: bool
) -> None:
    graph = random_graph(3 + signed, signed)
    assert any(output.negate for output in graph.outputs) and graph.depth > 2
    assert lint(graph, levels, tmp_path) == []
    assert failures(graph, levels, tmp_path) == 0


@pytest.mark.parametrize("levels", [None, 1, 2])
def test_odd_ranges(tmp_path: Path, levels: int | None) -> None:
    assert lint(ODD, levels, tmp_path) == []
    assert failures(ODD, levels, tmp_path) == 0


@pytest.mark.parametrize(("seed", "levels"), [(0, None), (1, 1), (2, 2), (3, 1)])
def test_bits_that_cancel_are_known_to_lint(tmp_path: Path, seed: int, levels: int | None) -> None:
    generator = np.random.default_rng(seed)
    inputs = tuple(Interval(low, low + 5) for low in generator.integers(-900, 900, 6).tolist())
    graph = share(generator.choice([-2, -1, 1, 2], (7, 6)), inputs)
    assert "wire unused_" in emit_adder_graph(graph, "dut_sums", levels)
    assert lint(graph, levels, tmp_path) == []
    assert failures(graph, levels, tmp_path) == 0


@pytest.mark.parametrize("levels", [None, 2])
def test_wires_alone_need_no_clock(tmp_path: Path, levels: int | None) -> None:
    graph = share(np.array([[4, 0], [0, -1], [0, 0]]), (Interval(0, 255), Interval(-8, 7)))
    assert "clk_i" not in emit_adder_graph(graph, "dut_sums", levels)
    assert lint(graph, levels, tmp_path) == []
    assert failures(graph, levels, tmp_path) == 0


def test_a_wrong_module_and_a_wrong_cycle_are_seen(tmp_path: Path) -> None:
    graph = random_graph(3, False)
    last = graph.outputs[0]
    flipped = AdderGraph(graph.inputs, graph.adders, (Output(last.value, last.shift, not last.negate),))
    first = AdderGraph(graph.inputs, graph.adders, (last,))
    assert failures(first, 2, tmp_path) == 0
    widths = [one.output_interval(one.outputs[0]).width for one in (first, flipped)]
    assert widths[0] == widths[1] and failures(flipped, 2, tmp_path, believed=first) > 0
    assert failures(first, 2, tmp_path, late=1) > 0


def test_the_head_states_the_packing() -> None:
    inputs = (Interval(0, 255), Interval(0, 255), Interval(-8, 7))
    text = emit_adder_graph(share(np.array([[1, 1, 0], [0, 0, -2]]), inputs), "sums", 1)
    head = text.partition("module")[0]
    assert "[15:0] inputs 0 to 1, unsigned, 8 bits each" in head and "[19:16] input 2, signed" in head
    assert "[8:0] output 0, unsigned" in head and "[14:9] output 1, signed" in head
    assert "1 adders, depth 1, latency 1 cycle." in head
    assert all(len(line) <= 100 for line in text.splitlines())
