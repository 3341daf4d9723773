# SPDX-License-Identifier: Apache-2.0
"""What hsflow loads: the stage that this package offers, and an observer of every stage."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from hsflow import hookimpl
from hsflow.stage import Stage, StageEvent

from hsflow_apot.stage import ApotQuantizer

LOG = "HSFLOW_APOT_LOG"
"""The environment variable that names the observer's log file; without it nothing is logged."""


@hookimpl
def hsflow_stages() -> Sequence[Stage]:
    """Offer `quantize = "apot"`."""
    return (ApotQuantizer(),)


@hookimpl
def hsflow_stage_finished(event: StageEvent) -> None:
    """Append a line to the log file; if that fails, hsflow warns once and the run goes on."""
    path = os.environ.get(LOG)
    if path:
        with Path(path).open("a", encoding="utf-8") as log:
            log.write(f"{describe(event)}\n")


def describe(event: StageEvent) -> str:
    """Return one line about a finished stage: which one, how long it took, under which key it is stored."""
    how = "from the store" if event.cached else f"{event.wall_seconds:.2f} s"
    return f"{event.kind} {event.name}: {how}, {event.key}"
