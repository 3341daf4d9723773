# SPDX-License-Identifier: Apache-2.0
"""Choose cells and phases so that cells and inverters together are smallest: one inverter a net at most.

A full adder inverts its outputs, a register too, and both do so as well for inverted inputs. So inverters cancel along
carries, sums and registers wherever phases agree; a net costs an inverter as soon as one reader wants it in the phase that
its driver does not give. Annealing chooses the phase of every node (Kirkpatrick 1983), seeded, in memory linear in the pins.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from hsflow_asap7 import facts
from hsflow_asap7.choices import Choice, Chooser
from hsflow_asap7.logic import Literal, Logic, Node, Reader
from hsflow_asap7.netlist import Bit, Cell, Module, Origin, Port
from hsflow_asap7.structural import Identifiers

if TYPE_CHECKING:
    from hsflow_asap7.annealing import FloatArray, IntArray

SWEEPS = 1000
_INSTANCE_NAMES = {facts.CLOCK_GATE: "clock_gate"}
"""Instances that Yosys made and gave no name."""


def mapped(module: Module, reader: Reader, sweeps: int = SWEEPS) -> Module:
    """Return a module on the library's cells; its ports and instances keep their names."""
    logic = reader.read(module)
    search = _Search(logic, reader.chooser, sweeps)
    return _Builder(logic, search).module()


class _Search:
    """Hold the phases: of each node's choice, and in which each net is offered and wanted."""

    def __init__(self, logic: Logic, chooser: Chooser, sweeps: int) -> None:
        from hsflow_asap7.annealing import Problem, anneal

        self.nodes = logic.nodes
        self.index = {net: number for number, net in enumerate(_roots(logic))}
        self.demands = np.zeros((len(self.index), 2), dtype=np.int64)
        self.offered = np.zeros(len(self.index), dtype=np.int64)
        self._first = np.cumsum([0, *(len(node.kind.choices) for node in logic.nodes)], dtype=np.int64)
        self._chosen = self._first[:-1].copy()
        self._want(_fixed_literals(logic))
        problem = Problem(
            *self._pins(), self._first, *self._choices(), self.demands, self.offered, chooser.inverter_area
        )
        anneal(problem, self._chosen, sweeps)

    def choice(self, number: int) -> Choice:
        """Return what was chosen for a node."""
        return self.nodes[number].kind.choices[int(self._chosen[number] - self._first[number])]

    def inverted(self) -> Iterator[int]:
        """Yield the nets that need an inverter."""
        needed = self.demands[np.arange(len(self.offered)), 1 - self.offered] > 0
        yield from (net for net, number in self.index.items() if needed[number])

    def phase(self, net: int) -> bool:
        """Tell whether a net's driver gives its inverse; what is not read is as it is."""
        number = self.index.get(net)
        return number is not None and bool(self.offered[number])

    def _want(self, literals: Iterable[Literal]) -> None:
        for literal in literals:
            if literal.net is not None:
                self.demands[self.index[literal.net], int(literal.inverted)] += 1

    def _pins(self) -> tuple[IntArray, IntArray, IntArray]:
        """Return where each node's pins start, their nets, and their roles for the first choice."""
        from hsflow_asap7.annealing import DRIVES

        starts, nets, roles = [0], [], []
        for node in self.nodes:
            phases = node.kind.choices[0].phases
            flipped = [
                Literal(end.net, end.inverted ^ bool(phases >> k & 1)) for k, end in enumerate(node.inputs)
            ]
            self._want(flipped)
            nets += [-1 if literal.net is None else self.index[literal.net] for literal in flipped]
            roles += [int(literal.inverted) for literal in flipped]
            for position, net in enumerate(node.outputs, start=len(node.inputs)):
                nets.append(-1 if net is None else self.index[net])
                roles.append(DRIVES)
                if net is not None:
                    self.offered[self.index[net]] = phases >> position & 1
            starts.append(len(nets))
        return _integers(starts), _integers(nets), _integers(roles)

    def _choices(self) -> tuple[IntArray, FloatArray]:
        """Return the phases and areas of all nodes' choices."""
        choices = [choice for node in self.nodes for choice in node.kind.choices]
        return _integers(choice.phases for choice in choices), np.array([choice.area for choice in choices])


def _integers(values: Iterable[int]) -> IntArray:
    return np.fromiter(values, dtype=np.int64)


def _fixed_literals(logic: Logic) -> Iterator[Literal]:
    for node in logic.nodes:
        yield from node.extra.values()
    for instance in logic.instances:
        for literals in instance.inputs.values():
            yield from literals
    for literals in logic.ports.values():
        yield from literals


def _roots(logic: Logic) -> list[int]:
    """Return the nets that somebody reads, in a fixed order."""
    found: dict[int, None] = {}
    for node in logic.nodes:
        found.update((literal.net, None) for literal in node.inputs if literal.net is not None)
        found.update((net, None) for net in node.outputs if net is not None)
    found.update((literal.net, None) for literal in _fixed_literals(logic) if literal.net is not None)
    return list(found)


class _Builder:
    """Write the chosen cells, an inverter for each net that needs one, and tie cells for constants."""

    def __init__(self, logic: Logic, search: _Search) -> None:
        self._logic, self._search = logic, search
        ports = logic.module.ports
        self._names = Identifiers(ports)
        self._nets = Identifiers(ports)
        self._next = 1 + max(_numbers(logic), default=0)
        self._net_names: dict[int, str] = {}
        self._origins: dict[int, Origin] = {}
        self._inverses = {net: self._new_net() for net in search.inverted()}
        self._ties: dict[bool, int] = {}
        self._cells: dict[str, Cell] = {}

    def module(self) -> Module:
        logic = self._logic
        self._name_nets()
        for instance in logic.instances:
            inputs = {pin: tuple(map(self._bit, literals)) for pin, literals in instance.inputs.items()}
            name = self._names.new(_INSTANCE_NAMES.get(instance.type, instance.name))
            self._cells[name] = Cell(instance.type, {**inputs, **instance.outputs})
        for number, node in enumerate(logic.nodes):
            self._place(node, self._search.choice(number))
        for net, inverse in self._inverses.items():
            self._add(f"{self._name(net)}_inv", facts.INVERTER, {"A": net, "Y": inverse})
        ports = dict(logic.module.ports)
        for name, literals in logic.ports.items():
            ports[name] = Port("output", tuple(map(self._bit, literals)))
        for value, net in self._ties.items():
            tie = facts.TIE_HIGH if value else facts.TIE_LOW
            self._add(f"tie_{int(value)}", tie.cell, {tie.pin: net})
        return Module(logic.module.name, ports, self._cells, self._net_names, self._origins)

    def _place(self, node: Node, choice: Choice) -> None:
        ends = [*node.inputs, *node.outputs]
        pins: dict[str, int] = {}
        for position, (pin, end) in enumerate(zip(choice.pins, ends, strict=True)):
            if isinstance(end, Literal):
                flipped = bool(choice.phases >> position & 1)
                pins[pin] = self._bit(Literal(end.net, end.inverted ^ flipped))
            elif end is not None:
                pins[pin] = end
        for pin, literal in self._extra(node, choice):
            pins[pin] = self._bit(literal)
        net = next(net for net in reversed(node.outputs) if net is not None)
        self._add(f"{self._name(net)}_{node.role}", choice.cell, pins)

    def _extra(self, node: Node, choice: Choice) -> Iterator[tuple[str, Literal]]:
        """Yield a register's clock and resets: one that keeps the inverse is set where the other one is reset."""
        if node.role != "reg":
            return
        yield "CLK", node.extra["C"]
        if node.reset is not None:
            high = bool(node.reset) ^ bool(choice.phases & 1)
            used, tied = ("SETN", "RESETN") if high else ("RESETN", "SETN")
            yield used, node.extra["R"]
            yield tied, Literal(None, True)

    def _bit(self, literal: Literal) -> int:
        """Return the net that carries a literal."""
        if literal.net is None:
            if literal.inverted not in self._ties:
                self._ties[literal.inverted] = self._new_net()
            return self._ties[literal.inverted]
        if literal.inverted == self._search.phase(literal.net):
            return literal.net
        return self._inverses[literal.net]

    def _name_nets(self) -> None:
        """Name the nets that cells drive, and their inverses."""
        for node in self._logic.nodes:
            self._name_outputs(node)
        for instance in self._logic.instances:
            for bits in instance.outputs.values():
                for bit in bits:
                    if isinstance(bit, int):
                        self._name_net(bit, self._logic.origins.get(bit), f"n{bit}")
        for net, inverse in self._inverses.items():
            origin = self._logic.origins.get(net)
            self._net_names[inverse] = self._nets.new(f"{self._name(net)}_b")
            if origin:
                self._origins[inverse] = Origin(
                    origin.signals, origin.inverted ^ (not self._search.phase(net))
                )

    def _name_outputs(self, node: Node) -> None:
        """Name a node's outputs; a carry without a name of its own is called after the sum."""
        origins = self._logic.origins
        for net in node.outputs:
            if net is not None:
                known = (
                    origins[other].signal for other in node.outputs if other is not None and other in origins
                )
                named = next(known, f"n{net}")
                self._name_net(net, origins.get(net), named if len(node.outputs) == 1 else f"{named}_c")

    def _name_net(self, net: int, origin: Origin | None, otherwise: str) -> None:
        phase = self._search.phase(net)
        if origin:
            origin = Origin(origin.signals, origin.inverted ^ phase)
            self._origins[net] = origin
        name, inverted = (origin.signal, origin.inverted) if origin else (otherwise, phase)
        self._net_names[net] = self._nets.new(f"{name}_n" if inverted else name)

    def _name(self, net: int) -> str:
        if net in self._net_names:
            return self._net_names[net]
        origin = self._logic.origins.get(net)
        return origin.signal if origin else f"n{net}"

    def _add(self, name: str, type_: str, pins: Mapping[str, Bit]) -> None:
        self._cells[self._names.new(name)] = Cell(type_, {pin: (bit,) for pin, bit in pins.items()})

    def _new_net(self) -> int:
        self._next += 1
        return self._next - 1


def _numbers(logic: Logic) -> Iterator[int]:
    for port in logic.module.ports.values():
        yield from (bit for bit in port.bits if isinstance(bit, int))
    for cell in logic.module.cells.values():
        for bits in cell.pins.values():
            yield from (bit for bit in bits if isinstance(bit, int))
