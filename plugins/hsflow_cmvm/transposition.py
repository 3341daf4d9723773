# SPDX-License-Identifier: Apache-2.0
"""Transposition: a matrix with many more inputs than outputs is shared as its transpose, and that is transposed back.

Transposing a linear network turns its adders into branches and its branches into adders, and the network computes the
transposed matrix (Bordewijk, "Inter-reciprocity applied to electrical networks", Applied Scientific Research B 6, 1956).
The value `a ± (b << offset)` of the transpose becomes a node: a sum that is fed to a and to b.
A matrix with few outputs has patterns of its transpose, two outputs with the same ratio in many columns, that its own
rows show only two terms at a time.
"""

from __future__ import annotations

import numpy as np

from hsflow.fixedpoint import IntArray
from hsflow_cmvm.compiled import compiled
from hsflow_cmvm.terms import NONE, Terms, Values, append, append_all, bits, define, new_terms


@compiled
def _digits(terms: Terms) -> IntArray:
    """Return (value, row, shift, minus) of all terms, one a column."""
    digits = np.zeros((4, terms.length.sum()), np.int64)
    count = 0
    for row in range(terms.start.size):
        for place in range(terms.start[row], terms.start[row] + terms.length[row]):
            digits[0, count], digits[1, count] = terms.value[place], row
            digits[2, count], digits[3, count] = terms.shift[place], terms.minus[place]
            count += 1
    return digits


def transpose(columns: Terms, links: Values, terms: Terms, values: Values) -> None:
    """Fill empty rows with the transpose of a shared transpose: its rows and the values that they are made of."""
    digits = _digits(columns)
    digits = np.ascontiguousarray(digits[:, np.argsort(digits[0], kind="stable")])
    starts = np.searchsorted(digits[0], np.arange(int(links.count[0])))
    nodes = new_terms(starts, digits.shape[1], values.first.size)
    append_all(nodes, values, digits)
    _connect(nodes, links, values, terms)


@compiled
def _connect(nodes: Terms, links: Values, values: Values, terms: Terms) -> None:
    """Sum the nodes, the newest first, and feed each to its two operands; the first nodes are the rows."""
    outputs = terms.start.size
    count = links.count[0]
    sums = np.full((count, 3), NONE)
    # The sums that a node reads are chained: twice the node that feeds it, plus one for its second operand.
    head = np.full(count, NONE)
    after = np.full((count, 2), NONE)
    for node in range(count - 1, outputs - 1, -1):
        items = _items(nodes, links, sums, head, after, node)
        if items.shape[0] == 0:
            continue
        sums[node] = _tree(values, items)
        for side in range(2):
            to = links.first[node] if side == 0 else links.second[node]
            after[node, side] = head[to]
            head[to] = 2 * node + side
    for row in range(outputs):
        items = _items(nodes, links, sums, head, after, row)
        for number in range(items.shape[0]):
            append(terms, values, row, items[number, 0], items[number, 1], items[number, 2])


@compiled
def _items(
    nodes: Terms, links: Values, sums: IntArray, head: IntArray, after: IntArray, node: int
) -> IntArray:
    """Return the terms (value, shift, minus) of a node: its own, and the sums that are fed to it."""
    size, link = nodes.length[node], head[node]
    while link != NONE:
        size, link = size + 1, after[link // 2, link % 2]
    items = np.zeros((size, 3), np.int64)
    for number in range(nodes.length[node]):
        place = nodes.start[node] + number
        items[number, 0], items[number, 1] = nodes.value[place], nodes.shift[place]
        items[number, 2] = nodes.minus[place]
    link = head[node]
    for number in range(nodes.length[node], size):
        user, side = link // 2, link % 2
        offset = links.offset[user]
        items[number] = sums[user]
        items[number, 1] += max(0, offset) if side else max(0, -offset)
        items[number, 2] ^= links.minus[user] if side else 0
        link = after[user, side]
    return items


@compiled
def _tree(values: Values, items: IntArray) -> IntArray:
    """Add the two earliest terms, and so on."""
    while items.shape[0] > 1:
        keys = np.zeros(items.shape[0], np.int64)
        for number in range(items.shape[0]):
            value, shift = items[number, 0], items[number, 1]
            top = bits(values.low[value], values.high[value]) + shift
            keys[number] = ((values.depth[value] << 8) | top) << 8 | shift
        order = np.argsort(keys, kind="mergesort")
        one, other = items[order[0]], items[order[1]]
        if one[0] > other[0] or (one[0] == other[0] and one[1] > other[1]):
            one, other = other, one  # as a pattern's key has them: refinement finds values by it
        value = define(values, one[0], other[0], other[1] - one[1], one[2] ^ other[2])
        rest = items[order[1:]]
        rest[0] = np.array([value, min(one[1], other[1]), one[2]])
        items = rest
    return items[0]
