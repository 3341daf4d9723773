# SPDX-License-Identifier: Apache-2.0
"""The bench: `python -m benchmarks.cmvm` runs hsflow, da4ml and alkaid on the same matrices and prints one table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.cmvm import report
from benchmarks.cmvm.checkpoints import checkpoint_layers
from benchmarks.cmvm.compare import Campaign, Row, load, save
from benchmarks.cmvm.environment import prepare, python_of
from benchmarks.cmvm.figures import Result
from benchmarks.cmvm.growth import plot, points
from benchmarks.cmvm.matrices import Matrix, parse
from benchmarks.cmvm.suites import SUITES
from benchmarks.cmvm.tools import EFFORTS, HSFLOW, PEERS, ROOT, Bench, Limits, Tool, hsflow_tool

OUTPUT = ROOT / "build" / "benchmarks" / "cmvm"
CHECKPOINTS = "checkpoints"
LARGE = "large"


def main(words: Sequence[str] | None = None) -> int:
    """Run the bench; 1 if a bar that was run is missed."""
    arguments = _arguments(words)
    arguments.output, arguments.venv = arguments.output.absolute(), arguments.venv.absolute()
    output: Path = arguments.output
    output.mkdir(parents=True, exist_ok=True)
    with_peers = any(suite != LARGE for suite in arguments.suites) or arguments.matrices
    python = prepare(arguments.venv) if with_peers or not arguments.no_plot else python_of(arguments.venv)
    rows: list[Row] = []
    for campaign, matrices in _work(arguments, Bench(python, output, _limits(arguments))):
        for name, matrix in matrices:
            rows.append(campaign.row(name, matrix))
            save(rows, output / "results.json")
    return _report(rows, arguments, python)


def _work(
    arguments: argparse.Namespace, bench: Bench
) -> Iterator[tuple[Campaign, Iterable[tuple[str, Matrix]]]]:
    peers = tuple(tool for tool in PEERS if tool.name in arguments.peers)
    kept = _kept(arguments.keep) if arguments.keep else {}
    if arguments.matrices:
        yield _campaign(bench, peers, arguments, kept), _named(arguments.matrices)
        return
    for suite in arguments.suites:
        # No peer finishes the large ones: they are hsflow's alone.
        campaign = _campaign(bench, () if suite == LARGE else peers, arguments, kept)
        if suite == CHECKPOINTS:
            yield campaign, checkpoint_layers()
        else:
            yield campaign, _named(spec.name for spec in SUITES[suite]())


def _campaign(
    bench: Bench,
    peers: Sequence[Tool],
    arguments: argparse.Namespace,
    kept: Mapping[str, Mapping[str, Result]],
) -> Campaign:
    return Campaign(bench, peers, arguments.efforts, _say, kept)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _named(names: Iterable[str]) -> Iterator[tuple[str, Matrix]]:
    return ((name, parse(name).build()) for name in names)


def _kept(path: Path) -> dict[str, dict[str, Result]]:
    """Return the peers' results of an earlier run, by matrix and tool."""
    return {
        row.name: {tool: result for tool, result in row.results.items() if not tool.startswith(HSFLOW)}
        for row in load(path)
    }


def _limits(arguments: argparse.Namespace) -> Limits:
    return Limits(arguments.time_limit, arguments.memory_limit)


def _report(rows: Sequence[Row], arguments: argparse.Namespace, python: Path) -> int:
    series = [points(rows, tool) for tool in (*map(_name, arguments.efforts), *arguments.peers)]
    for line in (*report.runs_table(rows), "", *report.means_table(rows, arguments.efforts), ""):
        print(line)
    for line in (*report.pipelines_table(rows, arguments.efforts), ""):
        print(line)
    for one in series:
        if (exponent := one.exponent()) is not None:
            print(f"CPU time of {one.tool} grows as nonzeros to the power of {exponent:.2f}")
    growth = points(rows, hsflow_tool("normal").name).exponent()
    bars = report.bars(rows, growth)
    print("\nBars", *bars, sep="\n")
    drawn = [one for one in series if one.nonzeros]
    if drawn and not arguments.no_plot:
        image = arguments.output / "growth.png"
        plot(drawn, python, image)
        print(f"\n{image}")
    return int(any(bar.missed for bar in bars))


def _name(effort: str) -> str:
    return hsflow_tool(effort).name


def _arguments(words: Sequence[str] | None) -> argparse.Namespace:
    suites = [*SUITES, CHECKPOINTS]
    peers = [tool.name for tool in PEERS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cmvm", description=__doc__)
    add = parser.add_argument
    add("--suites", nargs="+", choices=suites, default=["default", CHECKPOINTS, LARGE])
    add("--matrices", nargs="+", default=[], metavar="NAME", help="run these instead, such as 16x96-g8-z50")
    add("--efforts", nargs="+", choices=EFFORTS, default=list(EFFORTS))
    add("--peers", nargs="*", choices=peers, default=peers)
    add("--time-limit", type=float, default=Limits().seconds, help="wall seconds of a run")
    add("--memory-limit", type=float, default=Limits().memory_gib, help="GiB of a run")
    add("--venv", type=Path, default=OUTPUT / "venv", help="the peers' environment; made if it is not there")
    add("--output", type=Path, default=OUTPUT, help="where results and the plot go")
    add("--keep", type=Path, help="take the peers' results from this results.json where it has them")
    add("--no-plot", action="store_true")
    return parser.parse_args(words)


if __name__ == "__main__":
    sys.exit(main())
