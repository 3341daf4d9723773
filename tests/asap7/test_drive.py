# SPDX-License-Identifier: Apache-2.0
"""Drive strengths: no net is loaded beyond its driver's share, neither within a module nor through a hierarchy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from hsflow_asap7 import facts
from hsflow_asap7.drive import LATER, SHARE, driven
from hsflow_asap7.library import LibraryCell, read_cells
from hsflow_asap7.netlist import Bit, Cell, Module, Netlist, Port
from mini_platform import mini_platform

FANOUT = 200
INVERTER, BUFFER, AND = facts.INVERTER, facts.BUFFER, f"AND2x2{facts.SUFFIX}"


@pytest.fixture
def cells(tmp_path: Path) -> Mapping[str, LibraryCell]:
    return read_cells(mini_platform(tmp_path / "asap7"))


def inverters(name: str, source: int, count: int) -> dict[str, Cell]:
    return {f"{name}{n}": Cell(INVERTER, {"A": (source,), "Y": (1000 + n,)}) for n in range(count)}


def fan(count: int, driver: str) -> Module:
    """Return a module in which a driver feeds many inverters, whose outputs are ports."""
    outputs: tuple[Bit, ...] = tuple(range(1000, 1000 + count))
    pins: dict[str, tuple[Bit, ...]] = {"A": (1,), "Y": (2,)} | ({"B": (1,)} if driver == AND else {})
    ports = {"x_i": Port("input", (1,)), "y_o": Port("output", outputs)}
    return Module("fan", ports, {"source": Cell(driver, pins), **inverters("sink", 2, count)})


def loads(module: Module, cells: Mapping[str, LibraryCell]) -> dict[str, float]:
    """Return each cell's load (fF, without wires) over what it may have."""
    drivers = {
        bits[0]: (name, min(SHARE * cells[cell.type].limits[pin], LATER / cells[cell.type].slopes[pin]))
        for name, cell in module.cells.items()
        for pin, bits in cell.pins.items()
        if pin in cells[cell.type].functions
    }
    found: dict[str, float] = {}
    for cell in module.cells.values():
        for pin, bits in cell.pins.items():
            if pin in cells[cell.type].inputs and bits[0] in drivers:
                name, limit = drivers[bits[0]]
                found[name] = found.get(name, 0.0) + cells[cell.type].inputs[pin] / limit
    return found


@pytest.mark.parametrize("driver", [INVERTER, BUFFER, AND])
@pytest.mark.parametrize("count", [3, 30, FANOUT])
def test_every_driver_stays_within_its_share(
    cells: Mapping[str, LibraryCell], driver: str, count: int
) -> None:
    module = fan(count, driver)
    after = driven(Netlist("fan", {"fan": module}), cells).modules["fan"]
    assert max(loads(after, cells).values()) <= 1
    assert _inverted_from(after, cells) == _inverted_from(module, cells)


def _inverted_from(module: Module, cells: Mapping[str, LibraryCell]) -> list[tuple[str, int]]:
    """Return, for each output port's bit, the cell `source` or the port behind its buffers, and the inversions between."""
    drivers = {
        bits[0]: cell
        for cell in module.cells.values()
        for pin, bits in cell.pins.items()
        if pin in cells[cell.type].functions
    }
    found = []
    for bit in module.ports["y_o"].bits:
        inversions = 0
        while bit in drivers and drivers[bit] is not module.cells["source"]:
            inversions += drivers[bit].type.startswith("INV")
            bit = drivers[bit].pins["A"][0]
        found.append(("source" if bit in drivers else "port", inversions))
    return found


def test_the_check_sees_an_overload(cells: Mapping[str, LibraryCell]) -> None:
    assert max(loads(fan(FANOUT, INVERTER), cells).values()) > 1


def test_a_small_excess_takes_a_larger_cell_and_no_buffer(cells: Mapping[str, LibraryCell]) -> None:
    after = driven(Netlist("fan", {"fan": fan(20, INVERTER)}), cells).modules["fan"]
    assert len(after.cells) == 21
    assert after.cells["source"].type == f"INVx2{facts.SUFFIX}"


def test_a_load_inside_of_an_instance_counts(cells: Mapping[str, LibraryCell]) -> None:
    child = Module("child", {"x_i": Port("input", (1,))}, inverters("sink", 1, 50))
    ports = {"x_i": Port("input", (1,))}
    instance = Cell("child", {"x_i": (2,)})
    top = Module("top", ports, {"source": Cell(INVERTER, {"A": (1,), "Y": (2,)}), "u_child": instance})
    after = driven(Netlist("top", {"top": top, "child": child}), cells).modules["top"]
    assert after.cells["source"].type != INVERTER or len(after.cells) > 2


def test_clock_nets_are_left_to_the_clock_tree(cells: Mapping[str, LibraryCell]) -> None:
    registers = {
        f"r{n}": Cell(facts.REGISTER, {"CLK": (1,), "D": (2,), "QN": (10 + n,)}) for n in range(FANOUT)
    }
    ports = {"clk_i": Port("input", (1,)), "x_i": Port("input", (2,))}
    after = driven(Netlist("top", {"top": Module("top", ports, registers)}), cells).modules["top"]
    assert {cell.pins["CLK"] for name, cell in after.cells.items() if name in registers} == {(1,)}
    assert any(cell.type.startswith("BUF") for cell in after.cells.values())


def test_the_same_netlist_gives_the_same_result(cells: Mapping[str, LibraryCell]) -> None:
    netlist = Netlist("fan", {"fan": fan(FANOUT, AND)})
    assert driven(netlist, cells) == driven(netlist, cells)
