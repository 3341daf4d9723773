# SPDX-License-Identifier: Apache-2.0
"""A module cut at its ports, instances and registers: what is left are gates, of the RTL and of a netlist alike."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from hsflow_asap7 import facts
from hsflow_asap7.functions import truth_table
from hsflow_asap7.library import LibraryCell
from hsflow_asap7.netlist import Bit, Cell, Module
from hsflow_asap7.structural import plain_identifier

_RTL_REGISTERS = {"$_DFF_P_": None, "$_DFF_PN0_": 0, "$_DFF_PN1_": 1}
_RTL_GATES = {
    "$_BUF_": ("A", 0b10), "$_NOT_": ("A", 0b01), "$_AND_": ("AB", 0b1000), "$_NAND_": ("AB", 0b0111),
    "$_OR_": ("AB", 0b1110), "$_NOR_": ("AB", 0b0001), "$_XOR_": ("AB", 0b0110), "$_XNOR_": ("AB", 0b1001),
    "$_ANDNOT_": ("AB", 0b0010), "$_ORNOT_": ("AB", 0b1011), "$_MUX_": ("ABS", 0b11001010),
}  # fmt: skip
"""Yosys' gates: their inputs and truth tables."""

_NEXT_IF_OPEN = 0b11000101
"""Of a register's output, its input and its clock gate's enable: what it keeps next, the inverse of its output."""

_CLOCKED = frozenset({*facts.REGISTERS, facts.RESET_REGISTER})


@dataclass(frozen=True, slots=True)
class Signal:
    """Name a bit, or its inverse."""

    bit: Bit
    inverted: bool = False


@dataclass(frozen=True, slots=True)
class Gate:
    """Hold a gate: its truth table, its inputs and its output."""

    table: int
    inputs: tuple[Bit, ...]
    output: Bit


@dataclass(frozen=True, slots=True)
class Register:
    """Hold a register by what it keeps: its names in the RTL, the signal that shows it, and what it takes next.

    `clear` makes it 0, `set` makes it 1; both are active when low.
    """

    names: tuple[str, ...]
    state: Signal
    following: Signal
    clock: Signal
    clear: Signal = Signal("1")
    set: Signal = Signal("1")


@dataclass
class Cut:
    """Hold a module's gates between its registers and the named ends of its ports and instances."""

    gates: list[Gate] = field(default_factory=list)
    registers: list[Register] = field(default_factory=list)
    inputs: dict[str, Signal] = field(default_factory=dict)
    outputs: dict[str, Signal] = field(default_factory=dict)


def cut_rtl(module: Module, modules: Mapping[str, Module]) -> Cut:
    """Cut a module of Yosys' gates and registers; `modules` are those that it may instantiate."""
    cut = Cut()
    _add_ports(cut, module)
    for name, cell in module.cells.items():
        if cell.type in _RTL_GATES:
            inputs, table = _RTL_GATES[cell.type]
            cut.gates.append(Gate(table, tuple(cell.pins[pin][0] for pin in inputs), cell.pins["Y"][0]))
        elif cell.type in _RTL_REGISTERS:
            cut.registers.append(_rtl_register(name, cell, module))
        else:
            _add_instance(cut, name, cell, modules[cell.type])
    return cut


def cut_netlist(module: Module, modules: Mapping[str, Module], cells: Mapping[str, LibraryCell]) -> Cut:
    """Cut a module of library cells; a register behind a clock gate keeps its state unless the gate is open."""
    cut = Cut()
    _add_ports(cut, module)
    gated = {cell.pins["GCLK"][0]: cell for cell in module.cells.values() if cell.type == facts.CLOCK_GATE}
    spare = 1 + max(_bits(module), default=0)
    for number, (name, cell) in enumerate(module.cells.items(), start=spare):
        if cell.type in _CLOCKED:
            cut.registers.append(_register(name, cell, module))
            if gate := gated.get(cell.pins["CLK"][0]):
                cut.registers[-1] = _gated(cut, cut.registers[-1], gate, number)
        elif cell.type in modules:
            _add_instance(cut, name, cell, modules[cell.type])
        elif cell.type != facts.CLOCK_GATE:
            cut.gates += _library_gates(cell, cells[cell.type])
    return cut


def _add_ports(cut: Cut, module: Module) -> None:
    for name, port in module.ports.items():
        ends = cut.inputs if port.direction == "input" else cut.outputs
        for index, bit in enumerate(port.bits):
            ends[f"{name}[{index}]"] = Signal(bit)


def _add_instance(cut: Cut, name: str, cell: Cell, child: Module) -> None:
    """Cut at an instance: what it reads is an output, what it drives an input."""
    for pin, bits in cell.pins.items():
        ends = cut.inputs if child.ports[pin].direction == "output" else cut.outputs
        for index, bit in enumerate(bits):
            ends[f"{plain_identifier(name)}.{pin}[{index}]"] = Signal(bit)


def _rtl_register(name: str, cell: Cell, module: Module) -> Register:
    pins = {pin: Signal(bits[0]) for pin, bits in cell.pins.items()}
    names = _names_of(module, pins["Q"].bit) or (name,)
    resets = {}
    if (value := _RTL_REGISTERS[cell.type]) is not None:
        resets = {"set" if value else "clear": pins["R"]}
    return Register(names, pins["Q"], pins["D"], pins["C"], **resets)


def _register(name: str, cell: Cell, module: Module) -> Register:
    """Return a netlist's register, whose output is the inverse of what it takes."""
    pins = {pin: bits[0] for pin, bits in cell.pins.items()}
    output = pins["QN"]
    origin = module.origins.get(output) if isinstance(output, int) else None
    names, inverted = (origin.signals, origin.inverted) if origin else ((name,), False)
    low, high = ("RESETN", "SETN") if inverted else ("SETN", "RESETN")
    return Register(
        names,
        Signal(output, inverted),
        Signal(pins["D"], not inverted),
        Signal(pins["CLK"]),
        Signal(pins.get(low, "1")),
        Signal(pins.get(high, "1")),
    )


def _gated(cut: Cut, register: Register, gate: Cell, spare: int) -> Register:
    """Return a register with its clock gate as an enable, computed on a bit that nothing else uses."""
    inputs = (register.state.bit, register.following.bit, gate.pins["ENA"][0])
    cut.gates.append(Gate(_NEXT_IF_OPEN, inputs, spare))
    return Register(
        register.names,
        register.state,
        Signal(spare, register.following.inverted),
        Signal(gate.pins["CLK"][0]),
        register.clear,
        register.set,
    )


def _library_gates(cell: Cell, known: LibraryCell) -> Iterator[Gate]:
    names = tuple(known.inputs)
    for pin, function in known.functions.items():
        if pin in cell.pins:
            inputs = tuple(cell.pins[name][0] for name in names)
            yield Gate(truth_table(function, names), inputs, cell.pins[pin][0])


def _names_of(module: Module, bit: Bit) -> tuple[str, ...]:
    origin = module.origins.get(bit) if isinstance(bit, int) else None
    return origin.signals if origin else ()


def _bits(module: Module) -> Iterator[int]:
    for port in module.ports.values():
        yield from (bit for bit in port.bits if isinstance(bit, int))
    for cell in module.cells.values():
        for bits in cell.pins.values():
            yield from (bit for bit in bits if isinstance(bit, int))
