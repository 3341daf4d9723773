# SPDX-License-Identifier: Apache-2.0
"""Round weights to additive powers of two.

Source: Li, Dong, Wang, "Additive Powers-of-Two Quantization: An Efficient Non-uniform Discretization for Neural
Networks", ICLR 2020, section 2.2: a weight is a sign times a sum of terms, each zero or a power of two from a set of its
own; the sets interleave. With 8 levels, term 0 has the exponents 0, 2, 4, 6 and term 1 has 1, 3, 5, 7.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import product

import torch
from hsflow_po2.rounding import RoundedWeight, per_output
from torch import Tensor

_COARSER_BY = (1, 0, -1)
"""Windows tried for each channel, the ones that clip less first; in the first nothing is clipped."""


@dataclass(frozen=True, eq=False)
class Codebook:
    """Hold every magnitude that a window has, rising from zero, with its terms.

    `magnitudes` is float32 (n,), exact; `midpoints` (n - 1,) lies between them; `present` (0 or 1) and `exponents` are int8
    (terms, n); an absent term has exponent 0.
    """

    magnitudes: Tensor
    midpoints: Tensor
    present: Tensor
    exponents: Tensor


@dataclass(frozen=True)
class ApotRounding:
    """Round to the nearest sum of `terms` powers of two; it follows `hsflow_po2.rounding.WeightRounding`.

    `levels` is at most 16, so that a weight and the middle between two of them are exact in float32.
    """

    levels: int = 8
    terms: int = 2

    @property
    def exponent_sets(self) -> tuple[range, ...]:
        """Return each term's exponents: every `terms`-th one, beginning with the term's own number."""
        return tuple(range(term, self.levels, self.terms) for term in range(self.terms))

    @cached_property
    def codebook(self) -> Codebook:
        """Return all magnitudes. No two choices of exponents have one sum, since each has its own binary digits."""
        choices = list(product(*((None, *exponents) for exponents in self.exponent_sets)))
        choices.sort(key=_magnitude)
        magnitudes = torch.tensor([_magnitude(choice) for choice in choices], dtype=torch.float32)
        return Codebook(
            magnitudes,
            (magnitudes[1:] + magnitudes[:-1]) / 2,
            torch.tensor([[e is not None for e in choice] for choice in choices], dtype=torch.int8).T,
            torch.tensor([[e or 0 for e in choice] for choice in choices], dtype=torch.int8).T,
        )

    def place(self, weight: Tensor) -> Tensor:
        """Return the windows with the least squared error; of equals the one that clips less."""
        largest = weight.detach().abs().flatten(1).amax(dim=1)
        middle = self.levels - torch.frexp(largest).exponent.long()
        candidates = torch.stack([middle - coarser for coarser in _COARSER_BY])
        errors = torch.stack([self._error(weight, fractions) for fractions in candidates])
        return candidates.gather(0, errors.argmin(dim=0, keepdim=True))[0]

    def __call__(self, weight: Tensor, fractions: Tensor) -> RoundedWeight:
        """Round `weight`, shape (outputs, ...), in the given windows; what is halfway goes away from zero."""
        book = self.codebook
        scaled = weight.detach() * torch.exp2(per_output(fractions, weight.dim()).float())
        nearest = torch.bucketize(scaled.abs(), book.midpoints, right=True)
        sign = scaled.sign().to(torch.int8) * book.present[:, nearest]
        return RoundedWeight(sign, book.exponents[:, nearest], fractions)

    def _error(self, weight: Tensor, fractions: Tensor) -> Tensor:
        difference = self(weight, fractions).values - weight.detach()
        return difference.double().square().flatten(1).sum(dim=1)


def _magnitude(exponents: tuple[int | None, ...]) -> int:
    return sum(1 << exponent for exponent in exponents if exponent is not None)
