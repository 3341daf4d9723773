# SPDX-License-Identifier: Apache-2.0
"""What targets measured in their work roots, as far as it was this very design that they ran."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from hsflow import metrics
from hsflow.artifact import digest, file_digest
from hsflow.design import Design
from hsflow.errors import HsflowError
from hsflow.layerwise import RTL_DIGEST, rtl_digest
from hsflow.metrics import WALL_SECONDS, Metric
from hsflow.report.result import Run
from hsflow.results import EXPECTED, METRICS, PLAN, STIMULUS

WORK = Path("work")
"""Where `hsflow run TARGET` puts its work roots."""

_PROOFS = (PLAN, STIMULUS, EXPECTED)
"""Files of a design that lie in a simulation's work root."""

_OF_RUNS_WITH_DATA = ("simulate.", "synth__")


def find_runs(
    work: Path, design: Design, stage_metrics: Mapping[str, Metric]
) -> tuple[tuple[Run, ...], tuple[str, ...]]:
    """Return the runs of this design in the folders of `work`, and the places of those of another build.

    A run is this design's if its record repeats every figure of the stages and, where it simulated or synthesized, the
    stimulus and the expected results in its work root are the design's; where it proved layers, if they were this RTL's.
    """
    mine, others = [], []
    for path in sorted(work.glob(f"*/{METRICS}")):
        run = _read(path)
        if run is None or not _is_of(path.parent, run, design, stage_metrics):
            others.append(path.parent.as_posix())
        else:
            measured = {name: metric for name, metric in run.metrics.items() if name not in stage_metrics}
            mine.append(Run(run.place, measured))
    return tuple(mine), tuple(others)


def _read(path: Path) -> Run | None:
    try:
        return Run(path.parent.as_posix(), metrics.from_json(path.read_bytes()))
    except (OSError, HsflowError):
        return None


def _is_of(folder: Path, run: Run, design: Design, stage_metrics: Mapping[str, Metric]) -> bool:
    figures = {name: metric for name, metric in stage_metrics.items() if not name.endswith(WALL_SECONDS)}
    if any(run.metrics.get(name) != metric for name, metric in figures.items()):
        return False
    if RTL_DIGEST in run.metrics and run.metrics[RTL_DIGEST].value != rtl_digest(design):
        return False
    if not any(name.startswith(_OF_RUNS_WITH_DATA) for name in run.metrics):
        return True
    contents = {Path(file.path).name: file.text for file in design.files}
    return all(name in contents and _has(folder / name, contents[name]) for name in _PROOFS)


def _has(path: Path, text: str) -> bool:
    return path.is_file() and file_digest(path) == digest(text)
