# SPDX-License-Identifier: Apache-2.0
"""The longest path of a layer between two registers, by given delays and without wires: what its clock depends on."""

from __future__ import annotations

import numpy as np

from hsflow.ir.delays import AdderTimes
from hsflow.ir.graph import MaxPool
from hsflow.ir.placement import Ends, Placement
from hsflow.technology import Delays
from hsflow_harden.accumulator import Accumulator
from hsflow_harden.clocking import timed_ends, window_entry
from hsflow_harden.kernel import Kernel
from hsflow_harden.structure import StreamLayer

BYTE = 8
"""The bits of the numbers that `Delays.compare` is for."""

_FIRST_GATES = 4
"""From a global pool's count of words to the masks of its sums where an image begins: a comparison, a tree of buffers."""


def longest_path(layer: StreamLayer, delays: Delays) -> float | None:
    """Return the time of the longest path in ps; None where the layer's adder graph is not known."""
    comparator = layer.comparator
    if comparator is not None:
        levels = min(comparator.levels, (comparator.taps - 1).bit_length())
        comparing = levels * delays.compare * comparator.width / BYTE
        return window_entry(layer.window, layer.sources[0], delays) + comparing + delays.setup
    if layer.kernel is None or isinstance(layer.layer, MaxPool):
        return None
    ends = timed_ends(layer.layer, layer.sources, layer.block.pixels, delays)
    within = _in_kernel(layer.kernel, ends, delays, layer.cut.longest_chain)
    return (
        within if layer.accumulator is None else max(within, _accumulating(layer, layer.accumulator, delays))
    )


def _in_kernel(kernel: Kernel, ends: Ends, delays: Delays, longest_chain: int) -> float:
    paths = [
        Placement(AdderTimes(tile.pipeline.graph, delays, longest_chain), np.inf, ends).longest(
            np.array(tile.pipeline.placed), tile.pipeline.stages
        )
        for tile in kernel.tiles
    ]
    return max(paths, default=ends.entry + (ends.exit or 0.0))


def _accumulating(layer: StreamLayer, pool: Accumulator, delays: Delays) -> float:
    """Return how long a global pool takes to add to its sums, a word of which is masked where an image begins."""
    is_long = pool.sum_width > layer.cut.longest_chain
    carries = (pool.sum_width - 1) * (delays.carry_ahead if is_long else delays.carry)
    adding = min(pool.levels, pool.depth) * delays.add
    return delays.clk_to_q + _FIRST_GATES * delays.gate + adding + carries + delays.setup
