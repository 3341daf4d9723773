# SPDX-License-Identifier: Apache-2.0
"""The bench's tables, as text: every run, means of ratios, and the bars."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.cmvm.compare import METRICS, PIPELINES, Row, geometric_mean
from benchmarks.cmvm.figures import Cost, Result
from benchmarks.cmvm.tools import HSFLOW, hsflow_tool

BETTER = "better peer"
_HEAD = (
    "adders",
    "FA bits",
    "reg bits/1",
    "reg bits/2",
    "depth",
    "CPU s",
    "MiB",
    "adders x",
    "FA x",
    "reg/2 x",
)
_WIDTHS = (8, 9, 11, 11, 6, 9, 8, 9, 7, 8)


def runs_table(rows: Sequence[Row]) -> Iterator[str]:
    """Yield one line a run. The last columns are ratios to the matrix's better peer; * marks a deeper graph than its."""
    yield f"{'matrix':20}{'tool':20}" + "".join(
        f"{word:>{w}}" for word, w in zip(_HEAD, _WIDTHS, strict=True)
    )
    for row in rows:
        for tool, result in row.results.items():
            yield f"{row.name:20}{tool:20}" + _cells(row, tool, result)


def _cells(row: Row, tool: str, result: Result) -> str:
    cost = result.cost
    if cost is None:
        return f"{result.status:>{_WIDTHS[0]}}"
    figures = (cost.adders, cost.full_adder_bits, cost.register_bits_1, cost.register_bits_2, cost.depth)
    cells = [*map(str, figures), f"{result.cpu_seconds:.2f}", f"{result.peak_mib:.0f}"]
    if tool.startswith(HSFLOW) and row.better_peer:
        cells += _ratio_cells(cost, row.peers[row.better_peer])
    return "".join(f"{cell:>{width}}" for cell, width in zip(cells, _WIDTHS, strict=False))


def _ratio_cells(ours: Cost, theirs: Cost) -> list[str]:
    mark = "*" if ours.depth > theirs.depth else ""
    names = ("adders", "full_adder_bits", "register_bits_2")
    return [f"{getattr(ours, name) / max(1, getattr(theirs, name)):.3f}{mark}" for name in names]


def ratios(rows: Sequence[Row], effort: str, peer: str, metric: str) -> dict[str, float]:
    """Return hsflow's ratios to a peer (or `BETTER`) at equal or smaller depth, by matrix."""
    found = {}
    for row in rows:
        name = (row.better_peer or "") if peer == BETTER else peer
        ratio = row.ratio(effort, name, metric)
        if ratio is not None:
            found[row.name] = ratio
    return found


def means_table(rows: Sequence[Row], efforts: Sequence[str]) -> Iterator[str]:
    """Yield geometric means of hsflow's ratios to each peer, and the worst ratio of adders and full-adder bits."""
    yield "Geometric means of hsflow's figures over a peer's, at equal or smaller depth"
    head = "".join(f"{metric.replace('_', ' '):>18}" for metric in METRICS)
    yield f"{'effort':10}{'peer':20}{'matrices':>9}{head}{'worst adders':>14}{'worst FA bits':>14}"
    peers = dict.fromkeys(tool for row in rows for tool in row.peers)
    for effort in efforts:
        for peer in (*peers, BETTER):
            found = {metric: ratios(rows, effort, peer, metric) for metric in METRICS}
            if found["adders"]:
                yield _means_line(effort, peer, found)


def _means_line(effort: str, peer: str, found: Mapping[str, Mapping[str, float]]) -> str:
    means = "".join(f"{geometric_mean(found[metric].values()):18.3f}" for metric in METRICS)
    worst = "".join(f"{max(found[metric].values()):14.3f}" for metric in METRICS[:2])
    return f"{effort:10}{peer:20}{len(found['adders']):9}{means}{worst}"


def pipelines_table(rows: Sequence[Row], efforts: Sequence[str]) -> Iterator[str]:
    """Yield means of the ratios of pipelined graphs: hsflow's over the smallest of the peers', whatever their depths."""
    yield "Geometric means of hsflow's pipelined graphs over the smallest peer's, area as full-adder and register bits"
    yield f"{'effort':10}{'levels a stage':>16}{'matrices':>10}{'area':>10}{'worst area':>12}{'registers':>11}"
    for effort in efforts:
        for levels in PIPELINES:
            pairs = [pair for row in rows if (pair := row.pipelined(effort, levels))]
            if pairs:
                yield _pipelines_line(effort, levels, pairs)


def _pipelines_line(effort: str, levels: int, pairs: Sequence[tuple[Cost, Cost]]) -> str:
    areas = [ours.area(levels) / max(theirs.area(levels), 1) for ours, theirs in pairs]
    name = f"register_bits_{levels}"
    bits = [(getattr(ours, name), getattr(theirs, name)) for ours, theirs in pairs]
    registers = geometric_mean(ours / theirs for ours, theirs in bits if ours and theirs)
    means = f"{geometric_mean(areas):10.3f}{max(areas):12.3f}{registers:11.3f}"
    return f"{effort:10}{levels:16}{len(pairs):10}{means}"


@dataclass(frozen=True)
class Bar:
    """Hold a figure that must not pass a limit; `value` is None where its runs are missing."""

    text: str
    limit: float
    value: float | None

    @property
    def missed(self) -> bool:
        """Tell whether the figure is there and passes the limit."""
        return self.value is not None and self.value > self.limit

    def __str__(self) -> str:
        """Return the verdict, the figure and the limit."""
        if self.value is None or math.isnan(self.value):
            return f"  -     {self.text}: not run (limit {self.limit:g})"
        verdict = "MISS" if self.missed else "ok  "
        return f"  {verdict}  {self.text}: {self.value:.3f} (limit {self.limit:g})"


def bars(rows: Sequence[Row], growth: float | None) -> list[Bar]:
    """Return the bars that these rows decide; `growth` is the exponent of CPU time in nonzeros."""
    return [
        *_ratio_bars(rows, "normal", 0.90),
        *_ratio_bars(rows, "high", 0.85),
        *_time_bars(rows),
        Bar("growth of CPU time: exponent in nonzeros", 1.3, growth),
    ]


def _ratio_bars(rows: Sequence[Row], effort: str, limit: float) -> Iterator[Bar]:
    for peer in ("da4ml", "da4ml-fast", BETTER):
        for metric in METRICS[:2]:
            found = ratios(rows, effort, peer, metric).values()
            what = f"effort {effort}, {metric.replace('_', ' ')} over {peer}"
            yield Bar(f"{what}, geometric mean", limit, geometric_mean(found))
            yield Bar(f"{what}, worst", 1.0, max(found, default=None))
        yield Bar(
            f"effort {effort}, matrices without a graph as shallow as {peer}'s",
            0,
            _missing(rows, effort, peer),
        )


def _missing(rows: Sequence[Row], effort: str, peer: str) -> int | None:
    """Return how many matrices hsflow was run on but not solved at the peer's depth; None if it was run on none."""
    run = [row for row in rows if hsflow_tool(effort).name in row.results]
    theirs = {row.name for row in run if (row.better_peer if peer == BETTER else peer in row.peers)}
    return len(theirs - ratios(rows, effort, peer, "adders").keys()) if run else None


def _time_bars(rows: Sequence[Row]) -> list[Bar]:
    by_name = {row.name: row for row in rows}
    ours = hsflow_tool("normal").name

    def value(name: str, tool: str, figure: Callable[[Result], float]) -> float | None:
        result = by_name[name].results.get(tool) if name in by_name else None
        return None if result is None or result.cost is None else figure(result)

    def over(name: str, tool: str, figure: Callable[[Result], float]) -> float | None:
        mine, theirs = value(name, ours, figure), value(name, tool, figure)
        return None if mine is None or not theirs else mine / theirs

    return [
        Bar("64x384 dense: CPU time over da4ml-fast", 0.1, over("64x384-g8-z0", "da4ml-fast", _seconds)),
        Bar("160x960, 80 % zeros: CPU seconds", 15.0, value("160x960-g8-z80", ours, _seconds)),
        Bar(
            "160x960, 80 % zeros: adders over da4ml-fast", 1.0, over("160x960-g8-z80", "da4ml-fast", _adders)
        ),
        Bar("320x1280 dense: CPU seconds", 60.0, value("320x1280-g8-z0", ours, _seconds)),
        Bar("320x1280 dense: MiB", 2048.0, value("320x1280-g8-z0", ours, lambda result: result.peak_mib)),
    ]


def _seconds(result: Result) -> float:
    return result.cpu_seconds


def _adders(result: Result) -> float:
    return float(result.cost.adders) if result.cost else math.nan
