# SPDX-License-Identifier: Apache-2.0
"""The section on what other speeds would cost: initiation interval against area, from a plan.

A plugin that plans gives it by the hook `hsflow_report_sections`; hsflow itself does not plan a design that it reports.
"""

from __future__ import annotations

from hsflow.area import Area, estimate_area, square_millimetres
from hsflow.plan import NOT_IN_THE_AREA, Plan
from hsflow.report.content import Axis, Paragraph, Plot, Point, Section, Series, Tone
from hsflow.report.result import Result

_PARTS = ("adders", "registers", "memory", "total")
"""In the order that gives adders and registers the colours which they have in the bars by layer."""


def roofline_section(plan: Plan, result: Result) -> Section:
    """Return the section: the planned area of each interval, and the design's own, both without FIFOs."""
    own = Point(
        float(result.design.initiation_interval), square_millimetres(_own_area(result).total), "this build"
    )
    series = [_series(plan, part) for part in _PARTS]
    if own.x > 0 and own.y > 0:
        series.append(Series("this build", (own,), line=False))
    plot = Plot(
        "Initiation interval against estimated area, line buffers as flip-flops, without FIFOs",
        _description(plan),
        Axis("Initiation interval", "cycles", logarithmic=True),
        Axis("Area", "mm²", logarithmic=True),
        tuple(series),
    )
    note = f"The curves are a plan's, with estimated adders; the point is what was built. Left out: {NOT_IN_THE_AREA}."
    return Section("Area at other speeds", (Paragraph(note, Tone.NOTE), plot))


def _own_area(result: Result) -> Area:
    costs = result.design.layers
    return estimate_area(
        sum(cost.full_adder_bits for cost in costs),
        sum(cost.register_bits for cost in costs),
        sum(cost.line_buffer_bits for cost in costs),
    )


def _series(plan: Plan, part: str) -> Series:
    """Return one part of the area; nothing has no place on a logarithmic axis."""
    points = (
        Point(float(point.initiation_interval), square_millimetres(getattr(point.area, part)))
        for point in plan.roofline
    )
    return Series(part, tuple(point for point in points if point.y > 0))


def _description(plan: Plan) -> str:
    if not plan.roofline:
        return "The plan has no other interval."
    first, last = plan.roofline[0], plan.roofline[-1]
    return (
        f"Total area goes from {square_millimetres(first.area.total):.3g} mm² at {first.initiation_interval:,} cycles an "
        f"image to {square_millimetres(last.area.total):.3g} mm² at {last.initiation_interval:,}."
    )
