# SPDX-License-Identifier: Apache-2.0
"""Solve a matrix by da4ml."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from common import INPUT, main, stage_of
from da4ml.cmvm import solve as da4ml_solve


def solve(matrix: Any, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the stages of da4ml's solution."""
    solution = da4ml_solve(matrix, qintervals=[INPUT] * len(matrix), **options)
    return [stage_of(stage, _ops(stage)) for stage in solution.solutions]


def _ops(stage: Any) -> Iterator[tuple[int, int, int, int]]:
    return ((op.opcode, op.id0, op.id1, op.data) for op in stage.ops)


if __name__ == "__main__":
    main(solve)
