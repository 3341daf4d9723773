# SPDX-License-Identifier: Apache-2.0
"""Functional Verilog of the library's cells, from their Liberty files, to simulate a netlist by.

No delays: a register takes what its input is at the clock's edge, and a clock gate is a latch, open while the clock is low,
and an and gate, as the library's attribute `clock_gating_integrated_cell` says.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from hsflow.errors import ConfigurationError
from hsflow_asap7.functions import as_verilog
from hsflow_asap7.library import LibraryCell, read_cells
from hsflow_asap7.platform import Platform

_CLOCK_GATE = re.compile(r"latch_posedge(_precontrol|_postcontrol)?")
_ROLES = ("clock_gate_clock_pin", "clock_gate_enable_pin", "clock_gate_test_pin", "clock_gate_out_pin")
_STATE = re.compile(r"\w+")


def write_models(platform: Platform, cells: Iterable[str], path: Path) -> None:
    """Write a module for each of the named cells.

    Raises:
        ConfigurationError: if the library lacks one, or describes it in a way that has no model here.
    """
    known = read_cells(platform)
    lines = [
        "// Functional models of cells, made of the library's Liberty files. No delays.",
        "// What pins do is seen at the nets, but for outputs that have none.",
        "// verilator tracing_off",
    ]
    for name in sorted(set(cells)):
        if name not in known:
            raise ConfigurationError("the library lacks a cell", got=name, expected="a cell of the netlist")
        lines += ["", *_model(known[name])]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _model(cell: LibraryCell) -> Iterator[str]:
    inputs = [f"  input {pin}" for pin in cell.inputs]
    outputs = [f"  output {pin}" for pin in cell.functions]
    if several := len(outputs) > 1:
        outputs[0] = f"  // verilator tracing_on\n{outputs[0]}"
    yield f"module {cell.name} ("
    yield ",\n".join([*inputs, *outputs])
    yield ");\n  // verilator tracing_off" if several else ");"
    if cell.state is None:
        yield from (f"  assign {pin} = {as_verilog(text)};" for pin, text in cell.functions.items())
    elif "clock_gating_integrated_cell" in cell.attributes:
        yield from _clock_gate(cell)
    else:
        yield from _register(cell)
    yield "endmodule"


def _register(cell: LibraryCell) -> Iterator[str]:
    """Yield a register, which a clear beats a preset in; the second state is the inverse of the first."""
    described = cell.state
    if described is None or described.kind != "ff":
        raise ConfigurationError("there is no model of such a cell", where=cell.name)
    state, inverse = _STATE.findall(described.name)
    group = described.attributes()
    clear, preset = group.get("clear"), group.get("preset")
    edges = [_edge(text) for text in (group["clocked_on"], clear, preset) if text]
    yield f"  reg {state};"
    if any(inverse in _STATE.findall(text) for text in cell.functions.values()):
        yield f"  wire {inverse} = ~{state};"
    yield f"  always @({' or '.join(edges)}) begin"
    for text, value in ((clear, 0), (preset, 1)):
        if text:
            yield f"    if ({as_verilog(text)}) {state} <= 1'b{value}; else"
    yield f"    {state} <= {as_verilog(group['next_state'])};"
    yield "  end"
    yield from (f"  assign {pin} = {as_verilog(text)};" for pin, text in cell.functions.items())


def _edge(function: str) -> str:
    """Return the event at which a pin, or its inverse, rises."""
    plain = function.strip("() ")
    return f"negedge {plain[1:].strip('() ')}" if plain.startswith("!") else f"posedge {plain}"


def _clock_gate(cell: LibraryCell) -> Iterator[str]:
    """Yield a latch that is open while the clock is low, in front of an and gate."""
    kind = cell.attributes["clock_gating_integrated_cell"]
    if not _CLOCK_GATE.fullmatch(kind):
        raise ConfigurationError("there is no model of such a clock gate", where=cell.name, got=kind)
    clock, enable, test, output = (_pin_of(cell, role) for role in _ROLES)
    yield "  reg open;"
    yield "  always @* begin"
    yield f"    if (!{clock}) open = {enable} | {test};"
    yield "  end"
    yield f"  assign {output} = {clock} & open;"


def _pin_of(cell: LibraryCell, role: str) -> str:
    return next(name for name, pin in cell.pins.items() if pin.get(role) == "true")
