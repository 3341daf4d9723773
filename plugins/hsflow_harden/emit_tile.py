# SPDX-License-Identifier: Apache-2.0
"""RTL of one tile: an adder graph as wires, one line an adder, cut by pipeline registers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from hsflow.ir.addergraph import Adder
from hsflow_harden.kernel import Operand, Tile
from hsflow_harden.verilog import clocked, extended, packing, sum_of, unread, vector


def emit_tile(tile: Tile, operands: tuple[Operand, ...], title: str) -> str:
    """Return the module of `tile`.

    Its ports are `clk_i`, `enable_i`, `data_i` (the tile's operands packed in order, the first one lowest) and `data_o`
    (the values of the graph's outputs, each as wide as its interval; shifts and signs are left to the requantizers).
    """
    return "\n".join(TileWriter(tile, operands).lines(title)) + "\n"


def output_slices(tile: Tile) -> list[tuple[int, int]]:
    """Return (lowest bit, width) of each output in `data_o`; width 0 for an output without a value."""
    slices, offset = [], 0
    for output in tile.pipeline.graph.outputs:
        width = 0 if output.value is None else tile.pipeline.graph.intervals[output.value].width
        slices.append((offset, width))
        offset += width
    return slices


def output_width(tile: Tile) -> int:
    """Return the width of `data_o`."""
    return sum(width for _, width in output_slices(tile))


class TileWriter:
    """Write a tile line by line: operands, then stage after stage its adders and its registers."""

    def __init__(self, tile: Tile, operands: tuple[Operand, ...]) -> None:
        self.tile = tile
        self.operands = [operands[index] for index in tile.operands]
        self.pipeline = tile.pipeline
        self.graph = tile.pipeline.graph

    def lines(self, title: str) -> Iterator[str]:
        """Yield the module's lines."""
        yield from self._head(title)
        yield from self._inputs()
        yield from self._stages()
        yield from self._outputs()
        yield "endmodule"

    def _head(self, title: str) -> Iterator[str]:
        graph = self.graph
        yield "// SPDX-License-Identifier: Apache-2.0"
        yield "//"
        yield f"// {title}"
        yield f"// {len(graph.outputs)} sums of {len(graph.inputs)} operands,"
        yield f"// {len(graph.adders)} adders, depth {graph.depth}, {self.pipeline.stages} pipeline stages."
        yield f"module {self.tile.module} ("
        if self.pipeline.stages:
            yield "  input  logic clk_i,"
            yield "  input  logic enable_i,"
        yield f"  input  logic [{sum(operand.width for operand in self.operands) - 1}:0] data_i,"
        yield f"  output logic [{output_width(self.tile) - 1}:0] data_o"
        yield ");"
        yield ""

    def _inputs(self) -> Iterator[str]:
        offset = 0
        for number, operand in enumerate(self.operands):
            # The range may need fewer bits than the format stores, and no sign where the format has one.
            width = min(operand.width, operand.interval.width)
            yield f"  wire {vector(width, operand.interval.signed)}x{number} = data_i[{offset}+:{width}];"
            if width < operand.width:
                spare = f"{offset + width}+:{operand.width - width}"
                yield f"  wire unused_x{number} = ^data_i[{spare}];"
            offset += operand.width

    def _stages(self) -> Iterator[str]:
        for stage in range(self.pipeline.stages):
            yield from self._adders(stage)
            yield from self._registers(stage)
        if self.pipeline.stages in self.pipeline.placed[len(self.graph.inputs) :]:
            yield from self._adders(self.pipeline.stages)

    def _adders(self, stage: int) -> Iterator[str]:
        graph, pipeline = self.graph, self.pipeline
        yield ""
        yield f"  // Stage {stage}"
        sums = [v for v in range(len(graph.inputs), len(pipeline.placed)) if pipeline.stage(v) == stage]
        for number in sums:
            interval = graph.intervals[number]
            sum_ = self._sum(graph.adders[number - len(graph.inputs)], interval.width, stage)
            yield f"  wire {vector(interval.width, interval.signed)}{self._name(number)} = {sum_};"
        yield from unread(graph, sums, self._whole(stage), lambda value: self._at(value, stage))

    def _whole(self, stage: int) -> Collection[int]:
        """Return the values of a stage of which a register or an output takes all bits."""
        if stage == self.pipeline.stages:
            return set(self.graph.output_values.tolist())
        return {value for value, last in enumerate(self.pipeline.last_use) if last > stage}

    def _sum(self, adder: Adder, width: int, stage: int) -> str:
        return sum_of(adder, width, lambda value: self._at(value, stage))

    def _term(self, value: int, shift: int, width: int, stage: int) -> str:
        return extended(self._at(value, stage), shift, width)

    def _registers(self, stage: int) -> Iterator[str]:
        kept = [v for v, last in enumerate(self.pipeline.last_use) if self.pipeline.stage(v) <= stage < last]
        yield ""
        for value in kept:
            yield f"  logic {self._value_range(value)}{self._at(value, stage + 1)};"
        yield from self._clocked(f"{self._at(v, stage + 1)} <= {self._at(v, stage)};" for v in kept)

    def _clocked(self, assignments: Iterable[str]) -> Iterator[str]:
        yield from clocked(assignments)

    def _outputs(self) -> Iterator[str]:
        values = [output.value for output in self.graph.outputs if output.value is not None]
        yield from packing("data_o", (self._at(value, self.pipeline.stages) for value in values))

    def _name(self, value: int) -> str:
        inputs = len(self.graph.inputs)
        return f"x{value}" if value < inputs else f"sum{value - inputs}"

    def _at(self, value: int, stage: int) -> str:
        """Return the name of `value` as it is seen in `stage`: delayed by that many registers."""
        delay = stage - self.pipeline.stage(value)
        return f"{self._name(value)}_q{stage}" if delay else self._name(value)

    def _value_range(self, value: int) -> str:
        if value >= len(self.operands):
            interval = self.graph.intervals[value]
            return vector(interval.width, interval.signed)
        operand = self.operands[value]
        return vector(min(operand.width, operand.interval.width), operand.interval.signed)
