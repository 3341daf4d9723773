# SPDX-License-Identifier: Apache-2.0
"""The adder graph: a constant matrix-vector product as a program of shifted additions and subtractions.

Values are numbered: the inputs first, then one for each adder in order. Each adder reads earlier values only, so the
program is in static single assignment form. Shifts are left shifts, free in hardware.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsflow.errors import MismatchError, ModelError
from hsflow.fixedpoint import MAX_WIDTH, IntArray, Interval, check_width
from hsflow.ir.addercolumns import (
    MAX_BITS,
    AdderColumns,
    Ranges,
    Schedule,
    Words,
    blocks,
    shifted,
    word_for,
)


@dataclass(frozen=True, slots=True)
class Adder:
    """Compute `(left << left_shift) + (right << right_shift)`, or the difference if `subtract`."""

    left: int
    right: int
    left_shift: int = 0
    right_shift: int = 0
    subtract: bool = False


@dataclass(frozen=True, slots=True)
class Output:
    """Give `value << shift`, negated if `negate`; `value` None is the constant 0."""

    value: int | None
    shift: int = 0
    negate: bool = False


@dataclass(frozen=True)
class AdderGraph:
    """Hold a shift-add program with the range of each input.

    What is computed from it is computed once, and refuses (`ModelError`) what is no program.
    """

    inputs: tuple[Interval, ...]
    adders: tuple[Adder, ...]
    outputs: tuple[Output, ...]

    @classmethod
    def from_columns(
        cls, inputs: tuple[Interval, ...], columns: AdderColumns, outputs: tuple[Output, ...]
    ) -> AdderGraph:
        """Return the graph whose adders are the rows of `columns`: quicker than to make each `Adder` by itself."""
        graph = cls(inputs, tuple(map(Adder, *columns.lists())), outputs)
        vars(graph)["columns"] = columns
        return graph

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how to copy or pickle: compactly, and without what was computed."""
        return type(self).from_columns, (self.inputs, self.columns, self.outputs)

    @cached_property
    def columns(self) -> AdderColumns:
        """Return the adders as arrays, one for each field."""
        return AdderColumns.of_adders(self.adders)

    @cached_property
    def _program(self) -> AdderColumns:
        """Return the columns of what is known to be a program."""
        misplaced = self.columns.misplaced(len(self.inputs))
        if misplaced.size:
            number = int(misplaced[0])
            raise ModelError(
                "an adder may read earlier values only, shifted left",
                where=f"value {len(self.inputs) + number}",
                got=self.adders[number],
                expected=f"shifts of 0 to {MAX_BITS}",
            )
        self._check_outputs()
        return self.columns

    def _check_outputs(self) -> None:
        values = len(self.inputs) + len(self.adders)
        for place, output in enumerate(self.outputs):
            known = output.value is None or 0 <= output.value < values
            if not known or not 0 <= output.shift <= MAX_BITS:
                raise ModelError(
                    "an output must be a value of the graph, shifted left",
                    where=f"output {place}",
                    got=output,
                    expected=f"a value below {values}, and a shift of 0 to {MAX_BITS}",
                )

    @cached_property
    def output_values(self) -> IntArray:
        """Return the number of the value behind each output that is not the constant 0."""
        return np.array([output.value for output in self.outputs if output.value is not None], dtype=np.int64)

    @cached_property
    def _ranges(self) -> Ranges:
        return self._program.ranges(self.inputs)

    @cached_property
    def intervals(self) -> tuple[Interval, ...]:
        """Return the exact range of each value by interval arithmetic (inputs taken as independent)."""
        return self._ranges.intervals()

    @cached_property
    def widths(self) -> IntArray:
        """Return the bits of each value, shape (values,)."""
        return self._ranges.widths()

    @cached_property
    def depths(self) -> tuple[int, ...]:
        """Return the adders on the longest path to each value; 0 for an input."""
        return tuple(self._program.depths(len(self.inputs)))

    @property
    def depth(self) -> int:
        """Return the adders on the longest path to any output."""
        return max((self.depths[o.value] for o in self.outputs if o.value is not None), default=0)

    @cached_property
    def adder_bits(self) -> IntArray:
        """Return the full adders that each adder is built of, shape (adders,).

        A ripple adder has one for each bit of its result in which anything is added: where both operands have a bit,
        and above, where the carry (or a sign) runs on into the upper bits. The bits below the lowest one of the operand
        that is shifted further pass through and cost nothing; below the minuend's lowest bit, however, the subtrahend
        is negated, and those bits count. Every adder costs at least one.
        """
        columns = self._program
        both = np.maximum(columns.left_shift, columns.right_shift)
        untouched = np.where(columns.subtract, columns.right_shift, both)
        return np.maximum(self.widths[len(self.inputs) :] - untouched, 1)

    @cached_property
    def full_adders(self) -> IntArray:
        """Return in how many of its bits each adder adds two bits and a carry, shape (adders,).

        In its other `adder_bits` an operand has no bit, or no carry can come: half adders.
        """
        columns, made = self._program, self.widths[len(self.inputs) :]
        ends = (
            np.where(self.signed[values], made, np.minimum(made, self.widths[values] + shifts))
            for values, shifts in ((columns.left, columns.left_shift), (columns.right, columns.right_shift))
        )
        both = np.minimum(*ends) - np.maximum(columns.left_shift, columns.right_shift)
        # Below the minuend a subtrahend is negated, so that a carry comes from there.
        carried = columns.subtract & (columns.left_shift > columns.right_shift)
        full: IntArray = np.minimum(np.maximum(both - ~carried, 0), self.adder_bits)
        return full

    @cached_property
    def signed(self) -> NDArray[np.bool_]:
        """Tell which values can be negative, shape (values,)."""
        signs = (low < 0 for low in self._ranges.low)
        return np.fromiter(signs, dtype=np.bool_, count=len(self.widths))

    @cached_property
    def readers(self) -> IntArray:
        """Return how often each value is read, by adders and outputs, shape (values,)."""
        columns = self._program
        read = np.concatenate([columns.left, columns.right, self.output_values])
        return np.bincount(read, minlength=len(self.widths))

    def without_unused(self) -> AdderGraph:
        """Return the graph without the adders that no output depends on; all inputs stay."""
        inputs, columns = len(self.inputs), self._program
        needed = columns.needed(inputs, self.output_values)
        needed[:inputs] = True
        if needed.all():
            return self
        numbers, kept = np.cumsum(needed) - 1, needed[inputs:]
        chosen = AdderColumns(
            numbers[columns.left[kept]],
            numbers[columns.right[kept]],
            columns.left_shift[kept],
            columns.right_shift[kept],
            columns.subtract[kept],
        )
        outputs = (o if o.value is None else replace(o, value=int(numbers[o.value])) for o in self.outputs)
        return AdderGraph.from_columns(self.inputs, chosen, tuple(outputs))

    @property
    def full_adder_bits(self) -> int:
        """Return the sum of `adder_bits`: what the graph costs without registers."""
        return int(self.adder_bits.sum())

    def output_interval(self, output: Output) -> Interval:
        """Return the range of an output."""
        if output.value is None:
            return Interval(0, 0)
        interval = self.intervals[output.value] << output.shift
        return -interval if output.negate else interval

    def evaluate(self, inputs: IntArray) -> IntArray:
        """Run the program on integers of shape (inputs, ...) and return shape (outputs, ...), every integer exact.

        Raises:
            ModelError: if the inputs are so large that a result could be out of 64 bits.
        """
        given = np.asarray(inputs, dtype=np.int64)
        if not given.ndim or len(given) != len(self.inputs):
            raise ModelError(
                "the inputs do not fit the graph", got=given.shape, expected=f"({len(self.inputs)}, ...)"
            )
        flat = given.reshape(len(given), math.prod(given.shape[1:]))
        word = self._word(flat)
        results = np.empty((len(self.outputs), flat.shape[1]), dtype=np.int64)
        for block in blocks(flat.shape[1], len(self.depths), word):
            values = self._schedule.run(flat[:, block].astype(word))
            results[:, block] = self._results(values)
        return results.reshape(len(self.outputs), *given.shape[1:])

    @cached_property
    def _schedule(self) -> Schedule:
        return Schedule(self._program, np.array(self.depths, dtype=np.int64))

    def _word(self, inputs: IntArray) -> type[np.unsignedinteger]:
        """Return a word in which the outputs are exact for these inputs, shape (inputs, n)."""
        bounds = zip(
            inputs.min(axis=1, initial=0).tolist(), inputs.max(axis=1, initial=0).tolist(), strict=True
        )
        ranges = self._program.ranges([Interval(low, high) for low, high in bounds])
        results = (_range_of(output, ranges) for output in self.outputs)
        word = word_for(results)
        if word is None:
            raise ModelError(
                "an output could be out of 64 bits",
                where="an adder graph",
                hint="use smaller shifts or fewer terms",
            )
        return word

    def _results(self, values: Words) -> IntArray:
        """Return the outputs, given all values in the places of the schedule."""
        used = np.array([output.value is not None for output in self.outputs], dtype=np.bool_)
        shifts = np.array([output.shift for output in self.outputs], dtype=np.int64)[used]
        negate = np.array([output.negate for output in self.outputs], dtype=np.bool_)[used]
        found = shifted(values, self._schedule.places[self.output_values], shifts, negate)
        results = np.zeros((len(self.outputs), values.shape[1]), dtype=np.int64)
        results[used] = found.view(np.dtype(f"i{found.itemsize}"))
        return results

    def coefficients(self) -> IntArray:
        """Return the matrix that the program computes, shape (outputs, inputs): its exact proof, as it is linear."""
        return self.evaluate(np.eye(len(self.inputs), dtype=np.int64))

    def check(self) -> None:
        """Check that every value is read after it was computed, that no shift goes right, and all widths.

        Raises:
            ModelError: names the first adder or output that is wrong, or that is wider than `MAX_WIDTH` bits.
        """
        wide = np.flatnonzero(self.widths > MAX_WIDTH)
        if wide.size:
            check_width(int(self.widths[wide[0]]), f"value {wide[0]}")
        for place, output in enumerate(self.outputs):
            check_width(_range_of(output, self._ranges).width, f"output {place}")

    def prove(self, matrix: IntArray, where: str) -> None:
        """Check that the program computes `matrix`, shape (outputs, inputs), exactly.

        Raises:
            MismatchError: if the sizes differ; with the first output whose coefficients differ.
            ModelError: if it is no program at all, or its numbers are wider than `MAX_WIDTH` bits.
        """
        self.check()
        shape = (len(self.outputs), len(self.inputs))
        if matrix.shape != shape:
            raise MismatchError(
                "the adder graph has another size than its matrix",
                where=where,
                got=shape,
                expected=matrix.shape,
            )
        computed = self.coefficients()
        wrong = np.flatnonzero((computed != matrix).any(axis=1))
        if wrong.size:
            row = int(wrong[0])
            raise MismatchError(
                f"the adder graph computes other coefficients at output {row}",
                where=where,
                got=computed[row].tolist(),
                expected=matrix[row].tolist(),
            )


def _range_of(output: Output, ranges: Ranges) -> Interval:
    if output.value is None:
        return Interval(0, 0)
    interval = Interval(ranges.low[output.value], ranges.high[output.value]) << output.shift
    return -interval if output.negate else interval
