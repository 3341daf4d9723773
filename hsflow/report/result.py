# SPDX-License-Identifier: Apache-2.0
"""What a report is about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hsflow.design import Design
from hsflow.metrics import Metric


@dataclass(frozen=True)
class Run:
    """Hold what one run of a target measured; `place` is its work root as it was named."""

    place: str
    metrics: Mapping[str, Metric]


@dataclass(frozen=True)
class Result:
    """Hold a design with the figures of its stages, the clock it is stated for, and runs of this very design.

    `foreign_runs` names the places of runs that were another build's, whose figures must not be shown.
    """

    design: Design
    metrics: Mapping[str, Metric] = field(default_factory=dict)
    clock_mhz: float = 1000.0
    runs: tuple[Run, ...] = ()
    foreign_runs: tuple[str, ...] = ()

    def figure(self, name: str) -> float | None:
        """Return a number among the metrics, or None if it is not there or no number."""
        metric = self.metrics.get(name)
        value = None if metric is None else metric.value
        return None if value is None or isinstance(value, str) else float(value)
