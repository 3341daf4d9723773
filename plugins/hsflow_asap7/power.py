# SPDX-License-Identifier: Apache-2.0
"""Power of a netlist, from the switching activity that a gate-level simulation of real images saw.

The parts are the clock (its nets, gates and buffers, and what it moves inside of registers), registers (what data do to
them, and their leakage), logic, and memories. What is not in the figures: glitches, for the simulation has no delays and a
gate changes at most once a cycle; what drives the inputs; and, before there is a layout, wires and the clock's tree.

Nothing but the Liberty files is needed: OpenSTA 2.0, which is what Debian has, takes no activity for a pin, and charges
each transition with the energy of two.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np

from hsflow_asap7 import facts
from hsflow_asap7.energy import Array, CellPower, PowerLibrary, Seen, read_power
from hsflow_asap7.netlist import Netlist, read_netlist
from hsflow_asap7.platform import Corner
from hsflow_asap7.saif import Activity, Saif, read_saif
from hsflow_asap7.spef import wire_loads
from hsflow_asap7.structural import words_of
from hsflow_asap7.timing import layer_of

PARTS = ("clock", "register", "logic", "memory")
TRANSITION_PS = 20.0
"""How fast signals rise and fall, 10 % to 90 %: about what ASAP7's cells do; the energy inside of cells hardly depends on it."""

_STILL = Activity(0, 0.5)
_CONSTANT = {"0": Activity(0, 0.0), "1": Activity(0, 1.0)}
_FEMTO, _PICO = 1e-15, 1e-12


@dataclass(frozen=True)
class Power:
    """Hold the power (W) of a design at one corner, while it worked through `images` in `cycles` cycles of its clock.

    `parts` sum up to the total, and so do power inside of cells, power that charges nets, and leakage. `layers` is the power
    of each part of the design, but for the clock's net; `annotated` is the share of the cells' pins whose activity the
    simulation told, the rest counting as still.
    """

    corner: Corner
    clock_ps: float
    cycles: float
    images: int
    parts: Mapping[str, float]
    internal_w: float
    switching_w: float
    leakage_w: float
    layers: Mapping[str, float]
    annotated: float

    @property
    def total_w(self) -> float:
        """Return the power of all parts."""
        return math.fsum(self.parts.values())

    @property
    def seconds(self) -> float:
        """Return how long the images take at this clock."""
        return self.cycles * self.clock_ps * _PICO

    @property
    def energy_per_image_j(self) -> float:
        """Return the energy of the whole run, its start and end included, for each image."""
        return self.total_w * self.seconds / self.images

    @property
    def images_per_second(self) -> float:
        """Return how many images a second the run took in."""
        return self.images / self.seconds


@dataclass(frozen=True)
class Simulated:
    """Name what a simulation left: a SAIF file, the instance in it that is the design, and how many images it saw."""

    saif: Path
    scope: str
    images: int


@dataclass(frozen=True)
class Leaf:
    """Hold an instance of a library cell: its path, and the net of each pin, numbered through the whole design."""

    path: str
    nets: Mapping[str, int]


@dataclass(frozen=True)
class Flat:
    """Hold a netlist without its hierarchy: leaves by type, the nets of the top's ports, and a name of each net: its path, 0 or 1."""

    leaves: Mapping[str, Sequence[Leaf]]
    ports: Mapping[str, Sequence[int]]
    names: Mapping[int, str]


def measure_power(
    netlist: Path,
    liberties: Sequence[Path],
    corner: Corner,
    clock_ps: float,
    simulated: Simulated,
    clock_port: str = "clk_i",
    memories: Iterable[str] = (),
    parasitics: Path | None = None,
) -> Power:
    """Return a design's power.

    Args:
        netlist: as JSON.
        liberties: the corner's cells and macros.
        corner: the one that they are of.
        clock_ps: the clock's period, whatever it was in the simulation.
        simulated: what the activity is read from.
        clock_port: the top's port that the clock comes in by.
        memories: the macros among the cells.
        parasitics: a SPEF file with the wires, where there is a layout.

    Raises:
        ConfigurationError: if the activity cannot be read, its clock stands still, or the library lacks a cell.
    """
    seen = read_saif(simulated.saif, simulated.scope)
    cycles = seen.cycles(clock_port)
    design = flatten(read_netlist(netlist))
    library = read_power(liberties)
    clocks = _clock_nets(design, library, clock_port)
    sums = _Sums(clock_ps * _PICO, library.volts, frozenset(memories), clocks, design.names)
    loads = _loads(design, library, wire_loads(parasitics) if parasitics else {})
    for name, leaves in design.leaves.items():
        sums.add(library.cell(name), leaves, loads, seen, cycles)
    sums.add_clock(sum(loads[net] for net in design.ports[clock_port]))
    return Power(
        corner,
        clock_ps,
        cycles,
        simulated.images,
        sums.parts,
        sums.internal,
        sums.switching,
        sums.leakage,
        dict(sums.layers),
        sums.annotated,
    )


def flatten(netlist: Netlist) -> Flat:
    """Return a netlist's leaves and their nets; a constant is no net."""
    leaves: dict[str, list[Leaf]] = defaultdict(list)
    top = netlist.modules[netlist.top]
    numbers = _Numbers()
    nets = {name: [numbers.new() for _ in port.bits] for name, port in top.ports.items()}
    names: dict[int, str] = {}
    words = {name: words_of(module).nets for name, module in netlist.modules.items()}
    stack = [("", netlist.top, nets)]
    while stack:
        path, name, outer = stack.pop()
        module = netlist.modules[name]
        local: dict[object, int] = {}
        for port_name, port in module.ports.items():
            local.update(zip(port.bits, outer.get(port_name, ()), strict=False))
        for cell_name, cell in module.cells.items():
            pins = {pin: [numbers.of(bit, local) for bit in bits] for pin, bits in cell.pins.items()}
            constant = zip(chain(*pins.values()), chain(*cell.pins.values()), strict=True)
            names.update((number, bit) for number, bit in constant if isinstance(bit, str))
            if cell.type in netlist.modules:
                stack.append((f"{path}{cell_name}/", cell.type, pins))
            else:
                leaves[cell.type].append(Leaf(f"{path}{cell_name}", _single(pins)))
        for bit, word in words[name].items():
            if bit in local:
                names.setdefault(local[bit], f"{path}{word}")
    return Flat(leaves, nets, names)


class _Numbers:
    """Give each net of a design a number of its own."""

    def __init__(self) -> None:
        self._next = 0

    def new(self) -> int:
        self._next += 1
        return self._next - 1

    def of(self, bit: object, local: dict[object, int]) -> int:
        """Return a module's bit's number; each constant is a net that nothing else shares."""
        if not isinstance(bit, int):
            return self.new()
        if bit not in local:
            local[bit] = self.new()
        return local[bit]


def _single(pins: Mapping[str, Sequence[int]]) -> dict[str, int]:
    """Return the net of each pin; those of a bus have their index behind the name, as Liberty has them."""
    found = {}
    for pin, nets in pins.items():
        for index, net in enumerate(nets):
            found[pin if len(nets) == 1 else f"{pin}[{index}]"] = net
    return found


def _loads(design: Flat, library: PowerLibrary, wires: Mapping[str, float]) -> dict[int, float]:
    """Return the load (fF) of each net: the pins on it, its wires, and what is behind the design's outputs."""
    loads: dict[int, float] = defaultdict(float)
    driven = set()
    for name, leaves in design.leaves.items():
        cell = library.cell(name)
        for leaf in leaves:
            for pin, net in leaf.nets.items():
                if pin in cell.inputs:
                    loads[net] += cell.inputs[pin]
                else:
                    loads[net] += wires.get(f"{leaf.path}/{pin}", 0.0)
                    driven.add(net)
    for port, nets in design.ports.items():
        for index, net in enumerate(nets):
            loads[net] += wires.get(port if len(nets) == 1 else f"{port}[{index}]", 0.0)
            loads[net] += facts.ABC_LOAD if net in driven else 0.0
    return loads


def _clock_nets(design: Flat, library: PowerLibrary, clock_port: str) -> frozenset[int]:
    """Return the nets that the clock reaches through gates and buffers."""
    onward: dict[int, list[int]] = defaultdict(list)
    for name, leaves in design.leaves.items():
        cell = library.cell(name)
        if cell.repeats:
            source, sink = cell.repeats
            for leaf in leaves:
                onward[leaf.nets[source]].append(leaf.nets[sink])
    found = set(design.ports[clock_port])
    frontier = list(found)
    while frontier:
        new = set(onward.get(frontier.pop(), ())) - found
        found |= new
        frontier.extend(new)
    return frozenset(found)


class _Sums:
    """Add up the power of cells, all of one type at a time."""

    def __init__(
        self,
        period: float,
        volts: float,
        memories: frozenset[str],
        clock_nets: frozenset[int],
        names: Mapping[int, str],
    ) -> None:
        self._period, self._volts = period, volts
        self._memories, self._clock_nets, self._names = memories, clock_nets, names
        self._known = self._pins = 0
        self.parts = dict.fromkeys(PARTS, 0.0)
        self.layers: dict[str, float] = defaultdict(float)
        self.internal = self.switching = self.leakage = 0.0

    @property
    def annotated(self) -> float:
        return self._known / max(1, self._pins)

    def add_clock(self, load: float) -> None:
        """Add the net that the clock comes in by: it rises and falls in each cycle."""
        watts = float(self._charging(np.array(2.0), np.array(load)))
        self.parts["clock"] += watts
        self.switching += watts

    def add(
        self, cell: CellPower, leaves: Sequence[Leaf], loads: Mapping[int, float], saif: Saif, cycles: float
    ) -> None:
        """Add instances of one type of cell."""
        seen = self._seen(cell, leaves, saif, cycles)
        clock, inside, charging = np.zeros(seen.count), np.zeros(seen.count), np.zeros(seen.count)
        for pin in cell.inputs:
            watts = self._watts(seen.density[pin] * cell.input_energy(pin, seen))
            if pin in cell.clocks:
                clock += watts
            else:
                inside += watts
        for pin in cell.outputs:
            load = np.array([loads.get(leaf.nets.get(pin, -1), 0.0) for leaf in leaves])
            inside += self._watts(seen.density[pin] * cell.output_energy(pin, seen, load))
            charging += self._charging(seen.density[pin], load)
        leakage = cell.leakage(seen) * _PICO
        self.internal += float(clock.sum() + inside.sum())
        self.switching += float(charging.sum())
        self.leakage += float(leakage.sum())
        self._book(cell, leaves, clock, inside + charging + leakage)

    def _book(self, cell: CellPower, leaves: Sequence[Leaf], clock: Array, own: Array) -> None:
        part = "memory" if cell.name in self._memories else "register" if cell.sequential else "logic"
        for leaf, moved, watts in zip(leaves, clock, own, strict=True):
            self.parts["clock"] += float(moved)
            self.parts["clock" if self._drives_clock(cell, leaf) else part] += float(watts)
            self.layers[layer_of(f"{leaf.path}/")] += float(moved + watts)

    def _drives_clock(self, cell: CellPower, leaf: Leaf) -> bool:
        return cell.repeats is not None and leaf.nets[cell.repeats[1]] in self._clock_nets

    def _seen(self, cell: CellPower, leaves: Sequence[Leaf], saif: Saif, cycles: float) -> Seen:
        density, high = {}, {}
        for pin in (*cell.inputs, *cell.outputs):
            found = [self._activity(leaf, pin, saif) for leaf in leaves]
            self._pins += len(found)
            self._known += sum(activity is not None for activity in found)
            density[pin] = np.array([(activity or _STILL).transitions / cycles for activity in found])
            high[pin] = np.array([(activity or _STILL).high for activity in found])
        return Seen(len(leaves), density, high, TRANSITION_PS)

    def _activity(self, leaf: Leaf, pin: str, saif: Saif) -> Activity | None:
        """Return what a pin did, if that was traced, or else what its net did."""
        net = self._names.get(leaf.nets.get(pin, -1), "")
        return _CONSTANT.get(net) or saif.nets.get(f"{leaf.path}/{pin}") or saif.nets.get(net)

    def _charging(self, density: Array, load: Array) -> Array:
        """Return the power of so many transitions a cycle of a load (fF): each takes half of C V^2."""
        return self._watts(density * 0.5 * load * self._volts**2)

    def _watts(self, energy: Array) -> Array:
        """Return the power of an energy (fJ) in each cycle."""
        return energy * _FEMTO / self._period
