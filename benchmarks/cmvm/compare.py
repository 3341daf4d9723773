# SPDX-License-Identifier: Apache-2.0
"""Run tools on matrices, and compare hsflow with its peers at equal or smaller depth."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from benchmarks.cmvm.figures import Cost, Result
from benchmarks.cmvm.matrices import Matrix
from benchmarks.cmvm.tools import HSFLOW, Tool, hsflow_tool

PIPELINES = (2, 1)
"""The adder levels of a pipeline stage with which pipelined graphs are compared."""

METRICS = ("adders", "full_adder_bits", "register_bits_1", "register_bits_2")
Say = Callable[[str], None]


@dataclass
class Row:
    """Hold all results for one matrix, by the tool's name."""

    name: str
    nonzeros: int
    results: dict[str, Result] = field(default_factory=dict)

    @property
    def peers(self) -> dict[str, Cost]:
        """Return the costs of the peers that finished."""
        return {
            tool: result.cost
            for tool, result in self.results.items()
            if result.cost is not None and not tool.startswith(HSFLOW)
        }

    @property
    def better_peer(self) -> str | None:
        """Return the peer with the fewest adders, the fewest full-adder bits among equals."""
        peers = self.peers
        return min(peers, key=lambda tool: (peers[tool].adders, peers[tool].full_adder_bits), default=None)

    def ours(self, effort: str, depth: int | None) -> Cost | None:
        """Return hsflow's cost at an effort and at most `depth`: the unlimited run's where it is shallow enough."""
        free = self.results.get(hsflow_tool(effort).name)
        if depth is None or (free and free.cost and free.cost.depth <= depth):
            return free.cost if free else None
        limited = self.results.get(hsflow_tool(effort, depth).name)
        cost = limited.cost if limited else None
        return cost if cost and cost.depth <= depth else None

    def ratio(self, effort: str, peer: str, metric: str) -> float | None:
        """Return hsflow's figure over a peer's at equal or smaller depth; None without both."""
        theirs = self.peers.get(peer)
        cost = self.ours(effort, theirs.depth) if theirs else None
        if theirs is None or cost is None:
            return None
        return _quotient(getattr(cost, metric), getattr(theirs, metric))

    def pipelined(self, effort: str, levels: int) -> tuple[Cost, Cost] | None:
        """Return hsflow's pipelined graph and the smallest of the peers' pipelined, whatever their depths."""
        ours = self.results.get(hsflow_tool(effort, levels=levels).name)
        theirs = min(self.peers.values(), key=lambda cost: cost.area(levels), default=None)
        return (ours.cost, theirs) if ours and ours.cost and theirs else None


def _quotient(ours: int, theirs: int) -> float:
    if theirs:
        return ours / theirs
    return 1.0 if ours == 0 else math.inf


def geometric_mean(ratios: Iterable[float]) -> float:
    """Return the geometric mean of positive ratios; not a number without any."""
    known = list(ratios)
    return math.exp(sum(map(math.log, known)) / len(known)) if known else math.nan


class RunsTools(Protocol):
    """Be what runs a tool on a matrix."""

    def run(self, tool: Tool, name: str, matrix: Matrix) -> Result:
        """Return the proved result."""


@dataclass(frozen=True)
class Campaign:
    """Run tools on matrices; `kept` holds the results of the peers of an earlier run, by matrix and tool."""

    bench: RunsTools
    peers: Sequence[Tool]
    efforts: Sequence[str]
    say: Say
    kept: Mapping[str, Mapping[str, Result]] = field(default_factory=dict)
    pipelines: Sequence[int] = PIPELINES

    def row(self, name: str, matrix: Matrix) -> Row:
        """Run every tool on one matrix; hsflow also at the depth of each peer that is shallower than it, and pipelined."""
        row = Row(name, int((matrix != 0).sum()))
        for tool in self.peers:
            self._run(tool, row, matrix)
        for effort in self.efforts:
            self._run(hsflow_tool(effort), row, matrix)
            for depth in self._limits(row, effort):
                self._run(hsflow_tool(effort, depth), row, matrix)
            for levels in self.pipelines if row.peers else ():
                self._run(hsflow_tool(effort, levels=levels), row, matrix)
        return row

    def _limits(self, row: Row, effort: str) -> list[int]:
        depths = {cost.depth for cost in row.peers.values()}
        free = row.ours(effort, None)
        return [] if free is None else sorted(depth for depth in depths if depth < free.depth)

    def _run(self, tool: Tool, row: Row, matrix: Matrix) -> None:
        known = self.kept.get(row.name, {}).get(tool.name)
        result = known or self.bench.run(tool, row.name, matrix)
        row.results[tool.name] = result
        self.say(f"{row.name} {tool.name}: {describe(result)}{' (kept)' if known else ''}")


def describe(result: Result) -> str:
    """Return a result as a short line."""
    if result.cost is None:
        return result.status
    return f"{result.cost.adders} adders, depth {result.cost.depth}, {result.cpu_seconds:.2f} s"


def save(rows: Iterable[Row], path: Path) -> None:
    """Write all results as JSON."""
    text = {
        row.name: {
            "nonzeros": row.nonzeros,
            "results": {tool: result.to_json() for tool, result in row.results.items()},
        }
        for row in rows
    }
    path.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")


def load(path: Path) -> list[Row]:
    """Return the rows that `save` wrote."""
    text = json.loads(path.read_text(encoding="utf-8"))
    return [
        Row(
            name, row["nonzeros"], {tool: Result.from_json(result) for tool, result in row["results"].items()}
        )
        for name, row in text.items()
    ]
