# SPDX-License-Identifier: Apache-2.0
"""The section on what other speeds would cost: initiation interval against area.

A plugin that plans gives it by the hook `hsflow_report_sections`; hsflow itself does not plan a design that it reports.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hsflow.area import network_area
from hsflow.design import Design
from hsflow.plan import NOT_IN_THE_AREA, RooflinePoint
from hsflow.report.cells import AreaUnit, count, decimal
from hsflow.report.content import Axis, Cell, Column, Paragraph, Plot, Point, Section, Series, Table, Tone
from hsflow.report.result import Result

_PARTS = {"adders": "Adders", "registers": "Registers", "memory": "Line buffers", "total": "Total"}
"""Parts of an area and their titles, in the order that gives adders and registers their colours of the bars by layer."""


def roofline_section(points: Sequence[RooflinePoint], result: Result) -> Section:
    """Return the section: the area of each interval that `points`, sorted by it, give, and the design's, without FIFOs."""
    own = built_point(result.design)
    shown = sorted({*points, own}, key=lambda point: (point.initiation_interval, point.area.total))
    unit = AreaUnit.of(min(point.area.total for point in shown))
    note = (
        "What the kernels of this build would cost in other numbers of copies, FIFOs left out, line buffers as flip-flops. An "
        f"interval that a shorter one undercuts is not shown. Left out as well: {NOT_IN_THE_AREA}."
    )
    parts = (Paragraph(note, Tone.NOTE), _plot(points, own, unit), _table(shown, own, unit, result.clock_mhz))
    return Section("Area at other speeds", parts)


def built_point(design: Design) -> RooflinePoint:
    """Return what was built as a planner's point is: without FIFOs."""
    costs = [replace(cost, fifo_bits=0) for cost in design.layers]
    adders = sum(cost.adders for cost in costs)
    return RooflinePoint(design.input_block, design.initiation_interval, adders, network_area(costs))


def _plot(points: Sequence[RooflinePoint], own: RooflinePoint, unit: AreaUnit) -> Plot:
    series = [_series(points, part, unit) for part in _PARTS]
    x, y = float(own.initiation_interval), own.area.total / unit.um2
    if x > 0 and y > 0:
        series.append(Series("this build", (Point(x, y, "this build"),), line=False))
    return Plot(
        "Initiation interval against estimated area",
        _description(points, unit),
        Axis("Initiation interval", "cycles", logarithmic=True),
        Axis("Area", unit.name, logarithmic=True),
        tuple(series),
    )


def _series(points: Sequence[RooflinePoint], part: str, unit: AreaUnit) -> Series:
    """Return one part of the area; nothing has no place on a logarithmic axis."""
    areas = ((float(point.initiation_interval), getattr(point.area, part) / unit.um2) for point in points)
    return Series(_PARTS[part].lower(), tuple(Point(x, y) for x, y in areas if y > 0))


def _description(points: Sequence[RooflinePoint], unit: AreaUnit) -> str:
    if not points:
        return "There is no other interval."
    first, last = points[0], points[-1]
    return (
        f"Total area goes from {unit.text(first.area.total)} {unit.name} at {first.initiation_interval:,} cycles an image "
        f"to {unit.text(last.area.total)} {unit.name} at {last.initiation_interval:,}."
    )


def _table(points: Sequence[RooflinePoint], own: RooflinePoint, unit: AreaUnit, clock_mhz: float) -> Table:
    columns = (
        Column("Transfer", "pixels", numeric=False),
        Column("Interval", "cycles"),
        Column(f"Throughput at {clock_mhz:,g} MHz", "images/s"),
        Column("Adders"),
        *(Column(title, unit.name) for title in _PARTS.values()),
    )
    rows = tuple(_row(point, point == own, unit, clock_mhz) for point in points)
    return Table("Area at each interval", columns, rows)


def _row(point: RooflinePoint, is_own: bool, unit: AreaUnit, clock_mhz: float) -> tuple[Cell, ...]:
    interval = point.initiation_interval
    return (
        Cell(f"{point.input_block}{' (this build)' if is_own else ''}", float(point.input_block.pixels)),
        count(interval),
        decimal(clock_mhz * 1e6 / interval if interval else 0.0, 0),
        count(point.adders),
        *(Cell(unit.text(area), area) for area in (getattr(point.area, part) for part in _PARTS)),
    )
