# SPDX-License-Identifier: Apache-2.0
"""Round weights to what hardware can add: the protocol that any rounding follows, and powers of two.

A rounding writes each weight as a sum of `terms` signed powers of two, `sign * 2**(exponent - fraction)`, with one
`fraction` an output channel and exponents 0..levels-1. Training and export take any object that follows
`WeightRounding`; see `Po2Rounding` for the default.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

_SMALLEST = 1.0
"""The lowest level in a window's own unit; half of it is as near to zero."""

_TOPS_TRIED = 3
"""Windows tried for each channel: the largest weight at the top, and clipped once and twice."""


@dataclass(frozen=True, eq=False)
class RoundedWeight:
    """Hold rounded weights: int8 `sign` and `exponent` of shape (terms, *weight), int64 `fractions` (outputs,)."""

    sign: Tensor
    exponent: Tensor
    fractions: Tensor

    @property
    def values(self) -> Tensor:
        """Return the weights as float32, exactly."""
        exponent = self.exponent - per_output(self.fractions, self.sign.dim() - 1)
        return (self.sign * torch.exp2(exponent.float())).sum(dim=0)


class WeightRounding(Protocol):
    """Turn float weights into sums of signed powers of two.

    A term that a weight does not use has sign 0 and exponent 0. Gradients go around the rounding, which sees detached
    weights.
    """

    @property
    def levels(self) -> int:
        """Return the number of exponents in a window, 1 to 32; exponents lie in 0..levels-1."""

    def place(self, weight: Tensor) -> Tensor:
        """Return each output channel's fraction, int64 (outputs,), for `weight` of shape (outputs, ...).

        The caller may lower a fraction where the accumulator would get finer than the output can show.
        """

    def __call__(self, weight: Tensor, fractions: Tensor) -> RoundedWeight:
        """Round `weight` in the windows that `fractions` place; a zero must stay a zero, or pruning is undone."""


@dataclass(frozen=True)
class Po2Rounding:
    """Round to the nearest of `levels` powers of two or zero; each further term rounds what the ones before left."""

    levels: int = 8
    terms: int = 1

    def place(self, weight: Tensor) -> Tensor:
        """Return the windows with the least squared error; of equals the one that clips less."""
        highest = _nearest_exponent(weight.detach().abs().flatten(1).amax(dim=1)).long()
        candidates = [self.levels - 1 - highest + step for step in range(_TOPS_TRIED)]
        errors = torch.stack([self._error(weight, fractions) for fractions in candidates])
        return torch.stack(candidates).gather(0, errors.argmin(dim=0, keepdim=True))[0]

    def __call__(self, weight: Tensor, fractions: Tensor) -> RoundedWeight:
        """Round `weight`, shape (outputs, ...), in the given windows."""
        rest = weight.detach() * torch.exp2(per_output(fractions, weight.dim()).float())
        signs, exponents = [], []
        for _ in range(self.terms):
            sign, exponent = self._term(rest)
            signs.append(sign.to(torch.int8))
            exponents.append(exponent.to(torch.int8))
            rest = rest - sign * torch.exp2(exponent)
        return RoundedWeight(torch.stack(signs), torch.stack(exponents), fractions)

    def _term(self, rest: Tensor) -> tuple[Tensor, Tensor]:
        magnitude = rest.abs()
        sign = torch.where(magnitude < _SMALLEST / 2, torch.zeros_like(rest), rest.sign())
        exponent = _nearest_exponent(magnitude).clamp(0, self.levels - 1)
        return sign, torch.where(sign == 0, torch.zeros_like(rest), exponent)

    def _error(self, weight: Tensor, fractions: Tensor) -> Tensor:
        difference = self(weight, fractions).values - weight.detach()
        return difference.double().square().flatten(1).sum(dim=1)


def per_output(values: Tensor, dimensions: int) -> Tensor:
    """Return one value an output channel in the shape that broadcasts over a weight of so many dimensions."""
    return values.view(-1, *[1] * (dimensions - 1))


def _nearest_exponent(magnitude: Tensor) -> Tensor:
    """Return the exponent of the nearest power of two, ties upward: that of 1.5 is 1. Zero gets -1."""
    mantissa, exponent = torch.frexp(magnitude)
    nearest = torch.where(mantissa >= 0.75, exponent, exponent - 1).float()
    return torch.where(magnitude > 0, nearest, torch.full_like(nearest, -1.0))
