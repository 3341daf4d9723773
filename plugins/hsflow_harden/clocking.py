# SPDX-License-Identifier: Apache-2.0
"""Where registers go: every so many adder levels, or by the clock, with the time that a layer leaves to its adders."""

from __future__ import annotations

import math
from collections.abc import Sequence

from hsflow.ir.graph import Add, AveragePool, Conv, FeatureMap, MaxPool
from hsflow.ir.pipeline import ClockCut, Cut, LevelCut
from hsflow.ir.placement import Ends
from hsflow.ir.tensor import Padding, Window
from hsflow.technology import ASAP7, Delays

USUAL_BITS = 16
"""The bits of a usual sum, by which an adder graph is told how many levels a stage will have."""


def cut_of(levels: int | None, clock_mhz: float, margin: float, corner: str) -> Cut:
    """Return a cut every `levels` adder levels, or by the clock if that is 0 or None.

    Raises:
        ConfigurationError: if there is no such corner.
    """
    return LevelCut(levels, clock_mhz) if levels else ClockCut(clock_mhz, margin, ASAP7.delays_at(corner))


def levels_to_expect(cut: Cut) -> int:
    """Return the adder levels of a usual stage."""
    if isinstance(cut, LevelCut):
        return cut.levels
    delays = cut.delays
    spare = cut.period - delays.clk_to_q - delays.setup - (USUAL_BITS - 1) * delays.carry
    return max(1, math.floor(spare / delays.add))


def kernel_ends(
    layer: Conv | Add | AveragePool, sources: Sequence[FeatureMap], copies: int, cut: Cut
) -> Ends:
    """Return when the operands of a layer's adders come, and how long its requantizers take.

    `copies` are the kernels side by side, which read pixels of one window together.
    """
    return Ends() if isinstance(cut, LevelCut) else timed_ends(layer, sources, copies, cut.delays)


def timed_ends(
    layer: Conv | Add | AveragePool, sources: Sequence[FeatureMap], copies: int, delays: Delays
) -> Ends:
    """Return the same for these delays, whatever cut the adders."""
    return Ends(_entry(layer, sources[0], copies, delays), delays.requantize + delays.setup)


def comparison_levels(layer: MaxPool, source: FeatureMap, cut: Cut) -> int:
    """Return the levels of comparisons between two registers.

    Raises:
        ConfigurationError: if the clock leaves no time for one.
    """
    if isinstance(cut, LevelCut):
        return cut.levels
    start = window_entry(layer.window, source, cut.delays)
    return cut.steps(start, cut.delays.compare, "a comparison", layer.name)


def _entry(layer: Conv | Add | AveragePool, source: FeatureMap, copies: int, delays: Delays) -> float:
    """Return when a kernel's operands come, not counted what it takes to drive the adders."""
    if isinstance(layer, Add):
        # Out of a FIFO, which is as deep as an image at most: a multiplexer for each bit of its address.
        return delays.clk_to_q + delays.gate * math.ceil(math.log2(source.shape.pixels + 1))
    if layer.window.is_pointwise:
        return delays.clk_to_q
    shared = min(copies, layer.window.taps)
    return window_entry(layer.window, source, delays) + float(delays.driving(shared))


def window_entry(window: Window, source: FeatureMap, delays: Delays) -> float:
    """Return when the pixels of a window come: where it is padded, masked by a register that all their bits share."""
    if window.padding == Padding():
        return delays.clk_to_q
    return delays.clk_to_q + float(delays.driving(source.pixel_width)) + 2 * delays.gate
