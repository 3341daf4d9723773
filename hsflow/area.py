# SPDX-License-Identifier: Apache-2.0
"""Area before synthesis: what a technology's cells take for what is counted, by default ASAP7.

The counts are `hsflow.design.Resources`; what each takes was fitted to synthesized layers by `python -m
benchmarks.asap7.calibrate`, and the error was measured on others (`Technology.area_accuracy`). It is the area of cells:
without the NPU, the clock tree, and the space between cells.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from hsflow.design import LayerCost, LineBuffer, Resources
from hsflow.technology import ASAP7, Technology

_ADDERS = ("full_adders", "half_adders", "split_adders", "accumulated")
_REGISTERS = ("tile_registers", "results", "former_registers", "streamed", "stages")
_UM2_PER_MM2 = 1e6
_SHORTEST_MEMORY = 4
"""Shifts of the shortest line buffer that an SRAM macro can make: see `targets/asap7/line_buffer.sv.j2`."""


@dataclass(frozen=True)
class Area:
    """Hold an estimated area in um2: adders, pipeline and stream registers, memory, and all else.

    `memory` is what line buffers and FIFOs take: flip-flops, unless larger line buffers were asked to be SRAM macros.
    `other` are requantizers, comparators and control. `logic` leaves memory out.
    """

    adders: float = 0.0
    registers: float = 0.0
    memory: float = 0.0
    other: float = 0.0

    @property
    def logic(self) -> float:
        """Return the area of all but memory, in um2."""
        return self.adders + self.registers + self.other

    @property
    def total(self) -> float:
        """Return the area of everything, in um2."""
        return self.logic + self.memory

    def __add__(self, other: Area) -> Area:
        pairs = zip(asdict(self).values(), asdict(other).values(), strict=True)
        return Area(*(one + more for one, more in pairs))


def layer_area(cost: LayerCost, technology: Technology = ASAP7, sram_bits: int | None = None) -> Area:
    """Return the estimated area of one layer with all its copies.

    Args:
        cost: what the layer consists of.
        technology: its cells and macros.
        sram_bits: from how many bits on a line buffer is made of SRAM macros; None is never.
    """
    found = resources_area(cost.resources, technology)
    return found + Area(memory=_memory(cost, technology, sram_bits), other=technology.areas.layer)


def resources_area(used: Resources, technology: Technology = ASAP7) -> Area:
    """Return the area of what is counted."""
    areas = asdict(technology.areas)
    parts = {name: count * areas[name] for name, count in asdict(used).items()}
    adders, registers = (sum(parts.pop(name) for name in names) for names in (_ADDERS, _REGISTERS))
    return Area(adders, registers, 0.0, sum(parts.values()))


def _memory(cost: LayerCost, technology: Technology, sram_bits: int | None) -> float:
    lines = (_line_buffer(line, technology, sram_bits) for line in cost.line_buffers)
    return sum(lines) + cost.fifo_bits * technology.areas.buffer_bit


def _line_buffer(line: LineBuffer, technology: Technology, sram_bits: int | None) -> float:
    areas, even = technology.areas, line.depth - line.depth % 2
    registers = line.depth * (line.width * areas.buffer_bit + areas.buffer_word)
    if sram_bits is None or line.depth * line.width < sram_bits or even < _SHORTEST_MEMORY:
        return registers
    # A word of the macros holds two pixels; beside them wait the pixel before, two read and two due, as in a stream.
    words, width = even // 2 - 1, 2 * line.width
    fitting = (-(-width // macro.width) * macro.um2 for macro in technology.macros if words <= macro.depth)
    waiting = (5 + line.depth % 2) * line.width * areas.buffer_bit
    return min((macros + waiting for macros in fitting), default=registers)


def network_area(
    costs: Iterable[LayerCost], technology: Technology = ASAP7, sram_bits: int | None = None
) -> Area:
    """Return the estimated area of all hardened layers together; the NPU is not among them."""
    return sum((layer_area(cost, technology, sram_bits) for cost in costs), Area())


def square_millimetres(um2: float) -> float:
    """Return an area in mm2."""
    return um2 / _UM2_PER_MM2
