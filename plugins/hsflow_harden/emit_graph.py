# SPDX-License-Identifier: Apache-2.0
"""RTL of an adder graph by itself: one module from packed inputs to packed results, for use without a network."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

import numpy as np

from hsflow.fixedpoint import Interval
from hsflow.ir.addergraph import AdderGraph, Output
from hsflow.ir.pipeline import LevelCut, combinational, pipelined
from hsflow_harden.emit_tile import TileWriter
from hsflow_harden.kernel import Operand, Tile
from hsflow_harden.verilog import packing, unused


def emit_adder_graph(graph: AdderGraph, module: str, adder_levels_per_stage: int | None) -> str:
    """Return a module that computes the outputs of `graph`, shifts and signs applied.

    Its ports are `data_i` (the inputs packed, input 0 lowest, each as wide as its range), `data_o` (the outputs likewise)
    and, if anything is registered, `clk_i`. A register follows every `adder_levels_per_stage` adder levels, the last
    one included; None or 0 makes no registers. The negation of an output, which an optimizer avoids where it can, comes
    after the last register.
    """
    graph = graph.without_unused()
    levels = adder_levels_per_stage
    pipeline = pipelined(LevelCut(levels).placement(graph)) if levels else combinational(graph)
    everything = tuple(range(len(graph.inputs)))
    tile = Tile(module, everything, tuple(range(len(graph.outputs))), pipeline)
    return "\n".join(_GraphWriter(tile, _operands(graph.inputs)).lines("")) + "\n"


def _operands(inputs: Iterable[Interval]) -> tuple[Operand, ...]:
    offset, operands = 0, []
    for interval in inputs:
        operands.append(Operand(offset, interval.width, interval, interval.signed))
        offset += interval.width
    return tuple(operands)


class _GraphWriter(TileWriter):
    """Write a tile that is never stalled, and whose outputs are final results."""

    def lines(self, title: str) -> Iterator[str]:
        yield from self._head(title)
        yield from self._inputs()
        yield from self._stages()
        yield from self._outputs()
        yield from self._unused()
        yield "endmodule"

    def _head(self, title: str) -> Iterator[str]:
        graph, latency = self.graph, self.pipeline.stages
        made = f"{latency} cycles" if latency != 1 else "1 cycle"
        results = [graph.output_interval(output) for output in graph.outputs]
        yield "// SPDX-License-Identifier: Apache-2.0"
        yield "//"
        yield f"// A constant matrix times a vector: {len(graph.outputs)} sums of {len(graph.inputs)} inputs."
        yield f"// {len(graph.adders)} adders, depth {graph.depth}, latency {made if latency else '0 (no clock)'}."
        yield "//"
        yield from _packing("data_i", "input", graph.inputs)
        yield from _packing("data_o", "output", results)
        yield f"module {self.tile.module} ("
        if latency:
            yield "  input  logic clk_i,"
        yield f"  input  logic [{sum(interval.width for interval in graph.inputs) - 1}:0] data_i,"
        yield f"  output logic [{sum(interval.width for interval in results) - 1}:0] data_o"
        yield ");"
        yield ""

    def _clocked(self, assignments: Iterable[str]) -> Iterator[str]:
        yield "  always_ff @(posedge clk_i) begin"
        yield from (f"    {assignment}" for assignment in assignments)
        yield "  end"

    def _outputs(self) -> Iterator[str]:
        yield from packing("data_o", map(self._result, self.graph.outputs))

    def _result(self, output: Output) -> str:
        width = self.graph.output_interval(output).width
        if output.value is None:
            return f"{width}'d0"
        term = self._term(output.value, output.shift, width, self.pipeline.stages)
        return f"-{term}" if output.negate else term

    def _unused(self) -> Iterator[str]:
        """Yield a wire for what nothing reads: an input, for a column of zeros, or the sign of what is negated."""
        widths = self.graph.widths.tolist()
        for number in np.flatnonzero(self.graph.readers[: len(self.graph.inputs)] == 0).tolist():
            yield unused(f"x{number}", 0, widths[number])
        for value in self._negated_signs():
            yield unused(self._at(value, self.pipeline.stages), widths[value] - 1, widths[value])

    def _negated_signs(self) -> Iterable[int]:
        """Return the values whose negation is never negative, and so takes a bit less."""
        return dict.fromkeys(
            output.value
            for output in self.graph.outputs
            if output.value is not None
            and self.graph.output_interval(output).width - output.shift < self.graph.widths[output.value]
        )


def _packing(port: str, name: str, intervals: Iterable[Interval]) -> Iterator[str]:
    """Yield a comment line for each run of numbers of one format: their bits, widths and signs."""
    yield f"// {port}:"
    offset = number = 0
    for (width, signed), run in groupby(intervals, key=lambda interval: (interval.width, interval.signed)):
        count = len(list(run))
        numbers = f"{name} {number}" if count == 1 else f"{name}s {number} to {number + count - 1}"
        sign = "signed" if signed else "unsigned"
        each = "" if count == 1 else f", {width} bits each"
        yield f"//   [{offset + count * width - 1}:{offset}] {numbers}, {sign}{each}"
        offset, number = offset + count * width, number + count
