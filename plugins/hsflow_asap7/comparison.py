# SPDX-License-Identifier: Apache-2.0
"""Two cuts of one module side by side: the same inputs, and pairs of outputs that must be equal.

Registers that share a name keep the same value: one input shows them all, and each must take what the others take (Yosys
merges registers that are equal, and not always the same ones). A register that one side lacks, and that is read, must keep
its value after reset for ever; one without a reset is a free input, on which nothing equal depends. All this is an induction
over the clock's cycles.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hsflow.errors import MismatchError
from hsflow_asap7.cut import Cut, Gate, Register, Signal
from hsflow_asap7.netlist import Bit


@dataclass(frozen=True)
class Comparison:
    """Hold what to compare: for each side its gates, its input signals and its outputs, in one order; outputs' names."""

    gates: tuple[Sequence[Gate], ...]
    inputs: tuple[Sequence[Sequence[Signal]], ...]
    outputs: tuple[Sequence[Signal], ...]
    names: Sequence[str]
    registers: int


def compared(wanted: Cut, given: Cut, where: str) -> Comparison:
    """Return how to compare the RTL's cut with the netlist's.

    Raises:
        MismatchError: if ports or instances have no counterpart.
    """
    _same(wanted.outputs, given.outputs, where)
    _same(wanted.inputs, given.inputs, where)
    groups = _groups(wanted.registers, given.registers)
    inputs = [([wanted.inputs[name]], [given.inputs[name]]) for name in wanted.inputs]
    pairs = [(name, wanted.outputs[name], given.outputs[name]) for name in wanted.outputs]
    for rtl, own in groups:
        if rtl and own:
            inputs.append(([register.state for register in rtl], [register.state for register in own]))
            pairs += _register_pairs(rtl, own)
    lonely = (
        _Lonely(wanted, [one for rtl, own in groups if not own for one in rtl], [pair[1] for pair in pairs]),
        _Lonely(given, [one for rtl, own in groups if not rtl for one in own], [pair[2] for pair in pairs]),
    )
    inputs += [([state], []) for state in lonely[0].free] + [([], [state]) for state in lonely[1].free]
    pairs += [(name, following, value) for name, following, value in lonely[0].kept]
    pairs += [(name, value, following) for name, following, value in lonely[1].kept]
    return Comparison(
        tuple([*cut.gates, *side.gates] for cut, side in zip((wanted, given), lonely, strict=True)),
        ([rtl for rtl, _ in inputs], [own for _, own in inputs]),
        ([rtl for _, rtl, _ in pairs], [own for _, _, own in pairs]),
        [name for name, _, _ in pairs],
        len(given.registers),
    )


class _Lonely:
    """Hold what becomes of the registers that one side alone has: constants to be kept, or free inputs."""

    def __init__(self, cut: Cut, registers: Sequence[Register], outputs: Iterable[Signal]) -> None:
        self.gates: list[Gate] = []
        self.free: list[Signal] = []
        self.kept: list[tuple[str, Signal, Signal]] = []
        self._drivers = {gate.output: gate for gate in cut.gates}
        self._seen: set[Bit] = set()
        by_state = {register.state.bit: register for register in registers}
        waiting = [signal.bit for signal in outputs]
        while waiting:
            for bit in self._cone(waiting.pop()):
                if register := by_state.pop(bit, None):
                    self._keep(register)
                    waiting.append(register.following.bit)
        self.free += [register.state for register in by_state.values()]

    def _cone(self, start: Bit) -> Iterator[Bit]:
        """Yield the bits that a bit depends on, as far as they are new."""
        stack = [start]
        while stack:
            bit = stack.pop()
            if bit not in self._seen:
                self._seen.add(bit)
                yield bit
                if gate := self._drivers.get(bit):
                    stack.extend(gate.inputs)

    def _keep(self, register: Register) -> None:
        """Take a register for its value after reset, if it has one, and ask for a proof that it keeps that value."""
        resets = [value for value, signal in ((0, register.clear), (1, register.set)) if signal.bit != "1"]
        if len(resets) != 1:
            self.free.append(register.state)
            return
        value = resets[0]
        self.gates.append(Gate(value ^ register.state.inverted, (), register.state.bit))
        self.kept.append((f"{register.names[0]} stays {value}", register.following, Signal(str(value))))


def _register_pairs(rtl: Sequence[Register], own: Sequence[Register]) -> Iterator[tuple[str, Signal, Signal]]:
    """Yield what must be equal: the first of each side, and each other one with the first of the other side."""
    couples = [(rtl[0], one) for one in own] + [(one, own[0]) for one in rtl[1:]]
    for left, right in couples:
        name = right.names[0]
        yield f"next value of {name}", left.following, right.following
        yield f"clock of {name}", left.clock, right.clock
        yield f"clear of {name}", left.clear, right.clear
        yield f"set of {name}", left.set, right.set


def _groups(rtl: Sequence[Register], own: Sequence[Register]) -> list[tuple[list[Register], list[Register]]]:
    """Return the registers of both sides in groups that share names, directly or through others."""
    leader: dict[str, str] = {}

    def find(name: str) -> str:
        while leader.setdefault(name, name) != name:
            leader[name] = leader[leader[name]]
            name = leader[name]
        return name

    for register in (*rtl, *own):
        for name in register.names[1:]:
            leader[find(name)] = find(register.names[0])
    groups: dict[str, tuple[list[Register], list[Register]]] = {}
    for side, registers in enumerate((rtl, own)):
        for register in registers:
            groups.setdefault(find(register.names[0]), ([], []))[side].append(register)
    return list(groups.values())


def _same(wanted: Mapping[str, object], given: Mapping[str, object], where: str) -> None:
    if different := sorted(wanted.keys() ^ given.keys()):
        side = "the RTL" if different[0] in wanted else "the netlist"
        raise MismatchError(
            "RTL and netlist have other ends", where=where, got=f"{different[0]} in {side} only"
        )


def write_blif(comparison: Comparison, side: int, path: Path) -> None:
    """Write one side (0 the RTL, 1 the netlist) as BLIF; inputs and outputs are numbered."""
    inputs, outputs = comparison.inputs[side], comparison.outputs[side]
    with path.open("w", encoding="ascii") as file:
        file.write(".model cut\n")
        file.write(".inputs " + " ".join(f"i{number}" for number in range(len(inputs))) + "\n")
        file.write(".outputs " + " ".join(f"o{number}" for number in range(len(outputs))) + "\n")
        file.write(".names zero\n.names one\n1\n")
        for number, shown in enumerate(inputs):
            file.writelines(_copies(f"i{number}", shown))
        file.writelines(map(_names, comparison.gates[side]))
        for number, signal in enumerate(outputs):
            file.write(f".names {_net(signal.bit)} o{number}\n{int(not signal.inverted)} 1\n")
        file.write(".end\n")


def _copies(source: str, shown: Iterable[Signal]) -> Iterator[str]:
    """Yield what makes an input drive the nets that show it; two registers of a group may share one net."""
    for signal in dict.fromkeys(shown):
        if isinstance(signal.bit, int):
            yield f".names {source} {_net(signal.bit)}\n{int(not signal.inverted)} 1\n"


def _names(gate: Gate) -> str:
    """Return a gate as the rows of its truth table that give 1."""
    width = len(gate.inputs)
    rows = [row for row in range(1 << width) if gate.table >> row & 1]
    cover = "".join(f"{_row(row, width)}1\n" for row in rows)
    return " ".join([".names", *map(_net, gate.inputs), _net(gate.output)]) + f"\n{cover}"


def _row(row: int, width: int) -> str:
    return "".join(str(row >> index & 1) for index in range(width)) + (" " if width else "")


def _net(bit: Bit) -> str:
    return f"n{bit}" if isinstance(bit, int) else ("one" if bit == "1" else "zero")
