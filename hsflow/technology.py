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
    after the latest of its two operands' bits and of the carry into it, and each carry `carry` after the same three. What
    has n readers comes `fanout * log2(n)` later, by the buffers that drive them.
    """

    clk_to_q: float
    setup: float
    add: float
    carry: float
    fanout: float


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


ASAP7 = Technology(
    name="asap7",
    library="ASAP7, 7.5 tracks, RVT",
    full_adder=0.255,
    flip_flop=0.2916,
    delays={
        "TT": Delays(clk_to_q=59.0, setup=16.3, add=75.0, carry=34.1, fanout=14.0),
        "SS": Delays(clk_to_q=90.0, setup=32.1, add=110.0, carry=50.9, fanout=28.0),
    },
)
"""Areas: random Po2 matrices of 16x96 to 32x192, lowered to adder graphs, synthesized by Yosys 0.70 with the cells FAx1 and
HAxp5 (without those cells, by abc alone, a bit takes 0.31 to 0.40 um2); the cell DFFHQNx1. Delays: chains of one to eight
ripple adders of 16 bits of the cells FAx1 and INVx1 between DFFHQNx1, timed by OpenSTA without wires."""
