# SPDX-License-Identifier: Apache-2.0
"""Metrics: named figures with their unit and the direction that is better, as a file and as a table.

`metrics.json` maps each name to `{"better": "higher" | "lower" | "", "unit": ..., "value": ...}`. A name is
`<stage>.<figure>` in lower case, such as `quantize.accuracy`. What tools of chip design measure has the names of
METRICS2.1, such as `timing__setup__ws__corner:tt`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator

from hsflow.errors import HsflowError
from hsflow.stage import StageKind

if TYPE_CHECKING:
    from rich.table import Table

WALL_SECONDS = "wall_seconds"
_NAME = re.compile(r"[a-z][a-z0-9_.:]*")
_OF_THE_MACHINE = (WALL_SECONDS, ".seconds", "__runtime__total", "__mem__peak")
_TIMING_UNITS = {"s", "ms", "us", "ns", "ps", "Hz", "MHz", "images/s", "cycles", "W", "J"}
_DECIMALS = {"%": 2, "s": 1}

Metrics = Mapping[str, "Metric"]


class Metric(BaseModel):
    """Hold one figure."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    value: int | float | str
    unit: str = ""
    better: Literal["higher", "lower", ""] = ""

    @field_validator("value")
    @classmethod
    def _finite(cls, value: int | float | str) -> int | float | str:
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError("a metric must be finite")
        return value


def make_metric(name: str, value: object, unit: str = "", better: str = "") -> Metric:
    """Return a metric after checking its name, value and direction; NumPy scalars become plain numbers.

    Raises:
        HsflowError: if one of them is not allowed.
    """
    plain = value.item() if hasattr(value, "item") else value
    try:
        if not _NAME.fullmatch(name):
            raise ValueError("the name must match [a-z][a-z0-9_.:]*")
        return Metric.model_validate({"value": plain, "unit": unit, "better": better})
    except (ValidationError, ValueError) as error:
        raise HsflowError("a metric is ill-formed", where=repr(name), got=error) from error


def to_json(metrics: Metrics) -> str:
    """Return the canonical text of metrics.json."""
    plain = {name: metric.model_dump() for name, metric in metrics.items()}
    return json.dumps(plain, sort_keys=True, indent=2, allow_nan=False) + "\n"


def from_json(text: str | bytes) -> dict[str, Metric]:
    """Return the metrics that a metrics.json holds.

    Raises:
        HsflowError: if it is no such file.
    """
    try:
        return {name: Metric.model_validate(entry) for name, entry in json.loads(text).items()}
    except (ValueError, AttributeError) as error:
        raise HsflowError("metrics.json is ill-formed", got=error) from error


def depends_on_machine(name: str) -> bool:
    """Tell whether a figure is a run's time or memory, which differ from run to run."""
    return name.endswith(_OF_THE_MACHINE)


def group_of(name: str, metric: Metric) -> str:
    """Return the heading under which a metric is shown."""
    if depends_on_machine(name):
        return "Time and memory"
    if "accuracy" in name:
        return "Accuracy"
    return "Timing" if metric.unit in _TIMING_UNITS else "Hardware"


GROUPS = ("Accuracy", "Hardware", "Timing", "Time and memory")
_STAGES = (*map(str, StageKind), "compile", "simulate")


def stage_order(name: str) -> int:
    """Return the place of a metric's stage in the flow; what is no stage, such as a simulation, comes last."""
    stage = name.partition(".")[0]
    return _STAGES.index(stage) if stage in _STAGES else len(_STAGES)


def grouped(metrics: Metrics) -> Iterator[tuple[str, list[tuple[str, Metric]]]]:
    """Yield each heading that has metrics, with its metrics in the order of the flow."""
    ordered = sorted(metrics.items(), key=lambda item: stage_order(item[0]))
    for group in GROUPS:
        members = [(name, metric) for name, metric in ordered if group_of(name, metric) == group]
        if members:
            yield group, members


def format_value(metric: Metric) -> str:
    """Return a metric's value for people: thousands separated, four significant digits; % with 2 decimals, s with 1."""
    value = metric.value
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return f"{value:,}"
    if metric.unit in _DECIMALS:
        return f"{value:,.{_DECIMALS[metric.unit]}f}"
    return f"{value:,.0f}" if abs(value) >= 10_000 else f"{value:.4g}"


def render(metrics: Metrics) -> Table:
    """Return a table of all metrics under the headings accuracy, hardware, timing, and time and memory."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column, justify in (("Metric", "left"), ("Value", "right"), ("Unit", "left"), ("Better", "left")):
        table.add_column(column, justify="right" if justify == "right" else "left")
    for group, members in grouped(metrics):
        table.add_section()
        table.add_row(group, style="bold cyan")
        for name, metric in members:
            cells = (f"  {name}", format_value(metric), metric.unit, metric.better)
            table.add_row(*map(Text, cells))  # no markup: a figure may be a plugin's text
    return table
