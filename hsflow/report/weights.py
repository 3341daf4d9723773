# SPDX-License-Identifier: Apache-2.0
"""What the weights of a layer are: zeros, distinct values, second terms, and how often each exponent is used."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hsflow.ir.graph import Conv, Graph, Po2Weight


@dataclass(frozen=True)
class WeightFacts:
    """Hold the counts of one layer.

    `second_terms` counts the weights that are a sum of more than one power of two; `exponents[e]` counts the terms
    `2**e`, of either sign, before the channel's scale. `negative` counts the terms below 0.
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
    sign, exponent, integers = weight.sign.array, weight.exponent.array, weight.integers
    used = sign != 0
    values = np.unique(integers)
    return WeightFacts(
        name=name,
        weights=int(integers.size),
        zeros=int((integers == 0).sum()),
        distinct=int((values != 0).sum()),
        second_terms=int((used.sum(axis=0) > 1).sum()),
        negative=int((sign < 0).sum()),
        exponents=tuple(np.bincount(exponent[used], minlength=weight.levels).tolist()),
    )
