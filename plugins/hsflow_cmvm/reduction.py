# SPDX-License-Identifier: Apache-2.0
"""Reduction: rows that are equal up to a shift and a sign are computed once, and columns that are so are added first."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hsflow.fixedpoint import IntArray


class Rows(NamedTuple):
    """Hold the distinct rows, and for each row of the whole which one it is, shifted left and negated (1) how."""

    matrix: IntArray
    which: IntArray
    shift: IntArray
    minus: IntArray


class Merge(NamedTuple):
    """Add two columns before anything else: `first ± (second << offset)` becomes a column of its own."""

    first: int
    second: int
    offset: int
    minus: int


def distinct_rows(matrix: IntArray) -> Rows:
    """Return the rows without common factors of two, each once, with the sign and in the order of its first occurrence."""
    shift = _common_shift(matrix)
    minus = (_first_entry(matrix) < 0).astype(np.int64)
    normal = (matrix >> shift[:, None]) * (1 - 2 * minus)[:, None]
    _, first, which = np.unique(normal, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(first)
    which = np.argsort(order)[which.reshape(-1)]
    sign = minus[first[order]]
    return Rows(normal[first[order]] * (1 - 2 * sign)[:, None], which, shift, minus ^ sign[which])


def merged_columns(matrix: IntArray) -> tuple[IntArray, tuple[Merge, ...]]:
    """Add pairs of columns that are equal up to a shift and a sign, then pairs of sums, until none is left.

    The matrix that is returned has a further column for each merge and zeros where a column was merged. Only sums of the
    same number of inputs are added, so no row becomes deeper.
    """
    merges: list[Merge] = []
    level = np.arange(matrix.shape[1])
    while level.size > 1:
        pairs = _equal_pairs(matrix, level)
        start = matrix.shape[1]
        added = [_sum_of(matrix, merge) for merge in pairs]
        matrix = np.column_stack([matrix, *added])
        matrix[:, [column for merge in pairs for column in merge[:2]]] = 0
        merges += pairs
        level = np.arange(start, matrix.shape[1])
    return matrix, tuple(merges)


def _sum_of(matrix: IntArray, merge: Merge) -> IntArray:
    """Return the column of a merge's sum: the one of its columns that is shifted least, with the first one's sign."""
    if merge.offset >= 0:
        return matrix[:, merge.first]
    column: IntArray = matrix[:, merge.second] * (1 - 2 * merge.minus)
    return column


def _equal_pairs(matrix: IntArray, level: IntArray) -> list[Merge]:
    columns = np.ascontiguousarray(matrix[:, level].T)
    shift, minus = _common_shift(columns), (_first_entry(columns) < 0).astype(np.int64)
    normal = (columns >> shift[:, None]) * (1 - 2 * minus)[:, None]
    waiting: dict[bytes, int] = {}
    pairs = []
    for place in np.flatnonzero(normal.any(axis=1)).tolist():
        other = waiting.pop(normal[place].tobytes(), None)
        if other is None:
            waiting[normal[place].tobytes()] = place
            continue
        offset, sign = int(shift[place] - shift[other]), int(minus[place] ^ minus[other])
        pairs.append(Merge(int(level[other]), int(level[place]), offset, sign))
    return pairs


def _common_shift(rows: IntArray) -> IntArray:
    """Return the factors of two that all entries of a row share; 0 for a row of zeros."""
    together = np.bitwise_or.reduce(rows, axis=1)
    lowest = together & -together
    shift: IntArray = np.where(lowest > 0, np.log2(np.maximum(lowest, 1)), 0).astype(np.int64)
    return shift


def _first_entry(rows: IntArray) -> IntArray:
    """Return the first nonzero entry of each row; 0 for a row of zeros."""
    place = np.argmax(rows != 0, axis=1)
    entries: IntArray = rows[np.arange(rows.shape[0]), place]
    return entries
