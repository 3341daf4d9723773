# SPDX-License-Identifier: Apache-2.0
"""Netlists as Verilog: whatever the width of a port, no line is long, and what is read back is what was written."""

from __future__ import annotations

from pathlib import Path

import pytest
from hsflow_asap7.netlist import Cell, Module, Netlist, Port, read_netlist
from hsflow_asap7.structural import write_verilog

from hsflow.launch import resolve
from hsflow.process import run

WIDTH = 5000


def turned(width: int) -> Netlist:
    """Return a module that turns a bus around and hands it to another one."""
    bits = tuple(range(2, 2 + width))
    child = Module("child", {"data_i": Port("input", bits)}, {})
    top = Module("top", {"data_i": Port("input", bits)}, {"u_child": Cell("child", {"data_i": bits[::-1]})})
    return Netlist("top", {"top": top, "child": child})


def test_no_line_is_long(tmp_path: Path) -> None:
    path = tmp_path / "netlist.v"
    write_verilog(turned(WIDTH), path)
    lines = path.read_text().splitlines()
    assert max(map(len, lines)) <= 120
    assert sum("child u_child" in line for line in lines) == 1


@pytest.mark.parametrize("width", [3, WIDTH])
def test_yosys_reads_what_was_written(tmp_path: Path, width: int) -> None:
    write_verilog(turned(width), tmp_path / "netlist.v")
    (tmp_path / "read.ys").write_text("read_verilog netlist.v\nhierarchy -top top\nwrite_json back.json\n")
    yosys = resolve("yosys")
    run([*yosys.argv, "-s", "read.ys"], cwd=tmp_path, env=yosys.env, log=tmp_path / "log")
    top = read_netlist(tmp_path / "back.json").modules["top"]
    assert top.cells["u_child"].pins["data_i"] == top.ports["data_i"].bits[::-1]
