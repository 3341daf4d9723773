# SPDX-License-Identifier: Apache-2.0
"""What a run tells its user: stage lines, messages and progress bars. The plain `Reporter` is silent."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sized
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TypeVar

from hsflow.stage import StageEvent

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TextColumn

T = TypeVar("T")

Description = str | Callable[[], str]
"""What a progress bar tells: a text, or a function that returns it and is called after each item."""


class Track(Protocol):
    """Be a progress bar around an iteration, as `Reporter.track` and `StageContext.track` are."""

    def __call__(self, items: Iterable[T], description: Description, total: int | None = None) -> Iterable[T]:
        """Iterate over `items`; a function is asked for the text at each item."""


def untracked(items: Iterable[T], description: Description, total: int | None = None) -> Iterable[T]:
    """Be the `Track` that shows nothing."""
    return items


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

    def done(self, message: str) -> None:
        """Tell that something a user asked for is done."""

    def warn(self, message: str) -> None:
        """Tell what a user should know even at -q."""

    def track(self, items: Iterable[T], description: Description, total: int | None = None) -> Iterable[T]:
        """Iterate over `items`, behind a progress bar if it takes long; a function is asked for the text at each item."""
        return items


class ConsoleReporter(Reporter):
    """Speak to a terminal (standard error, so that standard output stays the result's).

    Args:
        verbosity: -1 quiet, 0 normal, 1 and above verbose.
    """

    def __init__(self, console: Console, verbosity: int = 0) -> None:
        self.console = console
        self.verbosity = verbosity
        self._tracking = False

    def stage_started(self, event: StageEvent) -> None:
        """Print the stage's name at -v."""
        self.log(f"{event.kind}: {event.name} starts ({event.key[:12]})")

    def stage_finished(self, event: StageEvent) -> None:
        """Print the stage's name and how long it took."""
        took = "from the store" if event.cached else f"{event.wall_seconds:.1f} s"
        self._done(f"{event.kind:<9} {event.name:<12} ", took)

    def log(self, message: str) -> None:
        """Print a detail at -v."""
        if self.verbosity > 0:
            self._print((message, "dim"))

    def info(self, message: str) -> None:
        """Print a line, except at -q."""
        if self.verbosity >= 0:
            self._print(message)

    def done(self, message: str) -> None:
        """Print a line behind a tick, except at -q."""
        self._done(message)

    def warn(self, message: str) -> None:
        """Print a warning."""
        self._print(("warning:", "yellow"), f" {message}")

    def _done(self, message: str, detail: str = "") -> None:
        if self.verbosity >= 0:
            self._print(("✓", "green"), f" {message}", (detail, "dim"))

    def _print(self, *parts: str | tuple[str, str]) -> None:
        """Print texts, some with a style; nothing in them is markup or an emoji code, since paths may look so."""
        from rich.text import Text

        self.console.print(Text.assemble(*parts), soft_wrap=True)

    def track(self, items: Iterable[T], description: Description, total: int | None = None) -> Iterable[T]:
        """Iterate over `items`; after two seconds, show a bar."""
        length = len(items) if total is None and isinstance(items, Sized) else total
        if self.verbosity < 0 or not self.console.is_terminal:
            return items
        return self._track(items, description, length)

    def _track(self, items: Iterable[T], description: Description, total: int | None) -> Iterator[T]:
        if self._tracking:
            yield from items  # a loop inside another one gets no bar of its own
            return
        self._tracking = True
        bar = _LateBar(self.console, description, total)
        try:
            for item in items:
                yield item
                bar.advance()
        finally:
            bar.end()
            self._tracking = False


class _LateBar:
    """Be a progress bar that a timer shows: a loop's first item may be the one that takes long."""

    def __init__(self, console: Console, description: Description, total: int | None) -> None:
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        columns = (_description(TextColumn), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns, console=console, transient=True)
        self._description = description
        self._task = self._progress.add_task(self._text(), total=total)
        self._lock = threading.Lock()
        self._ended = False
        self._timer = threading.Timer(PATIENCE_SECONDS, self._show)
        self._timer.daemon = True
        self._timer.start()

    def advance(self) -> None:
        """Count an item."""
        self._progress.update(self._task, advance=1, description=self._text())

    def _text(self) -> str:
        return self._description if isinstance(self._description, str) else self._description()

    def end(self) -> None:
        """Remove the bar, or let it never be shown."""
        self._timer.cancel()
        with self._lock:
            self._ended = True
            if self._progress.live.is_started:
                self._progress.stop()

    def _show(self) -> None:
        with self._lock:
            if not self._ended:
                self._progress.start()


def _description(column: type[TextColumn]) -> TextColumn:
    """Return the column of a task's description, which is no markup."""
    return column("{task.description}", markup=False)


@contextmanager
def waiting(description: str) -> Iterator[None]:
    """Show on a terminal (standard error) that the block is still at work, and for how long."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    columns = (SpinnerColumn(), _description(TextColumn), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        progress.add_task(description, total=None)
        yield
