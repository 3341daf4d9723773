# SPDX-License-Identifier: Apache-2.0
"""`report`: one HTML file about a design."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hsflow.commands.session import DEFAULT_CONFIG, Config, session_of


def report(
    context: typer.Context,
    config: Config = DEFAULT_CONFIG,
    output: Annotated[Path, typer.Option("--output", "-o", help="The HTML file.")] = Path("report.html"),
    work: Annotated[
        Path, typer.Option(help="The folder whose folders targets ran in; their figures join the report.")
    ] = Path("work"),
    overwrite: Annotated[bool, typer.Option(help="Replace a file that is not a report of hsflow's.")] = False,
) -> None:
    """Write one HTML file about the design: accuracy, cycles, hardware and weights of each layer, simulations."""
    session = session_of(context)
    result = session.project(config).report(output, work, overwrite=overwrite)
    session.reporter.done(f"{output}: the report on {result.design.name}")
    data = {
        "report": str(output),
        "layers": len(result.design.layers),
        "runs": [run.place for run in result.runs],
        "runs_of_other_builds": list(result.foreign_runs),
    }
    session.show(data, lambda: None)
