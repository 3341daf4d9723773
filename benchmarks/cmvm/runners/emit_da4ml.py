# SPDX-License-Identifier: Apache-2.0
"""Write da4ml's own Verilog of a matrix into one file: `emit_da4ml.py MATRIX TARGET --module NAME --levels N`."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import da4ml
import numpy as np
from da4ml.cmvm import solve
from da4ml.codegen.rtl.verilog.comb import comb_logic_gen
from da4ml.codegen.rtl.verilog.pipeline import pipeline_logic_gen
from da4ml.trace import HWConfig, comb_trace, to_pipeline
from da4ml.trace.fixed_variable import FixedVariable
from run_da4ml import INPUT

LIBRARY = Path(da4ml.__file__).parent / "codegen" / "rtl" / "verilog" / "source"
EVERY_ADDER_ONE = HWConfig(-1, -1, -1)


def main() -> None:
    """Write the Verilog with what it instantiates."""
    parser = argparse.ArgumentParser()
    parser.add_argument("matrix", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--module", default="cmvm")
    parser.add_argument("--levels", type=int, default=0, help="adder levels between registers; 0: none")
    parser.add_argument("--options", default="{}")
    arguments = parser.parse_args()
    matrix = np.ascontiguousarray(np.load(arguments.matrix, allow_pickle=False), dtype=np.float32)
    logic = _logic(matrix, json.loads(arguments.options))
    texts = [*_modules(logic, arguments.module, arguments.levels), *_library()]
    arguments.target.write_text("\n".join(texts), encoding="utf-8")


def _logic(matrix: Any, options: dict[str, Any]) -> Any:
    """Return the solution as one program, as da4ml's own tracer makes it."""
    solution = solve(matrix, qintervals=[INPUT] * len(matrix), **options)
    inputs = [FixedVariable(*INPUT, hwconf=EVERY_ADDER_ONE) for _ in range(len(matrix))]
    return comb_trace(inputs, list(solution(inputs)))


def _modules(logic: Any, module: str, levels: int) -> Iterator[str]:
    if levels == 0:
        yield comb_logic_gen(logic, module)
        return
    texts = pipeline_logic_gen(to_pipeline(logic, levels, retiming=False), module, timescale=None)
    for name, text in texts.items():
        yield _without_input_register(text) if name == module else text


def _without_input_register(text: str) -> str:
    """Return the top module with its first stage at the inputs: hsflow registers no inputs, so none is counted."""
    changed = text.replace("stage0_inp <= model_inp;", "").replace("(stage0_inp)", "(model_inp)")
    if changed == text or "stage0_inp <=" in changed:
        raise ValueError("da4ml's pipeline must register its inputs as stage0_inp, and this one does not")
    return changed


def _library() -> Iterator[str]:
    for name in ("shift_adder.v", "negative.v"):
        yield (LIBRARY / name).read_text(encoding="utf-8")


if __name__ == "__main__":
    main()
