# SPDX-License-Identifier: Apache-2.0
"""An estimate: area and clock of a hardened design on a cell library, from its adder graphs, without synthesis."""

from __future__ import annotations

from dataclasses import dataclass

from hsflow.area import Area, layer_area
from hsflow.design import NOTHING, Design, LayerCost
from hsflow.errors import ConfigurationError
from hsflow.technology import ASAP7, Technology

_PS_PER_US = 1e6


@dataclass(frozen=True)
class LayerEstimate:
    """Hold what a layer takes: its area, and the fastest clock that its longest path allows; None if none is known."""

    cost: LayerCost
    area: Area
    fmax_mhz: float | None


@dataclass(frozen=True)
class Estimate:
    """Hold what a design's hardened layers take at a corner, line buffers from `sram_bits` bits on being SRAM macros.

    The NPU is not among them, nor are the clock tree and the space between cells.
    """

    design: str
    technology: Technology
    corner: str
    sram_bits: int | None
    layers: tuple[LayerEstimate, ...]

    @property
    def area(self) -> Area:
        """Return the area of all layers."""
        return sum((layer.area for layer in self.layers), Area())

    @property
    def fmax_mhz(self) -> float | None:
        """Return the fastest clock of all layers together; None if that of some layer is not known."""
        clocks = [layer.fmax_mhz for layer in self.layers]
        known = [clock for clock in clocks if clock is not None]
        return min(known) if known and len(known) == len(clocks) else None


def estimate_design(
    design: Design, corner: str = "TT", sram_bits: int | None = None, technology: Technology = ASAP7
) -> Estimate:
    """Return the estimate of a design.

    Raises:
        ConfigurationError: if the corner is unknown, `sram_bits` is not positive, or the hardener did not count what its
            layers' cells are for.
    """
    technology.delays_at(corner)
    if sram_bits is not None and sram_bits < 1:
        raise ConfigurationError(
            "line buffers cannot become memories", where="sram_bits", got=sram_bits, expected="at least 1 bit"
        )
    layers = tuple(_layer(cost, corner, sram_bits, technology) for cost in design.layers)
    return Estimate(design.name, technology, corner, sram_bits, layers)


def _layer(cost: LayerCost, corner: str, sram_bits: int | None, technology: Technology) -> LayerEstimate:
    if cost.resources == NOTHING:
        raise ConfigurationError(
            "the hardener did not count what this layer's cells are for",
            where=cost.name,
            expected="LayerCost.resources",
            hint="harden with `stream`, or synthesize",
        )
    longest = next((path.ps for path in cost.paths if path.corner == corner), 0.0)
    fmax = _PS_PER_US / longest if longest else None
    return LayerEstimate(cost, layer_area(cost, technology, sram_bits), fmax)
