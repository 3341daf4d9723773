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
from hsflow.lowering import Effort, LoweringGoal, Objective
from hsflow.plugins import PluginManager, load_plugins
from hsflow.stage import StageKind


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
    assert HardenOptions().goal == LoweringGoal()  # type: ignore[call-arg]
    options = HardenOptions(objective="digit-serial", effort="high", depth_slack=1, adder_levels_per_stage=3)  # type: ignore[arg-type]
    assert options.goal == LoweringGoal(Objective.DIGIT_SERIAL, Effort.HIGH, None, 1, 3)


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
