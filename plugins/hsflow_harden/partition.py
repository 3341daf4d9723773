# SPDX-License-Identifier: Apache-2.0
"""Cutting a pipelined adder graph into modules of bounded size, stage by stage.

The graph is lowered whole, so that nothing is lost by its size; only its text is cut. Each stage becomes one or more
parts. A part computes some of the stage's adders and holds the registers of its values that are alive after the stage,
its own sums as well as those that merely pass; each value has thus one register a stage, however many read it. Behind the
last register there may be adders, too: a stage without registers, which the tile's outputs leave.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from hsflow.ir.pipeline import Pipeline


@dataclass(frozen=True)
class Part:
    """Hold the values of one module: which it reads, which it computes, and where they go.

    `shared` are sums that leave at once, to later parts of the same stage or, where the stage has no registers, as the
    tile's outputs; `kept` are the values that leave behind a register.
    """

    read: tuple[int, ...]
    computed: tuple[int, ...]
    shared: tuple[int, ...]
    kept: tuple[int, ...]


@dataclass(frozen=True)
class Stage:
    """Hold one pipeline stage: the values that enter it, and its parts in an order in which each reads earlier ones.

    `leaving` are the values that leave it: out of registers, part after part; or, where the stage has none, the outputs.
    """

    number: int
    entering: tuple[int, ...]
    parts: tuple[Part, ...]
    leaving: tuple[int, ...]
    registered: bool


def partition(pipeline: Pipeline, bound: int) -> tuple[Stage, ...]:
    """Cut `pipeline` so that no part computes and passes more than `bound` values. Deterministic."""
    return tuple(_Partition(pipeline, bound).stages())


class _Partition:
    """Hold what the stages of one partition share."""

    def __init__(self, pipeline: Pipeline, bound: int) -> None:
        self.pipeline, self.bound = pipeline, bound
        self.inputs = len(pipeline.graph.inputs)

    @cached_property
    def operands(self) -> list[tuple[int, int]]:
        """Return the two values that each adder reads."""
        columns = self.pipeline.graph.columns
        return list(zip(columns.left.tolist(), columns.right.tolist(), strict=True))

    def reads(self, value: int) -> tuple[int, int]:
        """Return the two values that the adder of `value` reads."""
        return self.operands[value - self.inputs]

    def stages(self) -> Iterator[Stage]:
        """Yield the stages in order."""
        born: list[list[int]] = [[] for _ in range(self.pipeline.stages + 1)]
        for value in range(self.inputs, self.inputs + len(self.operands)):
            born[self.pipeline.stage(value)].append(value)
        entering = tuple(range(self.inputs))
        outputs = tuple(dict.fromkeys(self.pipeline.graph.output_values.tolist()))
        for number, sums in enumerate(born[:-1]):
            parts = tuple(self._parts(number, entering, sums))
            leaving = tuple(value for part in parts for value in part.kept)
            yield Stage(number, entering, parts, leaving, registered=True)
            entering = leaving
        if born[-1]:
            parts = tuple(self._parts(len(born) - 1, entering, born[-1]))
            yield Stage(len(born) - 1, entering, parts, outputs, registered=False)

    def _parts(self, stage: int, entering: tuple[int, ...], sums: list[int]) -> Iterator[Part]:
        last_use, own, ordered = self.pipeline.last_use, set(sums), self._ordered(sums)
        values = [*ordered, *(value for value in entering if last_use[value] > stage)]
        chunks = [values[start : start + self.bound] for start in range(0, len(values), self.bound)]
        home = {value: place for place, chunk in enumerate(chunks) for value in chunk}
        shared = {o for v in sums for o in self.reads(v) if o in own and home[o] != home[v]}
        if stage == self.pipeline.stages:
            shared |= own & set(self.pipeline.graph.output_values.tolist())
        place = {value: place for place, value in enumerate((*entering, *ordered))}
        for chunk in chunks:
            computed = tuple(value for value in chunk if value in own)
            needed = {operand for value in computed for operand in self.reads(value)}
            yield Part(
                # In the order in which they come in, so that neighbours stay neighbours.
                read=tuple(sorted((needed | set(chunk)) - set(computed), key=place.__getitem__)),
                computed=computed,
                shared=tuple(value for value in computed if value in shared),
                kept=tuple(value for value in chunk if last_use[value] > stage),
            )

    def _ordered(self, sums: list[int]) -> list[int]:
        """Return the sums of a stage with each behind what it reads, and that close before it where it can be.

        A sum of the stage's first level thus lies beside a reader of it, and fewer wires cross from part to part.
        """
        own, placed = set(sums), dict[int, None]()
        inner = {operand for value in sums for operand in self.reads(value) if operand in own}

        def place(value: int) -> None:  # as deep as a stage has adder levels
            for operand in self.reads(value):
                if operand in own and operand not in placed:
                    place(operand)
            placed[value] = None

        for value in sums:
            if value not in inner:
                place(value)
        return list(placed)
