# SPDX-License-Identifier: Apache-2.0
"""`compare`: the figures of two runs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hsflow.commands.session import session_of
from hsflow.errors import EXIT_FAILURE

if TYPE_CHECKING:
    from rich.console import RenderableType

    from hsflow.comparison import Difference


def compare(
    context: typer.Context,
    before: Annotated[Path, typer.Argument(metavar="A", help="A run's work root, or its metrics.json.")],
    after: Annotated[Path, typer.Argument(metavar="B", help="The run that is compared with it.")],
    fail_if_worse: Annotated[
        float | None,
        typer.Option(
            metavar="PERCENT", min=0.0,
            help="End with exit status 1 if a figure is worse by more than this; times and memory do not count.",
        ),
    ] = None,
) -> None:  # fmt: skip
    """Compare the figures of two runs: each that differs, with its ratio and whether it is better or worse."""
    from hsflow import comparison

    session = session_of(context)
    differences = comparison.compare(comparison.read_run(before), comparison.read_run(after))
    found = [] if fail_if_worse is None else comparison.regressions(differences, fail_if_worse)
    worse = [item.name for item in found]
    data = {"figures": [_row(item) for item in differences], "regressions": worse}
    session.show(data, lambda: _rendered(differences, _titles(before, after)))
    if worse:
        session.reporter.warn(f"worse by more than {fail_if_worse:g} %: {', '.join(worse)}")
        raise typer.Exit(EXIT_FAILURE)


def _titles(before: Path, after: Path) -> tuple[str, str]:
    """Return what tells two paths apart: long titles would leave the figures no room."""
    pairs = zip(before.parts, after.parts, strict=False)
    shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
    return str(Path(*before.parts[shared:])), str(Path(*after.parts[shared:]))


def _rendered(differences: Sequence[Difference], titles: tuple[str, str]) -> RenderableType:
    from hsflow.comparison import Verdict, render

    if all(item.verdict is Verdict.EQUAL for item in differences):
        return f"all {len(differences)} figures are equal"
    return render(differences, titles)


def _row(difference: Difference) -> dict[str, Any]:
    return {
        "name": difference.name,
        "before": difference.before and difference.before.value,
        "after": difference.after and difference.after.value,
        "unit": difference.metric.unit,
        "better": difference.metric.better,
        "ratio": difference.ratio,
        "verdict": str(difference.verdict),
    }
