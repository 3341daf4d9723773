# SPDX-License-Identifier: Apache-2.0
"""Output scales of at most two signed digits: what a channel's weights may have in common besides a power of two.

Windows of powers of two fit a channel's weights as well as its largest weight happens to lie; a factor between one and
two moves the window to where it fits better, for one adder a channel.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from hsflow_po2.rounding import RoundedWeight, per_output


@dataclass(frozen=True)
class Phase:
    """Hold a factor, `sum of sign << exponent over the digits / 2**fraction`, from 1 to below 2."""

    digits: tuple[tuple[int, int], ...]
    fraction: int

    @property
    def factor(self) -> float:
        """Return the factor, exactly."""
        return sum(sign * 2.0**exponent for sign, exponent in self.digits) / 2.0**self.fraction


ONE = Phase(((1, 0),), 0)
FIVE_QUARTERS = Phase(((1, 2), (1, 0)), 2)
THREE_HALVES = Phase(((1, 1), (1, 0)), 1)
SEVEN_QUARTERS = Phase(((1, 3), (-1, 0)), 2)

PO2 = (ONE,)
CSD = (ONE, FIVE_QUARTERS, THREE_HALVES, SEVEN_QUARTERS)
SCALES = {"po2": PO2, "csd": CSD}
"""The factors that output scales may have, by the option's value."""


def further_exponents(phases: tuple[Phase, ...]) -> int:
    """Return how many exponents above a window's own the digits of `phases` reach."""
    return max(exponent for phase in phases for _, exponent in phase.digits)


def factors(phases: tuple[Phase, ...], which: Tensor) -> Tensor:
    """Return the factor of each phase chosen, of the shape of `which`, which holds places in `phases`."""
    return torch.tensor([phase.factor for phase in phases])[which]


def multiplied(rounded: RoundedWeight, phases: tuple[Phase, ...], which: Tensor) -> RoundedWeight:
    """Return `rounded` times each output's phase, `which` of shape (outputs,), as sums of powers of two."""
    width = max(len(phases[place].digits) for place in set(which.tolist()))
    table = torch.zeros((2, width, len(phases)), dtype=torch.int8)
    for place, phase in enumerate(phases):
        for index, digit in enumerate(phase.digits[:width]):
            table[:, index, place] = torch.tensor(digit, dtype=torch.int8)
    dimensions = rounded.sign.dim() - 1
    signs, exponents = [], []
    for index in range(width):
        sign, exponent = (per_output(part, dimensions) for part in table[:, index, which])
        signs.append(rounded.sign * sign)
        exponents.append(torch.where(signs[-1] == 0, 0, rounded.exponent + exponent))
    fractions = rounded.fractions + torch.tensor([phase.fraction for phase in phases])[which]
    return RoundedWeight(torch.cat(signs), torch.cat(exponents), fractions)
