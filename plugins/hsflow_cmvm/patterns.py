# SPDX-License-Identifier: Apache-2.0
"""Two-term patterns: their keys, and how often each occurs.

A pattern is `first ± (second << offset)` of two values, up to a common shift and sign. Its key packs the four into one
integer, so that a table of plain arrays can count millions of them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hsflow.fixedpoint import IntArray
from hsflow_cmvm.compiled import compiled, inlined

EMPTY = -1
_OFFSET_ZERO = 128
_HASH = -7046029254386353131  # 2**64 / golden ratio (Knuth, TAOCP 6.4)


@inlined
def pattern_key(value: int, shift: int, minus: int, other: int, other_shift: int, other_minus: int) -> int:
    """Return the key of the pattern that two terms form, whichever comes first."""
    if value > other or (value == other and shift > other_shift):
        value, shift, other, other_shift = other, other_shift, value, shift
    return (value << 33) | (other << 9) | ((other_shift - shift + _OFFSET_ZERO) << 1) | (minus ^ other_minus)


@inlined
def pattern_of(key: int) -> tuple[int, int, int, int]:
    """Return (first value, second value, offset, minus) of a key."""
    return key >> 33, (key >> 9) & 0xFFFFFF, ((key >> 1) & 0xFF) - _OFFSET_ZERO, key & 1


class Table(NamedTuple):
    """Map keys to integers by open addressing; the number of slots is a power of two. `used` holds one number."""

    keys: IntArray
    counts: IntArray
    used: IntArray


@compiled
def new_table(entries: int) -> Table:
    """Return an empty table with room for `entries`."""
    slots = 64
    while slots < 2 * entries:
        slots *= 2
    return Table(np.full(slots, EMPTY), np.zeros(slots, np.int64), np.zeros(1, np.int64))


@inlined
def slot_of(table: Table, key: int) -> int:
    """Return the slot of `key`, or the empty one where it belongs."""
    mask = table.keys.size - 1
    mixed = key * _HASH
    slot = (mixed ^ (mixed >> 29)) & mask
    while table.keys[slot] != EMPTY and table.keys[slot] != key:
        slot = (slot + 1) & mask
    return slot


@inlined
def claim(table: Table, key: int) -> int:
    """Return the slot of `key`, which is entered with count 0 if it is new. The caller has made room."""
    slot = slot_of(table, key)
    if table.keys[slot] == EMPTY:
        table.keys[slot] = key
        table.counts[slot] = 0
        table.used[0] += 1
    return slot


@compiled
def with_room(table: Table, entries: int, least: int) -> Table:
    """Return a table with room for `entries` more, which keeps what counts at least `least`."""
    if 2 * (table.used[0] + entries) <= table.keys.size:
        return table
    kept = int(np.count_nonzero(table.counts >= least))
    larger = new_table(2 * kept + entries)
    for slot in range(table.keys.size):
        if table.keys[slot] != EMPTY and table.counts[slot] >= least:
            larger.counts[claim(larger, table.keys[slot])] = table.counts[slot]
    return larger


class Heap(NamedTuple):
    """Hold keys by priority, the highest first, among equals the lowest key. `size` holds one number."""

    priorities: IntArray
    keys: IntArray
    size: IntArray


@compiled
def new_heap(room: int) -> Heap:
    """Return an empty heap."""
    room = max(room, 16)
    return Heap(np.zeros(room, np.int64), np.zeros(room, np.int64), np.zeros(1, np.int64))


@compiled
def push(heap: Heap, priority: int, key: int) -> Heap:
    """Enter a key and return the heap, which may have moved to larger arrays."""
    if heap.size[0] == heap.keys.size:
        heap = Heap(
            np.concatenate((heap.priorities, heap.priorities)),
            np.concatenate((heap.keys, heap.keys)),
            heap.size,
        )
    place = heap.size[0]
    heap.size[0] += 1
    while place > 0:
        parent = (place - 1) >> 1
        if not _before(priority, key, heap.priorities[parent], heap.keys[parent]):
            break
        heap.priorities[place], heap.keys[place] = heap.priorities[parent], heap.keys[parent]
        place = parent
    heap.priorities[place], heap.keys[place] = priority, key
    return heap


@compiled
def pop(heap: Heap) -> tuple[int, int]:
    """Remove and return (priority, key) of the first entry; the heap must not be empty."""
    first = heap.priorities[0], heap.keys[0]
    heap.size[0] -= 1
    size = heap.size[0]
    priority, key, place = heap.priorities[size], heap.keys[size], 0
    while 2 * place + 1 < size:
        child = 2 * place + 1
        if child + 1 < size and _before(
            heap.priorities[child + 1], heap.keys[child + 1], heap.priorities[child], heap.keys[child]
        ):
            child += 1
        if not _before(heap.priorities[child], heap.keys[child], priority, key):
            break
        heap.priorities[place], heap.keys[place] = heap.priorities[child], heap.keys[child]
        place = child
    heap.priorities[place], heap.keys[place] = priority, key
    return first


@inlined
def _before(priority: int, key: int, other_priority: int, other_key: int) -> bool:
    return priority > other_priority or (priority == other_priority and key < other_key)
