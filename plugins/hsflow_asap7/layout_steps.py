# SPDX-License-Identifier: Apache-2.0
"""The steps that lay a chip out: OpenROAD's, then timing and power with the real wires, GDS and a picture."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial

from hsflow.metrics import Metric
from hsflow_asap7 import layout
from hsflow_asap7.chip import (
    POWER,
    TIMING,
    constraints,
    design,
    find_power,
    inventory,
    memories,
    named,
    time_corners,
)
from hsflow_asap7.gds import write_gds, write_picture
from hsflow_asap7.layout import DEF, DRC, NETLIST, SDC, SPEF, Layout, LayoutOptions, LayoutStep
from hsflow_asap7.netlist import total_area
from hsflow_asap7.platform import Corner, cell_areas
from hsflow_asap7.runner import Job, Step
from hsflow_asap7.timing import Design

GDS, PICTURE = "chip.gds", "chip.png"
FLOORPLAN = "floorplan"
AFTER = "finish__"
"""How the names of the finished layout's figures begin."""

_INSTANCE = re.compile(r"^\s*(\w+_ASAP7_75t_R)\s", re.MULTILINE)
_PURPOSES: Mapping[str, tuple[str, str]] = {
    FLOORPLAN: ("floorplan", "die, rows and tracks"),
    "pins": ("pin_placement", "the ports' places"),
    "power_grid": ("pdn", "power grid and tap cells"),
    "place": ("placeopt", "the cells' places"),
    "clock_tree": ("cts", "the clock's tree"),
    "route": ("detailedroute", "wires"),
    "extract": ("rcx", "the wires' parasitics"),
    "finish": ("finish", "the layout as files"),
}
"""The names of METRICS2.1 for OpenROAD's steps, and what each makes."""


def _lay_out(step: LayoutStep, job: Job) -> dict[str, Metric]:
    """Do one of OpenROAD's steps."""
    if step.name == FLOORPLAN:
        (job.folder / SDC).write_text(constraints(job).sdc(), encoding="utf-8")
    layout.perform(step, _layout(job), job.folder, {name: job.work_root / name for name in _PURPOSES})
    return _FIGURES.get(step.name, _none)(job)


def _layout(job: Job) -> Layout:
    on, made = design(job, Corner.TT), inventory(job)
    return Layout(
        job.request.top, on.netlist, on.liberties[0], job.work_root / FLOORPLAN / SDC, job.request.platform,
        made.cell_area, sum(made.ports.values()), memories(job), LayoutOptions(job.request.utilization),
    )  # fmt: skip


def _none(job: Job) -> dict[str, Metric]:
    return {}


def _of_the_routing(job: Job) -> dict[str, Metric]:
    return named([("detailedroute__route__drc_errors", layout.violations(job.folder / DRC), "", "lower")])


def _of_the_finish(job: Job) -> dict[str, Metric]:
    text = (job.folder / NETLIST).read_text(encoding="utf-8")
    cells = Counter(_INSTANCE.findall(text))
    area, core = total_area(cells, cell_areas(job.request.platform)), _layout(job).core_side ** 2
    return named(
        [
            (f"{AFTER}design__instance__count", cells.total(), "", "lower"),
            (f"{AFTER}design__instance__area", area, "um^2", "lower"),
            (f"{AFTER}design__core__area", core, "um^2", "lower"),
            (f"{AFTER}design__instance__utilization", 100 * area / core, "%", ""),
        ]
    )


_FIGURES: Mapping[str, Callable[[Job], dict[str, Metric]]] = {
    "route": _of_the_routing,
    "finish": _of_the_finish,
}


def _routed(job: Job, corner: Corner) -> Design:
    on = design(job, corner)
    return Design(job.made_by("finish", NETLIST), on.top, on.liberties, corner, job.made_by("extract", SPEF))


def _time(job: Job) -> dict[str, Metric]:
    return time_corners(job, (_routed(job, corner) for corner in job.request.corners), AFTER)


def _power(job: Job) -> dict[str, Metric]:
    return find_power(job, job.made_by("extract", SPEF), AFTER)


def _draw(job: Job) -> dict[str, Metric]:
    gds = job.folder / GDS
    write_gds(job.made_by("finish", DEF), job.request.platform, gds, memories(job))
    write_picture(gds, job.folder / PICTURE)
    return {}


def _openroad(step: LayoutStep, before: tuple[str, ...]) -> Step:
    prefix, purpose = _PURPOSES[step.name]
    # A clean layout's list of violations is empty, which of anything else would mean that nothing was made.
    outputs = tuple(name for name in step.outputs if name != DRC) + ((SDC,) if step.name == FLOORPLAN else ())
    options = ("top", "clock_mhz", "utilization")
    return Step(
        step.name, prefix, f"{purpose}, by OpenROAD", outputs, partial(_lay_out, step),
        needs=("synthesis", *before), tools=(layout.TOOL,), options=options,
    )  # fmt: skip


def _names_before(step: LayoutStep) -> tuple[str, ...]:
    return tuple(other.name for other in layout.STEPS[: layout.STEPS.index(step)])


LAYOUT_STEPS = (
    *(_openroad(step, _names_before(step)) for step in layout.STEPS),
    Step(
        "final_timing", "final_timing", "setup and hold with the real wires, by OpenSTA", (TIMING,), _time,
        needs=("synthesis", "extract", "finish"), tools=("sta",), options=("top", "clock_mhz", "corners"),
    ),
    Step(
        "final_power", "final_power", "power with the real wires", (POWER,), _power,
        needs=("synthesis", "simulation", "extract", "finish"), options=("top", "clock_mhz"),
    ),
    Step(
        "gds", "gds", "layout and picture, by KLayout", (GDS, PICTURE), _draw,
        needs=("synthesis", "finish"), modules=("klayout",), options=("top",),
    ),
)  # fmt: skip
