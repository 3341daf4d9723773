# SPDX-License-Identifier: Apache-2.0
"""Two runs side by side: what of their figures became better, what worse, and by how much."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from hsflow import metrics
from hsflow.errors import ConfigurationError
from hsflow.metrics import Metric, Metrics

if TYPE_CHECKING:
    from rich.table import Table

METRICS_FILE = "metrics.json"
_STYLES = {"better": "green", "worse": "red", "missing": "red"}


class Verdict(StrEnum):
    """Say how a figure changed; `missing` is one that the first run measured and the second did not."""

    EQUAL = "equal"
    BETTER = "better"
    WORSE = "worse"
    CHANGED = "changed"
    NEW = "new"
    MISSING = "missing"


@dataclass(frozen=True)
class Difference:
    """Hold one figure of two runs; None where a run did not measure it."""

    name: str
    before: Metric | None
    after: Metric | None

    @property
    def metric(self) -> Metric:
        """Return the figure of one of the runs, for its unit and direction."""
        found = self.before or self.after
        if found is None:
            raise ValueError(f"{self.name}: neither run has it")
        return found

    @property
    def ratio(self) -> float | None:
        """Return the second value by the first, or None where that says nothing."""
        values = self._numbers()
        if values is None or not values[0]:
            return None
        ratio = values[1] / values[0]
        return ratio if math.isfinite(ratio) else None

    @property
    def worsening(self) -> float:
        """Return by how many percent of the first value the second one is worse: below 0 if it is better.

        Infinite where the first value is 0, and where the second run lacks a figure that has a direction.
        """
        if not self.metric.better or self.before is None:
            return 0.0
        values = self._numbers()
        if values is None:
            return math.inf if self.after is None else 0.0
        before, after = values
        change = after - before if self.metric.better == "lower" else before - after
        return (
            0.0 if not change else 100 * change / abs(before) if before else math.copysign(math.inf, change)
        )

    @property
    def verdict(self) -> Verdict:
        """Return how the figure changed, in the direction that it has."""
        if self.before is None:
            return Verdict.NEW
        if self.after is None:
            return Verdict.MISSING
        if self.before.value == self.after.value:
            return Verdict.EQUAL
        if not self.worsening:
            return Verdict.CHANGED
        return Verdict.WORSE if self.worsening > 0 else Verdict.BETTER

    def _numbers(self) -> tuple[float, float] | None:
        values = [None if metric is None else metric.value for metric in (self.before, self.after)]
        first, second = values
        if first is None or second is None or isinstance(first, str) or isinstance(second, str):
            return None
        return float(first), float(second)


def read_run(path: Path) -> Metrics:
    """Return the figures of a run: of its folder's metrics.json, or of that file.

    Raises:
        ConfigurationError: if there is no such file.
        HsflowError: if it is ill-formed.
    """
    file = path / METRICS_FILE if path.is_dir() else path
    try:
        return metrics.from_json(file.read_bytes())
    except OSError as error:
        hint = f"name a run's work root, such as work/asap7, or its {METRICS_FILE}"
        raise ConfigurationError(
            "there are no figures of a run", where=str(file), got=error, hint=hint
        ) from error


def compare(before: Metrics, after: Metrics) -> list[Difference]:
    """Return the difference of every figure, in the order of the flow.

    Raises:
        ConfigurationError: if a figure has two units or directions, which cannot be compared.
    """
    names = sorted({*before, *after}, key=lambda name: (metrics.stage_order(name), name))
    return [_difference(name, before.get(name), after.get(name)) for name in names]


def _difference(name: str, before: Metric | None, after: Metric | None) -> Difference:
    if before is not None and after is not None:
        meanings = [(metric.unit, metric.better) for metric in (before, after)]
        if meanings[0] != meanings[1]:
            raise ConfigurationError(
                "two runs mean different things by one name", where=name, got=meanings,
                hint="compare runs of one version of hsflow",
            )  # fmt: skip
    return Difference(name, before, after)


def regressions(differences: Iterable[Difference], percent: float) -> list[Difference]:
    """Return the figures that are worse by more than `percent`; a run's own time and memory are left out."""
    return [
        difference
        for difference in differences
        if difference.worsening > percent and not metrics.depends_on_machine(difference.name)
    ]


def render(differences: Iterable[Difference], titles: tuple[str, str]) -> Table:
    """Return a table of the figures that differ, under the two runs' titles."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("Metric", *titles, "Unit", "Ratio", "Verdict"):
        numeric = title in (*titles, "Ratio")
        table.add_column(Text(title), justify="right" if numeric else "left", overflow="fold")
    for difference in differences:
        if difference.verdict is not Verdict.EQUAL:
            cells = _cells(difference)
            style = _STYLES.get(difference.verdict, "")
            table.add_row(*map(Text, cells[:-1]), Text(cells[-1], style=style))
    return table


def _cells(difference: Difference) -> tuple[str, ...]:
    values = ["" if value is None else metrics.format_value(value) for value in _both(difference)]
    ratio = "" if difference.ratio is None else f"{difference.ratio:.4g}"
    return difference.name, *values, difference.metric.unit, ratio, difference.verdict


def _both(difference: Difference) -> tuple[Metric | None, Metric | None]:
    return difference.before, difference.after
