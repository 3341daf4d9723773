# SPDX-License-Identifier: Apache-2.0
"""Pictures of plans, by matplotlib, which is optional: `pip install hsflow[plot]`."""

from __future__ import annotations

import importlib.util
from io import BytesIO
from pathlib import Path
from typing import Any

from hsflow.area import square_millimetres
from hsflow.durable import replace_file
from hsflow.errors import ConfigurationError, HsflowError
from hsflow.plan import Plan

_SIZE = (12.0, 9.0)
_DOTS_PER_INCH = 120


def check_plot(path: Path) -> None:
    """Check that a picture can be drawn into a file, before anything is computed for it.

    Raises:
        ConfigurationError: if the file is no .png.
        HsflowError: if matplotlib is not installed.
    """
    if path.suffix != ".png" or path.is_dir():
        raise ConfigurationError(
            "the plot is no PNG file", where=str(path), expected="a name that ends in .png"
        )
    if importlib.util.find_spec("matplotlib") is None:
        raise HsflowError(
            "matplotlib is not installed, which draws the plot",
            where="--plot",
            hint="pip install 'hsflow[plot]', or leave --plot out",
        )


def draw_plan(plan: Plan, path: Path) -> None:
    """Draw a plan: adders by layer, with their duty, above the smallest area of each interval that can be reached."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE, layout="constrained")
    above, below = figure.subplots(2, 1)
    _draw_layers(plan, above)
    _draw_roofline(plan, below)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=_DOTS_PER_INCH, metadata={"Software": None})
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, buffer.getvalue())


def _draw_layers(plan: Plan, axes: Any) -> None:
    costs = plan.design.layers
    places = range(len(costs))
    axes.bar(places, [cost.adders for cost in costs], color="tab:blue")
    axes.set_ylabel("adders (estimated)", color="tab:blue")
    axes.set_xticks(places, [cost.name for cost in costs], rotation=90, fontsize=6)
    axes.set_title(f"{plan.design.name}: {plan.design.initiation_interval:,} cycles an image")
    duty = axes.twinx()
    duty.plot(places, [100 * plan.duty(cost) for cost in costs], "o", markersize=3, color="tab:orange")
    duty.set_ylim(0, 105)
    duty.set_ylabel("duty, %", color="tab:orange")


def _draw_roofline(plan: Plan, axes: Any) -> None:
    intervals = [point.initiation_interval for point in plan.roofline]
    for name in ("total", "adders", "registers", "memory"):
        areas = [square_millimetres(getattr(point.area, name)) for point in plan.roofline]
        axes.loglog(intervals, areas, ".-" if name == "total" else ":", label=name)
    axes.axvline(plan.design.initiation_interval, color="grey", linewidth=0.8)
    axes.set_xlabel("initiation interval, cycles")
    axes.set_ylabel("area, mm2 (estimated, ASAP7 cells, without FIFOs)")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend()
