# SPDX-License-Identifier: Apache-2.0
"""The hardening stage: from an integer graph to the RTL of all its hardened layers."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from hsflow.design import Design, DesignFile, FileRole, LayerCost
from hsflow.errors import PluginError
from hsflow.executor import Executor, ProcessExecutor, SerialExecutor
from hsflow.ir.graph import Graph
from hsflow.ir.pipeline import Cut
from hsflow.ir.verify import verify
from hsflow.lowering import Effort, LoweringGoal, Objective
from hsflow.stage import ResourceMark, StageContext, StageKind, StageOptions
from hsflow_harden.build import build_structure
from hsflow_harden.clocking import cut_of, levels_to_expect
from hsflow_harden.cost import layer_cost
from hsflow_harden.emit_kernel import emit_kernel
from hsflow_harden.emit_layer import EmitKernel, emit_layer
from hsflow_harden.emit_network import emit_network
from hsflow_harden.kernel import Operand, Tile
from hsflow_harden.lower import HookLowering, LowerMatrix
from hsflow_harden.rates import Blocks, choose_blocks, interval_of, pixel_blocks
from hsflow_harden.structure import Structure


class HardenOptions(StageOptions):
    """Hold the options of the `stream` hardener."""

    adder_levels_per_stage: int = Field(
        0,
        ge=0,
        le=64,
        description="adder levels between two pipeline registers; 0 is as many as the flow's clock "
        "allows by a model of the adders' delays, which layers met at synthesis",
    )
    timing_margin: float = Field(
        0.1, ge=0, lt=1, description="share of the clock's period that is left for wires and the clock's skew"
    )
    corner: Literal["TT", "SS"] = Field(
        "TT", description="process corner at which the clock must be reached: TT (typical), SS (slow)"
    )
    objective: Objective = Field(
        Objective.AREA,
        description="what adder graphs must have little of: area, registers, latency, digit-serial",
    )
    effort: Effort = Field(
        Effort.NORMAL, description="how long to search for fewer adders: low, normal, high"
    )
    max_depth: int | None = Field(None, ge=0, description="adder levels that any path of a layer may have")
    depth_slack: int | None = Field(
        None, ge=0, description="the same, as levels above the fewest that the layer needs"
    )
    initiation_interval: int | None = Field(
        None, ge=1, description="cycles that an image may take; by default one a pixel"
    )
    target_throughput: float | None = Field(
        None, gt=0, allow_inf_nan=False, description="the same, as images a second at the flow's clock"
    )
    workers: Annotated[int, ResourceMark()] = Field(
        0, ge=0, description="processes that optimize layers; 0 is one for each usable processor"
    )

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> Self:
        if self.max_depth is not None and self.depth_slack is not None:
            raise PydanticCustomError(
                "contradiction", "max_depth and depth_slack bound the same depth: leave one of them out"
            )
        if self.initiation_interval is not None and self.target_throughput is not None:
            raise PydanticCustomError(
                "contradiction",
                "initiation_interval and target_throughput set the same rate: leave one of them out",
            )
        return self

    def cut(self, clock_mhz: float) -> Cut:
        """Return where pipeline registers go."""
        return cut_of(self.adder_levels_per_stage, clock_mhz, self.timing_margin, self.corner)

    def goal(self, cut: Cut) -> LoweringGoal:
        """Return what the options ask of an adder graph that is cut so."""
        levels = levels_to_expect(cut)
        return LoweringGoal(self.objective, self.effort, self.max_depth, self.depth_slack, levels)


class HardenStage:
    """Turn every layer but the classifier into adders and wires that take one or more pixels a cycle."""

    kind = StageKind.HARDEN
    name = "stream"
    version = "1"
    builds_on = (
        "hsflow.lowering",
        "hsflow.technology",
        "hsflow.templates",
        "jinja2",
    )
    asks = ("hsflow_lower_layer", "hsflow_emit_kernel")
    options_model = HardenOptions

    def run(self, value: Graph, options: HardenOptions, context: StageContext) -> Design:
        """Return the hardened design of a graph, with the metrics of its hardware."""
        cut = options.cut(context.settings.clock_mhz)
        lower, executor = _lowering(options, options.goal(cut), context)
        structure = build_structure(
            verify(value),
            lower,
            cut,
            blocks=_blocks(value, options, context),
            executor=executor,
            track=context.track,
        )
        design = emit_design(structure, partial(_emit, context.hooks))
        _record_cut(options, context)
        _record(design, context)
        return design


def _blocks(graph: Graph, options: HardenOptions, context: StageContext) -> Blocks:
    interval = options.initiation_interval
    if options.target_throughput is not None:
        interval = interval_of(options.target_throughput, context.settings.clock_mhz)
    return pixel_blocks(graph) if interval is None else choose_blocks(graph, interval)


def _lowering(
    options: HardenOptions, goal: LoweringGoal, context: StageContext
) -> tuple[LowerMatrix, Executor]:
    """Return how to lower a matrix, and where: in other processes only what can be loaded there."""
    hook = context.portable_hook("hsflow_lower_layer")
    if hook is None:
        return HookLowering(context.hooks.hsflow_lower_layer, goal), SerialExecutor()
    return HookLowering(hook, goal), ProcessExecutor(options.workers)


def _emit(hooks: Any, tile: Tile, operands: tuple[Operand, ...], title: str) -> Iterator[DesignFile]:
    files = hooks.hsflow_emit_kernel(tile=tile, operands=operands, title=title)
    for file in (files,) if files is None or isinstance(files, str) else files:
        if not isinstance(file, DesignFile):
            raise PluginError(
                "no plugin emitted a kernel",
                where=tile.module,
                got=file,
                expected="an iterable of DesignFile",
            )
        yield file


def emit_design(structure: Structure, emit: EmitKernel = emit_kernel) -> Design:
    """Return the design with all RTL of the hardened network, its tiles as `emit` writes them."""
    costs = tuple(layer_cost(layer) for layer in structure.layers)
    files = tuple(_files(structure, costs, emit))
    return Design(
        structure.name,
        structure.graph,
        files,
        costs,
        structure.latency,
        structure.initiation_interval,
        input_block=structure.input_block,
        output_block=structure.output_block,
    )


def _files(structure: Structure, costs: tuple[LayerCost, ...], emit: EmitKernel) -> Iterator[DesignFile]:
    for layer, cost in zip(structure.layers, costs, strict=True):
        yield from emit_layer(layer, cost, emit)
    yield emit_network(structure)


def _record_cut(options: HardenOptions, context: StageContext) -> None:
    """Tell how far apart registers are: 0 adder levels stands for what the clock allows."""
    context.record("adder_levels_per_stage", options.adder_levels_per_stage, unit="levels")
    context.record("timing_margin", options.timing_margin)
    context.record("corner", options.corner)


def _record(design: Design, context: StageContext) -> None:
    def total(field: str) -> int:
        return sum(int(getattr(cost, field)) for cost in design.layers)

    context.record("adders_before_sharing", total("adders_before_sharing"), unit="adders")
    context.record("adders", total("adders"), unit="adders", better="lower")
    context.record("full_adder_bits", total("full_adder_bits"), unit="bits", better="lower")
    context.record("register_bits", total("register_bits"), unit="bits", better="lower")
    context.record("line_buffer_bits", total("line_buffer_bits"), unit="bits", better="lower")
    context.record("fifo_bits", total("fifo_bits"), unit="bits", better="lower")
    _record_text(design, context)


def _record_text(design: Design, context: StageContext) -> None:
    sizes = [len(file.text.encode()) for file in design.files if file.role is FileRole.RTL]
    context.record("rtl_files", len(sizes), unit="files")
    context.record("rtl_bytes", sum(sizes), unit="bytes", better="lower")
    context.record("rtl_largest_file_bytes", max(sizes), unit="bytes", better="lower")
