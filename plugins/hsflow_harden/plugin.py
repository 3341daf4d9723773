# SPDX-License-Identifier: Apache-2.0
"""Hook implementations of the hardener."""

from __future__ import annotations

from collections.abc import Iterator

from hsflow import hookimpl
from hsflow.design import DesignFile
from hsflow.ir.addergraph import AdderGraph
from hsflow.ir.graph import Graph
from hsflow.plan import Plan, PlanRequest
from hsflow.report.content import Section
from hsflow.report.result import Result
from hsflow.stage import Stage
from hsflow_harden.emit_graph import emit_adder_graph
from hsflow_harden.emit_kernel import emit_kernel
from hsflow_harden.kernel import Operand, Tile
from hsflow_harden.plan import plan_network
from hsflow_harden.report import report_sections
from hsflow_harden.stage import HardenStage


@hookimpl
def hsflow_stages() -> list[Stage]:
    """Offer the `stream` hardener."""
    return [HardenStage()]


@hookimpl(trylast=True)
def hsflow_emit_kernel(tile: Tile, operands: tuple[Operand, ...], title: str) -> Iterator[DesignFile]:
    """Emit any tile as bit-parallel adders; other plugins are asked first."""
    return emit_kernel(tile, operands, title)


@hookimpl(trylast=True)
def hsflow_emit_adder_graph(graph: AdderGraph, module: str, adder_levels_per_stage: int | None) -> str:
    """Emit any adder graph as bit-parallel adders; other plugins are asked first."""
    return emit_adder_graph(graph, module, adder_levels_per_stage)


@hookimpl(trylast=True)
def hsflow_plan_network(graph: Graph, request: PlanRequest) -> Plan:
    """Plan any graph as a stream; other plugins are asked first."""
    return plan_network(graph, request)


@hookimpl
def hsflow_report_sections(result: Result) -> list[Section]:
    """Tell what a design of the `stream` hardener would cost at other speeds."""
    return report_sections(result)
