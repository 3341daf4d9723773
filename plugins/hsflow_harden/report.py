# SPDX-License-Identifier: Apache-2.0
"""The report's section on other speeds: what the kernels that a build made would cost in other numbers of copies."""

from __future__ import annotations

from dataclasses import replace

from hsflow.design import Design, LayerCost
from hsflow.errors import ModelError
from hsflow.report.content import Section
from hsflow.report.result import Result
from hsflow.report.roofline import roofline_section
from hsflow_harden.build import stream_layers
from hsflow_harden.cost import layer_cost
from hsflow_harden.kernel import KernelFigures
from hsflow_harden.plan import Figures, roofline
from hsflow_harden.rates import spread


def report_sections(result: Result) -> list[Section]:
    """Return the roofline of a design that is a stream of this hardener's; nothing for another design."""
    figures = built_figures(result.design)
    return [roofline_section(roofline(result.design.graph, figures), result)] if figures else []


def built_figures(design: Design) -> Figures:
    """Return what one copy of each kernel of a built design costs, read off its layers' costs.

    A kernel makes one pixel whatever the number of its copies. Its registers are what is left of the layer's after those
    of its former and of its stream. Empty if the design is not a stream of such kernels: its costs are others then.
    """
    try:
        bare = _costs(design, {cost.name: _figures(cost, 0) for cost in design.layers})
    except ModelError:
        return {}
    if [cost.name for cost in bare] != [cost.name for cost in design.layers]:
        return {}
    figures = {
        cost.name: _figures(cost, (cost.register_bits - other.register_bits) // cost.copies)
        for cost, other in zip(design.layers, bare, strict=True)
    }
    return (
        figures if _costs(design, figures) == [replace(cost, fifo_bits=0) for cost in design.layers] else {}
    )


def _figures(cost: LayerCost, register_bits: int) -> KernelFigures:
    return KernelFigures(
        cost.kernel_latency,
        cost.adder_depth,
        cost.adders_before_sharing // cost.copies,
        cost.adders // cost.copies,
        cost.full_adder_bits // cost.copies,
        register_bits,
    )


def _costs(design: Design, figures: Figures) -> list[LayerCost]:
    """Return what the design's layers would cost with such kernels, without FIFOs."""
    blocks = spread(design.graph, design.input_block)
    return [layer_cost(layer) for layer in stream_layers(design.graph, blocks, figures, {})]
