# SPDX-License-Identifier: Apache-2.0
"""Two cuts of one module side by side: the same inputs, and pairs of outputs that must be equal.

Registers that share a name keep the same value: one input shows them all, and each must take what the others take (Yosys
merges registers that are equal, and not always the same ones). That is an induction over the clock's cycles.
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

    gates: tuple[Sequence[Gate], Sequence[Gate]]
    inputs: tuple[Sequence[Sequence[Signal]], Sequence[Sequence[Signal]]]
    outputs: tuple[Sequence[Signal], Sequence[Signal]]
    names: Sequence[str]
    registers: int


def compared(wanted: Cut, given: Cut, where: str) -> Comparison:
    """Return how to compare the RTL's cut with the netlist's.

    A register that the other side lacks is a free input: what depends on it is not equal.

    Raises:
        MismatchError: if ports or instances have no counterpart.
    """
    _same(wanted.outputs, given.outputs, where)
    _same(wanted.inputs, given.inputs, where)
    groups = _groups(wanted.registers, given.registers)
    inputs = [([wanted.inputs[name]], [given.inputs[name]]) for name in wanted.inputs]
    pairs = [(name, wanted.outputs[name], given.outputs[name]) for name in wanted.outputs]
    for rtl, own in groups:
        inputs.append(([register.state for register in rtl], [register.state for register in own]))
        pairs += _register_pairs(rtl, own)
    return Comparison(
        (wanted.gates, given.gates),
        ([rtl for rtl, _ in inputs], [own for _, own in inputs]),
        ([rtl for _, rtl, _ in pairs], [own for _, _, own in pairs]),
        [name for name, _, _ in pairs],
        sum(len(own) for _, own in groups),
    )


def _register_pairs(rtl: Sequence[Register], own: Sequence[Register]) -> Iterator[tuple[str, Signal, Signal]]:
    """Yield what must be equal: the first of each side, and each other one with the first of the other side."""
    if not rtl or not own:
        return
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
