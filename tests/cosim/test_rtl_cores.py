# SPDX-License-Identifier: Apache-2.0
"""The FuseSoC cores of the RTL library: what they list, and their own self-checking testbenches."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from simulator import CORES, build, lint, run

from hsflow.errors import ToolError

# Core, and one wrong line each, which the core's own testbench must find.
FAULTS = {
    "stream": ("hsflow_stream_fork", "done1_q <= done1 & ~done0;", "done1_q <= 1'b0;"),
    "window": ("hsflow_window", "ColumnsLeft + Columns - First)", "ColumnsLeft + Columns - First + 1)"),
    "requantize": ("hsflow_requantize", "sum >>> RightShift", "sum >> RightShift"),
    "pool": ("hsflow_max", "^ Flip) > (one ^ Flip)", "^ Flip) > one"),
    "axil": ("hsflow_axil_slave", "bresp_o <= {error_i, 1'b0};", "bresp_o <= 2'b00;"),
}


def files_of(core: str, *filesets: str) -> list[Path]:
    """Return the files that the core's description lists."""
    description = yaml.safe_load(
        (CORES / core / f"hsflow_{core}.core").read_text(encoding="utf-8").split("\n", 1)[1]
    )
    return [CORES / core / name for fileset in filesets for name in description["filesets"][fileset]["files"]]


def run_testbench(core: str, sources: list[Path], workdir: Path) -> str:
    return run(build(sources, f"hsflow_{core}_tb", workdir))


@pytest.mark.parametrize("core", FAULTS)
def test_core_lists_every_file_and_target(core: str) -> None:
    first, text = (CORES / core / f"hsflow_{core}.core").read_text(encoding="utf-8").split("\n", 1)
    description = yaml.safe_load(text)
    assert first == "CAPI=2:"
    assert description["name"] == f"hsflow:rtl:{core}:0.1.0"
    assert set(files_of(core, "rtl")) == set((CORES / core / "rtl").glob("*.sv"))
    assert {name: target.get("flow") for name, target in description["targets"].items()} == {
        "default": None,
        "lint": "lint",
        "sim": "sim",
    }


@pytest.mark.parametrize("core", FAULTS)
def test_testbench_is_lint_clean(core: str) -> None:
    assert lint(files_of(core, "rtl", "tb"), f"hsflow_{core}_tb", timing=True) == []


@pytest.mark.parametrize("core", FAULTS)
def test_testbench_passes(core: str, tmp_path: Path) -> None:
    assert f"PASS hsflow_{core}_tb" in run_testbench(core, files_of(core, "rtl", "tb"), tmp_path)


@pytest.mark.parametrize("core", FAULTS)
def test_twin_testbench_fails_on_a_wrong_design(core: str, tmp_path: Path) -> None:
    module, right, wrong = FAULTS[core]
    sources = files_of(core, "rtl", "tb")
    original = next(path for path in sources if path.stem == module)
    text = original.read_text(encoding="ascii")
    assert text.count(right) == 1
    mutant = tmp_path / original.name
    mutant.write_text(text.replace(right, wrong), encoding="ascii")
    with pytest.raises(ToolError, match=f"FAIL hsflow_{core}_tb"):
        run_testbench(core, [mutant if path == original else path for path in sources], tmp_path)
