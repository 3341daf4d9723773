# SPDX-License-Identifier: Apache-2.0
"""What a run tells its user: stage lines, messages and progress bars. The plain `Reporter` is silent."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sized
from typing import TYPE_CHECKING, TypeVar

from hsflow.stage import StageEvent

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")

PATIENCE_SECONDS = 2.0
"""A loop that takes longer than this gets a progress bar."""


class Reporter:
    """Be told what happens, and keep silent; subclasses speak."""

    def stage_started(self, event: StageEvent) -> None:
        """Tell that a stage starts to compute."""

    def stage_finished(self, event: StageEvent) -> None:
        """Tell that a stage's result is there, computed or from the store."""

    def log(self, message: str) -> None:
        """Tell a detail (shown at -v)."""

    def info(self, message: str) -> None:
        """Tell what a user wants to know."""

    def warn(self, message: str) -> None:
        """Tell what a user should know even at -q."""

    def track(self, items: Iterable[T], description: str, total: int | None = None) -> Iterable[T]:
        """Iterate over `items`, behind a progress bar if it takes long."""
        return items


class ConsoleReporter(Reporter):
    """Speak to a terminal (standard error, so that standard output stays the result's).

    Args:
        verbosity: -1 quiet, 0 normal, 1 and above verbose.
    """

    def __init__(self, console: Console, verbosity: int = 0) -> None:
        self.console = console
        self.verbosity = verbosity
        self._showing = False

    def stage_started(self, event: StageEvent) -> None:
        """Print the stage's name at -v."""
        self.log(f"{event.kind}: {event.name} starts ({event.key[:12]})")

    def stage_finished(self, event: StageEvent) -> None:
        """Print the stage's name and how long it took."""
        took = "from the store" if event.cached else f"{event.wall_seconds:.1f} s"
        self.info(f"[green]✓[/] {event.kind:<9} {event.name:<12} [dim]{took}[/]")

    def log(self, message: str) -> None:
        """Print a detail at -v."""
        if self.verbosity > 0:
            self.console.print(message, style="dim", markup=False, highlight=False, soft_wrap=True)

    def info(self, message: str) -> None:
        """Print a line of rich markup, except at -q."""
        if self.verbosity >= 0:
            self.console.print(message, highlight=False, soft_wrap=True)

    def warn(self, message: str) -> None:
        """Print a warning."""
        self.console.print("warning:", style="yellow", end=" ", highlight=False)
        self.console.print(message, markup=False, highlight=False, soft_wrap=True)

    def track(self, items: Iterable[T], description: str, total: int | None = None) -> Iterable[T]:
        """Iterate over `items`; after two seconds, show a bar."""
        length = len(items) if total is None and isinstance(items, Sized) else total
        return items if self.verbosity < 0 else self._track(items, description, length)

    def _track(self, items: Iterable[T], description: str, total: int | None) -> Iterator[T]:
        from rich.progress import Progress

        progress = Progress(console=self.console, transient=True, disable=not self.console.is_terminal)
        task = progress.add_task(description, total=total)
        started, shown = time.monotonic(), False
        try:
            for item in items:
                if not (shown or self._showing) and time.monotonic() - started > PATIENCE_SECONDS:
                    progress.start()
                    shown = self._showing = True  # a loop inside this one gets no bar of its own
                yield item
                progress.advance(task)
        finally:
            if shown:
                progress.stop()
                self._showing = False
