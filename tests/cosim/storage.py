# SPDX-License-Identifier: Apache-2.0
"""Count the flip-flops and memory bits of a design with Yosys."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

needs_yosys = pytest.mark.skipif(shutil.which("yosys") is None, reason="yosys is not installed")


def stored_bits(
    sources: Sequence[Path], top: str, designs: Sequence[Mapping[str, int]], folder: Path
) -> list[int]:
    """Return the bits that `top` stores with each of the parameter sets `designs`; `folder` takes the netlists."""
    lines = []
    for number, parameters in enumerate(designs):
        values = " ".join(f"-chparam {key} {value}" for key, value in parameters.items())
        lines += [f"read_verilog -sv {' '.join(map(str, sources))}", f"hierarchy -top {top} {values}"]
        lines += ["proc", "flatten", "opt_clean", "memory_collect"]
        lines += [f"write_json {number}.json", "design -reset"]
    (folder / "script.ys").write_text("\n".join(lines), encoding="ascii")
    command = [shutil.which("yosys") or "yosys", "-q", "script.ys"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=600)
    return [_bits(folder / f"{number}.json") for number in range(len(designs))]


def _bits(netlist: Path) -> int:
    modules = json.loads(netlist.read_text(encoding="utf-8"))["modules"].values()
    top = next(module for module in modules if int(module["attributes"].get("top", "0"), 2))
    return sum(_cell_bits(cell["type"], cell["parameters"]) for cell in top["cells"].values())


def _cell_bits(kind: str, parameters: Mapping[str, str]) -> int:
    if kind in ("$mem", "$mem_v2"):
        return int(parameters["WIDTH"], 2) * int(parameters["SIZE"], 2)
    return int(parameters["WIDTH"], 2) if "dff" in kind else 0
