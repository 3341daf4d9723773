# SPDX-License-Identifier: Apache-2.0
"""Hook implementations of the packager, and the targets that hsflow brings."""

from __future__ import annotations

from pathlib import Path

from hsflow import hookimpl
from hsflow.stage import Stage
from hsflow_fusesoc.stage import PackageStage


@hookimpl
def hsflow_stages() -> list[Stage]:
    """Offer the `fusesoc` packager."""
    return [PackageStage()]


@hookimpl
def hsflow_targets() -> list[tuple[str, str, Path]]:
    """Offer the simulations and lint."""
    from hsflow_targets import FOLDER

    folder = Path(FOLDER) / "verilator"
    return [
        ("sim", "Verilator: every result, the latency and the interval", folder),
        ("stress", "Verilator with random gaps and backpressure", folder),
        ("icarus", "Icarus Verilog", folder),
        ("lint", "Verilator's lint, all warnings", folder),
    ]
