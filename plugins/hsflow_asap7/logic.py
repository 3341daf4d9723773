# SPDX-License-Identifier: Apache-2.0
"""What a module computes, with inverters and buffers taken out: nodes whose inputs are nets or inverses of nets.

Yosys leaves full and half adders and registers without a cell yet, gates on cells of the library, and whatever else is an
instance. Here each becomes a node of a kind, as far as anybody reads its outputs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from hsflow.errors import ModelError
from hsflow_asap7.choices import AND, MAJORITY, XOR, Chooser, Kind
from hsflow_asap7.functions import truth_table
from hsflow_asap7.library import LibraryCell
from hsflow_asap7.netlist import Bit, Cell, Module, Origin

FULL_ADDER, HALF_ADDER = ADDERS = ("hsflow_full_adder", "hsflow_half_adder")
_REGISTERS = {"$_DFF_P_": None, "$_DFF_PN0_": 0, "$_DFF_PN1_": 1}
"""Yosys' registers by their value after reset."""


@dataclass(frozen=True, slots=True)
class Literal:
    """Name a net or, inverted, its inverse; a constant's net is None, and it is 1 if inverted."""

    net: int | None
    inverted: bool = False

    def __invert__(self) -> Literal:
        return Literal(self.net, not self.inverted)


@dataclass(frozen=True, slots=True)
class Node:
    """Hold something that reads literals and drives nets (None where nobody reads an output).

    `extra` are pins that are neither: a register's clock and reset. `reset` is its value after reset.
    """

    kind: Kind
    role: str
    inputs: tuple[Literal, ...]
    outputs: tuple[int | None, ...]
    extra: Mapping[str, Literal] = field(default_factory=dict)
    reset: int | None = None


@dataclass(frozen=True, slots=True)
class Instance:
    """Hold an instance whose pins take every net as it is: of another module, or of a cell that is no gate."""

    name: str
    type: str
    inputs: Mapping[str, tuple[Literal, ...]]
    outputs: Mapping[str, tuple[Bit, ...]]


@dataclass(frozen=True)
class Logic:
    """Hold a module as nodes and instances; `ports` are its outputs' literals, `origins` what its nets are in the RTL."""

    module: Module
    nodes: tuple[Node, ...]
    instances: tuple[Instance, ...]
    ports: Mapping[str, tuple[Literal, ...]]
    origins: Mapping[int, Origin]


@dataclass(frozen=True)
class Reader:
    """Read a module of a netlist; the other modules tell which pins of their instances are outputs."""

    chooser: Chooser
    cells: Mapping[str, LibraryCell]
    modules: Mapping[str, Module]

    def read(self, module: Module) -> Logic:
        """Return the logic of a module without what nobody reads."""
        literals = _Literals(module, self.cells)
        nodes = []
        instances = []
        for name, cell in module.cells.items():
            if self._is_wire(cell):
                continue
            if node := self._node(cell, literals):
                nodes.append(node)
            else:
                instances.append(self._instance(name, cell, literals))
        ports = {
            name: tuple(map(literals.of, port.bits))
            for name, port in module.ports.items()
            if port.direction == "output"
        }
        logic = Logic(module, tuple(nodes), tuple(instances), ports, literals.origins())
        return _with_majorities(_without_unread(logic, self.chooser), self.chooser)

    def _is_wire(self, cell: Cell) -> bool:
        return _inversion(cell, self.cells) is not None

    def _node(self, cell: Cell, literals: _Literals) -> Node | None:
        pins = {pin: bits[0] for pin, bits in cell.pins.items() if len(bits) == 1}
        if cell.type in ADDERS:
            full = cell.type == FULL_ADDER
            inputs = tuple(literals.of(pins[pin]) for pin in (("A", "B", "CI") if full else ("A", "B")))
            kind = self.chooser.full_adder if full else self.chooser.half_adder
            return Node(kind, "fa" if full else "ha", inputs, (_net(pins.get("CO")), _net(pins.get("S"))))
        if cell.type in _REGISTERS:
            return self._register(cell.type, pins, literals)
        return self._gate(cell.type, pins, literals)

    def _register(self, type_: str, pins: Mapping[str, Bit], literals: _Literals) -> Node:
        reset = _REGISTERS[type_]
        extra = {"C": literals.of(pins["C"])} | ({} if reset is None else {"R": literals.of(pins["R"])})
        kind = self.chooser.register if reset is None else self.chooser.reset_register
        return Node(kind, "reg", (literals.of(pins["D"]),), (_net(pins["Q"]),), extra, reset)

    def _gate(self, type_: str, pins: Mapping[str, Bit], literals: _Literals) -> Node | None:
        cell = self.cells.get(type_)
        if cell is None or cell.sequential or len(cell.functions) != 1 or not cell.inputs:
            return None
        names = tuple(cell.inputs)
        ((output, function),) = cell.functions.items()
        kind = self.chooser.gate(truth_table(function, names), len(names))
        inputs = tuple(literals.of(pins[name]) for name in names)
        return Node(kind, "g", inputs, (_net(pins[output]),))

    def _instance(self, name: str, cell: Cell, literals: _Literals) -> Instance:
        if cell.type in self.modules:
            ports = self.modules[cell.type].ports
            outgoing = {pin for pin, port in ports.items() if port.direction == "output"}
        elif cell.type in self.cells:
            outgoing = set(self.cells[cell.type].functions)
        else:
            raise ModelError("a cell is not known", where=name, got=cell.type, expected="a cell of ASAP7")
        inputs = {
            pin: tuple(map(literals.of, bits)) for pin, bits in cell.pins.items() if pin not in outgoing
        }
        outputs = {pin: bits for pin, bits in cell.pins.items() if pin in outgoing}
        return Instance(name, cell.type, inputs, outputs)


class _Literals:
    """Follow nets through inverters and buffers to what drives them."""

    def __init__(self, module: Module, cells: Mapping[str, LibraryCell]) -> None:
        self._named = module.origins
        self._sources: dict[int, tuple[Bit, bool]] = {}
        for cell in module.cells.values():
            inversion = _inversion(cell, cells)
            if inversion is not None:
                source, target = cell.pins["A"][0], cell.pins["Y"][0]
                if isinstance(target, int):
                    self._sources[target] = source, inversion

    def of(self, bit: Bit) -> Literal:
        inverted = False
        while isinstance(bit, int) and bit in self._sources:
            bit, inversion = self._sources[bit]
            inverted ^= inversion
        if isinstance(bit, str):
            return Literal(None, (bit == "1") ^ inverted)
        return Literal(bit, inverted)

    def origins(self) -> dict[int, Origin]:
        """Return the RTL's name of each net that has one itself, or behind inverters."""
        found: dict[int, Origin] = {}
        for net, origin in self._named.items():
            literal = self.of(net)
            if literal.net is not None and (literal.net == net or literal.net not in found):
                found[literal.net] = Origin(origin.signals, literal.inverted)
        return found


def _inversion(cell: Cell, cells: Mapping[str, LibraryCell]) -> bool | None:
    """Return whether a cell is an inverter (True), a buffer (False), or neither (None)."""
    known = cells.get(cell.type)
    if cell.type == "$_NOT_":
        return True
    if known is None or known.sequential or set(known.inputs) != {"A"} or len(known.functions) != 1:
        return None
    return truth_table(known.functions["Y"], ("A",)) == 0b01


def _net(bit: Bit | None) -> int | None:
    return bit if isinstance(bit, int) else None


def readers(logic: Logic) -> Counter[int]:
    """Return how often each net is read."""
    count: Counter[int] = Counter()
    for literal in _read(logic):
        if literal.net is not None:
            count[literal.net] += 1
    return count


def _read(logic: Logic) -> Iterator[Literal]:
    for node in logic.nodes:
        yield from node.inputs
        yield from node.extra.values()
    for instance in logic.instances:
        for literals in instance.inputs.values():
            yield from literals
    for literals in logic.ports.values():
        yield from literals


def _without_unread(logic: Logic, chooser: Chooser) -> Logic:
    """Drop nodes that nobody reads, and make adders with one unread output what the other one is: less than an adder."""
    count = readers(logic)
    drivers = {net: node for node in logic.nodes for net in node.outputs if net is not None}
    unread = [node for node in logic.nodes if not any(count[net] for net in node.outputs if net is not None)]
    dropped = set()
    while unread:
        node = unread.pop()
        if id(node) in dropped:
            continue
        dropped.add(id(node))
        for literal in (*node.inputs, *node.extra.values()):
            if literal.net is not None:
                count[literal.net] -= 1
                driver = drivers.get(literal.net)
                if driver is not None and not any(count[net] for net in driver.outputs if net is not None):
                    unread.append(driver)
    kept = (node for node in logic.nodes if id(node) not in dropped)
    return replace(logic, nodes=tuple(_narrowed(node, count, chooser) for node in kept))


def _narrowed(node: Node, count: Mapping[int, int], chooser: Chooser) -> Node:
    if node.role not in ("fa", "ha"):
        return node
    carry, total = (net if net is not None and count[net] else None for net in node.outputs)
    full = node.role == "fa"
    if carry is None:
        kind = chooser.sum if full else chooser.gate(XOR, 2)
        return Node(kind, "sum", node.inputs, (total,))
    if total is None:
        kind = chooser.gate(MAJORITY, 3) if full else chooser.gate(AND, 2)
        return Node(kind, "carry", node.inputs, (carry,))
    return node


def _with_majorities(logic: Logic, chooser: Chooser) -> Logic:
    """Let majorities compute the top bits of sums whose operands both repeat their sign there.

    With the same two operand bits a and b as the bit below, which had the carry c and gave the sum s and the carry d, the top
    bit a ^ b ^ d is the majority of d, s and not c: half of a full adder's area.
    """
    adders = {node.outputs[0]: node for node in logic.nodes if node.role == "fa"}
    nodes = tuple(_top_bit(node, adders, chooser) for node in logic.nodes)
    return replace(logic, nodes=nodes)


def _top_bit(node: Node, adders: Mapping[int | None, Node], chooser: Chooser) -> Node:
    if node.role != "sum" or len(node.inputs) != 3:
        return node
    for position, carry in enumerate(node.inputs):
        below = None if carry.inverted else adders.get(carry.net)
        if carry.net is None or below is None:
            continue
        operands = _others(node.inputs, position)
        for place, incoming in enumerate(below.inputs):
            if sorted(_others(below.inputs, place), key=_order) == sorted(operands, key=_order):
                inputs = (carry, Literal(below.outputs[1]), ~incoming)
                return Node(chooser.gate(MAJORITY, 3), "top", inputs, node.outputs)
    return node


def _others(literals: Iterable[Literal], position: int) -> list[Literal]:
    return [literal for index, literal in enumerate(literals) if index != position]


def _order(literal: Literal) -> tuple[int, bool]:
    return (-1 if literal.net is None else literal.net, literal.inverted)
