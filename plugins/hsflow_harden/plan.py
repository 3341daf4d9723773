# SPDX-License-Identifier: Apache-2.0
"""Plans: blocks, schedule and estimated costs of a whole network, with neither adder graphs nor RTL."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from hsflow.area import network_area
from hsflow.design import Design
from hsflow.ir.graph import Graph
from hsflow.ir.network import INPUT_NAME
from hsflow.ir.pipeline import Cut
from hsflow.plan import Plan, PlanRequest, RooflinePoint
from hsflow_harden.build import plan_kernels, stream_layers
from hsflow_harden.clocking import cut_of, kernel_ends
from hsflow_harden.cost import layer_cost
from hsflow_harden.estimate import estimate_figures
from hsflow_harden.kernel import KernelFigures
from hsflow_harden.rates import Blocks, choose_blocks, interval_of, pixel_blocks, schedules
from hsflow_harden.schedule import schedule

Figures = Mapping[str, KernelFigures]


def plan_network(graph: Graph, request: PlanRequest) -> Plan:
    """Return the plan of a graph's hardened layers.

    Raises:
        ConfigurationError: if the network cannot be as fast as requested.
        ModelError: if a layer cannot become a stream.
    """
    cut = cut_of(request.adder_levels_per_stage, request.clock_mhz, request.timing_margin, request.corner)
    blocks = _blocks(graph, request)
    figures = {
        plan.layer.name: estimate_figures(
            plan, cut, kernel_ends(plan.layer, plan.sources, blocks[plan.layer.name].pixels, cut)
        )
        for plan in plan_kernels(graph)
    }
    structure = schedule(graph, stream_layers(graph, blocks, cut, figures), blocks[INPUT_NAME])
    design = Design(
        structure.name,
        graph,
        (),
        tuple(layer_cost(layer) for layer in structure.layers),
        structure.latency,
        structure.initiation_interval,
        input_block=structure.input_block,
        output_block=structure.output_block,
    )
    depths = {layer.layer.name: layer.fifo_depths for layer in structure.layers}
    return Plan(design, request, depths, roofline(graph, figures, cut) if request.roofline else ())


def _blocks(graph: Graph, request: PlanRequest) -> Blocks:
    interval = request.initiation_interval
    if request.target_throughput is not None:
        interval = interval_of(request.target_throughput, request.clock_mhz)
    return pixel_blocks(graph) if interval is None else choose_blocks(graph, interval)


def roofline(graph: Graph, figures: Figures, cut: Cut) -> tuple[RooflinePoint, ...]:
    """Return the areas, without FIFOs, of all intervals that no shorter one undercuts, the shortest interval first."""
    kept: list[RooflinePoint] = []
    points = sorted(
        _points(graph, figures, cut), key=lambda each: (each.initiation_interval, each.area.total)
    )
    for point in points:
        if not kept or point.area.total < kept[-1].area.total:
            kept.append(point)
    return tuple(kept)


def _points(graph: Graph, figures: Figures, cut: Cut) -> Iterator[RooflinePoint]:
    for blocks, interval in schedules(graph):
        costs = [layer_cost(layer) for layer in stream_layers(graph, blocks, cut, figures)]
        adders = sum(cost.adders for cost in costs)
        yield RooflinePoint(blocks[INPUT_NAME], interval, adders, network_area(costs))
