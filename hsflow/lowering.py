# SPDX-License-Identifier: Apache-2.0
"""What an adder graph is to be good at: the goal that the hardener gives to whoever lowers a matrix."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from hsflow.errors import ConfigurationError

COMBINATIONAL = 64
"""The adder levels of a pipeline stage that no graph is deep enough to leave: a goal without registers."""


class Effort(StrEnum):
    """Name how long an optimizer may search: the higher, the fewer and narrower the adders."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


class Objective(StrEnum):
    """Name what an adder graph must have little of.

    `area`: full-adder bits and register bits; `registers`: register bits before all; `latency`: adder levels before all;
    `digit-serial`: adders, which all cost the same there, whatever their width.
    """

    AREA = "area"
    REGISTERS = "registers"
    LATENCY = "latency"
    DIGIT_SERIAL = "digit-serial"


@dataclass(frozen=True)
class LoweringGoal:
    """Hold what to optimize, how hard, and within which depth.

    Args:
        objective: what the graph must have little of.
        effort: how long to search.
        max_depth: the adder levels that any path may have; None leaves it to the optimizer.
        depth_slack: the same, as levels above the fewest that the matrix needs.
        adder_levels_per_stage: the adder levels between two pipeline registers, which price a register.

    Raises:
        ConfigurationError: if a number is out of range, or both bounds of the depth are given.
    """

    objective: Objective = Objective.AREA
    effort: Effort = Effort.NORMAL
    max_depth: int | None = None
    depth_slack: int | None = None
    adder_levels_per_stage: int = 2

    def __post_init__(self) -> None:
        _check_at_least("max_depth", self.max_depth, 0)
        _check_at_least("depth_slack", self.depth_slack, 0)
        _check_at_least("adder_levels_per_stage", self.adder_levels_per_stage, 1)
        if self.max_depth is not None and self.depth_slack is not None:
            raise ConfigurationError(
                "the depth has two bounds",
                where="the lowering goal",
                got=f"max_depth {self.max_depth} and depth_slack {self.depth_slack}",
                expected="one of them",
            )


def _check_at_least(name: str, value: int | None, least: int) -> None:
    if value is not None and value < least:
        raise ConfigurationError(
            f"{name} is out of range", where="the lowering goal", got=value, expected=f"{least} or more"
        )
