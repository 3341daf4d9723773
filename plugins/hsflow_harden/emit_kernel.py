# SPDX-License-Identifier: Apache-2.0
"""RTL of a tile of any size: one module, or a tree of modules of bounded size that are wired stage by stage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from hsflow.design import DesignFile, FileRole
from hsflow.fixedpoint import IntArray
from hsflow_harden.emit_part import emit_part, part_ports
from hsflow_harden.emit_tile import emit_tile, output_width
from hsflow_harden.kernel import Operand, Tile
from hsflow_harden.partition import Part, Stage, partition
from hsflow_harden.verilog import Slice, concatenation, module

MODULE_VALUES = 2000
"""The most values that one module computes and passes: some hundred kilobytes of text."""


def emit_kernel(
    tile: Tile, operands: tuple[Operand, ...], title: str, bound: int = MODULE_VALUES
) -> Iterator[DesignFile]:
    """Yield the modules of `tile`, one a file; the last one, `tile.module`, instantiates the others.

    Its ports, packing and latency are those of `hsflow_harden.emit_tile.emit_tile`, which writes a tile of at most
    `bound` adders. A larger one becomes a module for each pipeline stage (`TILE_stage0`, ...), and a larger stage a module
    for each of its parts (`TILE_stage0_part0`, ...): nothing but wires is outside of parts.
    """
    if len(tile.pipeline.graph.adders) <= bound:
        yield _file(tile.module, emit_tile(tile, operands, title))
        return
    stages = partition(tile.pipeline, bound)
    for stage in stages:
        yield from _StageWriter(tile, stage, title).files()
    yield _file(tile.module, _TileWiring(tile, operands, stages).text(title))


def _file(name: str, text: str) -> DesignFile:
    return DesignFile(f"rtl/{name}.sv", text, FileRole.RTL)


def _width(values: Iterable[int], widths: IntArray) -> int:
    return sum(int(widths[value]) for value in values)


def _packed(source: str, values: Iterable[int], widths: IntArray) -> dict[int, Slice]:
    """Return where each value lies in the vector `source`, the first one lowest."""
    slices, low = {}, 0
    for value in values:
        slices[value] = Slice(source, low, int(widths[value]))
        low += int(widths[value])
    return slices


@dataclass(frozen=True)
class _StageWriter:
    """Write the modules of one stage."""

    tile: Tile
    stage: Stage
    title: str

    @property
    def widths(self) -> IntArray:
        return self.tile.pipeline.graph.widths

    @property
    def name(self) -> str:
        return f"{self.tile.module}_stage{self.stage.number}"

    def files(self) -> Iterator[DesignFile]:
        """Yield the parts, then the module that wires them; a single part with registers is the stage itself."""
        graph, parts = self.tile.pipeline.graph, self.stage.parts
        title = f"{self.title}, stage {self.stage.number}"
        if len(parts) == 1 and self.stage.registered:
            yield _file(self.name, emit_part(self.name, title, parts[0], graph))
            return
        for number, part in enumerate(parts):
            name = f"{self.name}_part{number}"
            yield _file(name, emit_part(name, f"{title}, part {number} of {len(parts)}", part, graph))
        yield _file(self.name, module(self.name, self._comments(title), self._ports(), self._body()))

    def _comments(self, title: str) -> Iterator[str]:
        sums = sum(len(part.computed) for part in self.stage.parts)
        yield title
        yield f"{sums} adders of {len(self.stage.entering)} values in {len(self.stage.parts)} parts; wires alone."

    def _ports(self) -> Iterator[str]:
        widths = [_width(values, self.widths) for values in (self.stage.entering, self.stage.leaving)]
        yield from part_ports(self.stage.registered, widths[0], 0, widths[1])

    def _body(self) -> Iterator[str]:
        where = _packed("data_i", self.stage.entering, self.widths)
        low = 0
        for number, part in enumerate(self.stage.parts):
            kept = Slice("data_o", low, _width(part.kept, self.widths))
            low += kept.width
            yield ""
            if part.shared:
                yield f"  logic [{_width(part.shared, self.widths) - 1}:0] sums{number};"
            yield from self._instance(number, part, where, kept)
            where.update(_packed(f"sums{number}", part.shared, self.widths))
        if not self.stage.registered:
            yield ""
            yield "  assign data_o = {"
            yield from concatenation((where[value] for value in self.stage.leaving), indent=4)
            yield "  };"

    def _instance(self, number: int, part: Part, where: dict[int, Slice], kept: Slice) -> Iterator[str]:
        yield f"  {self.name}_part{number} u_part{number} ("
        if part.kept:
            yield "    .clk_i,"
            yield "    .enable_i,"
        yield "    .data_i({"
        yield from concatenation((where[value] for value in part.read), indent=6)
        connections = [f".sums_o(sums{number})"] * bool(part.shared) + [f".data_o({kept})"] * bool(part.kept)
        yield "    }),"
        yield ",\n".join(f"    {connection}" for connection in connections)
        yield "  );"


@dataclass(frozen=True)
class _TileWiring:
    """Write the module that wires the stages of a tile."""

    tile: Tile
    operands: tuple[Operand, ...]
    stages: tuple[Stage, ...]

    @property
    def widths(self) -> IntArray:
        return self.tile.pipeline.graph.widths

    def text(self, title: str) -> str:
        """Return the module's text."""
        graph = self.tile.pipeline.graph
        comments = (
            title,
            f"{len(graph.outputs)} sums of {len(graph.inputs)} operands,",
            f"{len(graph.adders)} adders, depth {graph.depth}, a module for each of {len(self.stages)} pipeline stages.",
        )
        width = sum(self.operands[index].width for index in self.tile.operands)
        ports = part_ports(self.tile.pipeline.stages > 0, width, 0, output_width(self.tile))
        return module(self.tile.module, comments, ports, self._body())

    def _body(self) -> Iterator[str]:
        used, spare = self._operand_slices()
        yield ""
        yield f"  logic [{_width(self.stages[0].entering, self.widths) - 1}:0] stage0;"
        yield "  assign stage0 = {"
        yield from concatenation(used, indent=4)
        yield "  };"
        if spare:
            yield "  // The operands' ranges need fewer bits than their formats store."
            yield "  wire unused_data = ^{"
            yield from concatenation(spare, indent=4)
            yield "  };"
        for stage in self.stages:
            yield from self._instance(stage)
        yield from self._outputs()

    def _operand_slices(self) -> tuple[list[Slice], list[Slice]]:
        """Return where the operands lie in `data_i`, and the bits that their ranges do not need."""
        used, spare, low = [], [], 0
        for value, index in enumerate(self.tile.operands):
            width, needed = self.operands[index].width, int(self.widths[value])
            used.append(Slice("data_i", low, needed))
            spare.append(Slice("data_i", low + needed, width - needed))
            low += width
        return used, [piece for piece in spare if piece.width]

    def _instance(self, stage: Stage) -> Iterator[str]:
        yield ""
        yield f"  logic [{_width(stage.leaving, self.widths) - 1}:0] stage{stage.number + 1};"
        yield f"  {self.tile.module}_stage{stage.number} u_stage{stage.number} ("
        if stage.registered:
            yield "    .clk_i,"
            yield "    .enable_i,"
        yield f"    .data_i(stage{stage.number}),"
        yield f"    .data_o(stage{stage.number + 1})"
        yield "  );"

    def _outputs(self) -> Iterator[str]:
        leaving = _packed(f"stage{len(self.stages)}", self.stages[-1].leaving, self.widths)
        outputs = self.tile.pipeline.graph.outputs
        yield ""
        yield "  assign data_o = {"
        yield from concatenation((leaving[o.value] for o in outputs if o.value is not None), indent=4)
        yield "  };"
