# SPDX-License-Identifier: Apache-2.0
"""Sharing: the two-term pattern that occurs most often becomes a value of its own, until no pattern occurs twice.

The selection is Hartley's ("Subexpression sharing in filters using canonic signed digit multipliers", IEEE TCAS-II
43(10), 1996). Among patterns that occur equally often, the one is taken whose terms have the fewest other chances: each
occurrence takes two terms away from the patterns that they form with the rest of their row. Counts are kept true as rows
change; a pattern that occurs once is not even kept, for it can never occur twice again.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hsflow.fixedpoint import IntArray
from hsflow_cmvm.compiled import compiled, inlined
from hsflow_cmvm.patterns import (
    EMPTY,
    Heap,
    Table,
    claim,
    new_heap,
    new_table,
    pattern_key,
    pattern_of,
    pop,
    push,
    slot_of,
    with_room,
)
from hsflow_cmvm.terms import NONE, Terms, Values, append, define, remove

ONE = 256
"""One occurrence, in the unit of priorities."""

_CHANCES_PER_LOSS = 4
"""So many chances, of all that a term has in its row, weigh as much as an occurrence (found by trial: 2 to 8 are alike)."""


class Search(NamedTuple):
    """Hold how to search: rows may hold a load of 2**depth at most; so many candidates are compared for each choice.

    `jitter` (below `ONE`) shuffles equals, with the generator's state in `random[0]`.
    """

    depth: int
    candidates: int
    jitter: int
    random: IntArray


@inlined
def draw(random: IntArray, below: int) -> int:
    """Return a number from 0 to `below` - 1 (a linear congruential generator: Knuth, MMIX)."""
    random[0] = random[0] * 6364136223846793005 + 1442695040888963407
    return ((random[0] >> 33) & 0x7FFFFFFF) % max(below, 1)


@compiled
def share(terms: Terms, values: Values, known: Table, search: Search) -> Table:
    """Extract patterns until none occurs twice; `known` maps the patterns of values to their numbers and is returned."""
    table = _count_patterns(terms, known)
    heap = new_heap(table.used[0])
    for slot in range(table.keys.size):
        if table.keys[slot] != EMPTY:
            heap = _offer(heap, table, known, slot, search)
    while True:
        heap, key = _choose(heap, table, known, terms, values, search)
        if key == EMPTY or values.count[0] == values.first.size:
            return known
        known = with_room(known, 1, 0)
        table, heap = _extract(key, table, heap, known, terms, values, search)


@compiled
def _count_patterns(terms: Terms, known: Table) -> Table:
    """Return every pattern that occurs twice, or that is a value already."""
    table = new_table(2 * terms.value.size)
    for row in range(terms.start.size):
        start, end = terms.start[row], terms.start[row] + terms.length[row]
        table = with_room(table, (end - start) * (end - start) // 2, 1)
        for place in range(start, end):
            value, shift, minus = terms.value[place], terms.shift[place], terms.minus[place]
            for other in range(start, place):
                key = pattern_key(
                    value, shift, minus, terms.value[other], terms.shift[other], terms.minus[other]
                )
                table.counts[claim(table, key)] += 1
    kept = new_table(np.count_nonzero(table.counts >= 2) + known.used[0])
    for slot in range(table.keys.size):
        key = table.keys[slot]
        if key != EMPTY and (table.counts[slot] >= 2 or known.keys[slot_of(known, key)] == key):
            kept.counts[claim(kept, key)] = table.counts[slot]
    return kept


@inlined
def _chances(table: Table, known: Table, slot: int) -> int:
    """Return the occurrences of a pattern, and one more if its value is there already: then each saves an adder."""
    key = table.keys[slot]
    if key == EMPTY or table.counts[slot] == 0:
        return 0
    return table.counts[slot] + (1 if known.keys[slot_of(known, key)] == key else 0)


@inlined
def _offer(heap: Heap, table: Table, known: Table, slot: int, search: Search) -> Heap:
    chances = _chances(table, known, slot)
    if chances < 2:
        return heap
    return push(heap, chances * ONE + draw(search.random, search.jitter), table.keys[slot])


@compiled
def _choose(
    heap: Heap, table: Table, known: Table, terms: Terms, values: Values, search: Search
) -> tuple[Heap, int]:
    """Return the best of the most frequent patterns, or EMPTY if none is left."""
    keys = np.zeros(search.candidates, np.int64)
    priorities = np.zeros(search.candidates, np.int64)
    found, best, best_score = 0, 0, -(1 << 60)
    while heap.size[0] > 0 and found < search.candidates:
        priority, key = pop(heap)
        slot = slot_of(table, key)
        chances = _chances(table, known, slot)
        if chances < priority // ONE or chances < 2:
            heap = _offer(heap, table, known, slot, search)
            continue
        if found > 0 and priority // ONE < priorities[0] // ONE:
            heap = push(heap, priority, key)
            break
        possible, loss = _weigh(key, table, terms, values, search)
        if possible < table.counts[slot]:
            # Rows that have no depth left never get it back.
            table.counts[slot] = possible
            heap = _offer(heap, table, known, slot, search)
            continue
        keys[found], priorities[found] = key, priority
        score = draw(search.random, search.jitter // 2) - loss
        if score > best_score:
            best, best_score = found, score
        found += 1
    for number in range(found):
        if number != best:
            heap = push(heap, priorities[number], keys[number])
    return heap, keys[best] if found else EMPTY


@inlined
def _partner(terms: Terms, place: int, value: int, shift: int, minus: int) -> int:
    """Return the place of a term in the row of `place`, or NONE."""
    row = terms.row[place]
    for other in range(terms.start[row], terms.start[row] + terms.length[row]):
        if (
            terms.value[other] == value
            and terms.shift[other] == shift
            and terms.minus[other] == minus
            and other != place
        ):
            return other
    return NONE


@inlined
def _added_load(values: Values, first: int, second: int) -> int:
    depths = values.depth[first], values.depth[second]
    return (2 << max(depths)) - (1 << depths[0]) - (1 << depths[1])


@compiled
def _weigh(key: int, table: Table, terms: Terms, values: Values, search: Search) -> tuple[int, int]:
    """Return how often a pattern can be extracted within the depth, and the chances that are lost."""
    first, second, offset, minus = pattern_of(key)
    added = _added_load(values, first, second)
    possible, lost, chances = 0, 0, 0
    fresh = new_table(16)
    place = terms.head[first]
    while place != NONE:
        row = terms.row[place]
        other = NONE
        if terms.load[row] + added <= 1 << search.depth:
            other = _partner(terms, place, second, terms.shift[place] + offset, terms.minus[place] ^ minus)
        if other != NONE:
            possible += 1
            if search.candidates > 1:
                chances += terms.length[row] - 1
                fresh = with_room(fresh, terms.length[row], 0)
                shift = terms.shift[place] + min(0, offset)
                lost += _lost_chances(table, fresh, terms, place, other, values.count[0], shift)
        place = terms.next[place]
    return possible, lost * possible // (_CHANCES_PER_LOSS * max(chances, 1))


@compiled
def _lost_chances(
    table: Table, fresh: Table, terms: Terms, place: int, other: int, value: int, shift: int
) -> int:
    """Return the chances that two terms have with the rest of their row, less those that their sum will have."""
    row, minus, lost = terms.row[place], terms.minus[place], 0
    for third in range(terms.start[row], terms.start[row] + terms.length[row]):
        if third != place and third != other:
            lost += _lost(_count(table, terms, place, third)) + _lost(_count(table, terms, other, third))
            key = pattern_key(value, shift, minus, terms.value[third], terms.shift[third], terms.minus[third])
            slot = claim(fresh, key)
            fresh.counts[slot] += 1
            if fresh.counts[slot] > 1:
                lost -= ONE
    return lost


@inlined
def _lost(count: int) -> int:
    """Return the share of a pattern's chances that goes with one of its occurrences: together, all but one."""
    return ONE - ONE // max(count, 1)


@inlined
def _slot(table: Table, terms: Terms, place: int, other: int) -> int:
    return slot_of(
        table,
        pattern_key(
            terms.value[place],
            terms.shift[place],
            terms.minus[place],
            terms.value[other],
            terms.shift[other],
            terms.minus[other],
        ),
    )


@inlined
def _count(table: Table, terms: Terms, place: int, other: int) -> int:
    return table.counts[_slot(table, terms, place, other)]


@compiled
def _extract(
    key: int, table: Table, heap: Heap, known: Table, terms: Terms, values: Values, search: Search
) -> tuple[Table, Heap]:
    """Replace every possible occurrence of a pattern by its value, which is made if it is not known."""
    first, second, offset, minus = pattern_of(key)
    entry = claim(known, key)
    new = known.counts[entry] == 0
    if new:
        known.counts[entry] = define(values, first, second, offset, minus)
    value, added = known.counts[entry], _added_load(values, first, second)
    fresh = new_table(16)
    for row in _rows_with(terms, first):
        place = terms.start[row]
        while place < terms.start[row] + terms.length[row]:
            other = NONE
            if terms.value[place] == first and terms.load[row] + added <= 1 << search.depth:
                other = _partner(
                    terms, place, second, terms.shift[place] + offset, terms.minus[place] ^ minus
                )
            if other == NONE:
                place += 1
                continue
            fresh = with_room(fresh, terms.length[row], 0)
            _replace(table, fresh, terms, values, place, other, value, terms.shift[place] + min(0, offset))
            place = terms.start[row]
    table = with_room(table, fresh.used[0], 2 if new else 1)
    for slot in range(fresh.keys.size):
        if fresh.keys[slot] != EMPTY:
            heap = _enter(fresh, slot, table, heap, known, search, new)
    return table, heap


@inlined
def _enter(
    fresh: Table, slot: int, table: Table, heap: Heap, known: Table, search: Search, new: bool
) -> Heap:
    """Enter what a replacement formed: patterns of a new value that occur once never matter."""
    key = fresh.keys[slot]
    if new and fresh.counts[slot] < 2:
        return heap
    together = fresh.counts[slot] + table.counts[slot_of(table, key)]
    if not new and together < 2 and known.keys[slot_of(known, key)] != key:
        return heap
    entered = claim(table, key)
    table.counts[entered] += fresh.counts[slot]
    return _offer(heap, table, known, entered, search)


@compiled
def _rows_with(terms: Terms, value: int) -> IntArray:
    """Return the rows that contain a value, in order."""
    size, place = 0, terms.head[value]
    while place != NONE:
        size, place = size + 1, terms.next[place]
    rows = np.zeros(size, np.int64)
    place = terms.head[value]
    for number in range(size):
        rows[number], place = terms.row[place], terms.next[place]
    return np.unique(rows)


@compiled
def _replace(
    table: Table, fresh: Table, terms: Terms, values: Values, place: int, other: int, value: int, shift: int
) -> None:
    """Put `value` in place of two terms and keep the counts true; `fresh` counts what it forms."""
    row, minus = terms.row[place], terms.minus[place]
    for third in range(terms.start[row], terms.start[row] + terms.length[row]):
        if third != place:
            _forget(table, terms, place, third)
            if third != other:
                _forget(table, terms, other, third)
    remove(terms, values, max(place, other))
    remove(terms, values, min(place, other))
    for third in range(terms.start[row], terms.start[row] + terms.length[row]):
        key = pattern_key(value, shift, minus, terms.value[third], terms.shift[third], terms.minus[third])
        fresh.counts[claim(fresh, key)] += 1
    append(terms, values, row, value, shift, minus)


@inlined
def _forget(table: Table, terms: Terms, place: int, other: int) -> None:
    slot = _slot(table, terms, place, other)
    if table.keys[slot] != EMPTY and table.counts[slot] > 0:
        table.counts[slot] -= 1
