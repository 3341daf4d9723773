# SPDX-License-Identifier: Apache-2.0
"""The end of a run: the figures of all its steps as one metrics.json, and what became of each step."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from hsflow import metrics, thresholds
from hsflow.durable import replace_file
from hsflow.errors import ToolError
from hsflow.metrics import Metric, make_metric
from hsflow.results import METRICS
from hsflow_asap7.request import Request
from hsflow_asap7.runner import Record, Status, Step, figures_of, outcome, say

_PIPE_WIDTH = 200
"""The width of the table in a file or a pipe, where no name needs to be cut."""


def discard(work_root: Path) -> None:
    """Remove an earlier run's metrics.json: none is there until a run has ended well."""
    (work_root / METRICS).unlink(missing_ok=True)


def conclude(steps: Sequence[Step], request: Request, work_root: Path) -> metrics.Metrics:
    """Gather the figures of the steps, write metrics.json, and check the thresholds.

    Raises:
        HsflowError: if a step has not run on what is in the work root now, or a figure is beyond its threshold. A figure of
            a chip that has a threshold and was not measured counts as beyond it.
        ToolError: if no step could be run.
    """
    discard(work_root)
    records = [(step, outcome(step, request, work_root)) for step in steps]
    if not any(record.status is Status.DONE for _, record in records):
        reasons = "".join(f"\n  - {step.name}: {record.reason}" for step, record in records)
        raise ToolError(f"no step could be run{reasons}", where=str(work_root), hint="'hsflow doctor'")
    found = {**_of_the_stages(request, work_root), **_of_the_steps(records, work_root)}
    replace_file(work_root / METRICS, metrics.to_json(found).encode())
    paths = [work_root / name for name in request.records]
    unmeasured = thresholds.require_recorded(paths, found, str(work_root), _is_of_a_chip)
    if unmeasured:
        say(f"thresholds of what this run does not measure: {', '.join(unmeasured)}")
    return found


def show(steps: Iterable[Step], found: metrics.Metrics) -> None:
    """Print the figures, and which steps were skipped."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    console.print(metrics.render(found))
    for line in statements(steps, found):
        say(line)


def statements(steps: Iterable[Step], found: metrics.Metrics) -> list[str]:
    """Return a line for each reason for which steps were skipped."""
    reasons: dict[str, list[str]] = {}
    for step in steps:
        status = found.get(status_name(step))
        if status is not None and status.value != Status.DONE:
            reasons.setdefault(str(status.value), []).append(step.name)
    return [
        f"{', '.join(names)} {'was' if len(names) == 1 else 'were'} {reason}"
        for reason, names in reasons.items()
    ]


def status_name(step: Step) -> str:
    """Return the name of the metric that tells what became of a step."""
    return f"{step.prefix}__status"


def _is_of_a_chip(name: str) -> bool:
    """Tell whether a metric has a name of METRICS2.1, which the steps alone measure."""
    return "__" in name


def _of_the_stages(request: Request, work_root: Path) -> dict[str, Metric]:
    records = (work_root / name for name in request.records)
    found = [metrics.from_json(path.read_bytes()) for path in records if path.is_file()]
    return {name: metric for record in found for name, metric in record.items()}


def _of_the_steps(records: Iterable[tuple[Step, Record]], work_root: Path) -> dict[str, Metric]:
    found: dict[str, Metric] = {}
    for step, record in records:
        done = record.status is Status.DONE
        status = str(record.status) if done else f"{record.status}: {record.reason}"
        found[status_name(step)] = make_metric(status_name(step), status)
        if done:
            found.update(figures_of(work_root / step.name))
            found.update(_taken(step, record))
    return found


def _taken(step: Step, record: Record) -> dict[str, Metric]:
    """Return the time and memory that a step took."""
    names = {f"{step.prefix}__runtime__total": (record.wall_seconds, "s")}
    names[f"{step.prefix}__mem__peak"] = (record.peak_mib, "MiB")
    return {name: make_metric(name, value, unit, "lower") for name, (value, unit) in names.items()}
