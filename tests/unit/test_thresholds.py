# SPDX-License-Identifier: Apache-2.0
"""Thresholds: how flow.toml states them, and that a figure beyond one fails a build."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from toy_flow import ToyPlugin, toy_plugins, toy_tables

from hsflow import thresholds
from hsflow.config import configure
from hsflow.errors import ConfigurationError, HsflowError
from hsflow.metrics import Metric
from hsflow.progress import Reporter
from hsflow.project import Project
from hsflow.results import RECORD
from hsflow.thresholds import Threshold

SLACK = "timing__setup__ws__corner:tt"
TABLE = f'harden.adders = {{max = 7}}\nquantize = {{accuracy = {{min = 0.5, max = 1}}}}\n"{SLACK}" = {{min = 0}}\n'
FIGURES = {
    "harden.adders": Metric(value=7, unit="adders"),
    "quantize.accuracy": Metric(value=0.75),
    SLACK: Metric(value=0.0, unit="ps"),
}


def parsed(text: str) -> tuple[dict[str, Threshold], list[str]]:
    problems: list[str] = []
    return thresholds.parse(tomllib.loads(text), problems), problems


def test_names_with_dots_are_tables_or_quoted() -> None:
    found, problems = parsed(TABLE)
    assert not problems and set(found) == set(FIGURES)
    assert found["quantize.accuracy"] == Threshold(least=0.5, largest=1.0)
    assert found == parsed(TABLE.replace("harden.adders", '"harden.adders"'))[0]


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("a = 3", "a: "),
        ("a = {}", "needs a finite min, or max, or both"),
        ("a = {min = 2, max = 1}", "min is above max"),
        ("a = {max = 1, most = 2}", "most: "),
        ('a = {max = "1"}', "max: "),
        ("a = {b = {maximum = 1}}", "a.b.maximum: "),
    ],
)
def test_an_ill_formed_threshold_is_refused(line: str, problem: str) -> None:
    _, problems = parsed(line)
    assert len(problems) == 1 and problem in problems[0] and "{max = 1.0}" in problems[0]


def test_a_figure_at_its_bound_is_right_and_one_beyond_is_wrong() -> None:
    limits, _ = parsed(TABLE)
    thresholds.require(limits, FIGURES, "here")
    for name, value, message in (
        ("harden.adders", 8, "harden.adders is 8 adders; at most 7"),
        (SLACK, -0.5, f"{SLACK} is -0.5 ps; at least 0"),
        ("quantize.accuracy", "good", "quantize.accuracy is 'good', and no number"),
    ):
        wrong = {**FIGURES, name: Metric(value=value, unit=FIGURES[name].unit)}  # type: ignore[arg-type]
        with pytest.raises(HsflowError) as caught:
            thresholds.require(limits, wrong, "here")
        assert message in str(caught.value)


def test_what_a_run_must_measure_is_wrong_where_it_is_not_measured() -> None:
    limits, _ = parsed(TABLE)
    rest = {name: metric for name, metric in FIGURES.items() if name != SLACK}
    thresholds.require(limits, rest, "here")
    with pytest.raises(HsflowError, match=f"{SLACK} was not measured"):
        thresholds.require(limits, rest, "here", lambda name: "__" in name)


def project(folder: Path, **limits: dict[str, float]) -> Project:
    plugins = toy_plugins(ToyPlugin())
    tables = {"thresholds": {"harden": limits}} if limits else {}
    configuration = configure(toy_tables(**tables), plugins, folder)
    return Project.of(configuration, plugins, Reporter())


def test_a_build_beyond_a_threshold_fails_and_can_be_looked_at(tmp_path: Path) -> None:
    with pytest.raises(HsflowError, match="is 7 adders; at most 6"):
        project(tmp_path, adders={"max": 6}).build(tmp_path / "out")
    assert (tmp_path / "out" / "metrics.json").is_file()


def test_the_thresholds_lie_beside_the_figures_until_there_are_none(tmp_path: Path) -> None:
    record = tmp_path / "work" / RECORD
    project(tmp_path, adders={"max": 8}).build(tmp_path / "out", record=record)
    assert thresholds.require_recorded([record], FIGURES, "here") == []
    assert thresholds.require_recorded([record], {}, "here") == ["harden.adders"]
    with pytest.raises(HsflowError, match="at most 8"):
        thresholds.require_recorded([record], {"harden.adders": Metric(value=9)}, "here")
    project(tmp_path).build(tmp_path / "out", record=record)
    assert thresholds.require_recorded([record], {"harden.adders": Metric(value=9)}, "here") == []


def test_a_damaged_record_is_refused(tmp_path: Path) -> None:
    (tmp_path / thresholds.RECORD).write_text('{"a": {"max": "much"}}')
    with pytest.raises(HsflowError, match="ill-formed"):
        thresholds.require_recorded([tmp_path / RECORD], {}, "here")


def test_a_problem_is_told_with_all_others(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"\[thresholds\] a: needs a finite min"):
        configure(toy_tables(thresholds={"a": {}}), toy_plugins(ToyPlugin()), tmp_path)
