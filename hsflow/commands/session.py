# SPDX-License-Identifier: Apache-2.0
"""What every command shares: where results and messages go, the options that several have, and the project."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hsflow.config import FILE_NAME, STAGES, nearest
from hsflow.progress import ConsoleReporter
from hsflow.stage import StageKind

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from hsflow.flow import Selection
    from hsflow.project import Project

DEFAULT_OUTPUT = Path("build")

_PIPE_WIDTH = 400
"""The width of a table in a file or a pipe, where nothing needs to be folded."""


@dataclass(frozen=True)
class Session:
    """Hold how a command speaks: results go to standard output, messages to standard error.

    `verbosity` is -1 (quiet), 0, or 1 and above (verbose); with `as_json` standard output is one JSON object.
    """

    verbosity: int = 0
    as_json: bool = False

    @property
    def console(self) -> Console:
        """Return the console of standard output."""
        return _console(stderr=False)

    @property
    def reporter(self) -> ConsoleReporter:
        """Return who tells the user what happens."""
        return ConsoleReporter(
            _console(stderr=True), -1 if self.as_json and not self.verbosity else self.verbosity
        )

    def project(self, config: Path) -> Project:
        """Return the project of a flow.toml."""
        from hsflow.project import Project

        return Project.open(config, self.reporter)

    def show(self, data: Mapping[str, Any], render: Callable[[], RenderableType | None]) -> None:
        """Show a command's result: as JSON, or for people what `render` returns (nothing at -q)."""
        if self.as_json:
            print(json.dumps(data, sort_keys=True, indent=2, allow_nan=False, default=str))
        elif self.verbosity >= 0 and (renderable := render()) is not None:
            is_text = isinstance(renderable, str)
            # A path may look like markup or an emoji code.
            self.console.print(renderable, soft_wrap=is_text, markup=not is_text, emoji=not is_text)


def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    console = Console(file=sys.stderr if stderr else sys.stdout, highlight=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _PIPE_WIDTH
    return console


def session_of(context: typer.Context) -> Session:
    """Return the session that the program's own options made."""
    return context.obj if isinstance(context.obj, Session) else Session()


def parse_stage(text: str | StageKind) -> StageKind:
    """Return the stage of that name; an unknown one is a usage error that lists the known ones."""
    if text not in STAGES:
        raise typer.BadParameter(f"unknown stage '{text}'; {nearest(text, STAGES)}")
    return StageKind(text)


def selection_of(
    first: StageKind | None, last: StageKind | None, only: StageKind | None, force: Collection[StageKind]
) -> Selection:
    """Return what `--from`, `--to`, `--only` and `--force` select.

    Raises:
        typer.BadParameter: if they contradict each other, which is wrong usage.
    """
    from hsflow.flow import Selection

    if only is not None and (first is not None or last is not None):
        raise typer.BadParameter(f"--only {only} excludes --from and --to")
    end = only or last or STAGES[-1]
    for option, stages in (("--from", () if first is None else (first,)), ("--force", force)):
        for stage in stages:
            if STAGES.index(stage) > STAGES.index(end):
                raise typer.BadParameter(f"{option} {stage}: the run ends before it, after {end}")
    return Selection.of_options(first=first, last=last, only=only, force=force)


def _stage_option(name: str, text: str) -> Any:
    return typer.Option(name, parser=parse_stage, metavar="STAGE", help=text)


Config = Annotated[Path, typer.Option("--config", "-c", help="The flow's configuration.")]
Output = Annotated[Path, typer.Option("--output", "-o", help="The folder of the packaged cores.")]
Overwrite = Annotated[
    bool, typer.Option(help="Replace files in the output that were edited or are not hsflow's.")
]
From = Annotated[StageKind | None, _stage_option("--from", "Run this stage and all after it again.")]
To = Annotated[StageKind | None, _stage_option("--to", "Stop after this stage.")]
Only = Annotated[StageKind | None, _stage_option("--only", "Run this stage again, and stop after it.")]
Force = Annotated[
    list[StageKind] | None, _stage_option("--force", "Run this stage again; may be given several times.")
]
DEFAULT_CONFIG = Path(FILE_NAME)
