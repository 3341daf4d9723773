# SPDX-License-Identifier: Apache-2.0
"""The report of a hardened network: its weights and hardware by layer, and the area of its kernels at other speeds."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hsflow_cmvm.optimizer import lower
from hsflow_harden import plugin
from hsflow_harden.build import build_structure
from hsflow_harden.cost import layer_cost
from hsflow_harden.plan import plan_network
from hsflow_harden.rates import choose_blocks
from hsflow_harden.report import CORNER, LEVELS, MARGIN, built_figures, report_sections
from hsflow_harden.structure import Structure
from hsflow_po2.sketch import sketch_graph
from hsflow_torch.sketch import sketch_network

from hsflow.design import Design
from hsflow.fixedpoint import IntArray, Interval
from hsflow.ir.addergraph import AdderGraph
from hsflow.ir.pipeline import LevelCut
from hsflow.lowering import Effort, LoweringGoal
from hsflow.metrics import Metric
from hsflow.plan import PlanRequest
from hsflow.plugins import load_plugins
from hsflow.report.content import Plot, Section, Table, check
from hsflow.report.page import render_report
from hsflow.report.result import Result

INTERVAL = 16
METRICS = {
    LEVELS: Metric(value=2, unit="levels"),
    MARGIN: Metric(value=0.1),
    CORNER: Metric(value="TT"),
}


@pytest.fixture(scope="module")
def structure() -> Structure:
    def optimize(matrix: IntArray, inputs: tuple[Interval, ...], layer: str) -> AdderGraph:
        return lower(matrix, inputs, LoweringGoal(effort=Effort.LOW), layer)

    graph = sketch_graph(sketch_network("digits", None, None, seed=1))
    return build_structure(graph, optimize, LevelCut(2), blocks=choose_blocks(graph, INTERVAL))


@pytest.fixture(scope="module")
def design(structure: Structure) -> Design:
    costs = tuple(layer_cost(layer) for layer in structure.layers)
    return Design(
        structure.name, structure.graph, (), costs, structure.latency, structure.initiation_interval,
        input_block=structure.input_block, output_block=structure.output_block,
    )  # fmt: skip


def part_of(section: Section, kind: type[Plot] | type[Table]) -> Plot | Table:
    return next(part for part in section.content if isinstance(part, kind))


def test_kernels_are_read_off_the_costs_of_a_build(structure: Structure, design: Design) -> None:
    assert any(cost.copies > 1 for cost in design.layers) and any(cost.fifo_bits for cost in design.layers)
    assert built_figures(design, LevelCut(2)) == {
        layer.layer.name: layer.figures for layer in structure.layers
    }


def test_every_interval_of_the_planner_is_shown_and_the_built_one_lies_on_the_line(design: Design) -> None:
    [section] = report_sections(Result(design, METRICS))
    check(section)
    plan = plan_network(design.graph, PlanRequest(initiation_interval=INTERVAL, roofline=True))
    plot, table = part_of(section, Plot), part_of(section, Table)
    assert isinstance(plot, Plot) and isinstance(table, Table)
    lines = {series.name: [(point.x, point.y) for point in series.points] for series in plot.series}
    assert [x for x, _ in lines["total"]] == [float(point.initiation_interval) for point in plan.roofline]
    assert lines["this build"][0] in lines["total"] and lines["this build"][0][0] == INTERVAL
    assert [row[1].number for row in table.rows] == [x for x, _ in lines["total"]]


@pytest.mark.parametrize("change", [
    {"register_bits": 1_000_002}, {"register_bits": 3}, {"adders": 3}, {"initiation_interval": 7}, {"name": "another"},
    {"line_buffer_bits": 5},
])  # fmt: skip
def test_a_design_of_another_hardener_has_no_such_section(design: Design, change: dict[str, int]) -> None:
    layer = next(number for number, cost in enumerate(design.layers) if cost.copies > 1)
    other = (*design.layers[:layer], replace(design.layers[layer], **change), *design.layers[layer + 1 :])  # type: ignore[arg-type]
    assert report_sections(Result(replace(design, layers=other), METRICS)) == []


def test_registers_at_other_levels_are_other_hardware(design: Design) -> None:
    """In one cycle an image, the sum of the global pool is a tree of two levels."""
    whole = plan_network(design.graph, PlanRequest(initiation_interval=1)).design
    assert len(report_sections(Result(whole, METRICS))) == 1
    assert report_sections(Result(whole, METRICS | {LEVELS: Metric(value=1, unit="levels")})) == []
    assert report_sections(Result(whole)) == []


def test_a_design_without_hardened_layers_has_no_such_section(design: Design) -> None:
    assert report_sections(Result(replace(design, layers=()), METRICS)) == []


def test_the_report_tells_zeros_adders_shares_and_the_roofline(design: Design) -> None:
    text = render_report(Result(design, METRICS), load_plugins({"harden": plugin}, installed=False))
    assert "Missing:" not in text
    for title in ("Layers", "Hardware by layer", "Weights", "Area at other speeds"):
        assert f">{title}</h2>" in text
    for column in ("Zeros", "Adders", "Share", "Share of the area"):
        assert f">{column}" in text
    assert all(f">{cost.adders:,}</td>" in text for cost in design.layers)
