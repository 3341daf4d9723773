# SPDX-License-Identifier: Apache-2.0
"""The adder graph: a constant matrix-vector product as a program of shifted additions and subtractions.

Values are numbered: the inputs first, then one for each adder in order. Each adder reads earlier values only, so the
program is in static single assignment form. Shifts are left shifts, free in hardware.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from hsflow.errors import MismatchError, ModelError
from hsflow.fixedpoint import IntArray, Interval


@dataclass(frozen=True)
class Adder:
    """Compute `(left << left_shift) + (right << right_shift)`, or the difference if `subtract`."""

    left: int
    right: int
    left_shift: int = 0
    right_shift: int = 0
    subtract: bool = False


@dataclass(frozen=True)
class Output:
    """Give `value << shift`, negated if `negate`; `value` None is the constant 0."""

    value: int | None
    shift: int = 0
    negate: bool = False


@dataclass(frozen=True)
class AdderGraph:
    """Hold a shift-add program with the range of each input."""

    inputs: tuple[Interval, ...]
    adders: tuple[Adder, ...]
    outputs: tuple[Output, ...]

    @cached_property
    def intervals(self) -> tuple[Interval, ...]:
        """Return the exact range of each value by interval arithmetic (inputs taken as independent)."""
        ranges = list(self.inputs)
        for adder in self.adders:
            left, right = ranges[adder.left] << adder.left_shift, ranges[adder.right] << adder.right_shift
            ranges.append(left - right if adder.subtract else left + right)
        return tuple(ranges)

    @cached_property
    def depths(self) -> tuple[int, ...]:
        """Return the adders on the longest path to each value; 0 for an input."""
        depths = [0] * len(self.inputs)
        for adder in self.adders:
            depths.append(1 + max(depths[adder.left], depths[adder.right]))
        return tuple(depths)

    @property
    def depth(self) -> int:
        """Return the adders on the longest path to any output."""
        return max((self.depths[o.value] for o in self.outputs if o.value is not None), default=0)

    @property
    def full_adder_bits(self) -> int:
        """Return the total width of all adders: each costs a full adder for a bit where its operands overlap."""
        return sum(self._adder_bits(number) for number in range(len(self.adders)))

    def _adder_bits(self, number: int) -> int:
        adder = self.adders[number]
        width = self.intervals[len(self.inputs) + number].width
        # Bits of a left-shifted addend below the other one's lowest bit pass through; a subtrahend's must borrow.
        untouched = adder.right_shift if adder.subtract else max(adder.left_shift, adder.right_shift)
        return max(width - untouched, 1)

    def output_interval(self, output: Output) -> Interval:
        """Return the range of an output."""
        if output.value is None:
            return Interval(0, 0)
        interval = self.intervals[output.value] << output.shift
        return -interval if output.negate else interval

    def evaluate(self, inputs: IntArray) -> IntArray:
        """Run the program on integers of shape (inputs, ...) and return shape (outputs, ...)."""
        values = list(inputs)
        for adder in self.adders:
            left, right = values[adder.left] << adder.left_shift, values[adder.right] << adder.right_shift
            values.append(left - right if adder.subtract else left + right)
        zero = np.zeros_like(inputs[0]) if len(inputs) else np.zeros(0, dtype=np.int64)
        return np.array([_select(output, values, zero) for output in self.outputs], dtype=np.int64)

    def coefficients(self) -> IntArray:
        """Return the matrix that the program computes, shape (outputs, inputs): its exact proof, as it is linear."""
        return self.evaluate(np.eye(len(self.inputs), dtype=np.int64))

    def check(self) -> None:
        """Check that every value is read after it was computed, and that no shift goes right.

        Raises:
            ModelError: names the first adder or output that is wrong.
        """
        for number, adder in enumerate(self.adders, start=len(self.inputs)):
            operands_known = 0 <= adder.left < number and 0 <= adder.right < number
            if not operands_known or min(adder.left_shift, adder.right_shift) < 0:
                raise ModelError(
                    "an adder may read earlier values only, shifted left", where=f"value {number}", got=adder
                )
        values = len(self.inputs) + len(self.adders)
        for place, output in enumerate(self.outputs):
            if (output.value is not None and not 0 <= output.value < values) or output.shift < 0:
                raise ModelError(
                    "an output must be a value of the graph, shifted left",
                    where=f"output {place}",
                    got=output,
                )

    def prove(self, matrix: IntArray, where: str) -> None:
        """Check that the program computes `matrix`, shape (outputs, inputs), exactly.

        Raises:
            MismatchError: if the sizes differ; with the first output whose coefficients differ.
            ModelError: if it is no program at all.
        """
        self.check()
        computed = self.coefficients()
        if computed.shape != matrix.shape:
            raise MismatchError(
                "the adder graph has another size than its matrix",
                where=where,
                got=computed.shape,
                expected=matrix.shape,
            )
        wrong = np.flatnonzero((computed != matrix).any(axis=1))
        if wrong.size:
            row = int(wrong[0])
            raise MismatchError(
                f"the adder graph computes other coefficients at output {row}",
                where=where,
                got=computed[row].tolist(),
                expected=matrix[row].tolist(),
            )


def _select(output: Output, values: list[IntArray], zero: IntArray) -> IntArray:
    if output.value is None:
        return zero
    shifted = values[output.value] << output.shift
    return -shifted if output.negate else shifted
