# SPDX-License-Identifier: Apache-2.0
"""What a verification layer by layer showed: how much of each layer was compared, and what was wrong."""

from __future__ import annotations

from itertools import count, takewhile

from hsflow.layerwise import PREFIX
from hsflow.metrics import format_value
from hsflow.report.cells import percentage
from hsflow.report.content import Cell, Column, Paragraph, Table, Tone
from hsflow.report.result import Run

_COLUMNS = (
    Column("Layer", numeric=False),
    Column("Words compared"),
    Column("Words wrong"),
    Column("Processor time", "s"),
)


def proof_parts(run: Run) -> list[Paragraph | Table]:
    """Return a sentence and a table about one verification."""
    layers, proved = _number(run, "layers"), _number(run, "layers_proved")
    text = (
        f"{run.place}: {proved:,} of {layers:,} hardened layers ({percentage(proved, layers)}) are proved alone: each one's "
        f"RTL was simulated with the feature maps of {_shown(run, 'images')} images, and every one of {_shown(run, 'words')} "
        f"words compared with the integer network's; {_shown(run, 'words_wrong')} differ."
    )
    tone = Tone.WARNING if _number(run, "words_wrong") else Tone.GOOD if proved == layers else Tone.NOTE
    numbers = takewhile(lambda number: f"{PREFIX}layer{number}.name" in run.metrics, count())
    rows = tuple(_row(run, f"layer{number}") for number in numbers)
    return [Paragraph(text, tone), Table(f"Layers simulated alone in {run.place}", _COLUMNS, rows)]


def _row(run: Run, layer: str) -> tuple[Cell, ...]:
    figures = [f"{layer}.{name}" for name in ("words", "words_wrong", "seconds")]
    cells = (Cell(_shown(run, name), _number(run, name)) for name in figures)
    return (Cell(_shown(run, f"{layer}.name")), *cells)


def _shown(run: Run, name: str) -> str:
    metric = run.metrics.get(PREFIX + name)
    return "not measured" if metric is None else format_value(metric)


def _number(run: Run, name: str) -> int | float:
    metric = run.metrics.get(PREFIX + name)
    return 0 if metric is None or isinstance(metric.value, str) else metric.value
