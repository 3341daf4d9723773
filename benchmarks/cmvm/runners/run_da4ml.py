# SPDX-License-Identifier: Apache-2.0
"""Solve a matrix by da4ml."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from common import main
from da4ml.cmvm import solve as da4ml_solve

INPUT = (0.0, 255.0, 1.0)


def solve(matrix: Any, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the stages of da4ml's solution."""
    solution = da4ml_solve(matrix, qintervals=[INPUT] * len(matrix), **options)
    return [_stage(stage) for stage in solution.solutions]


def _stage(stage: Any) -> dict[str, Any]:
    return {
        "input_shifts": stage.inp_shifts,
        "ops": _ops(stage),
        "outputs": zip(stage.out_idxs, stage.out_shifts, stage.out_negs, strict=True),
    }


def _ops(stage: Any) -> Iterator[tuple[int, int, int, int]]:
    return ((op.opcode, op.id0, op.id1, op.data) for op in stage.ops)


if __name__ == "__main__":
    main(solve)
