# SPDX-License-Identifier: Apache-2.0
"""The state of the search, as arrays: rows of terms, and the values that they are made of.

A row is a sum of terms; a term is a signed, shifted value. Values are numbered: inputs first, then two-term sums of
earlier values. The cost of a state is an adder for each two-term value and one less than its terms for each row.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hsflow.fixedpoint import IntArray
from hsflow_cmvm.compiled import compiled, inlined

NONE = -1


class Terms(NamedTuple):
    """Hold the rows: row r has its terms at `start[r] .. start[r] + length[r]`, in any order.

    `next` and `previous` chain the terms of each value, from `head[value]`, so that a value's rows are found at once.
    `load[r]` is the sum of 2**depth over a row's terms: the row can be summed in D levels if it is at most 2**D.
    """

    value: IntArray
    shift: IntArray
    minus: IntArray
    row: IntArray
    next: IntArray
    previous: IntArray
    start: IntArray
    length: IntArray
    load: IntArray
    head: IntArray


class Values(NamedTuple):
    """Hold the values: `first ± (second << offset)`, its operands shifted so that none goes right.

    `low` and `high` bound the value; `count[0]` is the number of values. `alive` is 0 for one that was taken back.
    """

    first: IntArray
    second: IntArray
    offset: IntArray
    minus: IntArray
    depth: IntArray
    low: IntArray
    high: IntArray
    alive: IntArray
    count: IntArray  # type: ignore[assignment]  # a tuple's own method, which nobody calls


@compiled
def new_values(low: IntArray, high: IntArray, room: int) -> Values:
    """Return values that are inputs with these ranges, with room for `room` values in all."""
    inputs = low.size
    columns = np.zeros((8, room), np.int64)
    columns[:2, :inputs] = NONE
    columns[5, :inputs] = low
    columns[6, :inputs] = high
    columns[7, :inputs] = 1
    count = np.full(1, inputs)
    return Values(
        columns[0],
        columns[1],
        columns[2],
        columns[3],
        columns[4],
        columns[5],
        columns[6],
        columns[7],
        count,
    )


@compiled
def new_terms(start: IntArray, places: int, values: int) -> Terms:
    """Return empty rows that begin at `start`, with `places` places in all, for values below `values`."""
    rows = start.size
    row = np.zeros(places, np.int64)
    for number in range(rows):
        end = start[number + 1] if number + 1 < rows else places
        row[start[number] : end] = number
    columns = np.zeros((5, places), np.int64)
    return Terms(
        columns[0],
        columns[1],
        columns[2],
        row,
        columns[3],
        columns[4],
        start,
        np.zeros(rows, np.int64),
        np.zeros(rows, np.int64),
        np.full(values, NONE),
    )


@inlined
def _link(terms: Terms, place: int) -> None:
    value = terms.value[place]
    after = terms.head[value]
    terms.next[place] = after
    terms.previous[place] = NONE
    if after != NONE:
        terms.previous[after] = place
    terms.head[value] = place


@inlined
def unlink(terms: Terms, place: int) -> None:
    """Take a place out of its value's chain."""
    before, after = terms.previous[place], terms.next[place]
    if before == NONE:
        terms.head[terms.value[place]] = after
    else:
        terms.next[before] = after
    if after != NONE:
        terms.previous[after] = before


@compiled
def append(terms: Terms, values: Values, row: int, value: int, shift: int, minus: int) -> None:
    """Add a term to a row, which must have a place left."""
    place = terms.start[row] + terms.length[row]
    terms.value[place], terms.shift[place], terms.minus[place] = value, shift, minus
    terms.length[row] += 1
    terms.load[row] += 1 << values.depth[value]
    _link(terms, place)


@compiled
def append_all(terms: Terms, values: Values, digits: IntArray) -> None:
    """Add terms that are given by columns of (row, value, shift, minus)."""
    for number in range(digits.shape[1]):
        append(terms, values, digits[0, number], digits[1, number], digits[2, number], digits[3, number])


@compiled
def absorb(terms: Terms, values: Values, block: Terms, block_values: Values, inputs: int) -> None:
    """Add the values and the rows of a block, which has the same first `inputs` values and some of the columns."""
    moved = values.count[0] - inputs
    for value in range(inputs, block_values.count[0]):
        first, second = block_values.first[value], block_values.second[value]
        define(
            values,
            first + moved * (first >= inputs),
            second + moved * (second >= inputs),
            block_values.offset[value],
            block_values.minus[value],
        )
    for row in range(block.start.size):
        for place in range(block.start[row], block.start[row] + block.length[row]):
            value = block.value[place] + moved * (block.value[place] >= inputs)
            append(terms, values, row, value, block.shift[place], block.minus[place])


@compiled
def remove(terms: Terms, values: Values, place: int) -> None:
    """Take the term at `place` out of its row; the row's last term moves there."""
    row = terms.row[place]
    terms.load[row] -= 1 << values.depth[terms.value[place]]
    unlink(terms, place)
    terms.length[row] -= 1
    last = terms.start[row] + terms.length[row]
    if last != place:
        unlink(terms, last)
        terms.value[place], terms.shift[place] = terms.value[last], terms.shift[last]
        terms.minus[place] = terms.minus[last]
        _link(terms, place)


@compiled
def define(values: Values, first: int, second: int, offset: int, minus: int) -> int:
    """Enter the value `first ± (second << offset)` and return its number."""
    number = values.count[0]
    values.count[0] += 1
    values.first[number], values.second[number] = first, second
    values.offset[number], values.minus[number] = offset, minus
    values.depth[number] = 1 + max(values.depth[first], values.depth[second])
    left, right = max(0, -offset), max(0, offset)
    low, high = values.low[second] << right, values.high[second] << right
    if minus:
        low, high = -high, -low
    values.low[number] = (values.low[first] << left) + low
    values.high[number] = (values.high[first] << left) + high
    values.alive[number] = 1
    return number


@compiled
def bits(low: int, high: int) -> int:
    """Return the bits that hold every integer from `low` to `high`, with a sign bit if `low` is negative."""
    magnitude = max(high, -low - 1)
    width = 1 if low < 0 else 0
    while magnitude > 0:
        magnitude >>= 1
        width += 1
    return width
