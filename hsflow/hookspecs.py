# SPDX-License-Identifier: Apache-2.0
"""Every hook that a plugin may implement. The contract of each is its docstring.

A plugin is a Python package with an entry point in the group `hsflow` that names a module (or object) with functions
decorated by `hsflow.hookimpl`. hsflow's own stages are plugins like any other.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pluggy

if TYPE_CHECKING:
    from hsflow.data import Dataset
    from hsflow.design import Design, DesignFile
    from hsflow.fixedpoint import IntArray, Interval
    from hsflow.ir.addergraph import AdderGraph
    from hsflow.ir.graph import Graph
    from hsflow.ir.network import Network
    from hsflow.ir.tensor import Shape
    from hsflow.lowering import LoweringGoal
    from hsflow.plan import Plan, PlanRequest, SketchedNetwork
    from hsflow.report.content import Section
    from hsflow.report.result import Result
    from hsflow.stage import Stage, StageEvent
    from hsflow.targets import Target

PROJECT = "hsflow"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def hsflow_stages() -> Sequence[Stage]:  # type: ignore[empty-body]
    """Return the stages that this plugin offers: loaders, pruners, quantizers, hardeners, NPU generators, packagers.

    A stage is chosen in flow.toml by its `name` under its `kind`. Two stages of one kind and name are an error.
    """


@hookspec
def hsflow_targets() -> Sequence[Target]:  # type: ignore[empty-body]
    """Return the targets that this plugin offers: the packager writes each into every core file, `hsflow run` runs it.

    Two targets of one name are an error.
    """


@hookspec(firstresult=True)
def hsflow_lower_layer(
    matrix: IntArray, inputs: tuple[Interval, ...], layer: str, goal: LoweringGoal
) -> AdderGraph | None:
    """Return an adder graph for one integer matrix, or None to leave it to the next plugin.

    Args:
        matrix: int64, shape (outputs, inputs); output o is the sum over i of matrix[o, i] * input i.
        inputs: the range of each input.
        layer: the layer's name, for messages.
        goal: what the graph is to be good at; an implementation that has no use for it leaves the argument out.

    It is called in a worker process where it can be imported there, so its result must follow from its arguments
    alone. The hardener proves the graph against the matrix; a wrong graph is refused, whoever made it.
    """


@hookspec(firstresult=True)
def hsflow_emit_kernel(tile: Any, operands: tuple[Any, ...], title: str) -> Iterable[DesignFile] | None:
    """Return the RTL files of one tile of a layer's kernel, or None to leave it to the next plugin.

    Args:
        tile: a `hsflow_harden.kernel.Tile`: the module's name, the pipelined adder graph, the channels it makes. The graph
            may have hundreds of thousands of adders.
        operands: all operands of the kernel (`hsflow_harden.kernel.Operand`); `tile.operands` indexes them.
        title: a comment that is safe to print behind `//`.

    One file, `rtl/MODULE.sv`, holds the module `tile.module` with the ports, the packing and the latency that
    `hsflow_harden.emit_tile.emit_tile` states; the simulation checks every integer and every cycle of it. Further modules
    have a file each, are used by it, and are called `tile.module`, `_` and more. Files are asked for one by one, so each
    should be made when it is asked for, and be of bounded size. hsflow's own makes bit-parallel adders.
    """


@hookspec(firstresult=True)
def hsflow_emit_adder_graph(graph: AdderGraph, module: str, adder_levels_per_stage: int | None) -> str | None:
    """Return the RTL of an adder graph by itself, one module, or None to leave it to the next plugin.

    Args:
        graph: a proved graph with at least one input and one output.
        module: the module's name, a legal identifier.
        adder_levels_per_stage: adder levels between two registers; None or 0 for none.

    The ports, the packing and the latency are those that `hsflow_harden.emit_graph.emit_adder_graph` states, and that
    a comment at the module's head repeats for the graph at hand.
    """


@hookspec(firstresult=True)
def hsflow_import_model(
    model: Any, input_shape: Shape, name: str, mean: tuple[float, ...], std: tuple[float, ...]
) -> Network | None:
    """Return the network of a model that Python code hands over (a torch module, say), or None if it is not yours.

    Args:
        model: the object.
        input_shape: the images' shape.
        name: the network's name.
        mean: what preprocessing subtracts from pixels in 0..1, one for each channel or one for all.
        std: what it divides by.
    """


@hookspec(firstresult=True)
def hsflow_emulate(graph: Graph, images: Any, track: Any) -> IntArray | None:
    """Return what `hsflow.ir.interp.interpret` returns, every integer of it, but faster; or None.

    `track` wraps an iteration for a progress bar, as `StageContext.track` does.
    """


@hookspec(firstresult=True)
def hsflow_feature_maps(graph: Graph, images: Any) -> Mapping[str, IntArray] | None:
    """Return what `hsflow.ir.interp.interpret_all` returns, every integer of every feature map, but faster; or None."""


@hookspec(firstresult=True)
def hsflow_sketch_network(
    model: str, width: float | None, resolution: int | None, seed: int
) -> SketchedNetwork | None:
    """Return the float network of an architecture's name or of a file, in a second or two; or None if it is not yours.

    Args:
        model: a name, or the path of a file.
        width: factor of the channels, where an architecture has one; None is its own.
        resolution: height and width of the image; None are the architecture's own.
        seed: draws the weights of an architecture that has none; the result says that they are random.
    """


@hookspec(firstresult=True)
def hsflow_sketch_graph(network: Network, sparsity: float) -> Graph | None:
    """Return an integer graph of a float network, without any data: one whose hardware is like that of a real one.

    At least the share `sparsity` of the weights of each convolution is zero.
    """


@hookspec(firstresult=True)
def hsflow_plan_network(graph: Graph, request: PlanRequest) -> Plan | None:
    """Return what the hardened layers of a graph cost and how fast they are, without making RTL; or None.

    Raises:
        ConfigurationError: if they cannot be as fast as requested; the message says how fast they can be.
    """


@hookspec(firstresult=True)
def hsflow_plan_classifier(design: Design) -> Design | None:
    """Return a planned design, which has no files, as a chip: with the NPU for its classifier, if it has one.

    `npu`, `initiation_interval` and `latency` are what may change.
    """


@hookspec(firstresult=True)
def hsflow_train_classifier(graph: Graph, dataset: Dataset, seed: int, track: Any) -> Graph | None:
    """Return `graph` with a last layer that is trained for another task, or None.

    Nothing but the weights and biases of the last layer may change, not even its shape. `track` wraps an iteration for
    a progress bar, as `StageContext.track` does.
    """


@hookspec(firstresult=True)
def hsflow_program_classifier(design: Design, graph: Graph) -> DesignFile | None:
    """Return the file that programs the classifier of `graph` into the NPU of `design`, or None if it is not yours."""


@hookspec(firstresult=True)
def hsflow_simulation_data(
    design: Design, graph: Graph, images: Any, labels: Any
) -> Sequence[DesignFile] | None:
    """Return stimulus, expected results and labels of a simulation, as `hsflow.results` describes them, or None.

    `graph` is what `design` computes; its classifier may be another one than the design was made with.
    """


@hookspec
def hsflow_report_sections(result: Result) -> Sequence[Section]:  # type: ignore[empty-body]
    """Return further sections of the report, in the order in which they are to be read.

    Args:
        result: the design, the figures of its stages, the clock, and what runs of this design measured.

    A section is made of the values in `hsflow.report.content` alone; the page escapes their texts and draws their charts.
    The same result must give the same sections. A plugin that raises, or returns something else, never breaks the
    report: a section in its place tells which plugin failed, and why.
    """


@hookspec
def hsflow_stage_started(event: StageEvent) -> None:
    """Observe that a stage starts. An observer that raises is reported and never breaks a run."""


@hookspec
def hsflow_stage_finished(event: StageEvent) -> None:
    """Observe that a stage has finished or was taken from the store (`event.cached`)."""


@hookspec
def hsflow_stage_failed(event: StageEvent, error: BaseException) -> None:
    """Observe that a stage failed."""
