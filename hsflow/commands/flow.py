# SPDX-License-Identifier: Apache-2.0
"""`new`, `build` and `run`: from nothing to files, and from files to a running target."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from hsflow.commands.session import (
    DEFAULT_CONFIG,
    DEFAULT_OUTPUT,
    Config,
    Force,
    From,
    Only,
    Output,
    Overwrite,
    To,
    selection_of,
    session_of,
)
from hsflow.process import output_as_messages
from hsflow.results import RECORD
from hsflow.targets import Target

TARGET_LOG = "run.log"
"""What a target's programs say at -q, in its work root."""


def new(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="The design's name; also the new folder's.")],
) -> None:
    """Start a project: write a commented flow.toml into a new folder."""
    from hsflow.plugins import load_plugins
    from hsflow.starter import write_starter

    path = write_starter(Path(name), name, load_plugins())
    session_of(context).show(
        {"config": str(path)}, lambda: f"{path} is written; next:\n  cd {name}\n  hsflow build"
    )


def build(
    context: typer.Context,
    config: Config = DEFAULT_CONFIG,
    output: Output = DEFAULT_OUTPUT,
    first: From = None,
    last: To = None,
    only: Only = None,
    force: Force = None,
    overwrite: Overwrite = False,
    record: Annotated[
        Path | None, typer.Option(help="Write all figures, wall times included, into this file.")
    ] = None,
    table: Annotated[bool, typer.Option(help="Print the table of figures.")] = True,
) -> None:
    """Run the flow and write the packaged cores; stages whose result is in the store are not run again."""
    from hsflow import metrics

    session = session_of(context)
    selection = selection_of(first, last, only, force or ())
    result, changed = session.project(config).build(output, selection, overwrite=overwrite, record=record)
    packaged = selection.last in result.artifacts and selection.last == "package"
    if packaged:
        session.reporter.done(f"{output}: {len(changed)} files changed")
    session.show(
        _summary(result, output if packaged else None),
        lambda: metrics.render(result.metrics) if table else None,
    )


def run(
    context: typer.Context,
    target: Annotated[str, typer.Argument(help="A target of the packaged core, such as `sim`.")],
    arguments: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[-- EXTRA...]", help="Words for the target: `-- --images 20 --gap_percent 30`."
        ),
    ] = None,
    config: Config = DEFAULT_CONFIG,
    output: Output = DEFAULT_OUTPUT,
    work_root: Annotated[
        Path | None, typer.Option(help="Where the target is built and run; by default work/TARGET.")
    ] = None,
    platform: Annotated[
        Path | None,
        typer.Option(help="The cell library's folder, for a target that needs one, such as `asap7`."),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Build what has changed, then run a target: a simulation, or another flow of FuseSoC."""
    session = session_of(context)
    project = session.project(config)
    words = [*_platform_words(project.check_target(target), platform), *(arguments or ())]
    place = work_root or Path("work") / target
    project.build(output, overwrite=overwrite, record=place / RECORD)
    log = place / TARGET_LOG if session.verbosity < 0 else None
    with output_as_messages() if session.as_json else nullcontext():
        found = project.run_target(target, output, place, arguments=words, log=log)
    figures = {name: metric.model_dump() for name, metric in found.items()}
    summary = {"target": target, "work_root": str(place), "status": 0, "metrics": figures}
    session.show(summary, lambda: None)


def _platform_words(target: Target, platform: Path | None) -> list[str]:
    if platform is None:
        return []
    if not target.takes_platform:
        raise typer.BadParameter(f"the target '{target.name}' takes no --platform")
    return [f"--platform={platform.expanduser().resolve()}"]


def _summary(result: Any, output: Path | None) -> dict[str, Any]:
    return {
        "output": None if output is None else str(output),
        "metrics": {name: metric.model_dump() for name, metric in result.metrics.items()},
        "stages": [
            {"stage": str(event.kind), "name": event.name, "key": event.key, "cached": event.cached}
            for event in result.events
        ],
    }
