# SPDX-License-Identifier: Apache-2.0
"""RTL of one part of a pipeline stage: its adders as wires, one a line, and the registers behind them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hsflow.ir.addergraph import AdderGraph
from hsflow_harden.partition import Part
from hsflow_harden.verilog import clocked, module, packing, sum_of, unread, vector


def emit_part(name: str, title: str, part: Part, graph: AdderGraph) -> str:
    """Return the module of `part`.

    Its ports are `data_i` (what the part reads), `sums_o` (what other parts of the stage read) and `data_o` (what leaves
    the stage, registered), each packed in the part's order with the first value lowest, and `clk_i` and `enable_i`. A
    port without a value is left out.
    """
    return _PartWriter(part, graph).text(name, title)


def part_ports(registered: bool, data: int, sums: int, kept: int) -> Iterator[str]:
    """Yield the ports for vectors of these widths; 0 leaves a port out."""
    if registered:
        yield "input  logic clk_i"
        yield "input  logic enable_i"
    yield f"input  logic [{data - 1}:0] data_i"
    if sums:
        yield f"output logic [{sums - 1}:0] sums_o"
    if kept:
        yield f"output logic [{kept - 1}:0] data_o"


class _PartWriter:
    """Write a part section by section."""

    def __init__(self, part: Part, graph: AdderGraph) -> None:
        self.part, self.graph = part, graph

    def text(self, name: str, title: str) -> str:
        part = self.part
        passed = len(part.kept) - len(set(part.computed) & set(part.kept))
        comments = (
            title,
            f"{len(part.computed)} adders of {len(part.read)} values; registers for {len(part.kept)} values,"
            f" {passed} of which pass.",
        )
        width = [sum(map(self._width, values)) for values in (part.read, part.shared, part.kept)]
        return module(name, comments, part_ports(bool(part.kept), *width), self._body())

    def _body(self) -> Iterator[str]:
        yield from self._inputs()
        yield from self._adders()
        yield from self._outputs("sums_o", self.part.shared, "")
        if self.part.kept:
            yield from self._registers()
            yield from self._outputs("data_o", self.part.kept, "_q")

    def _inputs(self) -> Iterator[str]:
        low = 0
        yield ""
        for value in self.part.read:
            width = self._width(value)
            yield f"  wire {self._vector(value)}{self._name(value)} = data_i[{low}+:{width}];"
            low += width

    def _adders(self) -> Iterator[str]:
        yield ""
        for value in self.part.computed:
            adder = self.graph.adders[value - len(self.graph.inputs)]
            sum_ = sum_of(adder, self._width(value), self._name)
            yield f"  wire {self._vector(value)}{self._name(value)} = {sum_};"
        whole = {*self.part.shared, *self.part.kept}
        yield from unread(self.graph, self.part.computed, whole, self._name)

    def _registers(self) -> Iterator[str]:
        yield ""
        for value in self.part.kept:
            yield f"  logic {self._vector(value)}{self._name(value)}_q;"
        yield from clocked(f"{self._name(value)}_q <= {self._name(value)};" for value in self.part.kept)

    def _outputs(self, port: str, values: Iterable[int], suffix: str) -> Iterator[str]:
        yield from packing(port, (f"{self._name(value)}{suffix}" for value in values))

    def _name(self, value: int) -> str:
        """Return the name that the value has in a tile of one module, too."""
        inputs = len(self.graph.inputs)
        return f"x{value}" if value < inputs else f"sum{value - inputs}"

    def _width(self, value: int) -> int:
        return int(self.graph.widths[value])

    def _vector(self, value: int) -> str:
        return vector(self._width(value), self.graph.intervals[value].signed)
