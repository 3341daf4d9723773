# SPDX-License-Identifier: Apache-2.0
"""Pieces of SystemVerilog text that the emitters share."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from hsflow.ir.addergraph import Adder, AdderGraph

_COLUMNS = 100


@dataclass(frozen=True)
class Slice:
    """Name `width` bits of the vector `source` from bit `low` on."""

    source: str
    low: int
    width: int

    def __str__(self) -> str:
        return f"{self.source}[{self.low}+:{self.width}]"


def vector(width: int, signed: bool = False) -> str:
    """Return the sign and range of a declaration, with a space behind."""
    return f"{'signed ' if signed else ''}[{width - 1}:0] "


def extended(name: str, shift: int, width: int) -> str:
    """Return `name` extended to `width` bits by its own sign, then shifted left."""
    wide = f"{width}'({name})"
    return f"({wide} << {shift})" if shift else wide


def sum_of(adder: Adder, width: int, name: Callable[[int], str]) -> str:
    """Return what `adder` computes in `width` bits; `name` names its operands."""
    left = extended(name(adder.left), adder.left_shift, width)
    right = extended(name(adder.right), adder.right_shift, width)
    return f"{left} {'-' if adder.subtract else '+'} {right}"


def unread(
    graph: AdderGraph, sums: Iterable[int], whole: Collection[int], name: Callable[[int], str]
) -> Iterator[str]:
    """Yield a wire for the upper bits of each operand that none of `sums` has, so that their lint knows of them.

    A sum is narrower than its operand where ranges lie far from 0 and upper bits cancel. Values of `whole` are read
    elsewhere, all bits; `name` names operands.
    """
    made = np.fromiter(sums, dtype=np.int64)
    read = np.zeros_like(graph.widths)
    for operands in (graph.columns.left, graph.columns.right):
        np.maximum.at(read, operands[made - len(graph.inputs)], graph.widths[made])
    for value in np.flatnonzero((read > 0) & (read < graph.widths)).tolist():
        if value not in whole:
            yield unused(name(value), int(read[value]), int(graph.widths[value]))


def unused(name: str, low: int, high: int) -> str:
    """Return a wire that reads the bits of `name` from `low` to below `high`, which nothing else reads."""
    return f"  wire unused_bits_of_{name} = ^{name}[{high - 1}:{low}];"


def clocked(assignments: Iterable[str]) -> Iterator[str]:
    """Yield registers that advance while `enable_i` is high."""
    yield "  always_ff @(posedge clk_i) begin"
    yield "    if (enable_i) begin"
    yield from (f"      {assignment}" for assignment in assignments)
    yield "    end"
    yield "  end"


def merged(slices: Iterable[Slice]) -> list[Slice]:
    """Return the same bits with neighbours of one vector as one slice; slices of no bit are left out."""
    runs: list[Slice] = []
    for piece in slices:
        last = runs[-1] if runs else None
        if last and last.source == piece.source and last.low + last.width == piece.low:
            runs[-1] = Slice(last.source, last.low, last.width + piece.width)
        elif piece.width:
            runs.append(piece)
    return runs


def concatenation(slices: Iterable[Slice], indent: int) -> Iterator[str]:
    """Yield the lines between the braces of a concatenation of `slices`, the first of which is lowest."""
    # Verilog names the highest bits first.
    names = [str(piece) for piece in reversed(merged(slices))]
    line = " " * indent
    for number, name in enumerate(names, start=1):
        word = name if number == len(names) else f"{name},"
        if line.strip() and len(line) + len(word) > _COLUMNS:
            yield line.rstrip()
            line = " " * indent
        line += f"{word} "
    yield line.rstrip()


def packing(port: str, values: Iterable[str]) -> Iterator[str]:
    """Yield the assignment that packs `values` into `port`, the first one lowest, one a line.

    It is one concatenation and not a part-select for each value, which some simulators take quadratic time for.
    """
    # Verilog names the highest bits first.
    names = list(values)[::-1]
    yield ""
    if len(names) == 1:
        yield f"  assign {port} = {names[0]};"
    elif names:
        yield f"  assign {port} = {{"
        yield from (f"    {name}," for name in names[:-1])
        yield f"    {names[-1]}"
        yield "  };"


def module(name: str, comments: Iterable[str], ports: Iterable[str], body: Iterable[str]) -> str:
    """Return the text of a module: its comment, its ports without commas, and what it contains."""
    head = ["// SPDX-License-Identifier: Apache-2.0", "//", *(f"// {line}" for line in comments)]
    listed = ",\n".join(f"  {port}" for port in ports)
    return "\n".join([*head, f"module {name} (", listed, ");", *body, "endmodule", ""])
