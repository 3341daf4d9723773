# SPDX-License-Identifier: Apache-2.0
"""The figures of a solution: one accounting, hsflow's own, for every tool."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.cmvm.matrices import Matrix
from hsflow.fixedpoint import Interval
from hsflow.ir.addergraph import AdderGraph
from hsflow.ir.pipeline import LevelCut, pipelined

INPUT_BITS = 8
OK = "ok"

REGISTER_AREA = 18 / 16
"""The area of a register bit in full-adder bits, with ASAP7's cells."""


def input_intervals(matrix: Matrix) -> tuple[Interval, ...]:
    """Return the ranges of a matrix's inputs: unsigned 8-bit."""
    return (Interval.of_format(INPUT_BITS, signed=False),) * len(matrix)


@dataclass(frozen=True)
class Cost:
    """Hold what a graph costs: registers at a register after every adder level and after every second one."""

    adders: int
    full_adder_bits: int
    register_bits_1: int
    register_bits_2: int
    depth: int

    def area(self, levels: int) -> float:
        """Return the area in full-adder bits, with a register after every adder level (1) or every second one (2)."""
        registers = self.register_bits_1 if levels == 1 else self.register_bits_2
        return self.full_adder_bits + REGISTER_AREA * registers


@dataclass(frozen=True)
class Result:
    """Hold what one tool did with one matrix; `cost` is None unless `status` is `ok`."""

    status: str
    cost: Cost | None = None
    cpu_seconds: float = 0.0
    peak_mib: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return the result as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, text: dict[str, Any]) -> Result:
        """Return what `to_json` was asked of."""
        cost = None if text["cost"] is None else Cost(**text["cost"])
        return cls(text["status"], cost, text["cpu_seconds"], text["peak_mib"])


def measure(graph: AdderGraph, matrix: Matrix, where: str) -> Cost:
    """Prove that `graph` computes `matrix`, shape (inputs, outputs), and return its cost.

    Raises:
        MismatchError, ModelError: if it does not.
    """
    graph.prove(matrix.T, where)
    return Cost(
        len(graph.adders), graph.full_adder_bits, _registers(graph, 1), _registers(graph, 2), graph.depth
    )


def _registers(graph: AdderGraph, levels: int) -> int:
    return pipelined(LevelCut(levels).placement(graph)).register_bits
