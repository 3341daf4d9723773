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

from hsflow.design import Resources
from hsflow.fixedpoint import IntArray, Interval
from hsflow.ir.matrix import common_factors, count_digits, sum_ranges
from hsflow.ir.pipeline import Cut
from hsflow.ir.placement import Ends
from hsflow_harden.clocking import levels_to_expect
from hsflow_harden.figures import requantizer_resources
from hsflow_harden.kernel import KernelFigures, KernelPlan, requantizers
from hsflow_harden.registers import ClockRegisters, LevelRegisters, SumTrees, estimate_registers

LEFT_AT_ONE = 0.701
LEFT_PER_DOUBLING = 0.0629
LEFT_PER_SIDE = 0.0105
"""The share of the adders that sharing leaves where a pattern occurs at one more place; what each doubling of such places
takes from it; and what each doubling of the matrix's shorter side adds, for the optimizer finds less in large ones."""

WIDTH_BASE = 3.56
WIDTH_PER_SPREAD = 0.366
WIDTH_PER_LEFT = 2.7
"""An adder's bits: the inputs' and `WIDTH_BASE`, more the rarer a pattern is (exponents are spread), fewer the less is shared."""

HALF_SIGNED, HALF_UNSIGNED = 0.1, 0.2
"""The share of adders' bits that are half adders: above a narrower operand, unless it is extended by its sign."""

_QUOTIENT_DECIMALS = 9
"""Quotients of integers below 2**14, as logarithms, differ by more."""

_FEWEST = 1e-9


@dataclass(frozen=True)
class MatrixStatistics:
    """Hold what the estimate reads off a matrix, shape (outputs, inputs).

    `digits` and `terms` are the signed digits and the nonzeros of each row that has any. `multiples` are the adders that
    make the odd multiples of each input that occur in its column, once each (or the same for the transpose). `occurrences` is the expected number of
    further places where a two-term pattern of the matrix occurs, or of its transpose if that is more; `collision` the
    chance that two pairs of nonzeros are one pattern; `side` the shorter of the sides that nonzeros are in; `readers` the
    nonzeros of a column that has any, on the mean. All this is of rows over their common factors, whose signed digits
    `factors` counts, one for each row that has none.
    """

    digits: IntArray
    terms: IntArray
    multiples: int
    occurrences: float
    collision: float
    side: int
    readers: float
    factors: IntArray

    @property
    def multiplications(self) -> int:
        """Return the adders that multiply the rows' sums by their factors."""
        return int((self.factors - 1).sum())

    @property
    def adders_before_sharing(self) -> int:
        """Return the adders of separate trees of signed digits, and of the factors."""
        return int((self.digits - 1).sum()) + self.multiplications

    @property
    def fewest_levels(self) -> int:
        """Return the adder levels of the longest row as a balanced tree, and of the longest factor."""
        return sum((int(each.max(initial=1)) - 1).bit_length() for each in (self.digits, self.factors))


class _Nonzeros(NamedTuple):
    """The nonzeros of a matrix of some shape: where they are, how large, and of how many signed digits."""

    shape: tuple[int, ...]
    rows: IntArray
    columns: IntArray
    magnitudes: IntArray
    digits: IntArray


def statistics(matrix: IntArray) -> MatrixStatistics:
    """Return the statistics of a matrix of integers, without the factors that its rows' sums are multiplied by."""
    factors = common_factors(matrix)[:, np.newaxis]
    matrix = matrix // factors
    rows, columns = np.nonzero(matrix)
    values = matrix[rows, columns]
    found = _Nonzeros(matrix.shape, rows, columns, np.abs(values), count_digits(values[:, np.newaxis]))
    digits, terms = (np.bincount(rows, weights=each).astype(np.int64) for each in (found.digits, None))
    collision = _collision(found)
    return MatrixStatistics(
        digits[digits > 0],
        terms[terms > 0],
        _multiples(found),
        _partners(found) * collision,
        collision,
        min(int(np.count_nonzero(np.bincount(side))) for side in (rows, columns)),
        len(columns) / max(1, int(np.count_nonzero(np.bincount(columns)))),
        count_digits(factors),
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
    """Return the adders that make odd multiples: a digit less one for each new one of a column.

    Or of a row, if these are fewer: a network of adders turned around computes the transpose.
    """
    several = found.digits > 1
    magnitudes, further = found.magnitudes[several], found.digits[several] - 1
    odd = magnitudes // (magnitudes & -magnitudes)

    def adders(side: IntArray) -> int:
        _, first = np.unique(np.stack([side[several], odd]), axis=1, return_index=True)
        return int(further[first].sum())

    return min(adders(found.columns), adders(found.rows))


def _partners(found: _Nonzeros) -> float:
    """Return how many further rows (or columns, if more) have nonzeros where a pair of nonzeros lies, on the mean."""
    per_row, per_column = np.bincount(found.rows, minlength=1), np.bincount(found.columns, minlength=1)
    if per_column.max() <= 1:
        return 0.0
    used = np.zeros(found.shape, dtype=np.float32)
    used[found.rows, found.columns] = 1
    gram = used @ used.T if len(used) <= used.shape[1] else used.T @ used
    together = float((gram.astype(np.float64) ** 2).sum())
    return max(_excess(together, per_column, per_row), _excess(together, per_row, per_column), 0.0)


def _excess(together: float, across: IntArray, along: IntArray) -> float:
    pairs = int((along * (along - 1)).sum())
    return (together - float((across**2).sum())) / pairs - 1 if pairs else 0.0


@dataclass(frozen=True)
class MatrixEstimate:
    """Hold the estimated figures of one matrix; bits are those of all its adders, `widths` those of each sum."""

    statistics: MatrixStatistics
    adders: int
    full_adder_bits: int
    input_bits: int
    widths: IntArray

    def depth(self, levels: int) -> int:
        """Return the adder levels: one more than a balanced tree has, where that takes no further stage of `levels`."""
        fewest = self.statistics.fewest_levels
        return min(fewest + 1, -(-fewest // levels) * levels)

    def registers(self, cut: Cut, ends: Ends) -> LevelRegisters | ClockRegisters:
        """Return the estimate of the registers."""
        found = self.statistics
        trees = SumTrees(
            found.fewest_levels,
            found.digits,
            self.widths,
            self.full_adder_bits / max(1, self.adders),
            self.adders / found.adders_before_sharing if self.adders else 1.0,
            self.input_bits,
            found.readers,
        )
        return estimate_registers(trees, cut, ends)


def estimate_matrix(matrix: IntArray, inputs: Sequence[Interval]) -> MatrixEstimate:
    """Return the estimate for one matrix, shape (outputs, inputs), with these ranges of its inputs."""
    found = statistics(matrix)
    before = found.adders_before_sharing
    input_bits, widths = sum(interval.width for interval in inputs), _result_widths(matrix, inputs)
    if not before:
        return MatrixEstimate(found, 0, 0, input_bits, widths)
    shared = found.multiples + round(left_share(found) * int((found.terms - 1).sum()))
    adders = min(before, shared + found.multiplications)
    bits = adder_width(found, adders / before) + input_bits / len(inputs)
    return MatrixEstimate(found, adders, round(adders * bits), input_bits, widths)


def _result_widths(matrix: IntArray, inputs: Sequence[Interval]) -> IntArray:
    """Return the bits of the sum of each row that has any nonzero, without those that are always zero."""
    matrix = matrix[matrix.any(axis=1)]
    widths = np.array([interval.width for interval in sum_ranges(matrix, inputs)], np.int64)
    together = np.bitwise_or.reduce(matrix, axis=1)
    zeros = np.log2(together & -together).astype(np.int64)
    left: IntArray = np.maximum(widths - zeros, 1)
    return left


def left_share(found: MatrixStatistics) -> float:
    """Return the share of the two-input adders of a matrix's rows that sharing leaves."""
    occurrences = math.log2(max(found.occurrences, _FEWEST))
    side = math.log2(max(found.side, 1))
    return min(1.0, LEFT_AT_ONE - LEFT_PER_DOUBLING * occurrences + LEFT_PER_SIDE * side)


def adder_width(found: MatrixStatistics, left: float) -> float:
    """Return the full-adder bits of the mean adder beyond the inputs' bits; `left` is the share of adders left."""
    return WIDTH_BASE - WIDTH_PER_SPREAD * math.log2(max(found.collision, _FEWEST)) - WIDTH_PER_LEFT * left


def estimate_figures(plan: KernelPlan, cut: Cut, ends: Ends) -> KernelFigures:
    """Return what a copy of a kernel would cost, cut by registers between what `ends` tells."""
    parts = [estimate_matrix(task.matrix, task.inputs) for task in plan.tasks]
    registers = [part.registers(cut, ends) for part in parts]
    stages = max((each.stages for each in registers), default=0)
    bits = sum(each.bits(stages) for each in registers)
    return KernelFigures(
        stages + 1,
        max((part.depth(levels_to_expect(cut)) for part in parts), default=0),
        sum(part.statistics.adders_before_sharing for part in parts),
        sum(part.adders for part in parts),
        sum(part.full_adder_bits for part in parts),
        bits,
        _tile_resources(plan, parts, bits) + _requantizing(plan),
    )


def _tile_resources(plan: KernelPlan, parts: Sequence[MatrixEstimate], registers: int) -> Resources:
    """Return what the adders and registers are made of: which sums are too long for the clock is not known."""
    found = Resources(tile_registers=registers)
    for task, part in zip(plan.tasks, parts, strict=True):
        signed = sum(interval.signed for interval in task.inputs) / len(task.inputs)
        share = HALF_SIGNED * signed + HALF_UNSIGNED * (1 - signed)
        half = round(share * part.full_adder_bits)
        found += Resources(full_adders=part.full_adder_bits - half, half_adders=half)
    return found


def _requantizing(plan: KernelPlan) -> Resources:
    """Return what the requantizers are made of, which is exact: the sums' ranges follow from the matrices."""
    found, channels = Resources(), requantizers(plan.layer, plan.sources)
    for block, task in zip(plan.blocks, plan.tasks, strict=True):
        together = np.bitwise_or.reduce(block.matrix, axis=1)
        sums = sum_ranges(block.matrix, task.inputs)
        for row, channel in enumerate(block.channels):
            zeros = int(together[row] & -together[row]).bit_length() - 1
            each = channels[channel]
            if zeros >= 0:
                found += requantizer_resources(
                    sums[row], zeros, each.bias, each.shift, plan.layer.output.width
                )
    return found
