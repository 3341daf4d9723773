# SPDX-License-Identifier: Apache-2.0
"""The report's sections on a design as a chip: where its area is, its timing, its power, its layout."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from hsflow.design import Design
from hsflow.metrics import Metric, format_value
from hsflow.report.content import (
    Axis,
    Bar,
    BarChart,
    BarRow,
    Cell,
    Column,
    Content,
    Fact,
    Facts,
    Histogram,
    Panel,
    Paragraph,
    Picture,
    Region,
    RegionGroup,
    Section,
    Table,
    Tone,
    Treemap,
)
from hsflow.report.result import Result, Run
from hsflow_asap7.area import KINDS, Inventory, Part
from hsflow_asap7.chip import INVENTORY, POWER, POWERS, TIMING, TIMINGS
from hsflow_asap7.layout_steps import PICTURE
from hsflow_asap7.power import Power
from hsflow_asap7.steps import STEPS
from hsflow_asap7.summary import statements, status_name
from hsflow_asap7.timing import PathPoint, Timing

_MARK = "synth__status"
_BINS = 30
_NANO, _MILLI = 1e9, 1e3
_FACTS = (
    ("Area of the cells", "synth__design__instance__area", 1.0, "µm²"),
    ("Slack, typical", "timing__setup__ws__corner:tt", 1.0, "ps"),
    ("Highest clock, typical", "timing__fmax__corner:tt", 1.0, "MHz"),
    ("Power, typical", "power__total", _MILLI, "mW"),
    ("Energy", "power__energy_per_image", _NANO, "nJ/image"),
    ("Slack with wires, typical", "finish__timing__setup__ws__corner:tt", 1.0, "ps"),
    ("Area of the layout's core", "finish__design__core__area", 1.0, "µm²"),
)


def chip_sections(result: Result) -> list[Section]:
    """Return a section for each run of the flow that is known; none if there is none."""
    runs = [run for run in result.runs if _MARK in run.metrics]
    return [_section(run, result.design, len(runs) > 1) for run in runs]


def _section(run: Run, design: Design, several: bool) -> Section:
    parts = (*_statements(run), Facts(tuple(_facts(run))), *_details(run, design))
    return Section(f"On ASAP7, {run.place}" if several else "On ASAP7", parts)


def _statements(run: Run) -> Iterator[Paragraph]:
    yield Paragraph(
        f"{run.place}: what the tools of chip design measured of this very design, on ASAP7's cells."
    )
    unknown = [step.name for step in STEPS.values() if status_name(step) not in run.metrics]
    if unknown:
        yield Paragraph(f"Not asked for: {', '.join(unknown)}.", Tone.NOTE)
    for line in statements(STEPS.values(), run.metrics):
        yield Paragraph(f"{line}.", Tone.NOTE)


def _facts(run: Run) -> Iterator[Fact]:
    for label, name, factor, unit in _FACTS:
        metric = run.metrics.get(name)
        if metric is not None and not isinstance(metric.value, str):
            scaled = Metric(value=factor * metric.value, unit=unit)
            yield Fact(label, format_value(scaled), unit)
        else:
            yield Fact(label, "not measured")


def _details(run: Run, design: Design) -> Iterator[Content]:
    """Yield what each finished step has to show, from the files in its folder."""
    shown: tuple[tuple[str, str, Callable[[bytes], Iterator[Content]]], ...] = (
        ("synthesis", INVENTORY, lambda data: _area(Inventory.model_validate_json(data).area, design)),
        ("timing", TIMING, lambda data: _timing(TIMINGS.validate_json(data), "without wires")),
        ("power", POWER, lambda data: _power(POWERS.validate_json(data), "without wires")),
        (
            "final_timing",
            TIMING,
            lambda data: _timing(TIMINGS.validate_json(data), "with the layout's wires"),
        ),
        ("final_power", POWER, lambda data: _power(POWERS.validate_json(data), "with the layout's wires")),
        ("gds", PICTURE, _picture),
    )
    for step, file, content in shown:
        status = run.metrics.get(status_name(STEPS[step]))
        if status is not None and status.value == "done":
            yield from content((Path(run.place) / step / file).read_bytes())


def _area(top: Part, design: Design) -> Iterator[Content]:
    groups = tuple(_groups(top, {cost.module: cost.name for cost in design.layers}))
    largest = max(groups, key=lambda group: group.value)
    share = 100 * largest.value / top.total if top.total else 0.0
    text = f"{top.total:,.0f} µm² of cells; the largest part, {largest.label}, has {share:.0f} % of it."
    yield Treemap("Area of the cells by layer", text, "µm²", KINDS, groups)


def _groups(top: Part, layers: dict[str, str]) -> Iterator[RegionGroup]:
    """Yield the layers, the other parts of the top, and what is in none of them."""
    for part in top.parts:
        inner = [child for child in part.parts if child.module in layers]
        for child in inner:
            yield _group(layers[child.module], child.um2)
        rest = _less(part.um2, inner)
        if any(rest.values()):
            yield _group(f"{_plain(part.name)}, between layers" if inner else _plain(part.name), rest)
    rest = _less(top.um2, top.parts)
    if any(rest.values()):
        yield _group("the rest of the top", rest)


def _group(label: str, um2: dict[str, float]) -> RegionGroup:
    return RegionGroup(label, tuple(Region(KINDS.index(kind), value) for kind, value in um2.items()))


def _less(um2: dict[str, float], parts: tuple[Part, ...] | list[Part]) -> dict[str, float]:
    """Return what is left without some parts; what is less than a cell is rounding."""
    left = {kind: value - sum(part.um2.get(kind, 0.0) for part in parts) for kind, value in um2.items()}
    return {kind: value if value > 1e-6 else 0.0 for kind, value in left.items()}


def _plain(instance: str) -> str:
    return instance.removeprefix("u_").replace("_", " ")


def _timing(timings: tuple[Timing, ...], of_what: str) -> Iterator[Content]:
    columns = (Column("Corner", numeric=False), Column("Slack", "ps"), Column("Endpoints that miss"), Column("Highest clock", "MHz"), Column("Critical path", numeric=False))  # fmt: skip
    rows = tuple(_timing_row(timing) for timing in timings)
    yield Table(f"Setup checks at {timings[0].clock_ps:,g} ps, {of_what}", columns, rows)
    first = timings[0]
    edges, counts = first.slack_histogram(_BINS)
    text = f"{len(first.setup.slacks):,} endpoints, {first.setup.violations:,} of them below 0 ps, the least at {first.slack_ps:,.1f} ps."
    yield Histogram(
        f"Slack of every endpoint, corner {first.corner}, {of_what}",
        text,
        Axis("Setup slack", "ps"),
        edges,
        counts,
        0.0,
    )
    yield _path(first, of_what)


def _timing_row(timing: Timing) -> tuple[Cell, ...]:
    return (
        Cell(str(timing.corner)),
        Cell(f"{timing.slack_ps:,.1f}", timing.slack_ps),
        Cell(f"{timing.setup.violations:,}", float(timing.setup.violations)),
        Cell(f"{timing.fmax_mhz:,.0f}", timing.fmax_mhz),
        Cell(" > ".join(timing.setup.layers)),
    )


def _path(timing: Timing, of_what: str) -> Table:
    columns = (Column("Pin", numeric=False), Column("Cell", numeric=False), Column("Layer", numeric=False), Column("Arrival", "ps"))  # fmt: skip
    rows = tuple(_path_row(point) for point in timing.setup.path)
    return Table(f"The critical path, corner {timing.corner}, {of_what}", columns, rows)


def _path_row(point: PathPoint) -> tuple[Cell, ...]:
    return (
        Cell(point.pin),
        Cell(point.cell),
        Cell(point.layer),
        Cell(f"{point.arrival_ps:,.1f}", point.arrival_ps),
    )


def _power(power: Power, of_what: str) -> Iterator[Content]:
    total = power.total_w or 1.0
    named = {**{f"part: {name}": watts for name, watts in power.parts.items()}}
    layers = sorted(power.layers.items(), key=lambda item: -item[1])
    named |= {name or "the rest of the top": watts for name, watts in layers}
    rows = tuple(
        BarRow(name, (Bar((watts,), f"{_MILLI * watts:,.3g} mW ({100 * watts / total:.1f} %)"),)) for name, watts in named.items()
    )  # fmt: skip
    caption = f"Power at {1e6 / power.clock_ps:,g} MHz, from the switching of {power.images:,} real images, {of_what} and without glitches"
    yield BarChart(caption, "Part, then layer", (Panel("Power", ("mW",)),), rows)


def _picture(png: bytes) -> Iterator[Content]:
    caption = (
        "The layout: adders blue, registers ochre, inverters and buffers pale green, other gates green, memories plum, taps and "
        "fill grey; wires of the upper layers over them"
    )
    yield Picture(
        caption, "The cells of the chip in the colours of what they are for, and the power grid", png
    )
