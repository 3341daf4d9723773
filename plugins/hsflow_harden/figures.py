# SPDX-License-Identifier: Apache-2.0
"""The figures of a built kernel: counts, and what its cells are needed for."""

from __future__ import annotations

from collections.abc import Iterable

from hsflow.design import Resources
from hsflow.fixedpoint import Interval
from hsflow.ir.addergraph import AdderGraph
from hsflow.ir.pipeline import Cut
from hsflow_harden.kernel import Kernel, KernelFigures, requantizer_output


def kernel_figures(kernel: Kernel, cut: Cut) -> KernelFigures:
    """Return what one copy of a kernel costs."""
    graphs = [tile.pipeline.graph for tile in kernel.tiles]
    registers = sum(tile.pipeline.register_bits for tile in kernel.tiles)
    return KernelFigures(
        kernel.latency,
        max((graph.depth for graph in graphs), default=0),
        kernel.adders_before_sharing,
        sum(len(graph.adders) for graph in graphs),
        sum(graph.full_adder_bits for graph in graphs),
        registers,
        _tile_resources(graphs, registers, cut.longest_chain) + _requantizing(kernel),
    )


def _tile_resources(graphs: Iterable[AdderGraph], registers: int, longest_chain: int) -> Resources:
    found = Resources(tile_registers=registers)
    for graph in graphs:
        full, bits = int(graph.full_adders.sum()), graph.adder_bits
        long = bits[bits > longest_chain]
        found += Resources(
            full_adders=full,
            half_adders=int(bits.sum()) - full,
            split_adders=int((long - long // 2).sum()),
        )
    return found


def _requantizing(kernel: Kernel) -> Resources:
    found = Resources()
    for each in kernel.requantizers:
        output = requantizer_output(kernel, each)
        if each.source is not None and output.value is not None:
            sum_ = kernel.tiles[each.source[0]].pipeline.graph.output_interval(output)
            found += requantizer_resources(sum_, output.shift, each.bias, each.shift, kernel.output.width)
    return found


def requantizer_resources(sum_: Interval, zeros: int, bias: int, shift: int, width: int) -> Resources:
    """Return what rounds and saturates one sum, whose lowest bits are `zeros` zeros, to `width` bits: see `Resources`."""
    lowest = (bias & -bias).bit_length() - 1 if bias else shift
    reached = sum_.signed_width + 1 if bias else sum_.width
    above = max(0, reached - max(shift, 0))
    return Resources(
        rounded=max(0, min(sum_.signed_width, shift) - max(lowest, zeros)),
        saturated=max(0, above - width),
        results=min(above, width),
    )
