# SPDX-License-Identifier: Apache-2.0
"""Where a netlist's area is: by instance, counted as often as it is there, and by what cells are for."""

from __future__ import annotations

from pathlib import Path

import pytest
import toy_report
from hsflow_asap7.area import KINDS, Inventory, area_of, inventory_of, kind_of
from hsflow_asap7.gds import COLORS
from hsflow_asap7.library import read_cells
from hsflow_asap7.netlist import Cell, Module, Netlist, Port
from hsflow_asap7.report import _groups
from mini_platform import mini_platform, real_platform

from hsflow.design import Design

AREAS = {
    "FAx1_ASAP7_75t_R": 2.0,
    "INVx1_ASAP7_75t_R": 0.5,
    "DFFHQNx1_ASAP7_75t_R": 3.0,
    "NAND2x1_ASAP7_75t_R": 1.0,
}
CELLS = {f"c{number}": Cell(name, {}) for number, name in enumerate(AREAS)}


def netlist() -> Netlist:
    """Return a top with a network of two equal layers, an input register, and gates of its own."""
    modules = {
        "m": Module("m", {}, CELLS),
        "n": Module("n", {}, CELLS),
        "input": Module("input", {}, {"q": Cell("DFFHQNx1_ASAP7_75t_R", {})}),
        "network": Module(
            "network",
            {},
            {
                "u_first": Cell("m", {}),
                "u_second": Cell("n", {}),
                "g": Cell("NAND2x1_ASAP7_75t_R", {}),
            },
        ),
        "toy": Module(
            "toy",
            {"clk_i": Port("input", (2,)), "a_i": Port("input", (3, 4))},
            {
                "u_network": Cell("network", {}),
                "u_input": Cell("input", {}),
                "i": Cell("INVx1_ASAP7_75t_R", {}),
            },
        ),
    }
    return Netlist("toy", modules)


def test_each_part_holds_what_its_instances_do() -> None:
    top = area_of(netlist(), AREAS)
    assert top.total == pytest.approx(2 * 6.5 + 1.0 + 3.0 + 0.5)
    network, register = top.parts
    assert (network.name, network.module, network.total) == ("u_network", "network", 14.0)
    assert [part.total for part in network.parts] == [6.5, 6.5] and register.total == 3.0
    kinds = {"adders": 4.0, "registers": 9.0, "inverters and buffers": 1.5, "other gates": 3.0}
    assert top.um2 == {**kinds, "memories": 0.0}
    assert all(part.parts == () for part in network.parts), "layers are not taken apart"


def test_the_inventory_counts_ports_and_cells(tmp_path: Path) -> None:
    found = inventory_of(netlist(), mini_platform(tmp_path))
    assert found.memories == {} and found.cell_area == found.area.total > 0
    assert found.ports == {"clk_i": 1, "a_i": 2}
    assert found.cells["FAx1_ASAP7_75t_R"] == 2 and found.cells["DFFHQNx1_ASAP7_75t_R"] == 3
    assert Inventory.model_validate_json(found.model_dump_json()) == found


def test_the_groups_of_the_treemap_are_layers_and_make_up_the_whole() -> None:
    top = area_of(netlist(), AREAS)
    design: Design = toy_report.design(("first",))
    groups = {
        group.label: group.value for group in _groups(top, {cost.module: cost.name for cost in design.layers})
    }
    assert groups == pytest.approx(
        {"first": 6.5, "network, between layers": 7.5, "input": 3.0, "the rest of the top": 0.5}
    )
    assert sum(groups.values()) == pytest.approx(top.total)


def test_every_kind_has_its_color_in_the_picture() -> None:
    assert set(KINDS) <= COLORS.keys()


def test_every_cell_of_the_library_is_of_a_kind(tmp_path: Path) -> None:
    cells = read_cells(real_platform())
    kinds = {name: kind_of(name) for name in cells}
    assert {name for name, cell in cells.items() if cell.state is not None} == {
        name for name, kind in kinds.items() if kind == "registers"
    }
    single = {name for name, cell in cells.items() if len(cell.inputs) == 1 and cell.state is None}
    assert single == {name for name, kind in kinds.items() if kind == "inverters and buffers"}
