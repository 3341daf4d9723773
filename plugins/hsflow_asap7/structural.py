# SPDX-License-Identifier: Apache-2.0
"""Structural Verilog of a netlist: plain identifiers, a line an instance where it fits, the RTL's names where it had some."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hsflow_asap7.netlist import Bit, Module, Netlist

_WIDTH = 120
_UNFIT = re.compile(r"[^A-Za-z0-9]+")


def plain_identifier(text: str) -> str:
    """Return a text with an underscore for whatever is neither letter nor digit, and a letter in front."""
    plain = _UNFIT.sub("_", text).strip("_")
    return plain if plain[:1].isalpha() else f"n_{plain}"


class Identifiers:
    """Give out identifiers, each once, by the order in which they are asked for."""

    def __init__(self, reserved: Iterable[str] = ()) -> None:
        self._taken = set(reserved)
        self._last: dict[str, int] = {}

    def new(self, text: str) -> str:
        """Return an identifier that looks like `text`: letters, digits and underscores."""
        name = plain = plain_identifier(text)
        while name in self._taken:
            self._last[plain] = self._last.get(plain, 1) + 1
            name = f"{plain}_{self._last[plain]}"
        self._taken.add(name)
        return name


def write_verilog(netlist: Netlist, path: Path) -> None:
    """Write a netlist as structural Verilog, line by line, each module after those that it instantiates."""
    with path.open("w", encoding="utf-8") as file:
        for module in reversed(list(netlist.parents_first())):
            file.writelines(f"{line}\n" for line in _lines(module))


@dataclass(frozen=True)
class Words:
    """Hold what Verilog calls the nets of a module: each by its number, which of them are no port's, and repeated ones.

    `repeated` are the bits of outputs that merely repeat another net or a constant.
    """

    nets: Mapping[int, str]
    wires: Sequence[str]
    repeated: Sequence[tuple[str, Bit]]


def words_of(module: Module) -> Words:
    """Return what `write_verilog` calls a module's nets."""
    names = Identifiers([*module.ports, *module.cells])
    nets, repeated = _named_by_ports(module)
    wires = []
    for bit in _bits(module):
        if bit not in nets:
            nets[bit] = names.new(module.net_names.get(bit, f"n{bit}"))
            wires.append(nets[bit])
    return Words(nets, wires, repeated)


def _lines(module: Module) -> Iterator[str]:
    words = words_of(module)
    nets = words.nets
    yield f"module {module.name} ("
    yield ",\n".join(
        f"  {port.direction} {_range(len(port.bits))}{name}" for name, port in module.ports.items()
    )
    yield ");"
    yield from (f"  wire {wire};" for wire in words.wires)
    yield from (f"  assign {target} = {_word(bit, nets)};" for target, bit in words.repeated)
    for name, cell in module.cells.items():
        pins = [f".{pin}({_value(bits, nets)})" for pin, bits in cell.pins.items() if bits]
        yield _instance(cell.type, name, pins)
    yield "endmodule"


def _instance(type_: str, name: str, pins: list[str]) -> str:
    """Return an instance on a line, or, if that is long, pin by pin: readers refuse lines of many thousand words."""
    line = f"  {type_} {name} ({', '.join(pins)});"
    if len(line) <= _WIDTH:
        return line
    wrapped = (
        textwrap.fill(
            pin,
            _WIDTH,
            initial_indent="    ",
            subsequent_indent="      ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for pin in pins
    )
    return f"  {type_} {name} (\n" + ",\n".join(wrapped) + "\n  );"


def _named_by_ports(module: Module) -> tuple[dict[int, str], list[tuple[str, Bit]]]:
    """Return the nets that a port names, and the output bits that merely repeat another net or a constant."""
    nets: dict[int, str] = {}
    aliases: list[tuple[str, Bit]] = []
    for direction in ("input", "output"):
        for name, port in module.ports.items():
            if port.direction != direction:
                continue
            for index, bit in enumerate(port.bits):
                own = name if len(port.bits) == 1 else f"{name}[{index}]"
                if isinstance(bit, str) or bit in nets:
                    aliases.append((own, bit))
                else:
                    nets[bit] = own
    return nets, aliases


def _bits(module: Module) -> Iterator[int]:
    """Yield the nets at the cells' pins, in the cells' order, some more than once."""
    for cell in module.cells.values():
        for bits in cell.pins.values():
            yield from (bit for bit in bits if isinstance(bit, int))


def _range(width: int) -> str:
    return "" if width == 1 else f"[{width - 1}:0] "


def _value(bits: tuple[Bit, ...], nets: Mapping[int, str]) -> str:
    words = [_word(bit, nets) for bit in reversed(bits)]
    return words[0] if len(words) == 1 else "{" + ", ".join(words) + "}"


def _word(bit: Bit, nets: Mapping[int, str]) -> str:
    if isinstance(bit, int):
        return nets[bit]
    return "1'b1" if bit == "1" else "1'b0"
