# SPDX-License-Identifier: Apache-2.0
"""Area before synthesis: what bits cost in a technology, by default ASAP7.

An estimate counts the adders' bits and the flip-flops, and nothing else: no
clock tree, no wires, no rounding and saturation, no utilization below 100 %. It is good for comparing layers and designs,
and no substitute for synthesis.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hsflow.design import LayerCost
from hsflow.technology import ASAP7

FULL_ADDER_BIT_UM2 = ASAP7.full_adder
FLIP_FLOP_UM2 = ASAP7.flip_flop

_UM2_PER_MM2 = 1e6


@dataclass(frozen=True)
class Area:
    """Hold an estimated area in um2: adders, pipeline and stream registers, and memory.

    `memory` is what line buffers and FIFOs take when they are made of flip-flops: an upper bound, since a larger one
    becomes an SRAM macro. `logic` leaves it out.
    """

    adders: float = 0.0
    registers: float = 0.0
    memory: float = 0.0

    @property
    def logic(self) -> float:
        """Return the area of adders and registers, in um2."""
        return self.adders + self.registers

    @property
    def total(self) -> float:
        """Return the area of everything, memory being flip-flops, in um2."""
        return self.logic + self.memory

    def __add__(self, other: Area) -> Area:
        return Area(self.adders + other.adders, self.registers + other.registers, self.memory + other.memory)


def estimate_area(full_adder_bits: int, register_bits: int, memory_bits: int = 0) -> Area:
    """Return the area of so many bits; `memory_bits` are those of line buffers and FIFOs."""
    return Area(
        full_adder_bits * FULL_ADDER_BIT_UM2, register_bits * FLIP_FLOP_UM2, memory_bits * FLIP_FLOP_UM2
    )


def layer_area(cost: LayerCost) -> Area:
    """Return the estimated area of one layer with all its copies."""
    return estimate_area(cost.full_adder_bits, cost.register_bits, cost.line_buffer_bits + cost.fifo_bits)


def network_area(costs: Iterable[LayerCost]) -> Area:
    """Return the estimated area of all hardened layers together; the NPU is not among them."""
    return sum(map(layer_area, costs), Area())


def square_millimetres(um2: float) -> float:
    """Return an area in mm2."""
    return um2 / _UM2_PER_MM2
