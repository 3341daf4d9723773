# SPDX-License-Identifier: Apache-2.0
"""Random integer matrices, with what optimizers trip over."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from hsflow.fixedpoint import IntArray, Interval

HUGE = 2**40

_NUMBERS = [
    st.integers(-1, 1),
    st.sampled_from([-8, -4, -2, -1, 0, 1, 2, 4, 8]),
    st.integers(-300, 300),
    st.integers(-HUGE, HUGE),
]
_KINDS = [
    *("zero", "zero column", "negated", "equal", "shifted", "sum", "multiple"),
    *("equal columns", "shifted columns"),
]


@st.composite
def matrices(draw: st.DrawFn, most: int = 6) -> IntArray:
    """Draw a matrix, shape (outputs, inputs), with rows and columns that depend on others, in C or Fortran order."""
    outputs, inputs = draw(st.integers(1, most)), draw(st.integers(1, most))
    values = draw(st.sampled_from(_NUMBERS))
    rows = [[draw(values) for _ in range(inputs)] for _ in range(outputs)]
    matrix = np.array(rows, dtype=np.int64)
    for kind in draw(st.lists(st.sampled_from(_KINDS), max_size=4)):
        _change(draw, matrix, kind)
    return np.asfortranarray(matrix) if draw(st.booleans()) else matrix


def _change(draw: st.DrawFn, matrix: IntArray, kind: str) -> None:
    outputs, inputs = matrix.shape
    one, other, third = (draw(st.integers(0, outputs - 1)) for _ in range(3))
    column, column_2 = (draw(st.integers(0, inputs - 1)) for _ in range(2))
    match kind:
        case "zero":
            matrix[one] = 0
        case "zero column":
            matrix[:, column] = 0
        case "negated":
            matrix[one] = -matrix[other]
        case "equal":
            matrix[one] = matrix[other]
        case "shifted":
            matrix[one] = matrix[other] << 3
        case "sum":
            matrix[one] = matrix[other] + 2 * matrix[third]
        case "multiple":
            matrix[one] = draw(st.sampled_from([3, 5, -7, 45])) * matrix[other]
        case "equal columns":
            matrix[:, column] = matrix[:, column_2]
        case _:
            matrix[:, column] = -4 * matrix[:, column_2]
    # Changes build upon each other: numbers stay such that sums fit.
    matrix[np.abs(matrix) > 4 * HUGE] = 1


def ranges(matrix: IntArray) -> tuple[Interval, ...]:
    """Return a range for each input of a matrix: signed and unsigned ones, down to a single bit and to no value but 0."""
    return tuple(Interval(-(column % 3), 255 >> 2 * column) for column in range(matrix.shape[1]))
