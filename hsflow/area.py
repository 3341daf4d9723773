# SPDX-License-Identifier: Apache-2.0
"""What bits cost in silicon: the one place for the coefficients with which area is estimated before synthesis.

The library is ASAP7, 7.5 tracks, RVT. An estimate counts the adders' bits and the flip-flops, and nothing else: no
clock tree, no wires, no rounding and saturation, no utilization below 100 %. It is good for comparing layers and designs,
and no substitute for synthesis.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hsflow.design import LayerCost

FULL_ADDER_BIT_UM2 = 0.255
"""Area of one bit of an adder, in um2, with the share of inverters that its mapping onto FAx1 and HAxp5 cells needs.

Source: random Po2 matrices of 16x96 to 32x192, lowered to adder graphs, synthesized by Yosys 0.70 with full-adder cells
(without those cells, by abc alone, a bit takes 0.31 to 0.40 um2)."""

FLIP_FLOP_UM2 = 0.2916
"""Area of one flip-flop, in um2: the cell DFFHQNx1 of the library."""

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
