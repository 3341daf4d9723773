# SPDX-License-Identifier: Apache-2.0
"""The lowering goal: what it refuses, and how the hardener's options become one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hsflow_harden.stage import HardenOptions

from hsflow.cachekey import stage_keys
from hsflow.config import configure
from hsflow.errors import ConfigurationError
from hsflow.ir.pipeline import ClockCut, LevelCut
from hsflow.lowering import Effort, LoweringGoal, Objective
from hsflow.plugins import PluginManager, load_plugins
from hsflow.stage import StageKind
from hsflow.technology import ASAP7


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"max_depth": -1}, "max_depth is out of range"),
        ({"depth_slack": -1}, "depth_slack is out of range"),
        ({"adder_levels_per_stage": 0}, "adder_levels_per_stage is out of range"),
        ({"max_depth": 3, "depth_slack": 1}, "two bounds"),
    ],
)
def test_a_goal_that_makes_no_sense_is_refused(wrong: dict[str, int], told: str) -> None:
    with pytest.raises(ConfigurationError, match=told):
        LoweringGoal(**wrong)  # type: ignore[arg-type]


def test_the_bounds_themselves_are_goals() -> None:
    assert LoweringGoal(max_depth=0).max_depth == LoweringGoal(depth_slack=0).depth_slack == 0
    assert LoweringGoal(adder_levels_per_stage=1) != LoweringGoal() == LoweringGoal()


def test_the_hardeners_options_become_the_goal() -> None:
    options = HardenOptions(objective="digit-serial", effort="high", depth_slack=1, adder_levels_per_stage=3)  # type: ignore[arg-type]
    assert options.cut(1000.0) == LevelCut(3, 1000.0)
    assert options.goal(LevelCut(3)) == LoweringGoal(Objective.DIGIT_SERIAL, Effort.HIGH, None, 1, 3)


def test_without_levels_the_clock_decides_how_deep_a_stage_is() -> None:
    options = HardenOptions(adder_levels_per_stage=0)  # type: ignore[call-arg]
    assert options.cut(500.0) == ClockCut(500.0, 0.1, ASAP7.delays["TT"])
    assert HardenOptions(adder_levels_per_stage=0, corner="SS", timing_margin=0.3).cut(1.0) == ClockCut(
        1.0, 0.3, ASAP7.delays["SS"]
    )  # type: ignore[call-arg]
    levels = [
        options.goal(options.cut(clock)).adder_levels_per_stage for clock in (100.0, 500.0, 1000.0, 2000.0)
    ]
    assert levels == sorted(levels, reverse=True)
    assert levels[-1] == 1 < levels[-2]
    assert ASAP7.delays["TT"].carry < ASAP7.delays["SS"].carry
    with pytest.raises(ConfigurationError, match=r"no such corner(?s:.*)expected: TT, SS"):
        ASAP7.delays_at("FF")


@pytest.fixture(scope="module")
def plugins() -> PluginManager:
    return load_plugins()


def _key(plugins: PluginManager, **options: Any) -> str:
    configuration = configure({"flow": {"name": "x"}, "harden": options}, plugins, Path())
    return stage_keys(configuration, plugins)[StageKind.HARDEN].key


def test_what_changes_the_graph_changes_the_key_and_the_workers_do_not(plugins: PluginManager) -> None:
    plain = _key(plugins)
    others = [{"effort": "high"}, {"objective": "latency"}, {"max_depth": 9}, {"depth_slack": 0}]
    assert len({plain, *(_key(plugins, **options) for options in others)}) == 5
    assert _key(plugins, workers=3) == plain == _key(plugins, workers=0)


def test_a_flow_that_bounds_the_depth_twice_is_refused(plugins: PluginManager) -> None:
    with pytest.raises(ConfigurationError, match="max_depth and depth_slack"):
        _key(plugins, max_depth=3, depth_slack=1)
    with pytest.raises(ConfigurationError, match="effort"):
        _key(plugins, effort="extreme")
    with pytest.raises(ConfigurationError, match="workers"):
        _key(plugins, workers=-1)
