# SPDX-License-Identifier: Apache-2.0
"""The layout as GDS and as a picture, by KLayout's module; no program of it is needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hsflow.errors import ToolError
from hsflow_asap7.area import kind_of
from hsflow_asap7.layout import Memory
from hsflow_asap7.platform import Platform

if TYPE_CHECKING:
    from types import ModuleType

CELL_OUTLINE, DIE_OUTLINE = (100, 0), (235, 0)
"""GDS layers of ASAP7's cells' outlines and of the die's."""

WIRES = {"M6": (60, 0), "M7": (70, 0)}
"""Layers that are drawn over the cells: the power grid's straps and long wires. Lower ones would hide what they connect."""

COLORS: Mapping[str, int] = {
    "adders": 0x2B6195,
    "registers": 0xC58A2C,
    "other gates": 0x4F8364,
    "inverters and buffers": 0x9DB3A3,
    "memories": 0x8A5A83,
    "taps and fill": 0xE6E9E8,
}
"""The report's colors of what cells are for."""

_PAPER, _INK, _WIRE = 0xFFFFFF, 0x1A2026, 0x1A2026
_KIND_LAYER = 1000
_SOLID, _HOLLOW, _DOTTED = 0, 1, 3
_FROM_LAYOUT = 2
_VIEW = {
    "background-color": f"#{_PAPER:06x}",
    "grid-visible": "false",
    "text-visible": "false",
    "cell-box-visible": "false",
}


def write_gds(definition: Path, platform: Platform, gds: Path, memories: Sequence[Memory] = ()) -> None:
    """Write a DEF file and the layout of its cells as one GDS file.

    A memory has no layout in the platform: its pins and outline, from its LEF file, stand for it.

    Raises:
        ToolError: if KLayout's module is missing, or cannot read a file, or a cell has neither layout nor LEF.
    """
    db = _module("klayout.db")
    layout = db.Layout()
    options = _options(db, platform)
    _try(lambda: layout.read(str(definition), options), definition)
    if layout.cells() == 0 or layout.top_cell().bbox().empty():
        raise ToolError("a DEF file has no design", where=str(definition), expected="components in a die")
    for memory in memories:
        _outline(db, layout, memory, options)
    _require_cells(layout, definition)
    _try(lambda: layout.write(str(gds)), gds)


def write_picture(gds: Path, picture: Path, pixels: int = 1600) -> None:
    """Draw a layout as a PNG file: each cell in the color of what it is for, the upper wires over them.

    The picture's longer side has `pixels` pixels.

    Raises:
        ToolError: if KLayout's module is missing or cannot read the file.
    """
    db, lay = _module("klayout.db"), _module("klayout.lay")
    layout = db.Layout()
    _try(lambda: layout.read(str(gds)), gds)
    box = layout.top_cell().dbbox()
    scale = pixels / max(box.width(), box.height())
    view = lay.LayoutView()
    for name, value in _VIEW.items():
        view.set_config(name, value)
    view.show_layout(_drawing(db, layout), False)
    view.clear_layers()
    for properties in _properties(lay):
        view.insert_layer(view.end_layers(), properties)
    view.max_hier()
    view.zoom_box(box)
    _try(
        lambda: view.save_image(
            str(picture), max(1, round(box.width() * scale)), max(1, round(box.height() * scale))
        ),
        picture,
    )


def _options(db: Any, platform: Platform) -> Any:
    technology = db.Technology()
    technology.load(str(platform.klayout_technology))
    options = technology.load_layout_options
    lefdef = options.lefdef_config
    lefdef.lef_files = [str(path.resolve()) for path in (platform.technology_lef, platform.cells_lef)]
    lefdef.macro_layout_files = [str(platform.cells_gds.resolve())]
    lefdef.macro_resolution_mode = _FROM_LAYOUT
    lefdef.read_lef_with_def = False
    options.lefdef_config = lefdef
    options.warn_level = 0
    return options


def _outline(db: Any, layout: Any, memory: Memory, options: Any) -> None:
    """Fill the cell of a memory with the pins of its LEF file and with its outline."""
    macros = db.Layout()
    _try(lambda: macros.read(str(memory.lef), options), memory.lef)
    cell, macro = layout.cell(memory.name), macros.cell(memory.name)
    if cell is not None and macro is not None:
        cell.copy_tree(macro)
        cell.ghost_cell = False
        outline = layout.layer(*CELL_OUTLINE)
        cell.shapes(outline).insert(db.DBox(0, 0, memory.width, memory.height))


def _drawing(db: Any, layout: Any) -> Any:
    """Return a layout with a box for each cell on its kind's layer, and the wires."""
    drawing = db.Layout()
    drawing.dbu = layout.dbu
    target, top = drawing.create_cell("top"), layout.top_cell()
    outline = layout.find_layer(*CELL_OUTLINE)
    kinds = list(COLORS)
    for instance in top.each_inst():
        cell = layout.cell(instance.cell_index)
        box = cell.bbox_per_layer(outline) if outline is not None else db.Box()
        box = cell.bbox() if box.empty() else box
        layer = drawing.layer(_KIND_LAYER + kinds.index(_kind(cell.name)), 0)
        target.shapes(layer).insert(box.transformed(instance.trans))
    for number in (*WIRES.values(), DIE_OUTLINE):
        if (index := layout.find_layer(*number)) is not None:
            target.shapes(drawing.layer(*number)).insert(top.shapes(index))
    return drawing


def _kind(cell: str) -> str:
    if cell.startswith(("TAPCELL", "FILLER", "DECAP")):
        return "taps and fill"
    if cell.startswith("fakeram"):
        return "memories"
    kind = kind_of(cell)
    return kind if kind in COLORS else "other gates"


def _properties(lay: Any) -> list[Any]:
    """Return how each layer is drawn, the lowest first."""
    cells = [
        _layer(lay, (_KIND_LAYER + index, 0), color, _SOLID, _PAPER)
        for index, color in enumerate(COLORS.values())
    ]
    wires = [_layer(lay, number, _WIRE, _DOTTED, None) for number in WIRES.values()]
    return [*cells, *wires, _layer(lay, DIE_OUTLINE, _INK, _HOLLOW, _INK)]


def _layer(lay: Any, number: tuple[int, int], color: int, pattern: int, frame: int | None) -> Any:
    properties = lay.LayerProperties()
    properties.source_layer, properties.source_datatype = number
    properties.fill_color = color
    properties.frame_color = color if frame is None else frame
    properties.dither_pattern = pattern
    properties.width = 1
    return properties


def _require_cells(layout: Any, where: Path) -> None:
    empty = sorted(
        cell.name
        for cell in layout.each_cell()
        if not cell.is_top() and (cell.is_empty() or cell.is_ghost_cell())
    )
    if empty:
        raise ToolError(
            "cells of a layout have no layout of their own", where=str(where), got=", ".join(empty[:5])
        )


def _module(name: str) -> ModuleType:
    import importlib

    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ToolError(
            "KLayout's module is not installed", where=name, got=error, hint="pip install 'hsflow[asap7]'"
        ) from error


def _try(act: Any, where: Path) -> None:
    try:
        act()
    except RuntimeError as error:
        raise ToolError("KLayout cannot read or write a file", where=str(where), got=error) from error
