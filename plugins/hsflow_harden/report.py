# SPDX-License-Identifier: Apache-2.0
"""The report's section on other speeds: what the kernels that a build made would cost in other numbers of copies."""

from __future__ import annotations

from dataclasses import astuple, replace

from hsflow.design import Design, LayerCost, Resources
from hsflow.errors import ModelError
from hsflow.ir.pipeline import Cut
from hsflow.report.content import Section
from hsflow.report.result import Result
from hsflow.report.roofline import roofline_section
from hsflow_harden.build import stream_layers
from hsflow_harden.clocking import cut_of
from hsflow_harden.cost import layer_cost
from hsflow_harden.kernel import KernelFigures
from hsflow_harden.plan import Figures, roofline
from hsflow_harden.rates import spread

LEVELS, MARGIN, CORNER = (f"harden.{name}" for name in ("adder_levels_per_stage", "timing_margin", "corner"))
"""The figures by which the stage tells how far apart registers are."""


def report_sections(result: Result) -> list[Section]:
    """Return the roofline of a design that is a stream of this hardener's; nothing for another design."""
    cut = _cut(result)
    figures = built_figures(result.design, cut) if cut else {}
    return [roofline_section(roofline(result.design.graph, figures, cut), result)] if cut and figures else []


def _cut(result: Result) -> Cut | None:
    """Return where the stage put registers; None if it was another stage."""
    levels, margin, corner = result.figure(LEVELS), result.figure(MARGIN), result.metrics.get(CORNER)
    if levels is None or margin is None or corner is None:
        return None
    return cut_of(int(levels), result.clock_mhz, margin, str(corner.value))


def built_figures(design: Design, cut: Cut) -> Figures:
    """Return what one copy of each kernel of a built design costs, read off its layers' costs.

    A kernel makes one pixel whatever the number of its copies. What it costs is what is left of the layer's adders and
    registers after those of its former and of its stream. Empty if the design is not a stream of such kernels, cut so: its
    costs are others then.
    """
    try:
        bare = _costs(
            design,
            cut,
            {cost.name: KernelFigures(cost.kernel_latency, 0, 0, 0, 0, 0) for cost in design.layers},
        )
    except ModelError:
        return {}
    if [cost.name for cost in bare] != [cost.name for cost in design.layers]:
        return {}
    figures = {cost.name: _figures(cost, other) for cost, other in zip(design.layers, bare, strict=True)}
    possible = all(_is_possible(each) for each in figures.values())
    without_fifos = [replace(cost, fifo_bits=0, paths=()) for cost in design.layers]
    return figures if possible and _costs(design, cut, figures) == without_fifos else {}


def _figures(cost: LayerCost, bare: LayerCost) -> KernelFigures:
    """Return a kernel's figures, given what its layer costs with it and with a kernel of nothing."""
    pairs = zip(astuple(cost.resources), astuple(bare.resources), strict=True)
    left = (with_kernel - without for with_kernel, without in pairs)
    return KernelFigures(
        cost.kernel_latency,
        cost.adder_depth - bare.adder_depth,
        (cost.adders_before_sharing - bare.adders_before_sharing) // cost.copies,
        (cost.adders - bare.adders) // cost.copies,
        (cost.full_adder_bits - bare.full_adder_bits) // cost.copies,
        (cost.register_bits - bare.register_bits) // cost.copies,
        Resources(*(count // cost.copies for count in left)),
    )


def _is_possible(figures: KernelFigures) -> bool:
    """Tell whether no count is negative."""
    counts = (figures.depth, figures.adders_before_sharing, figures.adders)
    bits = (figures.full_adder_bits, figures.register_bits)
    return all(count >= 0 for count in (*counts, *bits, *astuple(figures.resources)))


def _costs(design: Design, cut: Cut, figures: Figures) -> list[LayerCost]:
    """Return what the design's layers would cost with such kernels, without FIFOs and paths."""
    blocks = spread(design.graph, design.input_block)
    costs = map(layer_cost, stream_layers(design.graph, blocks, cut, figures))
    return [replace(cost, paths=()) for cost in costs]
