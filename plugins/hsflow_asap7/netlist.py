# SPDX-License-Identifier: Apache-2.0
"""Netlists of cells: read from Yosys' JSON, counted, written as structural Verilog and as JSON.

A bit is a net's number in its module, or a constant "0", "1" or "x". Names of nets are those of the RTL where it had some.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from hsflow.errors import MismatchError, ModelError

Bit = int | str
_SIGNALS, _INVERTED = "hsflow_signals", "hsflow_inverted"
_REGISTER_NAME = re.compile(r"_q\d*(\[\d+\])?$")


@dataclass(frozen=True)
class Port:
    """Hold a module's port: "input" or "output", and its bits, the lowest first."""

    direction: str
    bits: tuple[Bit, ...]


@dataclass(frozen=True, slots=True)
class Cell:
    """Hold an instance of a library cell or of another module: its type, and the bits at each pin."""

    type: str
    pins: Mapping[str, tuple[Bit, ...]]


@dataclass(frozen=True, slots=True)
class Origin:
    """Name the RTL's signals that a net carries, or carries the inverse of: all names of one signal, the best first."""

    signals: tuple[str, ...]
    inverted: bool = False

    @property
    def signal(self) -> str:
        """Return the best name."""
        return self.signals[0]


@dataclass(frozen=True)
class Module:
    """Hold a module: its ports in order, its cells by name, its nets' identifiers, and what they are in the RTL."""

    name: str
    ports: Mapping[str, Port]
    cells: Mapping[str, Cell]
    net_names: Mapping[int, str] = field(default_factory=dict)
    origins: Mapping[int, Origin] = field(default_factory=dict)


@dataclass(frozen=True)
class Netlist:
    """Hold the modules below `top`; what is neither one of them nor of those left out, `blackboxes`, is a library cell."""

    top: str
    modules: Mapping[str, Module]
    blackboxes: Mapping[str, Module] = field(default_factory=dict)

    @property
    def known(self) -> Mapping[str, Module]:
        """Return every module that may be instantiated."""
        return {**self.blackboxes, **self.modules}

    @cached_property
    def instances(self) -> Mapping[str, int]:
        """Return how often each module is there, in all: the top once."""
        count = Counter({self.top: 1})
        for module in self.parents_first():
            for cell in module.cells.values():
                if cell.type in self.modules:
                    count[cell.type] += count[module.name]
        return count

    def cell_counts(self) -> Mapping[str, int]:
        """Return how many library cells of each type the top holds, in all its instances."""
        count: Counter[str] = Counter()
        for name, times in self.instances.items():
            for cell, number in Counter(cell.type for cell in self.modules[name].cells.values()).items():
                if cell not in self.modules and cell not in self.blackboxes:
                    count[cell] += times * number
        return dict(sorted(count.items()))

    def parents_first(self) -> Iterator[Module]:
        """Yield each module after all that instantiate it."""
        order: list[str] = []
        done: set[str] = set()
        stack = [(self.top, False)]
        while stack:
            name, left = stack.pop()
            if left:
                order.append(name)
            elif name not in done:
                done.add(name)
                children = {cell.type for cell in self.modules[name].cells.values()} & self.modules.keys()
                stack += [(name, True), *((child, False) for child in sorted(children))]
        return (self.modules[name] for name in reversed(order))


def total_area(cells: Mapping[str, int], areas: Mapping[str, float]) -> float:
    """Return the area (um2) of so many cells of each type.

    Raises:
        MismatchError: if a cell is none of the library's.
    """
    if unknown := sorted(cells.keys() - areas.keys()):
        raise MismatchError("the netlist has cells that the library lacks", got=", ".join(unknown))
    return sum(number * areas[cell] for cell, number in cells.items())


def read_netlist(path: Path) -> Netlist:
    """Read what Yosys' `write_json` or `write_json` here wrote.

    Raises:
        ModelError: if no module is the top.
    """
    data = json.loads(path.read_text(encoding="utf-8"))
    found = {name: _module(name, value) for name, value in data["modules"].items()}
    attributes = {name: value.get("attributes", {}) for name, value in data["modules"].items()}
    tops = [name for name, own in attributes.items() if "top" in own]
    if len(tops) != 1:
        raise ModelError("a netlist must have one top module", where=str(path), got=tops)
    left_out = {name for name, own in attributes.items() if "blackbox" in own}
    modules = {name: module for name, module in found.items() if name not in left_out}
    return Netlist(
        tops[0], modules, {name: found[name] for name in sorted(left_out & _instantiated(modules))}
    )


def write_json(netlist: Netlist, path: Path) -> None:
    """Write a netlist so that `read_netlist` and Yosys read it."""
    attributes = {**dict.fromkeys(netlist.blackboxes, "blackbox"), netlist.top: "top"}
    modules = {name: _json(module, attributes.get(name)) for name, module in netlist.known.items()}
    path.write_text(json.dumps({"creator": "hsflow", "modules": modules}), encoding="utf-8")


def _instantiated(modules: Mapping[str, Module]) -> set[str]:
    return {cell.type for module in modules.values() for cell in module.cells.values()}


def _module(name: str, data: Mapping[str, Any]) -> Module:
    ports = {port: Port(value["direction"], tuple(value["bits"])) for port, value in data["ports"].items()}
    cells = {
        cell: Cell(value["type"], {pin: tuple(bits) for pin, bits in value["connections"].items()})
        for cell, value in data["cells"].items()
        if value["type"] != "$scopeinfo"
    }
    nets: dict[int, str] = {}
    origins: dict[int, Origin] = {}
    for net, value in data["netnames"].items():
        attributes = value.get("attributes", {})
        if _SIGNALS in attributes:
            bit = value["bits"][0]
            nets[bit] = net
            if signals := tuple(attributes[_SIGNALS].split()):
                origins[bit] = Origin(signals, attributes[_INVERTED] == "1")
    return Module(name, ports, cells, nets, origins or _rtl_origins(data["netnames"]))


def _rtl_origins(nets: Mapping[str, Any]) -> dict[int, Origin]:
    """Return the names of each net that the RTL gave: a register's first (`_q`), then the shortest."""
    found: dict[int, list[str]] = {}
    for name, net in nets.items():
        bits = net["bits"]
        for index, bit in enumerate(bits):
            if isinstance(bit, int) and not net.get("hide_name"):
                own = name if len(bits) == 1 else f"{name}[{index + net.get('offset', 0)}]"
                found.setdefault(bit, []).append(own)
    return {bit: Origin(tuple(sorted(names, key=_rank))) for bit, names in found.items()}


def _rank(name: str) -> tuple[bool, int, str]:
    return not _REGISTER_NAME.search(name), len(name), name


def _json(module: Module, attribute: str | None) -> dict[str, Any]:
    ports = {name: {"direction": port.direction, "bits": port.bits} for name, port in module.ports.items()}
    cells = {
        name: {
            "hide_name": 0,
            "type": cell.type,
            "parameters": {},
            "attributes": {},
            "connections": cell.pins,
        }
        for name, cell in module.cells.items()
    }
    names = {
        name: _json_net(bit, module) for bit, name in module.net_names.items() if name not in module.ports
    }
    attributes = {attribute: "1"} if attribute else {}
    return {"attributes": attributes, "ports": ports, "cells": cells, "netnames": names}


def _json_net(bit: int, module: Module) -> dict[str, Any]:
    origin = module.origins.get(bit, Origin(()))
    attributes = {_SIGNALS: " ".join(origin.signals), _INVERTED: str(int(origin.inverted))}
    return {"hide_name": 0, "bits": [bit], "attributes": attributes}
