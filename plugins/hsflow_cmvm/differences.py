# SPDX-License-Identifier: Apache-2.0
"""Differences: a row that is close to another one, or a sum of two others, is derived from it.

Rows are the nodes of a graph, and an edge costs the signed digits in which two rows differ, one more for the adder that
joins them. A minimum spanning tree from the empty row says from which row each is best derived (Gustafsson, "A
difference based adder graph heuristic for multiple constant multiplication problems", ISCAS 2007, for vectors). Where the
difference is itself a row, the edge costs the adder alone: linear hashes of rows find these without looking at them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hsflow.fixedpoint import IntArray
from hsflow_cmvm.compiled import compiled
from hsflow_cmvm.terms import NONE

_MOST_WORK = 200_000_000
"""The most entries of rows to compare (about a second)."""


class Derivation(NamedTuple):
    """Hold from which row each is derived (NONE for no row), whether that is subtracted (1), and how many joins lie below.

    `other` is the row that the difference is, NONE if it is none; `order` lists rows after those that they need.
    """

    parent: IntArray
    minus: IntArray
    other: IntArray
    other_minus: IntArray
    height: IntArray
    order: IntArray


def no_derivation(rows: int) -> Derivation:
    """Return the derivation in which each row stands for itself."""
    return _unconnected(rows)


def derive(matrix: IntArray, height: int) -> Derivation | None:
    """Return the best derivation with at most `height` joins on a path, or None if rows are too many or too far apart."""
    rows, columns = matrix.shape
    if height < 1 or rows < 2 or rows * rows * columns > _MOST_WORK:
        return None
    generator = np.random.default_rng(1)
    weights = generator.integers(1, 2**62, size=columns, dtype=np.int64)
    with np.errstate(over="ignore"):
        hashes = (matrix * weights).sum(axis=1)
    digits = _digits(matrix)
    derivation, total = _spanning_tree(matrix, hashes, np.argsort(hashes), digits, height)
    return derivation if total < 0.8 * digits.sum() else None


def difference(matrix: IntArray, derivation: Derivation) -> IntArray:
    """Return what is left of each row without the row that it is derived from."""
    parents = matrix[derivation.parent] * (derivation.parent != NONE)[:, None]
    rest: IntArray = matrix - parents * (1 - 2 * derivation.minus)[:, None]
    rest[derivation.other != NONE] = 0
    return rest


@compiled
def _unconnected(rows: int) -> Derivation:
    none, zero = np.full(rows, NONE), np.zeros(rows, np.int64)
    return Derivation(none, zero, none.copy(), zero.copy(), zero.copy(), np.arange(rows))


@compiled
def _count(number: int) -> int:
    """Return the nonzero digits of the nonadjacent form."""
    magnitude = abs(number)
    digits = magnitude ^ (3 * magnitude)
    count = 0
    while digits:
        digits &= digits - 1
        count += 1
    return count


@compiled
def _digits(matrix: IntArray) -> IntArray:
    counts = np.zeros(matrix.shape[0], np.int64)
    for row in range(matrix.shape[0]):
        for number in matrix[row]:
            counts[row] += _count(number)
    return counts


@compiled
def _distance(one: IntArray, other: IntArray, sign: int, below: int) -> int:
    """Return the digits of `one - sign * other`, or any number from `below` on if there are so many."""
    count = 0
    for place in range(one.size):
        count += _count(one[place] - sign * other[place])
        if count >= below:
            break
    return count


@compiled
def _row_with(hashes: IntArray, order: IntArray, wanted: int) -> int:
    """Return the row with a hash, or NONE; `order` sorts the hashes."""
    low, high = 0, order.size
    while low < high:
        middle = (low + high) // 2
        if hashes[order[middle]] < wanted:
            low = middle + 1
        else:
            high = middle
    return order[low] if low < order.size and hashes[order[low]] == wanted else NONE


@compiled
def _spanning_tree(
    matrix: IntArray, hashes: IntArray, sorted_rows: IntArray, digits: IntArray, height: int
) -> tuple[Derivation, int]:
    """Return Prim's tree, in which no path is higher than `height`, and the digits that it leaves."""
    rows = matrix.shape[0]
    tree = _unconnected(rows)
    price, done, total = digits.copy(), np.zeros(rows, np.bool_), 0
    for step in range(rows):
        nearest = NONE
        for row in range(rows):
            if not done[row] and (nearest == NONE or price[row] < price[nearest]):
                nearest = row
        done[nearest] = True
        tree.order[step] = nearest
        total += price[nearest]
        if tree.height[nearest] < height:
            for row in range(rows):
                if not done[row]:
                    _relax(matrix, hashes, sorted_rows, height, tree, price, done, row, nearest)
    return tree, total


@compiled
def _relax(
    matrix: IntArray,
    hashes: IntArray,
    sorted_rows: IntArray,
    height: int,
    tree: Derivation,
    price: IntArray,
    done: NDArray[np.bool_],
    row: int,
    near: int,
) -> None:
    """Derive a row from another one if that is cheaper."""
    for minus in range(2):
        sign = 1 - 2 * minus
        cost = 1 + _distance(matrix[row], matrix[near], sign, price[row])
        if cost < price[row]:
            price[row], tree.parent[row], tree.minus[row], tree.other[row] = cost, near, minus, NONE
            tree.height[row] = tree.height[near] + 1
        for other_minus in range(2):
            rest = (hashes[row] - sign * hashes[near]) * (1 - 2 * other_minus)
            other = _row_with(hashes, sorted_rows, rest)
            if other != NONE and done[other] and tree.height[other] < height and price[row] > 2:
                price[row], tree.parent[row], tree.minus[row] = 2, near, minus
                tree.other[row], tree.other_minus[row] = other, other_minus
                tree.height[row] = 1 + max(tree.height[near], tree.height[other])
