# SPDX-License-Identifier: Apache-2.0
"""List every weight that a sum of at most so many powers of two can be, for rounding by table."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import product

import torch
from torch import Tensor

Terms = tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False)
class Codebook:
    """Hold the representable weights of a window in its own unit, ascending, float32 of shape (codes,).

    `sign` and `exponent` are int8, shape (terms, codes); `bounds` lie midway between neighbours, shape (codes - 1,).
    """

    values: Tensor
    bounds: Tensor
    sign: Tensor
    exponent: Tensor

    def nearest(self, scaled: Tensor) -> Tensor:
        """Return the nearest representable values of `scaled`, which is in the window's unit."""
        return self.values[torch.bucketize(scaled, self.bounds)]

    def codes(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return sign and exponent, shape (terms, *values), of values that are representable."""
        index = torch.bucketize(values, self.bounds)
        return self.sign[:, index], self.exponent[:, index]


@cache
def codebook(levels: int, terms: int) -> Codebook:
    """Return the codes of a window of `levels` exponents; a value that fewer terms can make has zero terms left."""
    best: dict[int, Terms] = {}
    single = [(0, 0), *((sign, exponent) for exponent in range(levels) for sign in (1, -1))]
    for code in product(single, repeat=terms):
        code = tuple(sorted(code, key=lambda term: (term[0] == 0, -term[1])))
        value = sum(sign << exponent for sign, exponent in code)
        if value not in best or _used(code) < _used(best[value]):
            best[value] = code
    values = sorted(best)
    table = torch.tensor([best[value] for value in values], dtype=torch.int8).permute(2, 1, 0)
    exact = torch.tensor(values, dtype=torch.float64)
    bounds = (exact[1:] + exact[:-1]) / 2
    return Codebook(exact.float(), bounds.float(), table[0].contiguous(), table[1].contiguous())


def _used(code: Terms) -> int:
    return sum(sign != 0 for sign, _ in code)
