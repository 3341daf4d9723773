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
    registers = _register_bits(program, outputs, prices.levels)
    return int(_full_adder_bits(program) * _FULL_ADDER + registers * prices.register)


@compiled
def _full_adder_bits(program: Program) -> int:
    """Return the bits of all adders, as `AdderGraph` defines them."""
    total = 0
    for value in range(program.count[0]):
        if program.depth[value] > 0:
            passed = program.right_shift[value]
            if not program.subtract[value]:
                passed = max(passed, program.left_shift[value])
            total += max(bits(program.low[value], program.high[value]) - passed, 1)
    return total


@compiled
def _register_bits(program: Program, outputs: IntArray, levels: int) -> int:
    """Return the bits of all registers if every adder works as early as it can, or as late, whatever is less.

    Which stage is best for each adder is found out later (`hsflow.ir.placement`), and takes a little less still.
    """
    count = program.count[0]
    stages = (program.depth[:count].max() + levels - 1) // levels
    level = np.full(count, stages * levels)
    for value in range(count - 1, -1, -1):
        if program.depth[value] > 0:
            for operand in (program.left[value], program.right[value]):
                level[operand] = min(level[operand], level[value] - 1)
    level[program.depth[:count] == 0] = 0
    early = _kept_bits(program, outputs, np.maximum(program.depth[:count] - 1, 0) // levels, stages)
    return min(early, _kept_bits(program, outputs, np.maximum(level - 1, 0) // levels, stages))


@compiled
def _kept_bits(program: Program, outputs: IntArray, made: IntArray, stages: int) -> int:
    """Return the bits of all registers, given the stage that makes each value, as `Pipeline` defines them."""
    last = made.copy()
    for value in range(made.size):
        if program.depth[value] > 0:
            for operand in (program.left[value], program.right[value]):
                last[operand] = max(last[operand], made[value])
    for output in outputs[:, 0]:
        if output != NONE:
            last[output] = stages
    total = 0
    for value in range(made.size):
        total += (last[value] - made[value]) * bits(program.low[value], program.high[value])
    return total
