# SPDX-License-Identifier: Apache-2.0
"""Timing constraints of a design, as SDC: what OpenSTA checks is what OpenROAD optimizes."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hsflow.errors import ConfigurationError
from hsflow.templates import render
from hsflow_asap7 import facts

CLOCK = "clock"
"""The clock's name in every script and report."""


@dataclass(frozen=True)
class Constraints:
    """Hold what a design has to meet. Times are in picoseconds.

    Args:
        clock_ps: the clock's period.
        clock_port: the port that it comes in by; None for a design without registers.
        reset_port: a reset, whose paths are not timed: it is released long before it matters.
        io_share: the part of the period that is spent outside, before each input and again after each output.
        uncertainty_ps: what jitter, and skew before there is a clock tree, take from every check.
        edge_ps: the transition time of the clock at registers before there is a clock tree.
    """

    clock_ps: float
    clock_port: str | None = "clk_i"
    reset_port: str | None = "rst_ni"
    io_share: float = 0.2
    uncertainty_ps: float = 0.0
    edge_ps: float = 20.0

    def __post_init__(self) -> None:
        _check("the clock's period", self.clock_ps, 0 < self.clock_ps < math.inf, "more than 0 ps")
        _check("the share of inputs and outputs", self.io_share, 0 <= self.io_share < 0.5, "0 to 0.5")
        _check(
            "the clock's uncertainty",
            self.uncertainty_ps,
            0 <= self.uncertainty_ps < self.clock_ps,
            "0 ps to a period",
        )
        _check("the clock's edge", self.edge_ps, 0 <= self.edge_ps < math.inf, "0 ps or more")

    @property
    def clock_mhz(self) -> float:
        """Return the clock's frequency."""
        return 1e6 / self.clock_ps

    def sdc(self) -> str:
        """Return the constraints as SDC commands, in ps and fF."""
        return render(
            "hsflow_targets",
            "constraints.sdc.j2",
            folder="asap7",
            name=CLOCK,
            constraints=self,
            outside_ps=f"{self.io_share * self.clock_ps:g}",
            driver=facts.ABC_DRIVER,
            load_ff=facts.ABC_LOAD,
        )


def _check(what: str, value: float, good: bool, expected: str) -> None:
    if not good:
        raise ConfigurationError(f"{what} is out of range", got=value, expected=expected)
