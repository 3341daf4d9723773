# SPDX-License-Identifier: Apache-2.0
"""What the weights of a layer are: zeros, distinct values, second terms, and how often each exponent is used."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hsflow.fixedpoint import IntArray
from hsflow.ir.graph import Conv, Graph, Po2Weight
from hsflow.ir.matrix import Masks, signed_digits


@dataclass(frozen=True)
class WeightFacts:
    """Hold the counts of one layer.

    They are those of the codes: an output's sum may be multiplied by a factor besides. `second_terms` counts the codes
    that need more than one power of two; `exponents[e]` counts the terms `2**e`, of either sign, before the channel's
    scale. `negative` counts the terms below 0.
    """

    name: str
    weights: int
    zeros: int
    distinct: int
    second_terms: int
    negative: int
    exponents: tuple[int, ...]

    @property
    def terms(self) -> int:
        """Return how many powers of two the weights have."""
        return sum(self.exponents)


def weight_facts(graph: Graph) -> tuple[WeightFacts, ...]:
    """Return the facts of every layer with Po2 weights, in the network's order."""
    return tuple(
        _facts_of(layer.name, layer.weight) for layer in graph.hardened.layers if isinstance(layer, Conv)
    )


def _facts_of(name: str, weight: Po2Weight) -> WeightFacts:
    codes = weight.codes
    masks = signed_digits(codes.reshape(-1, 1))
    negative, positive = (_exponents(mask) for mask in masks[::-1])
    return WeightFacts(
        name=name,
        weights=int(codes.size),
        zeros=int((codes == 0).sum()),
        distinct=int((np.unique(weight.integers) != 0).sum()),
        second_terms=int((weight.terms > 1).sum()),
        negative=int(negative.size),
        exponents=tuple(np.bincount(np.append(negative, positive), minlength=weight.levels).tolist()),
    )


def _exponents(masks: Masks) -> IntArray:
    """Return the places of all bits that are one."""
    return np.concatenate(
        [np.full(int(((masks >> np.uint64(e)) & np.uint64(1)).sum()), e) for e in range(64)]
    )
