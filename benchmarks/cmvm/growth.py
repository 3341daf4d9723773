# SPDX-License-Identifier: Apache-2.0
"""Growth: CPU seconds and adders against nonzeros, the fitted exponent, and a plot."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.cmvm.compare import Row
from benchmarks.cmvm.tools import RUNNERS

FAMILY = "-g8-z"
"""The family of the fit: every shape has it at 0, 50 and 80 % zeros."""

LEAST_SECONDS = 0.02
"""Shorter runs tell the clock and fixed costs, not growth."""


@dataclass(frozen=True)
class Points:
    """Hold one tool's runs: nonzeros, CPU seconds and adders of each."""

    tool: str
    nonzeros: tuple[int, ...]
    seconds: tuple[float, ...]
    adders: tuple[int, ...]

    def exponent(self) -> float | None:
        """Return the slope of log seconds over log nonzeros, least squares; None from fewer than three runs."""
        kept = [
            (n, s) for n, s in zip(self.nonzeros, self.seconds, strict=True) if s >= LEAST_SECONDS and n > 0
        ]
        if len({n for n, _ in kept}) < 3:
            return None
        nonzeros, seconds = np.log(np.array(kept)).T
        return float(np.polyfit(nonzeros, seconds, 1)[0])


def points(rows: Iterable[Row], tool: str) -> Points:
    """Return a tool's runs on the family of the fit, sorted by nonzeros."""
    found = sorted(
        (row.nonzeros, result.cpu_seconds, result.cost.adders)
        for row in rows
        if FAMILY in row.name and (result := row.results.get(tool)) and result.cost
    )
    nonzeros, seconds, adders = zip(*found, strict=True) if found else ((), (), ())
    return Points(tool, tuple(nonzeros), tuple(seconds), tuple(adders))


def plot(series: Sequence[Points], python: Path, target: Path) -> None:
    """Draw the series into an image file, with the matplotlib of the bench's environment."""
    data = target.with_suffix(".json")
    text = [
        {"tool": s.tool, "nonzeros": s.nonzeros, "seconds": s.seconds, "adders": s.adders} for s in series
    ]
    data.write_text(json.dumps(text), encoding="utf-8")
    subprocess.run([str(python), str(RUNNERS / "plot_growth.py"), str(data), str(target)], check=True)
