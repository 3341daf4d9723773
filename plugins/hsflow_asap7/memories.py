# SPDX-License-Identifier: Apache-2.0
"""Line buffers in SRAM macros: above a number of bits, one memory of the platform's takes the place of many registers.

The macros have one port, so that a word holds the pixels of two shifts: one reads, the next writes. What replaces
`hsflow_line_buffer.sv` has the same module, the same ports and the same behaviour in every cycle.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hsflow.errors import ConfigurationError
from hsflow.templates import render
from hsflow_asap7 import liberty
from hsflow_asap7.layout import Memory
from hsflow_asap7.netlist import Netlist
from hsflow_asap7.platform import Platform

LINE_BUFFER = "hsflow_line_buffer.sv"
MODELS = "macros.v"
_REGISTERS = "hsflow_line_registers"
_NAME = re.compile(r"fakeram7_(\d+)x(\d+)")
_SIZE = re.compile(r"\bSIZE\s+([\d.]+)\s+BY\s+([\d.]+)")


@dataclass(frozen=True)
class Macro:
    """Hold an SRAM macro of the platform: words, bits a word, area (um2), sides (um), and its files."""

    name: str
    depth: int
    width: int
    area: float
    sides: tuple[float, float]
    liberty: Path
    lef: Path

    @property
    def address_width(self) -> int:
        """Return the number of address bits."""
        return max(1, (self.depth - 1).bit_length())


def macros_of(platform: Platform) -> tuple[Macro, ...]:
    """Return the platform's SRAM macros, by name.

    Raises:
        ConfigurationError: if a macro's files do not tell its area or size.
    """
    return tuple(
        _macro(match, library, lef)
        for name, (library, lef) in sorted(platform.macros().items())
        if (match := _NAME.fullmatch(name))
    )


def write_line_buffers(
    platform: Platform, original: Path, least_bits: int, folder: Path
) -> tuple[Path, Path]:
    """Write what replaces `hsflow_line_buffer.sv`, and the macros' function, which synthesis takes for blackboxes.

    Args:
        platform: whose macros are used.
        original: the module with registers; line buffers of fewer bits stay so.
        least_bits: from how many bits on a line buffer becomes a memory.
        folder: where both are written.

    Raises:
        ConfigurationError: if the platform has no macros, or `least_bits` is not positive.
    """
    macros = macros_of(platform)
    if not macros or least_bits < 1:
        raise ConfigurationError(
            "line buffers cannot become memories",
            where=str(platform.root),
            got=f"{len(macros)} SRAM macros, a threshold of {least_bits} bits",
            expected="SRAM macros (lib/NLDM/fakeram7_*.lib), and a threshold of at least 1 bit",
        )
    folder.mkdir(parents=True, exist_ok=True)
    registers = original.read_text(encoding="utf-8").replace(LINE_BUFFER.removesuffix(".sv"), _REGISTERS)
    context = {"macros": macros, "least_bits": least_bits, "deepest": max(m.depth for m in macros)}
    replacement, models = folder / LINE_BUFFER, folder / MODELS
    text = render("hsflow_targets", "line_buffer.sv.j2", folder="asap7", **context)
    replacement.write_text(registers + text, encoding="utf-8")
    models.write_text(render("hsflow_targets", "macros.v.j2", folder="asap7", **context), encoding="utf-8")
    return replacement, models


def with_memories(sources: Iterable[Path], replacement: Path) -> tuple[Path, ...]:
    """Return sources with the line buffer replaced."""
    return tuple(replacement if path.name == LINE_BUFFER else path for path in sources)


def memories_in(netlist: Netlist, platform: Platform) -> tuple[Memory, ...]:
    """Return the macros of a netlist."""
    counts: Counter[str] = Counter()
    for name, times in netlist.instances.items():
        for cell in netlist.modules[name].cells.values():
            counts[cell.type] += times
    return tuple(
        Memory(macro.name, macro.liberty, macro.lef, counts[macro.name], *macro.sides)
        for macro in macros_of(platform)
        if macro.name in counts
    )


def memory_area(memories: Sequence[Memory]) -> float:
    """Return the area of memories (um2), without room around them."""
    return sum(memory.count * memory.width * memory.height for memory in memories)


def _macro(match: re.Match[str], library: Path, lef: Path) -> Macro:
    name, words, bits = match[0], int(match[1]), int(match[2])
    size = _SIZE.search(lef.read_text(encoding="utf-8"))
    areas = liberty.cell_areas([liberty.read_library(library)])
    if size is None or name not in areas:
        raise ConfigurationError(
            "a macro's area or size is not known",
            where=str(library if size else lef),
            expected=f"that of {name}",
        )
    return Macro(name, words, bits, areas[name], (float(size[1]), float(size[2])), library, lef)
