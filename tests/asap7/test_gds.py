# SPDX-License-Identifier: Apache-2.0
"""The layout as GDS and as a picture: cells where DEF has them, in the color of what they are for."""

from __future__ import annotations

from pathlib import Path

import pytest
from hsflow_asap7.gds import CELL_OUTLINE, COLORS, write_gds, write_picture
from hsflow_asap7.layout import Memory
from hsflow_asap7.platform import Platform
from mini_platform import mini_platform, real_platform

from hsflow.errors import ToolError

db = pytest.importorskip("klayout.db", reason="KLayout's module is not installed")
lay = pytest.importorskip("klayout.lay", reason="KLayout's module is not installed")

WIDTHS = {"DFFHQNx1_ASAP7_75t_R": 1.08, "FAx1_ASAP7_75t_R": 0.756, "INVx1_ASAP7_75t_R": 0.162}
"""ASAP7's own widths (um); cells are 0.27 high."""

PLACED = (
    ("u_a/r0", "DFFHQNx1_ASAP7_75t_R", 0.54, 0.54, "N"),
    ("u_a/f0", "FAx1_ASAP7_75t_R", 0.54, 0.81, "FS"),
    ("u_a/i0", "INVx1_ASAP7_75t_R", 1.62, 0.54, "N"),
)
TECHNOLOGY = """<?xml version="1.0" encoding="utf-8"?>
<technology>
 <name>mini</name>
 <dbu>0.001</dbu>
 <reader-options>
  <lefdef>
   <dbu>0.001</dbu>
   <layer-map>layer_map('BOUNDARY : 100/0';'M1 : 19/0';'M1.PIN : 19/251';'M6 : 60/0';'DIEAREA : 235/0')</layer-map>
  </lefdef>
 </reader-options>
</technology>
"""
TECHNOLOGY_LEF = """VERSION 5.8 ;
UNITS
 DATABASE MICRONS 1000 ;
END UNITS
LAYER M1
 TYPE ROUTING ;
 DIRECTION VERTICAL ;
 WIDTH 0.018 ;
END M1
LAYER M6
 TYPE ROUTING ;
 DIRECTION HORIZONTAL ;
 WIDTH 0.064 ;
END M6
END LIBRARY
"""


def definition(placed: tuple[tuple[str, str, float, float, str], ...] = PLACED) -> str:
    """Return a DEF file of a die of 2.7 by 2.7 um, with a strap across it."""
    rows = [
        f"- {name} {cell} + PLACED ( {x * 1000:.0f} {y * 1000:.0f} ) {way} ;"
        for name, cell, x, y, way in placed
    ]
    return "\n".join(
        [
            "VERSION 5.8 ;\nDESIGN top ;\nUNITS DISTANCE MICRONS 1000 ;\nDIEAREA ( 0 0 ) ( 2700 2700 ) ;",
            f"COMPONENTS {len(rows)} ;",
            *rows,
            "END COMPONENTS\nSPECIALNETS 1 ;\n- VDD + USE POWER",
            "  + ROUTED M6 288 + SHAPE STRIPE ( 0 2000 ) ( 2700 2000 ) ;\nEND SPECIALNETS\nEND DESIGN\n",
        ]
    )


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    platform = mini_platform(tmp_path / "asap7")
    (platform.root / "KLayout").mkdir()
    (platform.root / "KLayout" / "asap7.lyt").write_text(TECHNOLOGY)
    platform.technology_lef.write_text(TECHNOLOGY_LEF)
    macros = [
        f"MACRO {cell}\n CLASS CORE ;\n FOREIGN {cell} 0 0 ;\n ORIGIN 0 0 ;\n SIZE {width} BY 0.27 ;\nEND {cell}\n"
        for cell, width in WIDTHS.items()
    ]
    platform.cells_lef.write_text("VERSION 5.8 ;\n" + "".join(macros) + "END LIBRARY\n")
    cells = db.Layout()
    for cell, width in WIDTHS.items():
        shapes = cells.create_cell(cell).shapes(cells.layer(*CELL_OUTLINE))
        shapes.insert(db.DBox(0, 0, width, 0.27))
    cells.write(str(platform.cells_gds))
    return platform


def check_places(gds: Path) -> None:
    layout = db.Layout()
    layout.read(str(gds))
    top, outline = layout.top_cell(), layout.layer(*CELL_OUTLINE)
    found = {}
    for instance in top.each_inst():
        box = instance.dcell_inst.trans * layout.cell(instance.cell_index).dbbox_per_layer(outline)
        found[layout.cell(instance.cell_index).name] = (box.left, box.bottom, box.right, box.top)
    for _, cell, x, y, _ in PLACED:
        assert found[cell] == pytest.approx((x, y, x + WIDTHS[cell], y + 0.27), abs=0.002)


def color_at(picture: Path, x: float, y: float, side: float = 2.7) -> int:
    pixels = lay.PixelBuffer.read_png(str(picture))
    column = min(pixels.width() - 1, int(x / side * pixels.width()))
    row = min(pixels.height() - 1, int((1 - y / side) * pixels.height()))
    return int(pixels.pixel(column, row)) & 0xFFFFFF


def check_picture(gds: Path, picture: Path) -> None:
    write_picture(gds, picture, 540)
    assert color_at(picture, 1.0, 0.68) == COLORS["registers"]
    assert color_at(picture, 0.9, 0.95) == COLORS["adders"]
    assert color_at(picture, 1.70, 0.68) == COLORS["inverters and buffers"]
    assert color_at(picture, 2.4, 1.2) == 0xFFFFFF


def test_cells_are_where_the_definition_has_them(platform: Platform, tmp_path: Path) -> None:
    (tmp_path / "final.def").write_text(definition())
    write_gds(tmp_path / "final.def", platform, tmp_path / "final.gds")
    check_places(tmp_path / "final.gds")
    check_picture(tmp_path / "final.gds", tmp_path / "picture.png")


def test_asap7s_own_cells_are_merged(tmp_path: Path) -> None:
    (tmp_path / "final.def").write_text(definition())
    write_gds(tmp_path / "final.def", real_platform(), tmp_path / "final.gds")
    check_places(tmp_path / "final.gds")
    check_picture(tmp_path / "final.gds", tmp_path / "picture.png")
    layout = db.Layout()
    layout.read(str(tmp_path / "final.gds"))
    inverter = layout.cell("INVx1_ASAP7_75t_R")
    assert not inverter.bbox_per_layer(layout.layer(19, 0)).empty()


def test_a_memory_is_what_its_lef_says(platform: Platform, tmp_path: Path) -> None:
    lef = tmp_path / "fakeram7_1x1.lef"
    lef.write_text(
        "VERSION 5.8 ;\nMACRO fakeram7_1x1\n CLASS BLOCK ;\n FOREIGN fakeram7_1x1 0 0 ;\n SIZE 0.5 BY 0.5 ;\n"
        " PIN clk\n  DIRECTION INPUT ;\n  PORT\n   LAYER M1 ;\n    RECT 0 0 0.1 0.1 ;\n  END\n END clk\n"
        "END fakeram7_1x1\nEND LIBRARY\n"
    )
    memory = Memory("fakeram7_1x1", lef, lef, count=1, width=0.5, height=0.5)
    text = definition((*PLACED, ("u_m", "fakeram7_1x1", 1.62, 1.08, "N")))
    (tmp_path / "final.def").write_text(text)
    write_gds(tmp_path / "final.def", platform, tmp_path / "final.gds", [memory])
    write_picture(tmp_path / "final.gds", tmp_path / "picture.png", 540)
    assert color_at(tmp_path / "picture.png", 1.9, 1.4) == COLORS["memories"]


def test_a_cell_that_nobody_knows_fails(platform: Platform, tmp_path: Path) -> None:
    text = definition((*PLACED, ("u_x", "NANDx9_ASAP7_75t_R", 0.54, 1.08, "N")))
    (tmp_path / "final.def").write_text(text)
    with pytest.raises(ToolError, match="NANDx9"):
        write_gds(tmp_path / "final.def", platform, tmp_path / "final.gds")


def test_what_is_no_layout_is_refused(platform: Platform, tmp_path: Path) -> None:
    for name in ("final.def", "final.gds"):
        (tmp_path / name).write_text("nothing of the kind\n")
    with pytest.raises(ToolError, match=r"final\.def"):
        write_gds(tmp_path / "final.def", platform, tmp_path / "other.gds")
    with pytest.raises(ToolError, match=r"final\.gds"):
        write_picture(tmp_path / "final.gds", tmp_path / "picture.png")
