# SPDX-License-Identifier: Apache-2.0
"""What a section of the report may hold. Values only: the page alone turns them into HTML, and escapes every text.

A plugin's section is checked by `check`: each leaf must be a plain text, number or bytes, so that nothing reaches the
page as markup.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, is_dataclass
from enum import Enum, StrEnum
from itertools import pairwise
from typing import Any, TypeAlias

from hsflow.errors import PluginError

_PLAIN = (str, int, float, bool, bytes, type(None))
_PNG = b"\x89PNG\r\n\x1a\n"


class Tone(StrEnum):
    """Say how a paragraph is meant."""

    PLAIN = "plain"
    NOTE = "note"
    GOOD = "good"
    WARNING = "warning"


@dataclass(frozen=True)
class Paragraph:
    """Hold a text."""

    text: str
    tone: Tone = Tone.PLAIN


@dataclass(frozen=True)
class Fact:
    """Hold one figure for all to see: `value` with its `unit`, and what it rests on."""

    label: str
    value: str
    unit: str = ""
    note: str = ""


@dataclass(frozen=True)
class Facts:
    """Hold figures that stand side by side."""

    facts: tuple[Fact, ...]


@dataclass(frozen=True)
class Cell:
    """Hold a table's cell.

    Args:
        text: what is shown.
        number: what the column is sorted by; without it, the text.
        bar: a part of 1 that is drawn as a bar below the text.
        histogram: counts that are drawn as columns, beside the text.
    """

    text: str
    number: float | None = None
    bar: float | None = None
    histogram: tuple[float, ...] = ()


@dataclass(frozen=True)
class Column:
    """Hold a table's column: its title, the unit of its numbers, and whether it has numbers (then on the right)."""

    title: str
    unit: str = ""
    numeric: bool = True


@dataclass(frozen=True)
class Table:
    """Hold a table. The first cell of each row is the row's heading; `total` is a last row that is never sorted."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    total: tuple[Cell, ...] = ()


@dataclass(frozen=True)
class Panel:
    """Hold one column of bars: a title, the names of what each bar shows, and how they lie.

    `stacked` bars follow each other; others lie upon each other, the first one palest. `maximum` is the full width; by
    default the largest bar's.
    """

    title: str
    series: tuple[str, ...]
    stacked: bool = False
    maximum: float | None = None


@dataclass(frozen=True)
class Bar:
    """Hold the bar of one row in one panel: a value for each of the panel's series, at least 0, and a text."""

    values: tuple[float, ...]
    text: str


@dataclass(frozen=True)
class BarRow:
    """Hold a row of a bar chart: a label and a bar for each panel."""

    label: str
    bars: tuple[Bar, ...]


@dataclass(frozen=True)
class BarChart:
    """Hold horizontal bars, in one or more panels side by side."""

    caption: str
    heading: str
    panels: tuple[Panel, ...]
    rows: tuple[BarRow, ...]


@dataclass(frozen=True)
class Axis:
    """Hold an axis' title, its unit, and whether it is logarithmic (then every value must be above 0)."""

    title: str
    unit: str = ""
    logarithmic: bool = False


@dataclass(frozen=True)
class Point:
    """Hold a point of a plot and, where one is wanted, the label beside it."""

    x: float
    y: float
    label: str = ""


@dataclass(frozen=True)
class Series:
    """Hold points of one name, joined by a line if `line` is set."""

    name: str
    points: tuple[Point, ...]
    line: bool = True


@dataclass(frozen=True)
class Plot:
    """Hold points in two dimensions. `description` is read to those who do not see them; the figures follow as a table."""

    caption: str
    description: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]


@dataclass(frozen=True)
class Histogram:
    """Hold how many things lie between each two neighbours of `edges`, which rise; `counts` has one entry less.

    Where there is a `bound`, what lies below it stands out.
    """

    caption: str
    description: str
    axis: Axis
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    bound: float | None = None


@dataclass(frozen=True)
class Region:
    """Hold a part of a group in a treemap: which of the treemap's kinds it is of, and its size, at least 0."""

    kind: int
    value: float


@dataclass(frozen=True)
class RegionGroup:
    """Hold a box of a treemap: its name and its parts."""

    label: str
    regions: tuple[Region, ...]

    @property
    def value(self) -> float:
        """Return the size of all parts."""
        return sum(region.value for region in self.regions)


@dataclass(frozen=True)
class Treemap:
    """Hold parts of a whole, drawn as boxes of their size. `description` is read to those who do not see them.

    `kinds` names what the colours mean; the figures follow as a table.
    """

    caption: str
    description: str
    unit: str
    kinds: tuple[str, ...]
    groups: tuple[RegionGroup, ...]


@dataclass(frozen=True)
class Picture:
    """Hold a PNG picture and what is said of it to those who do not see it."""

    caption: str
    description: str
    png: bytes


Content: TypeAlias = Paragraph | Facts | Table | BarChart | Plot | Histogram | Treemap | Picture


@dataclass(frozen=True)
class Section:
    """Hold a section of the report."""

    title: str
    content: tuple[Content, ...]


def check(section: object) -> Section:
    """Return a plugin's section after checking that it holds nothing but plain values.

    Raises:
        PluginError: names the place and what was found there.
    """
    if not isinstance(section, Section):
        raise PluginError(
            "a section of the report is not right",
            got=type(section).__name__,
            expected="an hsflow.report.content.Section",
        )
    _check_value(section, "Section")
    for content in section.content:
        _check_content(content)
    return section


def _check_value(value: Any, where: str) -> None:
    """Check a value and all that it holds; a subclass of str is refused, since it may call itself markup."""
    if is_dataclass(value) and type(value).__module__ == __name__:
        for field in fields(value):
            _check_value(getattr(value, field.name), f"{where}.{field.name}")
    elif type(value) is tuple:
        for number, item in enumerate(value):
            _check_value(item, f"{where}[{number}]")
    elif (type(value) not in _PLAIN and not _is_tone(value)) or _is_infinite(value):
        raise PluginError(
            "the report takes plain values only",
            where=where,
            got=f"{type(value).__name__} {str(value)[:80]!r}",
            expected="a value of hsflow.report.content, a tuple, a text, a finite number or bytes",
        )


def _is_tone(value: Any) -> bool:
    return isinstance(value, Enum) and type(value) is Tone


def _is_infinite(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _check_content(content: Content) -> None:
    match content:
        case Table():
            _check_rows(content, [*content.rows, *([content.total] if content.total else [])])
        case BarChart():
            _check_bars(content)
        case Plot():
            _check_points(content)
        case Histogram():
            _check_counts(content)
        case Treemap():
            _check_regions(content)
        case Picture() if not content.png.startswith(_PNG):
            raise PluginError("a picture is no PNG", where=content.caption)
        case Paragraph() | Facts() | Picture():
            pass
        case _:
            raise PluginError("a section has unknown content", got=type(content).__name__)


def _check_rows(table: Table, rows: list[tuple[Cell, ...]]) -> None:
    wrong = [len(row) for row in rows if len(row) != len(table.columns)]
    if wrong or not table.columns:
        raise PluginError(
            "a row does not fit its table", where=table.caption, got=wrong, expected=f"{len(table.columns)} cells"
        )  # fmt: skip


def _check_bars(chart: BarChart) -> None:
    expected = [len(panel.series) for panel in chart.panels]
    for row in chart.rows:
        values = [value for bar in row.bars for value in bar.values]
        if [len(bar.values) for bar in row.bars] != expected or min(values, default=0) < 0:
            raise PluginError(
                "a row does not fit its chart",
                where=f"{chart.caption}, {row.label}",
                got=values,
                expected=f"values of at least 0, {expected} in the panels",
            )


def _check_points(plot: Plot) -> None:
    points = [point for series in plot.series for point in series.points]
    for axis, values in ((plot.x, [point.x for point in points]), (plot.y, [point.y for point in points])):
        if axis.logarithmic and min(values, default=1.0) <= 0:
            raise PluginError(
                "a logarithmic axis has no place for a point",
                where=f"{plot.caption}, {axis.title}",
                got=min(values),
                expected="a value above 0",
            )


def _check_counts(histogram: Histogram) -> None:
    edges, counts = histogram.edges, histogram.counts
    rising = all(low < high for low, high in pairwise(edges))
    if len(edges) != len(counts) + 1 or not counts or not rising or min(counts) < 0:
        raise PluginError(
            "a histogram is not right",
            where=histogram.caption,
            got=f"{len(edges)} edges, {len(counts)} counts",
            expected="edges that rise, and one count of at least 0 between each two",
        )


def _check_regions(treemap: Treemap) -> None:
    for group in treemap.groups:
        for region in group.regions:
            if region.value < 0 or region.kind not in range(len(treemap.kinds)):
                raise PluginError(
                    "a region does not fit its treemap",
                    where=f"{treemap.caption}, {group.label}",
                    got=f"kind {region.kind}, size {region.value}",
                    expected=f"a kind below {len(treemap.kinds)}, a size of at least 0",
                )
