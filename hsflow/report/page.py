# SPDX-License-Identifier: Apache-2.0
"""The page: hsflow's sections and those of plugins, as one self-contained HTML file with the same bytes every time."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from hsflow import __version__
from hsflow.durable import replace_file
from hsflow.errors import HsflowError
from hsflow.plugins import Plugin, PluginManager
from hsflow.report import treemap
from hsflow.report.axes import Scale, short
from hsflow.report.content import (
    Axis,
    BarChart,
    Histogram,
    Panel,
    Paragraph,
    Picture,
    Plot,
    Section,
    Tone,
    check,
)
from hsflow.report.result import Result
from hsflow.report.sections import own_sections

FILE_NAME = "report.html"
HOOK = "hsflow_report_sections"
GENERATOR = "hsflow"
"""What the page names as its generator: by it a report is known as one that may be replaced."""

_HEAD_BYTES = 2048


def render_report(result: Result, plugins: PluginManager | None = None) -> str:
    """Return the report on a design as the text of an HTML file, with the sections of the plugins."""
    further = [] if plugins is None else plugin_sections(result, plugins)
    before, after = own_sections(result)
    return render_page(result.design.name, [*before, *further, *after])


def render_page(title: str, sections: Sequence[Section]) -> str:
    """Return the page with these sections, in this order."""
    template = _environment().get_template("page.html.j2")
    text = template.render(title=title, sections=sections, generator=f"{GENERATOR} {__version__}")
    # A name may hold what UTF-8 has no bytes for.
    return text.encode("utf-8", "replace").decode()


def write_report(path: Path, text: str, *, overwrite: bool = False) -> None:
    """Put a report in place, of an older report or where nothing was.

    Raises:
        HsflowError: if another file is there and `overwrite` is not set, or if it cannot be written.
    """
    try:
        if path.exists() and not overwrite and not _is_report(path):
            raise HsflowError(
                "a file would be overwritten that is no report",
                where=str(path),
                hint="choose another --output, move it away, or use --overwrite",
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, text.encode())
    except OSError as error:
        raise HsflowError("the report cannot be written", where=str(path), got=error) from error


def _is_report(path: Path) -> bool:
    with path.open("rb") as file:
        return f'<meta name="generator" content="{GENERATOR} '.encode() in file.read(_HEAD_BYTES)


def plugin_sections(result: Result, plugins: PluginManager) -> list[Section]:
    """Return the sections of all plugins, by the plugins' names; one that fails gives a section that says so."""
    origins = {plugin.name: plugin for plugin in plugins.plugins}
    found = getattr(plugins.hook, HOOK).get_hookimpls()
    sections: list[Section] = []
    for implementation in sorted(found, key=lambda entry: str(entry.plugin_name)):
        arguments = dict.fromkeys(implementation.argnames, result)
        try:
            given = [check(section) for section in implementation.function(**arguments)]
            render_page("", given)
            sections.extend(given)
        except Exception as error:
            sections.append(_failure(origins[implementation.plugin_name], error))
    return sections


def _failure(plugin: Plugin, error: Exception) -> Section:
    reason = str(error) if isinstance(error, HsflowError) else f"{type(error).__name__}: {error}"
    text = f"The {plugin} failed to give its sections, and the rest of the report is whole. {reason}"
    return Section(f"Missing: {plugin.name}", (Paragraph(text, Tone.WARNING),))


def _bar_segments(panel: Panel, values: Iterable[float], maximum: float) -> list[tuple[float, float]]:
    """Return (start, width) of each value's bar, in percent of the panel."""
    segments, start = [], 0.0
    for value in values:
        width = 100 * value / maximum
        segments.append((start, width))
        start += width if panel.stacked else 0.0
    return segments


def _panel_maxima(chart: BarChart) -> list[float]:
    """Return what fills the width of each panel."""
    maxima = []
    for number, panel in enumerate(chart.panels):
        sums = [sum(row.bars[number].values) for row in chart.rows]
        largest = [max(row.bars[number].values, default=0.0) for row in chart.rows]
        found = max(sums if panel.stacked else largest, default=0.0)
        maxima.append(panel.maximum or found or 1.0)
    return maxima


def _text_widths(chart: BarChart) -> list[int]:
    """Return the characters of the longest text of each panel, so that all its bars have one scale."""
    return [
        max((len(row.bars[number].text) for row in chart.rows), default=0)
        for number in range(len(chart.panels))
    ]


def _pieces(text: str) -> list[str]:
    """Return a name cut behind its dots, slashes and underscores, where a line may break."""
    return re.split(r"(?<=[._/])(?=.)", text)


def _plot_scales(plot: Plot) -> tuple[Scale, Scale]:
    points = [point for series in plot.series for point in series.points]
    return (
        Scale.of([point.x for point in points], plot.x.logarithmic),
        Scale.of([point.y for point in points], plot.y.logarithmic),
    )


def _histogram_scales(histogram: Histogram) -> tuple[Scale, Scale]:
    return Scale.of(histogram.edges), Scale.of([float(count) for count in histogram.counts])


def _axis_title(axis: Axis) -> str:
    return f"{axis.title} ({axis.unit})" if axis.unit else axis.title


def _data_uri(picture: Picture) -> str:
    return f"data:image/png;base64,{base64.b64encode(picture.png).decode()}"


def _script_hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("hsflow.report", "templates"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=True,
    )
    environment.filters.update(kind=lambda content: type(content).__name__, short=short, pieces=_pieces)
    environment.filters.update(coordinate=lambda value: f"{value:.3f}".rstrip("0").rstrip("."))
    environment.globals.update(
        segments=_bar_segments,
        maxima=_panel_maxima,
        text_widths=_text_widths,
        boxes=treemap.boxes,
        histogram_scales=_histogram_scales,
        scales=_plot_scales,
        axis_title=_axis_title,
        data_uri=_data_uri,
        script_hash=_script_hash,
    )
    return environment
