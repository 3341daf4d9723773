# SPDX-License-Identifier: Apache-2.0
"""What a kernel will cost, estimated from its matrices: no adder graph is made.

What sharing saves follows from how often a two-term pattern (two inputs, a shift between them, a sign) occurs in a
matrix, and that from the places of its nonzeros and the spread of their exponents. The constants are fitted to graphs
that the optimizer made at effort normal, by `python -m benchmarks.estimate --fit`; without `--fit` it prints the error on
matrices that were not fitted to.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from hsflow.fixedpoint import IntArray, Interval
from hsflow.ir.matrix import count_digits
from hsflow_harden.kernel import KernelFigures, KernelPlan

LEFT_AT_ONE = 0.674
"""The share of the adders that sharing leaves where a pattern occurs at one more place, and surely with a third term."""

LEFT_PER_DOUBLING = 0.0556
"""What each doubling of the occurrences takes from that share."""

LEFT_PER_THIRD = 0.0153
"""What each halving of the chance that a recurring pattern recurs with a third term adds to it."""

WIDTH_BASE = 3.313
WIDTH_PER_SPREAD = 0.363
WIDTH_PER_LEFT = 2.216
"""An adder's bits: the inputs' and `WIDTH_BASE`, more the rarer a pattern is (exponents are spread), fewer the less is shared."""

REGISTERS = 1.02
REGISTERS_PER_LEVELS = 0.579
REGISTERS_PER_LEFT = 0.825
"""Registers over those of separate trees: a factor, and exponents of the levels of a stage and of the share that is left."""

_QUOTIENT_DECIMALS = 9
"""Quotients of integers below 2**14, as logarithms, differ by more."""

_FEWEST = 1e-9


@dataclass(frozen=True)
class MatrixStatistics:
    """Hold what the estimate reads off a matrix, shape (outputs, inputs).

    `digits` and `terms` are the signed digits and the nonzeros of each row that has any. `multiples` are the adders that
    make the odd multiples of each input that occur in its column, once each. `occurrences` is the expected number of
    further places where a two-term pattern of the matrix occurs, or of its transpose if that is more; `collision` the
    chance that two pairs of nonzeros are one pattern; `third` the chance that a further place has a third term as well.
    """

    digits: IntArray
    terms: IntArray
    multiples: int
    occurrences: float
    collision: float
    third: float

    @property
    def adders_before_sharing(self) -> int:
        """Return the adders of separate trees of signed digits."""
        return int((self.digits - 1).sum())

    @property
    def fewest_levels(self) -> int:
        """Return the adder levels of the longest row as a balanced tree."""
        return (int(self.digits.max(initial=1)) - 1).bit_length()


class _Nonzeros(NamedTuple):
    """The nonzeros of a matrix of some shape: where they are, how large, and of how many signed digits."""

    shape: tuple[int, ...]
    rows: IntArray
    columns: IntArray
    magnitudes: IntArray
    digits: IntArray


def statistics(matrix: IntArray) -> MatrixStatistics:
    """Return the statistics of a matrix of integers."""
    rows, columns = np.nonzero(matrix)
    values = matrix[rows, columns]
    found = _Nonzeros(matrix.shape, rows, columns, np.abs(values), count_digits(values[:, np.newaxis]))
    digits, terms = (np.bincount(rows, weights=each).astype(np.int64) for each in (found.digits, None))
    collision = _collision(found)
    partners, third = _partners(found)
    return MatrixStatistics(
        digits[digits > 0],
        terms[terms > 0],
        _multiples(found),
        partners * collision,
        collision,
        third * collision,
    )


def _collision(found: _Nonzeros) -> float:
    """Return the chance that two pairs of numbers have the same quotient, up to a sign.

    A shift that all of a column have in common (of a row, in a wide matrix) changes nothing about patterns, so numbers
    are taken relative to their column's mean exponent.
    """
    side = found.columns if found.shape[0] >= found.shape[1] else found.rows
    power = found.magnitudes & -found.magnitudes
    exponents = np.log2(power)
    means = np.bincount(side, exponents) / np.maximum(np.bincount(side), 1)
    logarithms = np.log2(found.magnitudes // power) + exponents - np.rint(means)[side]
    levels, counts = np.unique(np.round(logarithms, _QUOTIENT_DECIMALS), return_counts=True)
    shares = counts / max(1, counts.sum())
    quotients = np.round(levels[:, np.newaxis] - levels, _QUOTIENT_DECIMALS).reshape(-1)
    _, which = np.unique(quotients, return_inverse=True)
    return float((np.bincount(which, np.outer(shares, shares).reshape(-1)) ** 2).sum() / 2)


def _multiples(found: _Nonzeros) -> int:
    """Return the adders that make the odd multiples of each column's input: a digit less one for each new one."""
    several = found.digits > 1
    magnitudes = found.magnitudes[several]
    odd = magnitudes // (magnitudes & -magnitudes)
    _, first = np.unique(np.stack([found.columns[several], odd]), axis=1, return_index=True)
    return int((found.digits[several][first] - 1).sum())


def _partners(found: _Nonzeros) -> tuple[float, float]:
    """Return how many more rows (or columns, if more) have nonzeros where a pair of nonzeros lies, and how likely one has.

    Means over all pairs of nonzeros in a row; likely is what a row is that has a nonzero in one of the places.
    """
    per_row, per_column = np.bincount(found.rows, minlength=1), np.bincount(found.columns, minlength=1)
    if per_column.max() <= 1:
        return 0.0, 1.0
    used = np.zeros(found.shape, dtype=np.float32)
    used[found.rows, found.columns] = 1
    gram = used @ used.T if len(used) <= used.shape[1] else used.T @ used
    together = float((gram.astype(np.float64) ** 2).sum())
    return max(_excess(together, per_column, per_row), _excess(together, per_row, per_column))


def _excess(together: float, across: IntArray, along: IntArray) -> tuple[float, float]:
    pairs, squares = int((along * (along - 1)).sum()), float((across**2).sum())
    partners = (together - squares) / pairs - 1 if pairs else 0.0
    others = squares / across.sum() - 1
    return (partners, min(1.0, partners / others)) if partners > 0 and others > 0 else (0.0, 1.0)


@dataclass(frozen=True)
class MatrixEstimate:
    """Hold the estimated figures of one matrix; bits are those of all its adders."""

    statistics: MatrixStatistics
    adders: int
    full_adder_bits: int

    def stages(self, levels: int) -> int:
        """Return the stages of `levels` adder levels: those of balanced trees."""
        return -(-self.statistics.fewest_levels // levels)

    def depth(self, levels: int) -> int:
        """Return the adder levels: one more than a balanced tree has, where that takes no further stage."""
        return min(self.statistics.fewest_levels + 1, self.stages(levels) * levels)

    def register_bits(self, levels: int, stages: int) -> int:
        """Return the bits of registers after every `levels` levels, if the kernel has so many stages.

        Separate trees would keep, behind a stage, what its levels left of each row; at the end a sum for each.
        """
        if not self.adders:
            return 0
        left = self.adders / self.statistics.adders_before_sharing
        digits = self.statistics.digits
        values = sum(float(np.maximum(1, digits / 2.0 ** (k * levels)).sum()) for k in range(1, stages + 1))
        factor = REGISTERS * levels**REGISTERS_PER_LEVELS * left**REGISTERS_PER_LEFT
        return round(float(factor * values * self.full_adder_bits / self.adders))


def estimate_matrix(matrix: IntArray, inputs: Sequence[Interval]) -> MatrixEstimate:
    """Return the estimate for one matrix, shape (outputs, inputs), with these ranges of its inputs."""
    found = statistics(matrix)
    before = found.adders_before_sharing
    if not before:
        return MatrixEstimate(found, 0, 0)
    adders = min(before, found.multiples + round(left_share(found) * int((found.terms - 1).sum())))
    input_bits = sum(interval.width for interval in inputs) / len(inputs)
    bits = adder_width(found, adders / before) + input_bits
    return MatrixEstimate(found, adders, round(adders * bits))


def left_share(found: MatrixStatistics) -> float:
    """Return the share of the two-input adders of a matrix's rows that sharing leaves."""
    occurrences, third = max(found.occurrences, _FEWEST), max(found.third, _FEWEST)
    return min(
        1.0, LEFT_AT_ONE - LEFT_PER_DOUBLING * math.log2(occurrences) - LEFT_PER_THIRD * math.log2(third)
    )


def adder_width(found: MatrixStatistics, left: float) -> float:
    """Return the full-adder bits of the mean adder beyond the inputs' bits; `left` is the share of adders left."""
    return WIDTH_BASE - WIDTH_PER_SPREAD * math.log2(max(found.collision, _FEWEST)) - WIDTH_PER_LEFT * left


def estimate_figures(plan: KernelPlan, levels: int) -> KernelFigures:
    """Return what a copy of a kernel would cost with a register every `levels` adder levels."""
    parts = [estimate_matrix(task.matrix, task.inputs) for task in plan.tasks]
    stages = max((part.stages(levels) for part in parts), default=0)
    return KernelFigures(
        stages + 1,
        max((part.depth(levels) for part in parts), default=0),
        sum(part.statistics.adders_before_sharing for part in parts),
        sum(part.adders for part in parts),
        sum(part.full_adder_bits for part in parts),
        sum(part.register_bits(levels, stages) for part in parts),
    )
