# SPDX-License-Identifier: Apache-2.0
"""From an integer graph to its stream structure: names, kernels lowered in parallel, schedule."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice

from hsflow.errors import ModelError
from hsflow.executor import Executor, SerialExecutor
from hsflow.ir.addergraph import AdderGraph
from hsflow.ir.graph import Dense, FeatureMap, Graph, MaxPool
from hsflow.ir.network import INPUT_NAME
from hsflow.ir.pipeline import Cut
from hsflow.keywords import SYSTEMVERILOG_KEYWORDS
from hsflow.progress import Track, untracked
from hsflow_harden.clocking import kernel_ends
from hsflow_harden.figures import kernel_figures
from hsflow_harden.kernel import HardenedLayer, Kernel, KernelFigures, KernelPlan, plan_kernel
from hsflow_harden.lower import LowerMatrix, lower_tasks
from hsflow_harden.names import identifiers
from hsflow_harden.rates import Blocks, pixel_blocks
from hsflow_harden.schedule import schedule
from hsflow_harden.structure import StreamLayer, Structure

SERIAL = SerialExecutor()
NO_KERNELS: Mapping[str, Kernel] = {}


def build_structure(
    graph: Graph,
    lower: LowerMatrix,
    cut: Cut,
    *,
    blocks: Blocks | None = None,
    executor: Executor = SERIAL,
    track: Track = untracked,
) -> Structure:
    """Harden every layer of `graph` but its programmable classifier, and schedule the stream.

    Args:
        graph: a verified graph.
        lower: makes the adder graph of an integer matrix.
        cut: where pipeline registers go.
        blocks: what a transfer of each feature map carries (`hsflow_harden.rates`); by default a pixel.
        executor: where matrices are lowered; `lower` must be a value that can go there.
        track: shows the layers done and the adders so far.

    Raises:
        ModelError: if the graph's name cannot begin a module's name.
        ConfigurationError: if the clock of the cut cannot be reached.
    """
    plans = plan_kernels(graph)
    graphs = _lowered(plans, lower, executor, track)
    blocks = pixel_blocks(graph) if blocks is None else blocks
    kernels = {plan.layer.name: _kernel(plan, graphs[plan.layer.name], blocks, cut) for plan in plans}
    figures = {name: kernel_figures(kernel, cut) for name, kernel in kernels.items()}
    return schedule(graph, stream_layers(graph, blocks, cut, figures, kernels), blocks[INPUT_NAME])


def _kernel(plan: KernelPlan, graphs: Sequence[AdderGraph], blocks: Blocks, cut: Cut) -> Kernel:
    copies = blocks[plan.layer.name].pixels
    return plan.kernel(graphs, cut, kernel_ends(plan.layer, plan.sources, copies, cut))


def plan_kernels(graph: Graph) -> list[KernelPlan]:
    """Return the matrices of every layer that adds.

    Raises:
        ModelError: if the graph's name cannot begin a module's name.
    """
    modules = _identifiers(graph)
    return [
        plan_kernel(layer, _sources(graph, layer), f"{graph.name}_{modules[layer.name]}")
        for layer in _hardened(graph)
        if not isinstance(layer, MaxPool)
    ]


def stream_layers(
    graph: Graph,
    blocks: Blocks,
    cut: Cut,
    figures: Mapping[str, KernelFigures],
    kernels: Mapping[str, Kernel] = NO_KERNELS,
) -> tuple[StreamLayer, ...]:
    """Return the layers of the stream, not yet scheduled; `kernels` may lack what `figures` describe."""
    names = _identifiers(graph)
    return tuple(
        StreamLayer(
            layer,
            names[layer.name],
            f"{graph.name}_{names[layer.name]}",
            _sources(graph, layer),
            graph.feature_maps[layer.name],
            figures.get(layer.name),
            kernels.get(layer.name),
            blocks[layer.sources[0]],
            blocks[layer.name],
            cut,
            (0,) * len(layer.sources),
        )
        for layer in _hardened(graph)
    )


def _lowered(
    plans: Sequence[KernelPlan], lower: LowerMatrix, executor: Executor, track: Track
) -> dict[str, list[AdderGraph]]:
    """Return the adder graphs of each layer, all layers' matrices lowered as one heap of work."""
    tasks = [task for plan in plans for task in plan.tasks]
    progress = _Progress(Counter(task.layer for task in tasks))
    graphs: dict[int, AdderGraph] = {}
    for place, graph in track(lower_tasks(tasks, lower, executor), progress.text, len(tasks)):
        graphs[place] = graph
        progress.count(tasks[place].layer, graph)
    ordered = (graphs[place] for place in range(len(tasks)))
    return {plan.layer.name: list(islice(ordered, len(plan.blocks))) for plan in plans}


class _Progress:
    """Count the layers that are done and the adders so far."""

    def __init__(self, waiting: Counter[str]) -> None:
        self.waiting, self.layers, self.adders = waiting, len(waiting), 0

    def count(self, layer: str, graph: AdderGraph) -> None:
        """Take note of a graph of `layer`."""
        self.waiting -= Counter((layer,))
        self.adders += len(graph.adders)

    def text(self) -> str:
        """Return what there is to tell."""
        return f"harden: {self.layers - len(self.waiting)} of {self.layers} layers, {self.adders:,} adders"


def _check_name(name: str) -> None:
    library = name.lower() == "hsflow" or name.lower().startswith("hsflow_")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name) or name in SYSTEMVERILOG_KEYWORDS or library:
        raise ModelError(
            "a design cannot have this name",
            where="the network's name",
            got=repr(name),
            expected="a letter, then letters, digits and _; no keyword; not hsflow or hsflow_*, which name the library",
            hint="choose another name in flow.toml",
        )


def _hardened(graph: Graph) -> list[HardenedLayer]:
    return [layer for layer in graph.layers if not isinstance(layer, Dense)]


def _identifiers(graph: Graph) -> Mapping[str, str]:
    """Return the identifier of each hardened layer, which together with the network's name is its module's."""
    _check_name(graph.name)
    prefix = f"{graph.name}_"
    keywords = (word.removeprefix(prefix) for word in SYSTEMVERILOG_KEYWORDS if word.startswith(prefix))
    return identifiers((layer.name for layer in _hardened(graph)), reserved=keywords)


def _sources(graph: Graph, layer: HardenedLayer) -> tuple[FeatureMap, ...]:
    return tuple(graph.feature_maps[source] for source in layer.sources)
