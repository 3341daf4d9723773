# SPDX-License-Identifier: Apache-2.0
"""`plan`: what a network costs as hardware, and how fast it is, before any RTL is made."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hsflow.commands.session import session_of

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from hsflow.area import Area
    from hsflow.design import LayerCost, NpuPlan
    from hsflow.plan import Plan

SUMMED = (
    "weights",
    "zero_weights",
    "adders_before_sharing",
    "adders",
    "full_adder_bits",
    "register_bits",
    "line_buffer_bits",
    "fifo_bits",
)
ESTIMATED = (
    "adders",
    "full_adder_bits",
    "adder_depth",
    "kernel_latency",
    "register_bits",
    "fifo_bits",
    "latency",
    "area",
)
"""What is estimated or follows from an estimate; all else is exact."""


def plan(
    context: typer.Context,
    model: Annotated[
        str,
        typer.Option(
            help="An architecture (mobilenet_v2, digits, torchvision's names), a model's file, "
            "or a flow.toml or its folder."
        ),
    ],
    clock_mhz: Annotated[
        float | None, typer.Option(min=1e-3, help="The clock; by default the flow's, or 1000.")
    ] = None,
    target_throughput: Annotated[
        float | None, typer.Option(min=1e-3, help="Images a second that the network must take.")
    ] = None,
    initiation_interval: Annotated[
        int | None, typer.Option(min=1, help="The same, as cycles that an image may take; else one a pixel.")
    ] = None,
    width: Annotated[
        float | None, typer.Option(min=0.05, max=4.0, help="Factor of the architecture's channels.")
    ] = None,
    resolution: Annotated[
        int | None, typer.Option(min=1, max=4096, help="Height and width of the image.")
    ] = None,
    sparsity: Annotated[
        float | None,
        typer.Option(
            min=0.0, max=0.99, help="The least share of zero weights in each convolution; the flow's, or 0."
        ),
    ] = None,
    levels_per_stage: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=64,
            help="Adder levels between two registers, by default the flow's; 0 is as the clock allows.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="The seed of random weights.")] = 1,
    plot: Annotated[
        Path | None, typer.Option(help="Draw adders by layer, and area against interval, into this .png.")
    ] = None,
) -> None:
    """Plan a network: copies, duty, latency and cost of each layer, totals, area and speed, without making RTL."""
    from hsflow.planning import PlannedModel, default_request, plan_model
    from hsflow.plugins import load_plugins

    rates: dict[str, Any] = {
        "target_throughput": target_throughput,
        "initiation_interval": initiation_interval,
    }
    if None not in rates.values():
        raise typer.BadParameter("--target-throughput and --initiation-interval set the same rate")
    if plot is not None:
        from hsflow.plots import check_plot

        check_plot(plot)
    session, plugins = session_of(context), load_plugins()
    given = {"clock_mhz": clock_mhz, "adder_levels_per_stage": levels_per_stage}
    changes: dict[str, Any] = {key: value for key, value in given.items() if value is not None}
    request = replace(default_request(model, plugins), **changes, roofline=plot is not None)
    if set(rates.values()) != {None}:
        request = replace(request, **rates)
    chosen = PlannedModel(model, width, resolution, sparsity, seed)
    planned, random_weights = plan_model(chosen, request, plugins, session.reporter)
    if plot is not None:
        from hsflow.plots import draw_plan

        draw_plan(planned, plot)
    session.show(summarize(planned, random_weights), lambda: _tables(planned, random_weights))


def summarize(plan: Plan, random_weights: bool) -> dict[str, Any]:
    """Return a plan as one JSON object."""
    from hsflow.plan import NOT_IN_THE_AREA
    from hsflow.technology import ASAP7

    design = plan.design
    return {
        "model": design.name,
        "random_weights": random_weights,
        "request": asdict(plan.request),
        "estimated": ESTIMATED,
        "input_block": str(design.input_block),
        "initiation_interval": design.initiation_interval,
        "latency": design.latency,
        "images_per_second": plan.images_per_second,
        "utilization": plan.utilization,
        "totals": {name: _total(plan, name) for name in SUMMED},
        "area": {
            **_area(plan.area),
            "technology": ASAP7.name,
            "um2": asdict(ASAP7.areas),
            "left_out": NOT_IN_THE_AREA,
        },
        "npu": None if design.npu is None else asdict(design.npu),
        "layers": [_layer(plan, cost) for cost in design.layers],
        "roofline": [
            {
                "input_block": str(point.input_block),
                "initiation_interval": point.initiation_interval,
                "adders": point.adders,
                "area": _area(point.area),
            }
            for point in plan.roofline
        ],
    }


def _layer(plan: Plan, cost: LayerCost) -> dict[str, Any]:
    from hsflow.area import layer_area

    return {
        **asdict(cost),
        "block": str(cost.block),
        "duty": plan.duty(cost),
        "fifo_depths": list(plan.fifo_depths[cost.name]),
        "area": _area(layer_area(cost)),
    }


def _area(area: Area) -> dict[str, float]:
    """Return the parts of an area in mm2."""
    from hsflow.area import square_millimetres

    parts = {**asdict(area), "total": area.total}
    return {f"{name}_mm2": square_millimetres(value) for name, value in parts.items()}


def _total(plan: Plan, name: str) -> int:
    return sum(int(getattr(cost, name)) for cost in plan.design.layers)


def _tables(plan: Plan, random_weights: bool) -> Group:
    from rich.console import Group

    tables = (_schedule_table(plan), "", _cost_table(plan), "", _total_table(plan))
    return Group(*tables, "", *_notes(random_weights))


def _schedule_table(plan: Plan) -> Table:
    table = _table(("layer", "kind"), ("block", "copies", "duty %", "latency", "FIFO"))
    for cost in plan.design.layers:
        waiting = "+".join(str(depth) for depth in plan.fifo_depths[cost.name] if depth)
        duty, latency = f"{100 * plan.duty(cost):.1f}", str(cost.kernel_latency)
        table.add_row(cost.name, cost.kind, str(cost.block), f"{cost.copies:,}", duty, latency, waiting)
    return table


def _cost_table(plan: Plan) -> Table:
    from hsflow.area import layer_area

    table = _table(("layer",), ("adders*", "FA bits*", "register bits*", "line bits", "area %"))
    whole = plan.area.total or 1.0
    for cost in plan.design.layers:
        counts = (cost.adders, cost.full_adder_bits, cost.register_bits, cost.line_buffer_bits)
        share = f"{100 * layer_area(cost).total / whole:.1f}"
        table.add_row(cost.name, *(f"{count:,}" for count in counts), share)
    return table


def _table(words: Iterable[str], figures: Iterable[str]) -> Table:
    """Return a table whose words wrap on a narrow terminal, so that figures need not be cut."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in words:
        table.add_column(heading, header_style="dim", overflow="fold")
    for heading in figures:
        table.add_column(heading, header_style="dim", justify="right", no_wrap=True)
    return table


def _total_table(plan: Plan) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, show_header=False)
    for name, value in _facts(plan):
        table.add_row(name, value)
    return table


def _facts(plan: Plan) -> list[tuple[str, str]]:
    design, area = plan.design, _area(plan.area)
    parts = ("adders", "registers", "memory", "other")
    shares = ", ".join(f"{name} {area[f'{name}_mm2']:.2f}" for name in parts)
    zeros = 100 * _total(plan, "zero_weights") / max(1, _total(plan, "weights"))
    facts = [
        ("image", f"{design.graph.input.shape}, in blocks of {design.input_block} pixels"),
        ("initiation interval", f"{design.initiation_interval:,} cycles"),
        ("images/s", f"{plan.images_per_second:,.0f} at {plan.request.clock_mhz:g} MHz"),
        ("latency*", f"{design.latency:,} cycles"),
        ("weights", f"{_total(plan, 'weights'):,}, {zeros:.1f} % zero"),
        (
            "adders*",
            f"{_total(plan, 'adders'):,} ({_total(plan, 'adders_before_sharing'):,} without sharing)",
        ),
        ("adders at work", f"{100 * plan.utilization:.1f} % of the cycles, on the mean over all adders"),
        ("full-adder bits*", f"{_total(plan, 'full_adder_bits'):,}"),
        ("register bits*", f"{_total(plan, 'register_bits'):,}"),
        ("line-buffer bits", f"{_total(plan, 'line_buffer_bits'):,}"),
        ("FIFO bits*", f"{_total(plan, 'fifo_bits'):,}"),
        ("area*", f"{area['total_mm2']:.2f} mm2 of ASAP7 cells"),
        ("of that", shares),
    ]
    return facts if design.npu is None else [*facts, *_npu(design.npu)]


def _npu(npu: NpuPlan) -> list[tuple[str, str]]:
    lanes = {name: value for name, value in asdict(npu).items() if name.endswith("_lanes")}
    text = ", ".join(f"{value:,} {name.removesuffix('_lanes')} lanes" for name, value in lanes.items())
    return [("NPU", text), ("NPU memory bits", f"{npu.memory_bits:,}")]


def _notes(random_weights: bool) -> list[str]:
    from hsflow.plan import NOT_IN_THE_AREA
    from hsflow.technology import ASAP7

    notes = [
        f"* estimated: no adder graph was made. Area: of the cells that synthesis takes, {ASAP7.library}; "
        f"line buffers and FIFOs (memory) of flip-flops; without {NOT_IN_THE_AREA}."
    ]
    return [*notes, "The weights are random."] if random_weights else notes
