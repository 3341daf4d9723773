# SPDX-License-Identifier: Apache-2.0
"""Technologies: what bits cost in silicon and how long they take; the one home of these numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hsflow.errors import ConfigurationError
from hsflow.fixedpoint import IntArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Delays:
    """Hold how long the parts of a pipeline stage take at one corner, in ps.

    A stage begins with a register (`clk_to_q`) and ends with one (`setup`). In a ripple adder a bit of the sum comes `add`
    after the latest of its two operands' bits and of the carry into it, and each carry `carry` after the same three; in an
    adder that looks its carries ahead, since its chain would be too long, a carry takes `carry_ahead`. What has n readers
    comes `fanout * log2(n)` later, by a stronger cell, and at most `tree`, by a tree of buffers; of an adder's sum, even out
    of a register, it is `sum_fanout`: full adders come in one strength. `gate` is a gate or a multiplexer of two words,
    `compare` the choice of the larger of two bytes, `requantize` a bias, a shift and a saturation.
    """

    clk_to_q: float
    setup: float
    add: float
    carry: float
    carry_ahead: float
    fanout: float
    sum_fanout: float
    tree: float
    gate: float
    compare: float
    requantize: float

    def driving(self, readers: IntArray | float, are_sums: NDArray[np.bool_] | bool = False) -> FloatArray:
        """Return how much later something comes that has so many readers, or none."""
        doubled = np.where(are_sums, self.sum_fanout, self.fanout)
        later: FloatArray = np.minimum(doubled * np.log2(np.maximum(readers, 1.0)), self.tree)
        return later


@dataclass(frozen=True)
class Areas:
    """Hold what takes how much area, in um2: a bit of what `hsflow.design.Resources` counts, under the same names.

    Inverters, buffers, clock gates and ties are in the bits that need them. A line buffer or a FIFO of flip-flops takes
    `buffer_bit` a bit, and `buffer_word` a word; each layer `layer` once.
    """

    full_adders: float
    half_adders: float
    split_adders: float
    tile_registers: float
    rounded: float
    saturated: float
    results: float
    compared: float
    accumulated: float
    former_registers: float
    masked: float
    streamed: float
    stages: float
    buffer_bit: float
    buffer_word: float
    layer: float


@dataclass(frozen=True)
class Accuracy:
    """Hold how far estimates are from synthesis on samples that they were not fitted to: shares, mean and worst of them."""

    mean: float
    worst: float
    samples: int


@dataclass(frozen=True)
class Macro:
    """Hold an SRAM macro: words, bits a word, and the area of its outline in um2."""

    depth: int
    width: int
    um2: float


@dataclass(frozen=True)
class Technology:
    """Hold a cell library: areas with their accuracy, SRAM macros of one port, and delays by corner.

    Registers are put by `delays`, which are bounds; `typical` ones are fitted to the longest paths of netlists, which they
    estimate with `path_accuracy`.
    """

    name: str
    library: str
    areas: Areas
    area_accuracy: Accuracy
    macros: tuple[Macro, ...]
    delays: Mapping[str, Delays]
    typical: Mapping[str, Delays]
    path_accuracy: Mapping[str, Accuracy]

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
    areas=Areas(
        full_adders=0.2257,
        half_adders=0.173,
        split_adders=0.2693,
        tile_registers=0.2786,
        rounded=0.1941,
        saturated=0.4378,
        results=0.3826,
        compared=0.5832,
        accumulated=0.3004,
        former_registers=0.3656,
        masked=0.03315,
        streamed=0.7934,
        stages=0.3435,
        buffer_bit=0.4322,
        buffer_word=1.122,
        layer=2.339,
    ),
    area_accuracy=Accuracy(0.011, 0.043, 32),
    macros=(
        Macro(64, 256, 1556.1),
        Macro(128, 64, 361.15),
        Macro(256, 32, 351.12),
        Macro(256, 256, 2793.0),
        Macro(2048, 39, 3386.98),
    ),
    delays={
        "TT": Delays(
            59.0, 16.3, 92.0, 34.1, 19.0, 20.0, 20.0, 84.0, gate=35.0, compare=330.0, requantize=260.0
        ),
        "SS": Delays(
            90.0, 32.1, 138.0, 51.0, 29.0, 30.0, 30.0, 126.0, gate=53.0, compare=495.0, requantize=390.0
        ),
    },
    typical={
        "TT": Delays(
            59.0, 16.3, 59.2, 34.8, 37.7, 13.0, 30.9, math.inf, gate=36.9, compare=328.0, requantize=205.0
        ),
        "SS": Delays(
            90.0, 32.1, 94.4, 50.8, 55.4, 18.6, 43.1, math.inf, gate=55.8, compare=483.0, requantize=307.0
        ),
    },
    path_accuracy={"TT": Accuracy(0.042, 0.136, 31), "SS": Accuracy(0.043, 0.140, 31)},
)
"""Areas and accuracies: layers synthesized by Yosys 0.70 and timed by OpenSTA, `python -m benchmarks.asap7.calibrate`. Typical
delays: the same command's, with `--fit`. Macros: fakeram7 of OpenROAD-flow-scripts' platform. Delays: chains of ripple adders of
16 bits between registers, single cells under loads, adders with look-ahead and requantizers, timed by OpenSTA without
wires, then raised until layers of MobileNetV2 that were cut by them met their clock."""

_FOR_WIRES = 0.1
_AROUND_CARRIES_PS, _CARRY_PS = 190.0, 34.1


def longest_chain(clock_ps: float) -> int:
    """Return the bits of the longest ripple adder that synthesis builds for a clock of this period.

    Longer ones look their carries ahead: they are faster and larger. Of the period a share is left for wires, and a rest
    for the registers around the adder, for the sum's last bit, and for some readers.
    """
    return max(1, int((clock_ps * (1 - _FOR_WIRES) - _AROUND_CARRIES_PS) / _CARRY_PS))
