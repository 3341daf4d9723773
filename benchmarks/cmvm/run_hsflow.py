# SPDX-License-Identifier: Apache-2.0
"""Solve a matrix by hsflow in a process of its own: `python -m benchmarks.cmvm.run_hsflow MATRIX RESULT`."""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np

from benchmarks.cmvm.exchange import graph_to_json
from benchmarks.cmvm.matrices import parse
from benchmarks.cmvm.solver import solve

WARM_UP = "16x24-g8-z50"
"""Solved first, so that compiled code is there: loading or compiling it is not the solver's time."""


def main() -> None:
    """Run the runner."""
    arguments = _arguments()
    options = json.loads(arguments.options)
    matrix = np.load(arguments.matrix, allow_pickle=False)
    solve(parse(WARM_UP).build(), **{**options, "max_depth": None})
    start = time.process_time()
    graph = solve(matrix, **options)
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    result = {"cpu_seconds": seconds, "peak_mib": peak, **graph_to_json(graph)}
    arguments.result.write_text(json.dumps(result), encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("matrix", type=Path)
    parser.add_argument("result", type=Path)
    parser.add_argument("--options", default="{}", help="effort and max_depth as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    main()
