# SPDX-License-Identifier: Apache-2.0
"""Technologies: what bits cost in silicon and how long they take; the one home of these numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hsflow.errors import ConfigurationError


@dataclass(frozen=True)
class Delays:
    """Hold how long the parts of a pipeline stage take at one corner, in ps.

    A stage begins with a register (`clk_to_q`) and ends with one (`setup`). In a ripple adder a bit of the sum comes `add`
    after the latest of its two operands' bits and of the carry into it, and each carry `carry` after the same three; in an
    adder that looks its carries ahead, since its chain would be too long, a carry takes `carry_ahead`. What has n readers
    comes `fanout * log2(n)` later, by the buffers that drive them. `gate` is a gate or a multiplexer of two words,
    `compare` the choice of the larger of two numbers, `requantize` a bias, a shift and a saturation.
    """

    clk_to_q: float
    setup: float
    add: float
    carry: float
    carry_ahead: float
    fanout: float
    gate: float
    compare: float
    requantize: float


@dataclass(frozen=True)
class Technology:
    """Hold the areas (um2) of a full-adder bit and of a flip-flop in a cell library, and delays by corner.

    `full_adder` contains the share of inverters that its mapping onto cells needs.
    """

    name: str
    library: str
    full_adder: float
    flip_flop: float
    delays: Mapping[str, Delays]

    def delays_at(self, corner: str) -> Delays:
        """Return the delays of a corner.

        Raises:
            ConfigurationError: if none are known.
        """
        if corner not in self.delays:
            raise ConfigurationError(
                "this technology has no such corner",
                where=f"the technology {self.name}",
                got=corner,
                expected=", ".join(self.delays),
            )
        return self.delays[corner]


_FOR_WIRES = 0.1
_AROUND_CARRIES_PS, _CARRY_PS = 190.0, 34.1


def longest_chain(clock_ps: float) -> int:
    """Return the bits of the longest ripple adder that synthesis builds for a clock of this period.

    Longer ones look their carries ahead: they are faster and larger. Of the period a share is left for wires, and a rest
    for the registers around the adder, for the sum's last bit, and for some readers.
    """
    return max(1, int((clock_ps * (1 - _FOR_WIRES) - _AROUND_CARRIES_PS) / _CARRY_PS))


ASAP7 = Technology(
    name="asap7",
    library="ASAP7, 7.5 tracks, RVT",
    full_adder=0.255,
    flip_flop=0.2916,
    delays={
        "TT": Delays(59.0, 16.3, 95.0, 34.1, 19.0, fanout=40.0, gate=35.0, compare=150.0, requantize=280.0),
        "SS": Delays(90.0, 32.1, 145.0, 50.9, 29.0, fanout=65.0, gate=55.0, compare=230.0, requantize=430.0),
    },
)
"""Areas: random Po2 matrices of 16x96 to 32x192, lowered to adder graphs, synthesized by Yosys 0.70 with the cells FAx1 and
HAxp5 (without those cells, by abc alone, a bit takes 0.31 to 0.40 um2); the cell DFFHQNx1. Delays: chains of ripple adders of
16 bits between registers, single cells under loads, adders with look-ahead and requantizers, timed by OpenSTA without
wires. `fanout`, `gate` and `compare` are rounded up from single cells, and no layer was fitted to: time the netlist."""
