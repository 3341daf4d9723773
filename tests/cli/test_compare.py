# SPDX-License-Identifier: Apache-2.0
"""`hsflow compare`: what differs between two runs, and an exit status where a figure became worse."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from hsflow import cli, metrics
from hsflow.comparison import Difference, Verdict, compare, read_run, regressions
from hsflow.errors import EXIT_FAILURE, EXIT_OK, EXIT_USAGE, ConfigurationError
from hsflow.metrics import Metric

AREA, SLACK = "synth__design__instance__area", "timing__setup__ws__corner:tt"
BEFORE = {
    AREA: Metric(value=200.0, unit="um^2", better="lower"),
    SLACK: Metric(value=-10.0, unit="ps", better="higher"),
    "synth__runtime__total": Metric(value=1.0, unit="s", better="lower"),
    "power__total": Metric(value=0.5, unit="W", better="lower"),
    "layout__status": Metric(value="skipped"),
    "simulate.images": Metric(value=100),
}


def changed(**values: float | str) -> dict[str, Metric]:
    names = {"area": AREA, "slack": SLACK, "runtime": "synth__runtime__total", "power": "power__total"}
    new = {names.get(name, name): value for name, value in values.items()}
    return {
        name: metric.model_copy(update={"value": new.get(name, metric.value)})
        for name, metric in BEFORE.items()
    }


def verdicts(after: dict[str, Metric]) -> dict[str, Verdict]:
    return {item.name: item.verdict for item in compare(BEFORE, after) if item.verdict is not Verdict.EQUAL}


def test_equal_runs_do_not_differ() -> None:
    assert verdicts(dict(BEFORE)) == {} and regressions(compare(BEFORE, BEFORE), 0.0) == []


def test_each_figure_is_judged_in_its_own_direction() -> None:
    after = changed(area=180.0, slack=-20.0, layout__status="done")
    assert verdicts(after) == {AREA: Verdict.BETTER, SLACK: Verdict.WORSE, "layout__status": Verdict.CHANGED}
    found = {item.name: item for item in compare(BEFORE, after)}
    assert found[AREA].ratio == 0.9 and found[AREA].worsening == pytest.approx(-10)
    assert found[SLACK].worsening == pytest.approx(100)
    assert verdicts(changed(slack=5.0)) == {SLACK: Verdict.BETTER}


def test_a_figure_that_is_gone_is_a_regression_and_a_new_one_is_not() -> None:
    after = {name: metric for name, metric in BEFORE.items() if name != SLACK}
    assert verdicts(after) == {SLACK: Verdict.MISSING}
    assert [item.name for item in regressions(compare(BEFORE, after), 1000.0)] == [SLACK]
    assert regressions(compare(after, BEFORE), 0.0) == []


@pytest.mark.parametrize(("value", "worse"), [(1, math.inf), (0, 0.0)])
def test_nothing_wrong_before_and_something_after_is_infinitely_worse(value: int, worse: float) -> None:
    zero, now = (Metric(value=number, better="lower") for number in (0, value))
    assert Difference("simulate.mismatches", zero, now).worsening == worse


def test_times_and_memory_are_no_regression() -> None:
    assert regressions(compare(BEFORE, changed(runtime=100.0)), 0.0) == []
    assert [item.name for item in regressions(compare(BEFORE, changed(power=0.56)), 10.0)] == ["power__total"]
    assert regressions(compare(BEFORE, changed(power=0.54)), 10.0) == []


def test_one_name_with_two_meanings_is_refused() -> None:
    other = {**BEFORE, AREA: Metric(value=1.0, unit="mm^2", better="lower")}
    with pytest.raises(ConfigurationError, match="two runs mean different things"):
        compare(BEFORE, other)


def test_a_folder_without_figures_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"metrics\.json"):
        read_run(tmp_path)


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    """Return two runs' folders; the second has more area."""
    folders = (tmp_path / "a", tmp_path / "b")
    for folder, figures in zip(folders, (BEFORE, changed(area=221.0)), strict=True):
        folder.mkdir()
        (folder / "metrics.json").write_text(metrics.to_json(figures))
    return folders


def test_the_command_shows_what_differs(runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["compare", *map(str, runs)]) == EXIT_OK
    (line,) = [line.split() for line in capsys.readouterr().out.splitlines() if "__" in line]
    assert line == [AREA, "200", "221", "um^2", "1.105", "worse"]
    assert cli.main(["compare", str(runs[0]), str(runs[0] / "metrics.json")]) == EXIT_OK
    assert capsys.readouterr().out == "all 6 figures are equal\n"


@pytest.mark.parametrize(("percent", "status"), [("10", EXIT_FAILURE), ("11", EXIT_OK), ("-1", EXIT_USAGE)])
def test_the_exit_status_is_asked_for(
    runs: tuple[Path, Path], capsys: pytest.CaptureFixture[str], percent: str, status: int
) -> None:
    assert cli.main(["compare", *map(str, runs), "--fail-if-worse", percent, "--json"]) == status
    output, messages = capsys.readouterr()
    if status == EXIT_FAILURE:
        assert f"worse by more than {percent} %: {AREA}" in messages
        assert json.loads(output)["regressions"] == [AREA]
