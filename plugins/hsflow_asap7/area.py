# SPDX-License-Identifier: Apache-2.0
"""Where a netlist's area is: by the instances in its top modules, and by what the cells are for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache

from pydantic import BaseModel, ConfigDict

from hsflow_asap7.facts import FULL_ADDER, HALF_ADDER, SUFFIX
from hsflow_asap7.memories import macros_of, memories_in
from hsflow_asap7.netlist import Module, Netlist
from hsflow_asap7.platform import Platform, cell_areas

KINDS = ("adders", "registers", "inverters and buffers", "other gates", "memories")
_STORING = ("DFF", "DLL", "DHL", "SDF", "ICG")
_REPEATERS = ("INV", "BUF", "HB", "CKINV")
_DEPTH = 2
"""Instances in the top, and instances in those: a network's layers are there."""


class Part(BaseModel):
    """Hold an instance: its module, its area in um2 by kind of cell, and the instances in it down to a depth."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    module: str
    um2: dict[str, float]
    parts: tuple[Part, ...] = ()

    @property
    def total(self) -> float:
        """Return the area of all cells, in um2."""
        return sum(self.um2.values())


class Inventory(BaseModel):
    """Hold what later steps ask of a netlist, which takes long to read.

    `ports` are the top's with their widths in bits, `cells` how many there are of each, `memories` the same of SRAM macros,
    `area` where all of them are.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    ports: dict[str, int]
    cells: dict[str, int]
    memories: dict[str, int] = {}
    area: Part

    @property
    def cell_area(self) -> float:
        """Return the area of the standard cells, in um2."""
        return self.area.total - self.area.um2.get("memories", 0.0)


def kind_of(cell: str) -> str:
    """Return what a cell is for, one of KINDS; what is no standard cell is an SRAM macro."""
    if not cell.endswith(SUFFIX):
        return "memories"
    if cell in (FULL_ADDER, HALF_ADDER):
        return "adders"
    if cell.startswith(_REPEATERS):
        return "inverters and buffers"
    return "registers" if cell.startswith(_STORING) else "other gates"


def inventory_of(netlist: Netlist, platform: Platform) -> Inventory:
    """Return the inventory of a netlist on a platform's cells."""
    ports = {name: len(port.bits) for name, port in netlist.modules[netlist.top].ports.items()}
    memories = {memory.name: memory.count for memory in memories_in(netlist, platform)}
    macros = {macro.name: macro.area for macro in macros_of(platform)} if memories else {}
    area = area_of(netlist, {**cell_areas(platform), **macros})
    return Inventory(ports=ports, cells=dict(netlist.cell_counts()), memories=memories, area=area)


def area_of(netlist: Netlist, areas: Mapping[str, float]) -> Part:
    """Return the top with its parts; `areas` are the cells', in um2."""
    return _Areas(netlist, areas).part(netlist.top, netlist.top, _DEPTH)


class _Areas:
    def __init__(self, netlist: Netlist, areas: Mapping[str, float]) -> None:
        self.modules, self.areas = netlist.modules, areas
        self.of_module = cache(self._of_module)

    def part(self, name: str, module: str, depth: int) -> Part:
        inner = self._instances(self.modules[module]) if depth else ()
        parts = tuple(self.part(name, child, depth - 1) for name, child in inner)
        return Part(name=name, module=module, um2=dict(self.of_module(module)), parts=parts)

    def _instances(self, module: Module) -> Iterator[tuple[str, str]]:
        return ((name, cell.type) for name, cell in module.cells.items() if cell.type in self.modules)

    def _of_module(self, name: str) -> Mapping[str, float]:
        found = dict.fromkeys(KINDS, 0.0)
        for cell in self.modules[name].cells.values():
            if cell.type in self.modules:
                inner = self.of_module(cell.type)
            else:
                inner = {kind_of(cell.type): self.areas[cell.type]}
            for kind, um2 in inner.items():
                found[kind] += um2
        return found
