# SPDX-License-Identifier: Apache-2.0
"""What every peer's runner does: read a matrix, solve it (in tiles if told), measure, write the programs as JSON.

A runner is a script of its own that runs in the bench's environment, without hsflow. It writes

    {"cpu_seconds": s, "parts": [{"inputs": [first, last + 1], "outputs": [...], "stages": [stage, ...]}, ...]}

where the outputs of a part's stage are the inputs of its next one, and a stage is

    {"input_shifts": [...], "ops": [[opcode, first, second, shift], ...],
     "outputs": [[op, shift, negated], ...]}

Opcode -1 copies the stage's input `first`; 0 is `first + (second << shift)`, 1 the difference, -2 the negative of
`first`; shifts may be negative, and op -1 of an output is the constant 0. Both peers' own forms are this one.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

INPUT = (0.0, 255.0, 1.0)
"""The lowest value of each input, its highest one, and the step between two."""

Stage = dict[str, Any]
Solve = Callable[[Any, Mapping[str, Any]], list[Stage]]
"""From a C-ordered float32 matrix of shape (inputs, outputs) and the peer's options to its stages."""


def stage_of(solution: Any, operations: Iterable[tuple[int, int, int, int]]) -> Stage:
    """Return one stage of a peer's solution, whose operations alone differ between the peers."""
    return {
        "input_shifts": solution.inp_shifts,
        "ops": operations,
        "outputs": zip(solution.out_idxs, solution.out_shifts, solution.out_negs, strict=True),
    }


def main(solve: Solve) -> None:
    """Run the runner that calls `solve`."""
    arguments = _arguments()
    matrix = np.load(arguments.matrix, allow_pickle=False)
    options = json.loads(arguments.options)
    solve(np.ones((2, 2), dtype=np.float32), options)
    start = time.process_time()
    tiles = list(_tiles(matrix.shape, arguments.tile))
    solutions = [solve(_block(matrix, inputs, outputs), options) for inputs, outputs in tiles]
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    # Both peers give the stages as Python objects: turning them into lists is not the solver's time.
    parts = [
        {"inputs": inputs, "outputs": outputs, "stages": [_plain(stage) for stage in solution]}
        for (inputs, outputs), solution in zip(tiles, solutions, strict=True)
    ]
    result = {"cpu_seconds": seconds, "peak_mib": peak, "parts": parts}
    arguments.result.write_text(json.dumps(result), encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("matrix", type=Path)
    parser.add_argument("result", type=Path)
    parser.add_argument("--options", default="{}", help="the peer's options as JSON")
    parser.add_argument("--tile", type=int, default=0, help="the side of the blocks solved apart; 0: untiled")
    return parser.parse_args()


def _block(matrix: Any, inputs: list[int], outputs: list[int]) -> Any:
    return np.ascontiguousarray(matrix[slice(*inputs), slice(*outputs)], dtype=np.float32)


def _tiles(shape: tuple[int, int], side: int) -> Iterator[tuple[list[int], list[int]]]:
    rows, columns = (side or size for size in shape)
    for top in range(0, shape[0], rows):
        for left in range(0, shape[1], columns):
            yield [top, min(top + rows, shape[0])], [left, min(left + columns, shape[1])]


def _plain(stage: Stage) -> Stage:
    return {key: list(value) for key, value in stage.items()}
