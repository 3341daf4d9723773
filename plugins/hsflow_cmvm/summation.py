# SPDX-License-Identifier: Apache-2.0
"""Summation: adders for the values, and for each row a tree of the cheapest adders within the depth.

A tree over the terms in a given order is found by dynamic programming over intervals of terms, as for optimal binary
search trees (Knuth, TAOCP 6.2.2). Its state knows the adder level and the sign of a partial sum: `b - (a << 3)` needs
three full adders less than `(a << 3) - b`, so a partial sum may well be the negated one. The price of a tree is its
full-adder bits and the bits that wait in pipeline registers. Two orders are tried: by magnitude, which makes narrow
adders, and by arrival, in which a tree within the depth always exists (Kraft's inequality).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hsflow.fixedpoint import IntArray
from hsflow_cmvm.compiled import compiled, inlined
from hsflow_cmvm.terms import NONE, Terms, Values, bits

_MOST_LEAVES = 24
"""The most terms for which trees are compared; longer rows are first added in pairs."""

_UNIT = 16
"""The price of a full-adder bit."""

_INFINITE = 1 << 60


class Program(NamedTuple):
    """Hold the adders so far, by columns, with the depth and the range of each value; inputs come first.

    `count[0]` is the number of values, `negated` tells which of the search's values are stored with the other sign.
    """

    left: IntArray
    right: IntArray
    left_shift: IntArray
    right_shift: IntArray
    subtract: IntArray
    depth: IntArray
    low: IntArray
    high: IntArray
    negated: IntArray
    count: IntArray  # type: ignore[assignment]  # a tuple's own method, which nobody calls


class Prices(NamedTuple):
    """Hold the depth that trees may reach, the adder levels of a pipeline stage, and a register bit's price."""

    depth: int
    levels: int
    register: int


@compiled
def summation(terms: Terms, values: Values, prices: Prices, spare: int) -> tuple[Program, IntArray]:
    """Return the program of all rows, with room for `spare` adders more, and each row's term (value, shift, minus).

    The value of an empty row is NONE.
    """
    inputs = 0
    while inputs < values.count[0] and values.first[inputs] == NONE:
        inputs += 1
    program = _new_program(values, inputs, values.count[0] + terms.length.sum() + spare)
    uses = np.zeros(program.depth.size, np.int64)
    for row in range(terms.start.size):
        for place in range(terms.start[row], terms.start[row] + terms.length[row]):
            uses[terms.value[place]] += 1
    for value in range(inputs, values.count[0]):
        _add_value(program, values, value)
    outputs = np.zeros((terms.start.size, 3), np.int64)
    for row in range(terms.start.size):
        outputs[row] = _sum_row(program, terms, row, prices, uses)
    return program, outputs


@compiled
def _new_program(values: Values, inputs: int, room: int) -> Program:
    columns = np.zeros((9, room), np.int64)
    columns[6, :inputs] = values.low[:inputs]
    columns[7, :inputs] = values.high[:inputs]
    return Program(
        columns[0],
        columns[1],
        columns[2],
        columns[3],
        columns[4],
        columns[5],
        columns[6],
        columns[7],
        columns[8],
        np.full(1, inputs),
    )


@compiled
def _emit(
    program: Program, left: int, left_shift: int, right: int, right_shift: int, subtract: int
) -> tuple[int, int]:
    """Add an adder without common shift; return the value and the shift that was common."""
    common = min(left_shift, right_shift)
    left_shift -= common
    right_shift -= common
    number = program.count[0]
    program.count[0] += 1
    program.left[number], program.right[number] = left, right
    program.left_shift[number], program.right_shift[number] = left_shift, right_shift
    program.subtract[number] = subtract
    program.depth[number] = 1 + max(program.depth[left], program.depth[right])
    low, high = program.low[right] << right_shift, program.high[right] << right_shift
    if subtract:
        low, high = -high, -low
    program.low[number] = (program.low[left] << left_shift) + low
    program.high[number] = (program.high[left] << left_shift) + high
    return number, common


@compiled
def _combine(program: Program, one: IntArray, other: IntArray, minus: int) -> IntArray:
    """Add two terms (value, shift, minus) and return the term of their sum, stored as `minus` tells if that is free."""
    if one[2] == other[2]:
        value, shift = _emit(program, one[0], one[1], other[0], other[1], 0)
        return np.array([value, shift, one[2]])
    if one[2] != minus:
        one, other = other, one
    value, shift = _emit(program, one[0], one[1], other[0], other[1], 1)
    return np.array([value, shift, minus])


@compiled
def join(program: Program, one: IntArray, other: IntArray) -> IntArray:
    """Add two terms, either of which may be empty, and return the term of their sum."""
    if one[0] == NONE:
        return other
    return one if other[0] == NONE else _combine(program, one, other, 0)


@compiled
def _add_value(program: Program, values: Values, value: int) -> None:
    """Add the adder of a value, with the sign that needs fewer full adders."""
    first, second, offset = values.first[value], values.second[value], values.offset[value]
    one = np.array([first, max(0, -offset), program.negated[first]])
    other = np.array([second, max(0, offset), program.negated[second] ^ values.minus[value]])
    low, high = values.low[value], values.high[value]
    # The subtrahend's shift is what a subtraction saves.
    positive = bits(low, high) - (other[1] if one[2] == 0 else one[1])
    negative = bits(-high, -low) - (one[1] if one[2] == 0 else other[1])
    term = _combine(program, one, other, 1 if negative < positive else 0)
    program.negated[term[0]] = term[2]


@compiled
def _sum_row(program: Program, terms: Terms, row: int, prices: Prices, uses: IntArray) -> IntArray:
    size = terms.length[row]
    if size == 0:
        return np.array([NONE, 0, 0])
    items = np.zeros((size, 3), np.int64)
    for number in range(size):
        place = terms.start[row] + number
        value = terms.value[place]
        items[number, 0], items[number, 1] = value, terms.shift[place]
        items[number, 2] = terms.minus[place] ^ program.negated[value]
    while items.shape[0] > _MOST_LEAVES:
        items = _add_pairs(program, items)
    return _sum_tree(program, items, prices, uses)


@compiled
def _order(program: Program, items: IntArray, by_arrival: bool) -> IntArray:
    """Return the items by magnitude, or by arrival and then magnitude."""
    keys = np.zeros(items.shape[0], np.int64)
    for number in range(items.shape[0]):
        value, shift = items[number, 0], items[number, 1]
        top = bits(program.low[value], program.high[value]) + shift
        arrival = program.depth[value] if by_arrival else 0
        keys[number] = (((arrival << 8) | top) << 8 | shift) << 32 | number
    return items[np.sort(keys) & 0xFFFFFFFF]


@compiled
def _add_pairs(program: Program, items: IntArray) -> IntArray:
    """Add neighbours of the earliest arrival; one that is left alone waits for the next level, which costs no depth."""
    items = _order(program, items, True)
    first = program.depth[items[0, 0]]
    early = 0
    while early < items.shape[0] and program.depth[items[early, 0]] <= first:
        early += 1
    if early == 1:
        early = 2
    kept = np.zeros((items.shape[0] - early // 2, 3), np.int64)
    for pair in range(early // 2):
        kept[pair] = _combine(program, items[2 * pair], items[2 * pair + 1], 0)
    kept[early // 2 :] = items[early - early % 2 :]
    return kept


@compiled
def _sum_tree(program: Program, items: IntArray, prices: Prices, uses: IntArray) -> IntArray:
    if items.shape[0] == 1:
        return items[0]
    ordered = _order(program, items, False)
    price, sign, trees = _best_tree(program, ordered, prices, uses)
    by_arrival = _order(program, items, True)
    other_price, other_sign, other_trees = _best_tree(program, by_arrival, prices, uses)
    if other_price < price:
        ordered, sign, trees = by_arrival, other_sign, other_trees
    return _build(program, ordered, sign, trees)


class Trees(NamedTuple):
    """Hold the best trees of all intervals of a row's items: i to j, at an adder level, with a sign (1 for negated).

    `made` is the least price of a sum that an adder of exactly this level makes, `ready` the least price at which it is
    there for an adder of this level, whatever level made it. `choice` says how a sum is made: where it is split, and for
    the left and the right part its sign and the level that makes it. `maker` is the level that makes what is ready.
    """

    made: IntArray
    ready: IntArray
    choice: IntArray
    maker: IntArray
    low: IntArray
    high: IntArray
    shift: IntArray


@compiled
def _best_tree(program: Program, items: IntArray, prices: Prices, uses: IntArray) -> tuple[int, int, Trees]:
    """Return the least price of a tree over the items in order, the sign of its sum, and the trees of all intervals."""
    size, levels = items.shape[0], prices.depth + 2
    shape = (size, size, levels, 2)
    trees = Trees(
        np.full(shape, _INFINITE),
        np.full(shape, _INFINITE),
        np.zeros((size, size, levels, 2, 5), np.int64),
        np.zeros(shape, np.int64),
        np.zeros((size, size), np.int64),
        np.zeros((size, size), np.int64),
        np.zeros((size, size), np.int64),
    )
    for item in range(size):
        _enter_leaf(program, items, item, prices, uses, trees)
    for span in range(1, size):
        for first in range(size - span):
            _enter_sum(first, first + span, prices, trees)
    last = trees.ready[0, size - 1, levels - 1]
    penalty = bits(trees.low[0, size - 1], trees.high[0, size - 1]) * _UNIT
    negated = last[1] + penalty < last[0]
    return (last[1] + penalty if negated else last[0]), int(negated), trees


@inlined
def _boundary(prices: Prices, level: int) -> int:
    """Return 1 if a register lies between the adder levels `level` - 1 and `level`."""
    return 1 if level > 1 and (level - 1) % prices.levels == 0 else 0


@compiled
def _enter_leaf(
    program: Program, items: IntArray, item: int, prices: Prices, uses: IntArray, trees: Trees
) -> None:
    value, shift, minus = items[item]
    low, high = program.low[value] << shift, program.high[value] << shift
    trees.shift[item, item] = shift
    trees.low[item, item], trees.high[item, item] = (-high, -low) if minus else (low, high)
    made = program.depth[value]
    # Registers of a value that several rows read are shared by them.
    register = bits(program.low[value], program.high[value]) * prices.register // max(uses[value], 1)
    trees.made[item, item, made, minus] = 0
    price = 0
    for level in range(made + 1, trees.ready.shape[2]):
        price += _boundary(prices, level) * register
        trees.ready[item, item, level, minus] = price
        trees.maker[item, item, level, minus] = made


@compiled
def _enter_sum(first: int, last: int, prices: Prices, trees: Trees) -> None:
    low = trees.low[first, last - 1] + trees.low[last, last]
    high = trees.high[first, last - 1] + trees.high[last, last]
    shift = min(trees.shift[first, last - 1], trees.shift[last, last])
    trees.low[first, last], trees.high[first, last], trees.shift[first, last] = low, high, shift
    width = (bits(low, high), bits(-high, -low))
    made, ready, maker = trees.made[first, last], trees.ready[first, last], trees.maker[first, last]
    for level in range(1, prices.depth + 1):
        for sign in range(2):
            made[level, sign] = _make(first, last, level, sign, width[sign], prices, trees)
            register = _boundary(prices, level + 1) * (width[sign] - shift) * prices.register
            if made[level, sign] <= ready[level, sign]:
                ready[level + 1, sign], maker[level + 1, sign] = made[level, sign], level
            else:
                ready[level + 1, sign], maker[level + 1, sign] = ready[level, sign], maker[level, sign]
            ready[level + 1, sign] = min(ready[level + 1, sign] + register, _INFINITE)


@compiled
def _make(first: int, last: int, level: int, sign: int, width: int, prices: Prices, trees: Trees) -> int:
    """Return the least price of a sum made by an adder of exactly `level`: one of its parts is made just before."""
    best = _INFINITE
    for split in range(first, last):
        for left in range(2):
            for right in range(2):
                if left == right and left != sign:
                    continue
                adder = _adder_price(
                    trees.shift[first, split], trees.shift[split + 1, last], left, right, sign, width
                )
                one, other = (
                    trees.ready[first, split, level, left],
                    trees.ready[split + 1, last, level, right],
                )
                if one + other + adder >= best:
                    continue
                makers = trees.maker[first, split, level, left], trees.maker[split + 1, last, level, right]
                if max(makers) < level - 1:
                    continue
                best = one + other + adder
                choice = trees.choice[first, last, level, sign]
                choice[0], choice[1], choice[2], choice[3], choice[4] = (
                    split,
                    left,
                    right,
                    makers[0],
                    makers[1],
                )
    return best


@inlined
def _adder_price(one: int, other: int, left: int, right: int, sign: int, width: int) -> int:
    """Return the price of an adder: bits below a shifted addend, or below a shifted subtrahend, pass through."""
    passed = max(one, other)
    if left != right:
        passed = other if left == sign else one
    return max(width - passed, 1) * _UNIT


@compiled
def _build(program: Program, items: IntArray, sign: int, trees: Trees) -> IntArray:
    """Add the adders of the best tree, from the leaves up, and return the term of the sum."""
    size = items.shape[0]
    plan = np.zeros(
        (2 * size, 5), np.int64
    )  # first item, last item, level that makes it, sign, parent's place
    plan[0, 1], plan[0, 3], plan[0, 4] = size - 1, sign, NONE
    plan[0, 2] = trees.maker[0, size - 1, trees.ready.shape[2] - 1, sign]
    count, place = 1, 0
    while place < count:
        first, last = plan[place, 0], plan[place, 1]
        if first != last:
            split, left, right, left_made, right_made = trees.choice[
                first, last, plan[place, 2], plan[place, 3]
            ]
            plan[count] = np.array([first, split, left_made, left, place])
            plan[count + 1] = np.array([split + 1, last, right_made, right, place])
            count += 2
        place += 1
    results = np.zeros((count, 3), np.int64)
    sibling = np.zeros(count, np.int64)
    for place in range(count - 1, -1, -1):
        if plan[place, 0] == plan[place, 1]:
            results[place] = items[plan[place, 0]]
        parent = plan[place, 4]
        if parent != NONE and sibling[parent]:
            results[parent] = _combine(program, results[place], results[sibling[parent]], plan[parent, 3])
        elif parent != NONE:
            sibling[parent] = place
    return results[0]
