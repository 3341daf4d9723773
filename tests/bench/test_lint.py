# SPDX-License-Identifier: Apache-2.0
"""The lint of a built design: each module by itself, what it instantiates as its ports alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.mobilenetv2.lint import main

INNER = "module inner (\n  input  logic [1:0] data_i,\n  output logic data_o\n);\n  assign data_o = {};\nendmodule\n"
OUTER = (
    "module outer (\n  input  logic [1:0] data_i,\n  output logic data_o\n);\n{}"
    "  inner u_inner (\n    .data_i,\n    .data_o\n  );\nendmodule\n"
)
UNREAD = "  wire unread = data_i[0];\n"


def found(folder: Path, inner: str, outer: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    """Lint two modules; return the exit status and what is printed."""
    (folder / "rtl").mkdir()
    (folder / "rtl" / "inner.sv").write_text(INNER.format(inner))
    (folder / "rtl" / "outer.sv").write_text(OUTER.format(outer))
    return main([str(folder)]), capsys.readouterr().out


def test_clean_modules_are_clean(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert found(tmp_path, "^data_i", "", capsys) == (0, "2 modules, 2 of them clean\n")


@pytest.mark.parametrize(
    ("inner", "outer", "file"), [("data_i[0]", "", "inner.sv"), ("^data_i", UNREAD, "outer.sv")]
)
def test_a_fault_is_found_once_and_where_it_is(
    tmp_path: Path, inner: str, outer: str, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    status, printed = found(tmp_path, inner, outer, capsys)
    assert status == 1 and "1 of them clean" in printed
    assert printed.count("%Warning-UNUSEDSIGNAL") == 1 and file in printed


def test_a_folder_without_modules_is_no_success(tmp_path: Path) -> None:
    assert main([str(tmp_path)]) == 1
