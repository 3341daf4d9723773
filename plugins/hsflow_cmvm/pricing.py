# SPDX-License-Identifier: Apache-2.0
"""Pricing: what a program costs, by the objective."""

from __future__ import annotations

import numpy as np

from hsflow.fixedpoint import IntArray
from hsflow.lowering import LoweringGoal, Objective
from hsflow_cmvm.compiled import compiled
from hsflow_cmvm.summation import Prices, Program
from hsflow_cmvm.terms import NONE, bits

_FULL_ADDER = 16
"""The price of a full-adder bit, the unit of all prices."""

_REGISTER = 18
"""The price of a register bit: 0.2916 against 0.255 um2 with ASAP7's cells."""

_REGISTER_FIRST = 8 * _REGISTER


def register_price(goal: LoweringGoal) -> int:
    """Return the price of a register bit."""
    if goal.objective is Objective.DIGIT_SERIAL:
        return 0
    return _REGISTER_FIRST if goal.objective is Objective.REGISTERS else _REGISTER


def price_of(program: Program, outputs: IntArray, prices: Prices, objective: Objective) -> int:
    """Return the price of a program: that of its adders alone where they all cost the same."""
    if objective is Objective.DIGIT_SERIAL:
        return int(program.count[0])
    adders, registers = _bits(program, outputs, prices.levels)
    return int(adders * _FULL_ADDER + registers * prices.register)


@compiled
def _bits(program: Program, outputs: IntArray, levels: int) -> tuple[int, int]:
    """Return the full-adder bits and the register bits, as `AdderGraph` and `Pipeline` define them."""
    count = program.count[0]
    made = np.maximum(program.depth[:count] - 1, 0) // levels
    last = made.copy()
    stages = (program.depth[:count].max() + levels - 1) // levels
    adders = 0
    for value in range(count):
        if program.depth[value] > 0:
            left, right = program.left[value], program.right[value]
            last[left], last[right] = max(last[left], made[value]), max(last[right], made[value])
            passed = program.right_shift[value]
            if not program.subtract[value]:
                passed = max(passed, program.left_shift[value])
            adders += max(bits(program.low[value], program.high[value]) - passed, 1)
    for output in outputs[:, 0]:
        if output != NONE:
            last[output] = stages
    registers = 0
    for value in range(count):
        registers += (last[value] - made[value]) * bits(program.low[value], program.high[value])
    return adders, registers
