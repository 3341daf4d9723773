# SPDX-License-Identifier: Apache-2.0
"""Plans of the hardened layers: what is exact is what a build gets, and what is estimated is close to it."""

from __future__ import annotations

import pytest
from hsflow_cmvm.optimizer import lower
from hsflow_harden.build import build_structure
from hsflow_harden.clocking import cut_of, levels_to_expect
from hsflow_harden.cost import layer_cost
from hsflow_harden.plan import plan_network
from hsflow_harden.rates import choose_blocks
from hsflow_po2.sketch import sketch_graph
from hsflow_torch.sketch import sketch_network

from hsflow.area import network_area
from hsflow.design import LayerCost
from hsflow.errors import ConfigurationError
from hsflow.fixedpoint import IntArray, Interval
from hsflow.ir.addergraph import AdderGraph
from hsflow.ir.graph import Graph
from hsflow.lowering import Effort, LoweringGoal
from hsflow.plan import Plan, PlanRequest

INTERVAL = 16
EXACT = ("name", "module", "kind", "block", "copies", "weights", "zero_weights", "adders_before_sharing", "line_buffer_bits", "initiation_interval")  # fmt: skip


@pytest.fixture(scope="module")
def graph() -> Graph:
    return sketch_graph(sketch_network("digits", None, None, seed=1))


@pytest.fixture(scope="module", params=["by clock", "by levels"])
def request_(request: pytest.FixtureRequest) -> PlanRequest:
    levels = 2 if request.param == "by levels" else 0
    return PlanRequest(initiation_interval=INTERVAL, roofline=True, adder_levels_per_stage=levels)


@pytest.fixture(scope="module")
def plan(graph: Graph, request_: PlanRequest) -> Plan:
    return plan_network(graph, request_)


@pytest.fixture(scope="module")
def built(graph: Graph, request_: PlanRequest) -> list[LayerCost]:
    cut = cut_of(request_.adder_levels_per_stage, 1000.0, 0.1, "TT")
    goal = LoweringGoal(effort=Effort.LOW, adder_levels_per_stage=levels_to_expect(cut))

    def optimize(matrix: IntArray, inputs: tuple[Interval, ...], layer: str) -> AdderGraph:
        return lower(matrix, inputs, goal, layer)

    structure = build_structure(graph, optimize, cut, blocks=choose_blocks(graph, INTERVAL))
    return [layer_cost(layer) for layer in structure.layers]


@pytest.mark.parametrize("figure", EXACT)
def test_what_is_exact_is_what_a_build_gets(plan: Plan, built: list[LayerCost], figure: str) -> None:
    assert [getattr(cost, figure) for cost in plan.design.layers] == [getattr(cost, figure) for cost in built]


@pytest.mark.parametrize(("figure", "error"), [("adders", 0.06), ("full_adder_bits", 0.08)])
def test_totals_are_close_to_a_builds(plan: Plan, built: list[LayerCost], figure: str, error: float) -> None:
    planned, made = (sum(getattr(cost, figure) for cost in costs) for costs in (plan.design.layers, built))
    assert planned == pytest.approx(made, rel=error)


def test_the_area_is_close_to_a_builds(plan: Plan, built: list[LayerCost]) -> None:
    planned, made = network_area(plan.design.layers), network_area(built)
    by_levels = plan.request.adder_levels_per_stage > 0
    assert planned.total == pytest.approx(made.total, rel=0.06 if by_levels else 0.10)
    for part in ("adders", "other"):
        assert getattr(planned, part) == pytest.approx(getattr(made, part), rel=0.12)
    assert planned.registers == pytest.approx(made.registers, rel=0.12 if by_levels else 0.20)
    assert planned.logic != pytest.approx(2 * made.logic, rel=0.12)


def test_latencies_are_nearly_a_builds(plan: Plan, built: list[LayerCost]) -> None:
    off = 1 if plan.request.adder_levels_per_stage else 2
    pairs = zip(plan.design.layers, built, strict=True)
    assert all(abs(cost.kernel_latency - other.kernel_latency) <= off for cost, other in pairs)


def test_the_roofline_falls_from_one_cycle_to_one_for_each_pixel(plan: Plan) -> None:
    intervals = [point.initiation_interval for point in plan.roofline]
    areas = [point.area.total for point in plan.roofline]
    assert intervals == sorted(set(intervals))
    assert areas == sorted(set(areas), reverse=True)
    chosen = next(
        point for point in plan.roofline if point.initiation_interval == plan.design.initiation_interval
    )
    assert chosen.adders == sum(cost.adders for cost in plan.design.layers)
    assert (intervals[0], intervals[-1]) == (1, 64)


def test_an_interval_below_the_reachable_ones_is_refused(graph: Graph) -> None:
    with pytest.raises(ConfigurationError, match="no cycle for each image"):
        plan_network(graph, PlanRequest(clock_mhz=1, target_throughput=2e6))
