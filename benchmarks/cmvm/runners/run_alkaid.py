# SPDX-License-Identifier: Apache-2.0
"""Solve a matrix by alkaid."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from alkaid.cmvm import cmvm_solve
from common import INPUT, main, stage_of


def solve(matrix: Any, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the stages of alkaid's solution."""
    stages = cmvm_solve(matrix, qintervals=[INPUT] * len(matrix), **options)
    return [stage_of(stage, _ops(stage)) for stage in stages]


def _ops(stage: Any) -> Iterator[tuple[int, int, int, int]]:
    for op in stage.ops:
        if op.opcode == -1:
            yield -1, op.data[0], -1, 0
        elif op.opcode == -2:
            yield -2, op.addr[0], -1, 0
        else:
            yield op.opcode, op.addr[0], op.addr[1], op.data[0]


if __name__ == "__main__":
    main(solve)
