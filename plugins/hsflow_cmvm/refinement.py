# SPDX-License-Identifier: Apache-2.0
"""Refinement: take some values back where they are used, extract patterns anew, and keep the result if it is no worse.

A large-neighbourhood search: each round takes back values that combine the same few inputs (and what was built on them),
writes the rows that used them with their operands again, and runs the same sharing on these rows alone, with equals
shuffled. The rounds are counted in work, not in seconds, so that the same matrix gives the same graph everywhere.
"""

from __future__ import annotations

import numpy as np

from hsflow.fixedpoint import IntArray
from hsflow_cmvm.compiled import compiled, inlined
from hsflow_cmvm.patterns import Table, claim, new_table, pattern_key
from hsflow_cmvm.sharing import Search, draw, share
from hsflow_cmvm.terms import NONE, Terms, Values, append, new_terms, unlink

_MOST_PAIRS = 30_000
"""The most pairs of terms in one round, which bounds its time (about a millisecond)."""


@compiled
def refine(terms: Terms, values: Values, search: Search, inputs: int, effort: int) -> Terms:
    """Improve a shared state for `effort` pairs of terms that are looked at again; return its rows.

    The first `inputs` values, inputs and columns that were added, stay: rows have no places for more terms than of these.
    """
    while effort > 0 and values.count[0] > inputs:
        if 2 * (values.first.size - values.count[0]) < values.first.size - inputs:
            terms = compact(terms, values)
        taken, rows, work = _take_back(terms, values, search, inputs)
        effort -= work + values.count[0]
        if rows.size == 0:
            continue
        count, before = values.count[0], _cost(terms, rows)
        scratch = _expand(terms, values, rows, taken)
        share(scratch, values, _known(values, taken), search)
        after = _cost(scratch, np.arange(rows.size)) + values.count[0] - count
        gain = before - after + np.count_nonzero(taken)
        fits = values.count[0] < values.first.size
        if fits and gain >= 0:
            _accept(terms, values, rows, scratch, taken)
        else:
            values.count[0] = count
    return compact(terms, values)


@compiled
def _cost(terms: Terms, rows: IntArray) -> int:
    cost = 0
    for row in rows:
        cost += max(terms.length[row] - 1, 0)
    return cost


@compiled
def _take_back(terms: Terms, values: Values, search: Search, inputs: int) -> tuple[IntArray, IntArray, int]:
    """Choose values to take back; return a flag for each value, the rows that used them, and the pairs in these."""
    count = values.count[0]
    taken = np.zeros(count, np.int64)
    affected = np.zeros(terms.start.size, np.int64)
    near = np.zeros(count, np.int64)
    for _ in range(2 + draw(search.random, 2)):
        near[draw(search.random, inputs)] = 1
    start, work = draw(search.random, count - inputs), 0
    for step in range(count - inputs):
        value = inputs + (start + step) % (count - inputs)
        if values.alive[value] == 0 or work > _MOST_PAIRS:
            continue
        if near[values.first[value]] or near[values.second[value]]:
            work += _take(terms, value, taken, affected)
    uses = _uses(terms, values)
    for value in range(inputs, count):
        if values.alive[value] and not taken[value]:
            above = taken[values.first[value]] or taken[values.second[value]]
            if above or (uses[value] == 1 and terms.head[value] != NONE and work <= _MOST_PAIRS):
                work += _take(terms, value, taken, affected)
    for row in range(affected.size):
        if not affected[row] and work <= _MOST_PAIRS:
            affected[row] = 1
            work += terms.length[row] * terms.length[row] // 2
    return taken, np.flatnonzero(affected), work


@compiled
def _take(terms: Terms, value: int, taken: IntArray, affected: IntArray) -> int:
    """Mark a value and its rows; return the pairs of terms in rows that are new."""
    taken[value] = 1
    work = 0
    place = terms.head[value]
    while place != NONE:
        row = terms.row[place]
        if not affected[row]:
            affected[row] = 1
            work += terms.length[row] * terms.length[row] // 2
        place = terms.next[place]
    return work


@compiled
def _uses(terms: Terms, values: Values) -> IntArray:
    """Return how often each value is read, by rows and by values."""
    uses = np.zeros(values.count[0], np.int64)
    for row in range(terms.start.size):
        for place in range(terms.start[row], terms.start[row] + terms.length[row]):
            uses[terms.value[place]] += 1
    for value in range(values.count[0]):
        if values.alive[value] and values.first[value] != NONE:
            uses[values.first[value]] += 1
            uses[values.second[value]] += 1
    return uses


@compiled
def _expand(terms: Terms, values: Values, rows: IntArray, taken: IntArray) -> Terms:
    """Return the rows alone, with the operands of the values that were taken back in their place."""
    sizes = np.zeros(rows.size + 1, np.int64)
    for number, row in enumerate(rows):
        end = terms.start[row + 1] if row + 1 < terms.start.size else terms.value.size
        sizes[number + 1] = end - terms.start[row]
    ends = np.cumsum(sizes)
    scratch = new_terms(ends[:-1].copy(), ends[-1], values.first.size)
    stack = np.zeros((64, 3), np.int64)
    for number, row in enumerate(rows):
        for place in range(terms.start[row], terms.start[row] + terms.length[row]):
            _append_expanded(
                scratch,
                values,
                number,
                terms.value[place],
                terms.shift[place],
                terms.minus[place],
                taken,
                stack,
            )
    return scratch


@compiled
def _append_expanded(
    scratch: Terms,
    values: Values,
    row: int,
    value: int,
    shift: int,
    minus: int,
    taken: IntArray,
    stack: IntArray,
) -> None:
    stack[0, 0], stack[0, 1], stack[0, 2] = value, shift, minus
    size = 1
    while size > 0:
        size -= 1
        value, shift, minus = stack[size, 0], stack[size, 1], stack[size, 2]
        if value >= taken.size or not taken[value]:
            append(scratch, values, row, value, shift, minus)
            continue
        offset = values.offset[value]
        stack[size, 0], stack[size, 1] = values.first[value], shift + max(0, -offset)
        stack[size, 2] = minus
        stack[size + 1, 0], stack[size + 1, 1] = values.second[value], shift + max(0, offset)
        stack[size + 1, 2] = minus ^ values.minus[value]
        size += 2


@compiled
def _known(values: Values, taken: IntArray) -> Table:
    """Return the patterns of the values that stay."""
    known = new_table(2 * values.count[0])
    for value in range(values.count[0]):
        if values.first[value] != NONE and values.alive[value] and not taken[value]:
            known.counts[claim(known, _key(values, value))] = value
    return known


@inlined
def _key(values: Values, value: int) -> int:
    offset = values.offset[value]
    return pattern_key(
        values.first[value], max(0, -offset), 0, values.second[value], max(0, offset), values.minus[value]
    )


@compiled
def _accept(terms: Terms, values: Values, rows: IntArray, scratch: Terms, taken: IntArray) -> None:
    """Write the rows back, and drop the values that were taken back."""
    for row in rows:
        _clear(terms, row)
    for number, row in enumerate(rows):
        for place in range(scratch.start[number], scratch.start[number] + scratch.length[number]):
            append(terms, values, row, scratch.value[place], scratch.shift[place], scratch.minus[place])
    for value in range(taken.size):
        if taken[value]:
            values.alive[value] = 0
    _drop_unused(terms, values)


@compiled
def _clear(terms: Terms, row: int) -> None:
    from_place = terms.start[row]
    for place in range(from_place, from_place + terms.length[row]):
        unlink(terms, place)
    terms.length[row] = 0
    terms.load[row] = 0


@compiled
def _drop_unused(terms: Terms, values: Values) -> None:
    uses = _uses(terms, values)
    for value in range(values.count[0] - 1, -1, -1):
        if values.first[value] != NONE and values.alive[value] and uses[value] == 0:
            values.alive[value] = 0
            uses[values.first[value]] -= 1
            uses[values.second[value]] -= 1


@compiled
def compact(terms: Terms, values: Values) -> Terms:
    """Number the values without gaps and return the rows with the new numbers."""
    new = np.full(values.count[0], NONE)
    count = 0
    for value in range(values.count[0]):
        if not values.alive[value]:
            continue
        new[value] = count
        inner = values.first[value] != NONE
        values.first[count] = new[values.first[value]] if inner else NONE
        values.second[count] = new[values.second[value]] if inner else NONE
        values.offset[count], values.minus[count] = values.offset[value], values.minus[value]
        values.depth[count], values.alive[count] = values.depth[value], 1
        values.low[count], values.high[count] = values.low[value], values.high[value]
        count += 1
    values.count[0] = count
    renamed = new_terms(terms.start, terms.value.size, values.first.size)
    for row in range(terms.start.size):
        for place in range(terms.start[row], terms.start[row] + terms.length[row]):
            append(renamed, values, row, new[terms.value[place]], terms.shift[place], terms.minus[place])
    return renamed
