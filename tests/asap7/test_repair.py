# SPDX-License-Identifier: Apache-2.0
"""Repair of setup: the cells on a path that misses the clock grow, no others do, and what gains nothing is taken back."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hsflow_asap7 import facts
from hsflow_asap7.constraints import Constraints
from hsflow_asap7.library import read_cells
from hsflow_asap7.netlist import Cell, Module, Netlist, Port
from hsflow_asap7.platform import Corner, Platform, merged_liberty
from hsflow_asap7.repair import Repair, repair, violations
from hsflow_asap7.timing import Design
from mini_platform import real_platform

pytestmark = pytest.mark.skipif(shutil.which("sta") is None, reason="OpenSTA (sta) is not installed")

READERS = 24
REGISTER, INVERTER = f"DFFHQNx1{facts.SUFFIX}", facts.INVERTER


def fan() -> Module:
    """Return a module in which one small inverter drives registers, and another the output of one."""
    outputs = tuple(range(100, 100 + READERS))
    ports = {"clk_i": Port("input", (1,)), "x_i": Port("input", (2,)), "y_o": Port("output", outputs)}
    registers = {
        f"y{n}_reg": Cell(REGISTER, {"CLK": (1,), "D": (5,), "QN": (net,)}) for n, net in enumerate(outputs)
    }
    cells = {
        "x_reg": Cell(REGISTER, {"CLK": (1,), "D": (2,), "QN": (3,)}),
        "early": Cell(INVERTER, {"A": (3,), "Y": (4,)}),
        "late": Cell(INVERTER, {"A": (4,), "Y": (5,)}),
        **registers,
    }
    return Module("fan", ports, cells)


def chip() -> Netlist:
    """Return the fan in a top."""
    outputs = tuple(range(10, 10 + READERS))
    ports = {"clk_i": Port("input", (1,)), "x_i": Port("input", (2,)), "y_o": Port("output", outputs)}
    inner = Cell("fan", {"clk_i": (1,), "x_i": (2,), "y_o": outputs})
    return Netlist("top", {"top": Module("top", ports, {"u_fan": inner}), "fan": fan()})


@pytest.fixture(scope="module")
def platform() -> Platform:
    return real_platform()


def design(platform: Platform, folder: Path) -> Design:
    return Design(folder / "none.v", "top", (merged_liberty(platform, Corner.TT, folder),), Corner.TT)


def repaired(platform: Platform, folder: Path, clock_ps: float) -> Repair:
    constraints = Constraints(clock_ps, reset_port=None, io_share=0.0)
    return repair(chip(), design(platform, folder), constraints, read_cells(platform), folder / "repair")


def test_a_path_that_misses_the_clock_meets_it_by_larger_cells(platform: Platform, tmp_path: Path) -> None:
    clock_ps, constraints = 120.0, Constraints(120.0, reset_port=None, io_share=0.0)
    before = violations(chip(), design(platform, tmp_path), constraints, tmp_path / "before")
    assert len(before.slacks) == READERS and before.total < 0
    assert [cell.cell for cell in before.paths[0]] == ["x_reg", "early", "late"]
    found = repaired(platform, tmp_path, clock_ps)
    cells, others = found.netlist.modules["fan"].cells, fan().cells
    assert found.missed == 0 and found.larger == sum(cells[name] != others[name] for name in others)
    assert all(cells[name] != others[name] for name in ("early", "late"))
    assert all(cells[name] == cell for name, cell in others.items() if name.startswith("y"))
    assert violations(found.netlist, design(platform, tmp_path), constraints, tmp_path / "after").slacks == ()


def test_a_netlist_that_meets_the_clock_stays_as_it_is(platform: Platform, tmp_path: Path) -> None:
    found = repaired(platform, tmp_path, 2000.0)
    assert found.netlist == chip() and (found.larger, found.missed) == (0, 0)


def test_what_cannot_be_met_is_said(platform: Platform, tmp_path: Path) -> None:
    """The clock is too fast even for the register behind the input, on whose path no cell is."""
    found = repaired(platform, tmp_path, 40.0)
    assert found.missed > READERS
