# SPDX-License-Identifier: Apache-2.0
"""Hook implementations of the flow onto ASAP7."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hsflow import hookimpl
from hsflow.targets import Target

if TYPE_CHECKING:
    from hsflow.report.content import Section
    from hsflow.report.result import Result

IMAGES = 100
"""How many images a netlist is simulated on: gates are simulated a hundred times slower than RTL."""

TARGET = Target(
    "asap7",
    "ASAP7: synthesis, proof, gate-level simulation, timing, power and layout",
    "asap7",
    plusargs={"images": IMAGES},
    design_on_top=True,
    takes_platform=True,
)


@hookimpl
def hsflow_targets() -> tuple[Target, ...]:
    """Offer the target `asap7`."""
    return (TARGET,)


@hookimpl
def hsflow_report_sections(result: Result) -> list[Section]:
    """Show what the runs of the flow measured."""
    from hsflow_asap7.report import chip_sections

    return chip_sections(result)
