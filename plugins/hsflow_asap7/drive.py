# SPDX-License-Identifier: Apache-2.0
"""Give each net a driver that is strong enough: a larger cell of the same function, else a tree of buffers.

Before layout nobody knows the wires; what is known is how many pins a net has. A driver may be loaded, wires of a typical
length included, until it is later than without a load by some picoseconds: the same for every cell, so that a weak pin (the
sum of FAx1 takes 19 ps/fF) has few readers and a strong one many. This keeps edges steep and delays short without a timing
analysis. Clock nets are left to clock tree synthesis.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from hsflow_asap7 import facts
from hsflow_asap7.library import LibraryCell
from hsflow_asap7.netlist import Bit, Cell, Module, Netlist
from hsflow_asap7.structural import Identifiers

LATER = 60.0
"""By how many ps a load may delay its driver. Over 45 to 200 ps a layer of 1,300 adders grew by 2 % and its slack at 1 GHz from -3 to 92 ps."""

SHARE = 0.5
"""Of the library's `max_capacitance`, which no load exceeds however strong the driver is."""

WIRE_LENGTH = 2.0
"""Micrometres of wire a pin."""

PORT_LOAD = 46.0
"""The most (fF) that a module's input shows to the module above."""

_PORT_CAPACITY = 10.0
"""fF that an output of a module that is not there is taken to drive, and one that nothing drives."""

_LARGEST_BUFFER = 400.0
"""fF that the library allows the largest buffer of a tree: a larger one's sinks would lie far apart."""

_CLOCK_PINS = frozenset({"CLK", "GCLK"})
WIRE_LOAD = WIRE_LENGTH * facts.SIGNAL_RC.capacitance
"""fF that a pin's wire is taken to have."""


@dataclass(frozen=True)
class Ends:
    """Hold what the module above must know of each port's bits: an input's load, what an output can drive (fF)."""

    loads: Mapping[str, Sequence[float]]
    capacities: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Drives:
    """Know the library's cells by function, from the weakest to the strongest."""

    cells: Mapping[str, LibraryCell]

    @cached_property
    def families(self) -> Mapping[str, tuple[LibraryCell, ...]]:
        """Return for each cell those of the same function and pins that may take its place, itself among them."""
        groups: dict[object, list[LibraryCell]] = defaultdict(list)
        for cell in self.cells.values():
            groups[_function(cell)].append(cell)
        found = {}
        for members in groups.values():
            for cell in members:
                able = (other for other in members if other is cell or other.may_be_chosen)
                found[cell.name] = tuple(sorted(able, key=lambda other: (other.area, other.name)))
        return found

    @cached_property
    def buffers(self) -> tuple[LibraryCell, ...]:
        """Return the buffers from the smallest to the largest."""
        family = self.families[facts.BUFFER]
        return tuple(cell for cell in family if cell.limits["Y"] <= _LARGEST_BUFFER)

    def capacity(self, cell: LibraryCell, pin: str) -> float:
        """Return the load (fF) that a cell's output may have here."""
        slope, limit = cell.slopes[pin], SHARE * cell.limits[pin]
        return min(limit, LATER / slope) if slope else limit


def _function(cell: LibraryCell) -> object:
    state = None if cell.state is None else (cell.state.kind, tuple(sorted(cell.state.attributes().items())))
    return tuple(cell.inputs), tuple(sorted(cell.functions.items())), state


def driven(netlist: Netlist, cells: Mapping[str, LibraryCell]) -> Netlist:
    """Return a netlist whose nets are driven well enough, each module after those that it instantiates."""
    drives = Drives(cells)
    ends = {name: _unknown_ends(module) for name, module in netlist.blackboxes.items()}
    modules = {}
    for module in reversed(list(netlist.parents_first())):
        work = _Module(module, drives, ends)
        modules[module.name] = work.result()
        ends[module.name] = work.ends()
    return replace(netlist, modules={name: modules[name] for name in netlist.modules})


def _unknown_ends(module: Module) -> Ends:
    """Return what is assumed of a module that is not there."""
    loads = {name: [PORT_LOAD] * len(port.bits) for name, port in module.ports.items()}
    return Ends(loads, {name: [_PORT_CAPACITY] * len(port.bits) for name, port in module.ports.items()})


@dataclass(frozen=True, slots=True)
class Pin:
    """Name a cell's pin, and which of its bits; the module's own ports have no cell."""

    cell: str
    pin: str
    index: int = 0


@dataclass
class _Net:
    driver: Pin | None = None
    sinks: list[Pin] = field(default_factory=list)


class _Module:
    """Work on one module: strengthen its drivers from its outputs towards its inputs."""

    def __init__(self, module: Module, drives: Drives, ends: Mapping[str, Ends]) -> None:
        self._module, self._drives, self._ends = module, drives, ends
        self._cells = dict(module.cells)
        self._nets: dict[int, _Net] = defaultdict(_Net)
        self._net_names = dict(module.net_names)
        self._origins = dict(module.origins)
        self._ports = {name: list(port.bits) for name, port in module.ports.items()}
        self._connect()
        self._new_cells = Identifiers([*module.cells, *module.ports])
        self._new_nets = Identifiers([*module.ports, *module.net_names.values()])
        self._next = 1 + max(self._nets, default=0)
        for net in self._sinks_first():
            self._strengthen(net)

    def result(self) -> Module:
        """Return the module as it is now."""
        ports = {
            name: replace(port, bits=tuple(self._ports[name])) for name, port in self._module.ports.items()
        }
        return Module(self._module.name, ports, self._cells, self._net_names, self._origins)

    def ends(self) -> Ends:
        """Return what the module above must know."""
        loads, capacities = {}, {}
        for name, port in self._module.ports.items():
            if port.direction == "input":
                loads[name] = [self._load(bit) if isinstance(bit, int) else 0.0 for bit in self._ports[name]]
            else:
                capacities[name] = [self._spare(bit) for bit in self._ports[name]]
        return Ends(loads, capacities)

    def _connect(self) -> None:
        for name, port in self._module.ports.items():
            for index, bit in enumerate(port.bits):
                if isinstance(bit, int):
                    self._attach(bit, Pin("", name, index), port.direction == "input")
        for name, cell in self._cells.items():
            outgoing = self._outgoing(cell)
            for pin, bits in cell.pins.items():
                for index, bit in enumerate(bits):
                    if isinstance(bit, int):
                        self._attach(bit, Pin(name, pin, index), pin in outgoing)

    def _outgoing(self, cell: Cell) -> Iterable[str]:
        if cell.type in self._ends:
            return self._ends[cell.type].capacities
        return self._drives.cells[cell.type].functions

    def _attach(self, bit: int, pin: Pin, drives: bool) -> None:
        if drives:
            self._nets[bit].driver = pin
        else:
            self._nets[bit].sinks.append(pin)

    def _sinks_first(self) -> list[int]:
        """Return the nets so that one comes after those that the gates it feeds drive; registers cut all loops."""
        order: list[int] = []
        done: set[int] = set()
        for start in sorted(self._nets):
            stack = [(start, False)]
            while stack:
                net, left = stack.pop()
                if left:
                    order.append(net)
                elif net not in done:
                    done.add(net)
                    stack.append((net, True))
                    stack += [(other, False) for other in self._fed(net) if other not in done]
        return order

    def _fed(self, net: int) -> Iterator[int]:
        for sink in self._nets[net].sinks:
            cell = self._cells.get(sink.cell)
            if (
                cell is not None
                and cell.type not in self._ends
                and not self._drives.cells[cell.type].sequential
            ):
                for pin in self._drives.cells[cell.type].functions:
                    for bit in cell.pins.get(pin, ()):
                        if isinstance(bit, int):
                            yield bit

    def _load(self, net: int) -> float:
        return sum(self._pin_load(sink) for sink in self._nets[net].sinks)

    def _pin_load(self, pin: Pin) -> float:
        if not pin.cell:
            return facts.ABC_LOAD
        cell = self._cells[pin.cell]
        if cell.type in self._ends:
            return self._ends[cell.type].loads[pin.pin][pin.index] + WIRE_LOAD
        return self._drives.cells[cell.type].inputs[pin.pin] + WIRE_LOAD

    def _capacity(self, driver: Pin) -> float:
        if not driver.cell:
            return PORT_LOAD
        cell = self._cells[driver.cell]
        if cell.type in self._ends:
            return self._ends[cell.type].capacities[driver.pin][driver.index]
        return self._drives.capacity(self._drives.cells[cell.type], driver.pin)

    def _spare(self, bit: Bit) -> float:
        """Return what an output can drive beside what it drives here."""
        driver = None if isinstance(bit, str) else self._nets[bit].driver
        if isinstance(bit, str) or driver is None:
            return _PORT_CAPACITY
        return max(0.0, self._capacity(driver) - self._load(bit) + facts.ABC_LOAD)

    def _strengthen(self, number: int) -> None:
        net = self._nets[number]
        if net.driver is None or self._is_clock(net):
            return
        load = self._load(number)
        if load <= self._capacity(net.driver):
            return
        if not self._enlarge(net.driver, load):
            self._buffer(number, load)

    def _is_clock(self, net: _Net) -> bool:
        return any(pin.pin in _CLOCK_PINS for pin in net.sinks)

    def _enlarge(self, driver: Pin, load: float) -> bool:
        """Take the smallest cell of the driver's function that takes the load, if there is one."""
        cell = self._cells.get(driver.cell)
        if cell is None or cell.type in self._ends:
            return False
        for other in self._drives.families[cell.type]:
            if self._drives.capacity(other, driver.pin) >= load:
                self._cells[driver.cell] = replace(cell, type=other.name)
                return True
        return False

    def _buffer(self, number: int, load: float) -> None:
        """Put buffers in front of all sinks, so many of a size that they are smallest in all; then drive those."""
        size = min(self._drives.buffers, key=lambda cell: (self._count(cell, load) * cell.area, -cell.area))
        capacity = self._drives.capacity(size, "Y")
        groups: list[list[Pin]] = [[]]
        filled = 0.0
        for sink in self._nets[number].sinks:
            pin_load = self._pin_load(sink)
            if groups[-1] and filled + pin_load > capacity:
                groups.append([])
                filled = 0.0
            groups[-1].append(sink)
            filled += pin_load
        self._nets[number].sinks = []
        for group in groups:
            self._add_buffer(number, group, size)
        self._strengthen(number)

    def _count(self, cell: LibraryCell, load: float) -> int:
        return int(-(-load // self._drives.capacity(cell, "Y")))

    def _add_buffer(self, source: int, sinks: list[Pin], size: LibraryCell) -> None:
        target, self._next = self._next, self._next + 1
        stem = self._net_names.get(source) or self._port_name(source)
        name = self._new_cells.new(f"{stem}_buf")
        self._net_names[target] = self._new_nets.new(f"{stem}_f")
        if source in self._origins:
            self._origins[target] = self._origins[source]
        self._cells[name] = Cell(size.name, {"A": (source,), "Y": (target,)})
        self._nets[target] = _Net(Pin(name, "Y"), sinks)
        self._nets[source].sinks.append(Pin(name, "A"))
        for sink in sinks:
            self._rewire(sink, target)

    def _port_name(self, net: int) -> str:
        driver = self._nets[net].driver
        return f"{driver.pin}_{driver.index}" if driver else f"n{net}"

    def _rewire(self, sink: Pin, net: int) -> None:
        if not sink.cell:
            self._ports[sink.pin][sink.index] = net
            return
        cell = self._cells[sink.cell]
        bits = list(cell.pins[sink.pin])
        bits[sink.index] = net
        self._cells[sink.cell] = replace(cell, pins={**cell.pins, sink.pin: tuple(bits)})
