# SPDX-License-Identifier: Apache-2.0
"""What a terminal shows: texts as they are, and a bar for whatever takes long, its first item included."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator

import pytest
from rich.console import Console

from hsflow import metrics, progress
from hsflow.metrics import Metric
from hsflow.progress import ConsoleReporter, waiting

HOSTILE = "a[red]b[/x] :smile: [link=file:///etc]c"


@pytest.fixture
def screen() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def reporter(screen: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> ConsoleReporter:
    monkeypatch.setattr(progress, "PATIENCE_SECONDS", 0.05)
    return ConsoleReporter(Console(file=screen, force_terminal=True, width=200), verbosity=1)


def test_no_text_is_taken_for_markup(reporter: ConsoleReporter, screen: io.StringIO) -> None:
    for tell in (reporter.info, reporter.done, reporter.warn, reporter.log):
        tell(HOSTILE)
        assert HOSTILE in screen.getvalue()
        screen.truncate(0)
    assert list(reporter.track([1], HOSTILE)) == [1]


def test_a_figure_is_no_markup_either(screen: io.StringIO) -> None:
    figures = {"load.model": Metric(value=HOSTILE, unit="[bold]")}
    Console(file=screen, width=200).print(metrics.render(figures))
    assert HOSTILE in screen.getvalue() and "[bold]" in screen.getvalue()


def _slow(count: int, seconds: float) -> Iterator[int]:
    for item in range(count):
        time.sleep(seconds)
        yield item


def test_a_first_item_that_takes_long_gets_a_bar(reporter: ConsoleReporter, screen: io.StringIO) -> None:
    items = iter(reporter.track(range(2), HOSTILE))
    assert next(items) == 0
    time.sleep(0.4)
    assert HOSTILE in screen.getvalue()
    assert list(items) == [1]
    assert screen.getvalue().endswith("\x1b[2K"), "the bar is gone at the end"


def test_a_text_that_is_made_anew_follows_the_items(reporter: ConsoleReporter, screen: io.StringIO) -> None:
    done: list[int] = []
    for item in reporter.track(_slow(3, 0.3), lambda: f"{len(done)} done, {HOSTILE}"):
        done.append(item)
    assert f"0 done, {HOSTILE}" in screen.getvalue()
    assert f"2 done, {HOSTILE}" in screen.getvalue()


def test_what_is_quick_gets_none(reporter: ConsoleReporter, screen: io.StringIO) -> None:
    assert list(reporter.track(range(3), "quick")) == [0, 1, 2]
    time.sleep(0.1)
    assert screen.getvalue() == ""


def test_a_loop_inside_one_gets_no_bar_of_its_own_and_the_next_one_does(
    reporter: ConsoleReporter, screen: io.StringIO
) -> None:
    for _ in reporter.track(range(2), "outer"):
        list(reporter.track(_slow(2, 0.1), "inner"))
    assert "outer" in screen.getvalue() and "inner" not in screen.getvalue()
    list(reporter.track(_slow(2, 0.1), "next"))
    assert "next" in screen.getvalue()


def test_a_pipe_gets_no_bar_and_a_quiet_terminal_neither(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "PATIENCE_SECONDS", 0.01)
    for terminal, verbosity in ((False, 1), (True, -1)):
        screen = io.StringIO()
        reporter = ConsoleReporter(Console(file=screen, force_terminal=terminal), verbosity)
        assert list(reporter.track(_slow(2, 0.1), "slow")) == [0, 1]
        assert screen.getvalue() == ""


def test_waiting_is_seen_on_a_terminal_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with waiting(HOSTILE):
        pass
    assert capsys.readouterr() == ("", "")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    with waiting(HOSTILE):
        time.sleep(0.2)
    out, err = capsys.readouterr()
    assert not out and "a[red]b[/x]" in err
