# SPDX-License-Identifier: Apache-2.0
"""The check of continuous integration: no ratio to the peers may get worse than the committed reference by over 2 %.

    python -m benchmarks.cmvm.check                          run the small suite, hsflow only; 1 if a ratio got worse
    python -m benchmarks.cmvm.check --update                 write hsflow's ratios of today into the reference
    python -m benchmarks.cmvm.check --update --peers FILE    take the peers' figures, too, from a results.json of the bench

`reference.json` has, for each matrix, the peers' costs and hsflow's ratios to them at equal or smaller depth.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.cmvm.compare import METRICS, Campaign, Row, load
from benchmarks.cmvm.figures import OK, Cost, Result, measure
from benchmarks.cmvm.matrices import Matrix, parse
from benchmarks.cmvm.solver import solve
from benchmarks.cmvm.suites import small
from benchmarks.cmvm.tools import Tool

REFERENCE = Path(__file__).with_name("reference.json")
PEERS = ("da4ml", "da4ml-fast", "da4ml-shallow", "alkaid")
EFFORT = "normal"
TOLERANCE = 0.02
CHECKED = METRICS[:2]
"""What is checked: the graphs are without registers, which they were not chosen for."""

Costs = Mapping[str, Cost]
Ratios = dict[str, dict[str, float]]
"""hsflow's ratios, by peer and metric."""


@dataclass(frozen=True)
class Entry:
    """Hold the reference of one matrix."""

    peers: Costs
    ratios: Ratios


Reference = Mapping[str, Entry]


@dataclass(frozen=True)
class Worse:
    """Describe a ratio that got worse; `got` is None where hsflow no longer keeps to the peer's depth."""

    matrix: str
    peer: str
    metric: str
    got: float | None
    expected: float

    def __str__(self) -> str:
        """Return what got worse by how much."""
        what = f"{self.matrix}: {self.metric} over {self.peer}'s"
        if self.got is None:
            return f"{what}: none at the peer's depth, {self.expected:.4f} in the reference"
        return (
            f"{what}: {self.got:.4f}, {100 * (self.got / self.expected - 1):+.1f} % from {self.expected:.4f}"
        )


class InProcess:
    """Run hsflow in this process; no other tool."""

    def run(self, tool: Tool, name: str, matrix: Matrix) -> Result:
        """Return hsflow's proved result."""
        start = time.process_time()
        graph = solve(matrix, **tool.options)
        seconds = time.process_time() - start
        return Result(OK, measure(graph, matrix, name), seconds)


def read_reference(path: Path = REFERENCE) -> dict[str, Entry]:
    """Return the reference by matrix."""
    text = json.loads(path.read_text(encoding="utf-8"))
    return {
        name: Entry({peer: Cost(**cost) for peer, cost in entry["peers"].items()}, entry["ratios"])
        for name, entry in text.items()
    }


def write_reference(reference: Reference, path: Path = REFERENCE) -> None:
    """Write the reference."""
    text = {
        name: {"peers": {peer: asdict(cost) for peer, cost in entry.peers.items()}, "ratios": entry.ratios}
        for name, entry in reference.items()
    }
    path.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")


def measured(costs: Mapping[str, Costs], say: Callable[[str], None] = lambda line: None) -> dict[str, Entry]:
    """Run hsflow on each matrix and return the reference that this gives, from the peers' costs by matrix."""
    kept = {name: {peer: Result(OK, cost) for peer, cost in peers.items()} for name, peers in costs.items()}
    found = {}
    for name, peers in costs.items():
        tools = [Tool(peer, "") for peer in peers]
        campaign = Campaign(InProcess(), tools, [EFFORT], say, kept, pipelines=())
        row = campaign.row(name, parse(name).build())
        found[name] = Entry(peers, ratios_of(row))
    return found


def ratios_of(row: Row) -> Ratios:
    """Return hsflow's ratios to each peer of a row, to four digits."""
    return {
        peer: {metric: round(ratio, 4) for metric in CHECKED if (ratio := row.ratio(EFFORT, peer, metric))}
        for peer in row.peers
    }


def worse(reference: Reference, today: Reference) -> Iterator[Worse]:
    """Yield each ratio of the reference that is worse today by more than the tolerance, or missing."""
    for name, entry in reference.items():
        for peer, metrics in entry.ratios.items():
            for metric in (metric for metric in CHECKED if metric in metrics):
                expected = metrics[metric]
                got = today[name].ratios.get(peer, {}).get(metric) if name in today else None
                if got is None or got > expected * (1 + TOLERANCE):
                    yield Worse(name, peer, metric, got, expected)


def peers_of(rows: Iterable[Row]) -> dict[str, Costs]:
    """Return the costs of the reference's peers on the small suite, from rows of the bench."""
    names = {spec.name for spec in small()}
    return {
        row.name: {peer: row.peers[peer] for peer in PEERS if peer in row.peers}
        for row in rows
        if row.name in names
    }


def main(words: Sequence[str] | None = None) -> int:
    """Run the check, or update the reference."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--update", action="store_true")
    parser.add_argument("--peers", type=Path, help="a results.json of the bench")
    arguments = parser.parse_args(words)
    known = {} if arguments.peers else read_reference()
    costs = peers_of(load(arguments.peers)) if arguments.peers else {n: e.peers for n, e in known.items()}
    today = measured(costs, lambda line: print(line, file=sys.stderr))
    if arguments.update:
        write_reference(today)
        return 0
    problems = list(worse(known, today))
    print(*problems, f"{len(problems)} ratios got worse, of {len(today)} matrices", sep="\n")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
