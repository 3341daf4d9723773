# SPDX-License-Identifier: Apache-2.0
"""From the programs that the runners write to hsflow's adder graphs.

What a peer gives away by its form is not counted against it: shifts and negations of inputs and outputs, copies between
its stages, negations (an adder that reads a negated value becomes a subtractor, or its sum is negated in turn), additions
of zero and sums that nothing reads.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hsflow.fixedpoint import Interval
from hsflow.ir.addergraph import Adder, AdderGraph, Output


@dataclass(frozen=True)
class Term:
    """Hold `sign * value * 2**exponent`; the exponent may be negative inside a peer's program."""

    value: int
    exponent: int
    sign: int

    def scaled(self, exponent: int, sign: int = 1) -> Term:
        """Return the term times `sign * 2**exponent`."""
        return Term(self.value, self.exponent + exponent, self.sign * sign)


Sum = Term | None
"""None is the constant 0."""


@dataclass
class _Builder:
    """Collect the adders of a graph with the depths of its values."""

    inputs: tuple[Interval, ...]
    adders: list[Adder] = field(default_factory=list)
    depths: list[int] = field(init=False)

    def __post_init__(self) -> None:
        self.depths = [0] * len(self.inputs)

    def add(self, left: Sum, right: Sum) -> Sum:
        """Return the sum of two terms; one adder unless one of them is 0."""
        if left is None or right is None:
            return right if left is None else left
        if left.sign < 0 < right.sign:
            left, right = right, left
        low = min(left.exponent, right.exponent)
        shifts = left.exponent - low, right.exponent - low
        self.adders.append(Adder(left.value, right.value, *shifts, subtract=left.sign != right.sign))
        self.depths.append(1 + max(self.depths[left.value], self.depths[right.value]))
        return Term(len(self.depths) - 1, low, left.sign)

    def total(self, terms: Iterable[Sum]) -> Sum:
        """Return the sum of many terms by a tree that adds what arrives first."""
        known = [term for term in terms if term is not None]
        heap = [(self.depths[term.value], order, term) for order, term in enumerate(known)]
        heapq.heapify(heap)
        order = len(heap)
        while len(heap) > 1:
            term = self.add(heapq.heappop(heap)[2], heapq.heappop(heap)[2])
            if term is not None:
                heapq.heappush(heap, (self.depths[term.value], order, term))
            order += 1
        return heap[0][2] if heap else None


def peer_graph(parts: Sequence[Mapping[str, Any]], inputs: tuple[Interval, ...], outputs: int) -> AdderGraph:
    """Return the adder graph of a peer's parts, the sums over its input tiles by balanced trees."""
    builder = _Builder(inputs)
    found: list[list[Sum]] = [[] for _ in range(outputs)]
    for part in parts:
        terms: list[Sum] = [Term(number, 0, 1) for number in range(*part["inputs"])]
        for stage in part["stages"]:
            terms = _run_stage(stage, terms, builder)
        for output, term in zip(range(*part["outputs"]), terms, strict=True):
            found[output].append(term)
    sums = [builder.total(terms) for terms in found]
    return without_unused(AdderGraph(inputs, tuple(builder.adders), tuple(map(_output, sums))))


def _run_stage(stage: Mapping[str, Any], inputs: Sequence[Sum], builder: _Builder) -> list[Sum]:
    sources = [_scaled(term, shift) for term, shift in zip(inputs, stage["input_shifts"], strict=True)]
    values: list[Sum] = []
    for opcode, first, second, shift in stage["ops"]:
        if opcode == -1:
            values.append(sources[first])
        elif opcode == -2:
            values.append(_scaled(values[first], 0, -1))
        elif opcode in (0, 1):
            values.append(builder.add(values[first], _scaled(values[second], shift, -1 if opcode else 1)))
        else:
            raise ValueError(f"opcode must be -2, -1, 0 or 1, not {opcode!r}")
    return [
        None if op < 0 else _scaled(values[op], shift, -1 if negated else 1)
        for op, shift, negated in stage["outputs"]
    ]


def _scaled(term: Sum, exponent: int, sign: int = 1) -> Sum:
    return None if term is None else term.scaled(exponent, sign)


def _output(term: Sum) -> Output:
    if term is None:
        return Output(None)
    if term.exponent < 0:
        raise ValueError(f"an output must be an integer, not a value times 2**{term.exponent}")
    return Output(term.value, term.exponent, term.sign < 0)


def without_unused(graph: AdderGraph) -> AdderGraph:
    """Return the graph without the adders that no output needs."""
    first = len(graph.inputs)
    needed = {output.value for output in graph.outputs}
    for number in range(len(graph.adders) - 1, -1, -1):
        if first + number in needed:
            needed |= {graph.adders[number].left, graph.adders[number].right}
    kept = [number for number in range(len(graph.adders)) if first + number in needed]
    places = {first + number: first + place for place, number in enumerate(kept)}
    places.update((number, number) for number in range(first))
    adders = (_renumbered(graph.adders[number], places) for number in kept)
    outputs = (
        output if output.value is None else Output(places[output.value], output.shift, output.negate)
        for output in graph.outputs
    )
    return AdderGraph(graph.inputs, tuple(adders), tuple(outputs))


def _renumbered(adder: Adder, places: Mapping[int, int]) -> Adder:
    return Adder(places[adder.left], places[adder.right], adder.left_shift, adder.right_shift, adder.subtract)


def graph_to_json(graph: AdderGraph) -> dict[str, Any]:
    """Return the adders and outputs of a graph as lists, for another process."""
    return {
        "adders": [[a.left, a.right, a.left_shift, a.right_shift, int(a.subtract)] for a in graph.adders],
        "outputs": [[o.value, o.shift, int(o.negate)] for o in graph.outputs],
    }


def graph_from_json(text: Mapping[str, Any], inputs: tuple[Interval, ...]) -> AdderGraph:
    """Return what `graph_to_json` was given."""
    adders = tuple(Adder(a, b, c, d, bool(subtract)) for a, b, c, d, subtract in text["adders"])
    outputs = tuple(Output(value, shift, bool(negate)) for value, shift, negate in text["outputs"])
    return AdderGraph(inputs, adders, outputs)
