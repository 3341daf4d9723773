# SPDX-License-Identifier: Apache-2.0
"""The adders of a graph as arrays, and what is computed from all of them at once: depths, ranges, values.

A graph of a large layer has hundreds of thousands of adders; an array a field takes a tenth of the memory of an object
an adder, and NumPy runs all adders of one depth in a few calls.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from itertools import pairwise
from operator import attrgetter, index
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hsflow.errors import ModelError
from hsflow.fixedpoint import IntArray, Interval

MAX_BITS = 4096
"""The most bits of any number in a range: far above every legal width, and still quick to compute with."""

_BLOCK_BYTES = 48 << 20
"""The memory for the values of one block of columns, where the values of all columns need more."""

_WORDS = (np.uint16, np.uint32, np.uint64)
"""The words to compute with, modulo their size: the smallest that holds every result is exact and the quickest."""

Words = NDArray[np.unsignedinteger]


@dataclass(frozen=True, eq=False)
class AdderColumns:
    """Hold one field of every adder in each array, all of shape (adders,); they are copied and cannot be changed.

    Args:
        left, right: the numbers of the operands, inputs first, as in `hsflow.ir.addergraph.Adder`.
        left_shift, right_shift: left shifts.
        subtract: whether the right operand is subtracted.

    Raises:
        ModelError: if an array does not hold integers, or has another length than the first.
    """

    left: IntArray
    right: IntArray
    left_shift: IntArray
    right_shift: IntArray
    subtract: NDArray[np.bool_]

    def __post_init__(self) -> None:
        for field in fields(self):
            column = _column(getattr(self, field.name), field.name, len(self.left))
            object.__setattr__(self, field.name, column)

    def __len__(self) -> int:
        return len(self.left)

    @classmethod
    def of_adders(cls, adders: Sequence[object]) -> AdderColumns:
        """Return the columns of `hsflow.ir.addergraph.Adder` objects.

        Raises:
            ModelError: if a field is no integer of 64 bits.
        """
        try:
            columns: list[Any] = [_gather(adders, field.name) for field in fields(cls)]
        except (TypeError, OverflowError) as error:
            raise ModelError("an adder's fields must be integers of 64 bits", got=error) from error
        return cls(*columns)

    def lists(self) -> tuple[list[int], list[int], list[int], list[int], list[bool]]:
        """Return the columns as lists of Python's numbers."""
        shifts = self.left_shift.tolist(), self.right_shift.tolist()
        return self.left.tolist(), self.right.tolist(), *shifts, self.subtract.tolist()

    def misplaced(self, inputs: int) -> IntArray:
        """Return the places of the adders that read a value which is not there yet, or shift right or absurdly far."""
        numbers = np.arange(inputs, inputs + len(self))
        wrong = np.zeros(len(self), dtype=np.bool_)
        for operand, shift in ((self.left, self.left_shift), (self.right, self.right_shift)):
            wrong |= (operand < 0) | (operand >= numbers) | (shift < 0) | (shift > MAX_BITS)
        return np.flatnonzero(wrong)

    def depths(self, inputs: int) -> list[int]:
        """Return the adders on the longest path to each value."""
        depths = [0] * inputs
        for left, right in zip(self.left.tolist(), self.right.tolist(), strict=True):
            one, other = depths[left], depths[right]
            depths.append((one if one > other else other) + 1)
        return depths

    def needed(self, inputs: int, results: IntArray) -> NDArray[np.bool_]:
        """Return which values the values `results` depend on, themselves included."""
        needed = np.zeros(inputs + len(self), dtype=np.bool_)
        needed[results] = True
        flags = needed.tolist()
        operands = zip(self.left.tolist()[::-1], self.right.tolist()[::-1], strict=True)
        for number, (left, right) in zip(range(len(flags) - 1, inputs - 1, -1), operands, strict=True):
            if flags[number]:
                flags[left] = flags[right] = True
        return np.array(flags, dtype=np.bool_)

    def ranges(self, inputs: Sequence[Interval]) -> Ranges:
        """Return the exact range of each value for `inputs` that are independent of each other.

        Raises:
            ModelError: if a number has more than `MAX_BITS` bits, before the next one could have twice as many.
        """
        low, high = [i.low for i in inputs], [i.high for i in inputs]
        bound = 1 << MAX_BITS
        for left, right, left_shift, right_shift, subtract in zip(*self.lists(), strict=True):
            right_low, right_high = low[right] << right_shift, high[right] << right_shift
            if subtract:
                right_low, right_high = -right_high, -right_low
            low.append((low[left] << left_shift) + right_low)
            high.append((high[left] << left_shift) + right_high)
            if high[-1] > bound or low[-1] < -bound:
                raise ModelError(
                    "a value is too wide", where=f"value {len(low) - 1}", expected=f"{MAX_BITS} bits"
                )
        return Ranges(low, high)


@dataclass(frozen=True, eq=False)
class Ranges:
    """Hold the lowest and the highest number of each value."""

    low: list[int]
    high: list[int]

    def intervals(self) -> tuple[Interval, ...]:
        """Return the ranges as intervals."""
        return tuple(map(Interval, self.low, self.high))

    def widths(self) -> IntArray:
        """Return `Interval.width` of each value."""
        pairs = zip(self.low, self.high, strict=True)
        found = (_width(low, high) for low, high in pairs)
        return np.fromiter(found, dtype=np.int64, count=len(self.low))


def _width(low: int, high: int) -> int:
    if low >= 0:
        return high.bit_length() or 1
    return max((-low - 1).bit_length(), high.bit_length() if high > 0 else 0) + 1


@dataclass(frozen=True, eq=False)
class Schedule:
    """Hold adders in the order of their depth, so that all of one depth run in one call.

    Args:
        columns: legal adders.
        depths: of all values, inputs included.
    """

    columns: AdderColumns
    depths: IntArray

    @property
    def inputs(self) -> int:
        """Return the number of inputs."""
        return len(self.depths) - len(self.columns)

    @cached_property
    def _order(self) -> IntArray:
        return np.argsort(self.depths[self.inputs :], kind="stable")

    @cached_property
    def places(self) -> IntArray:
        """Return where each value is among those that `run` returns."""
        places = np.arange(len(self.depths))
        places[self.inputs + self._order] = np.arange(self.inputs, len(self.depths))
        return places

    @cached_property
    def _levels(self) -> list[slice]:
        """Return the adders of each depth as slices of `_order`."""
        ends = np.cumsum(np.bincount(self.depths[self.inputs :], minlength=1)).tolist()
        return [slice(start, end) for start, end in pairwise(ends)]

    def run(self, inputs: Words) -> Words:
        """Return all values for `inputs`, shape (inputs, columns), modulo the size of their word; in `places`."""
        columns, never = self.columns, np.zeros(len(self.columns), dtype=np.bool_)
        values = np.empty((len(self.depths), inputs.shape[1]), dtype=inputs.dtype)
        values[: self.inputs] = inputs
        for level in self._levels:
            chosen = self._order[level]
            minuend = self.places[columns.left[chosen]], columns.left_shift[chosen], never[chosen]
            addend = self.places[columns.right[chosen]], columns.right_shift[chosen], columns.subtract[chosen]
            left, right = shifted(values, *minuend), shifted(values, *addend)
            np.add(left, right, out=values[self.inputs + level.start : self.inputs + level.stop])
        return values


def blocks(columns: int, values: int, word: type[np.unsignedinteger]) -> Iterator[slice]:
    """Yield slices of `columns` columns of `values` numbers each, which take a bounded memory."""
    size = max(1, _BLOCK_BYTES // (np.dtype(word).itemsize * max(1, values)))
    yield from (slice(start, min(start + size, columns)) for start in range(0, columns, size))


def shifted(values: Words, places: IntArray, shifts: IntArray, negate: NDArray[np.bool_]) -> Words:
    """Return the rows `places` of `values`, each shifted left and negated or not, modulo the size of their word."""
    found: Words = np.take(values, places, axis=0)
    if shifts.any() or negate.any():
        word = np.uint64(np.iinfo(values.dtype).bits)
        factors = np.where(shifts < word, np.uint64(1) << (shifts.astype(np.uint64) % word), np.uint64(0))
        found *= np.where(negate, -factors, factors).astype(values.dtype)[:, np.newaxis]
    return found


def word_for(results: Iterable[Interval]) -> type[np.unsignedinteger] | None:
    """Return the smallest word whose two's complement holds all `results`, None if there is none.

    Sums, differences and left shifts are exact modulo 2**n, so what happens in between may wrap.
    """
    bits = max((interval.signed_width for interval in results), default=1)
    return next((word for word in _WORDS if bits <= np.dtype(word).itemsize * 8), None)


def _gather(adders: Sequence[object], name: str) -> NDArray[np.int64]:
    found = map(index, map(attrgetter(name), adders))
    return np.fromiter(found, dtype=np.int64, count=len(adders))


def _column(values: ArrayLike, name: str, length: int) -> NDArray[np.generic]:
    given = np.asarray(values)
    if given.shape != (length,) or (length and not np.can_cast(given.dtype, np.int64)):
        raise ModelError(
            "the columns of adders must be integers, all of one length",
            where=name,
            got=f"{given.dtype} of shape {given.shape}",
            expected=f"integers of shape ({length},)",
        )
    column: NDArray[np.generic] = given.astype(np.bool_ if name == "subtract" else np.int64)
    column.setflags(write=False)
    return column
