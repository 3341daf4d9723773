# SPDX-License-Identifier: Apache-2.0
"""The stream structure: each layer as window former, kernel and stream register, joined by forks and FIFOs."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Protocol, TypeVar

import numpy as np

from hsflow.design import LayerCost
from hsflow.errors import ModelError
from hsflow.executor import Executor, SerialExecutor
from hsflow.fixedpoint import IntArray
from hsflow.ir.addergraph import AdderGraph
from hsflow.ir.graph import Add, Conv, Dense, FeatureMap, Graph, MaxPool
from hsflow.ir.network import INPUT_NAME
from hsflow.ir.tensor import Window
from hsflow.keywords import SYSTEMVERILOG_KEYWORDS
from hsflow_harden import timing
from hsflow_harden.kernel import HardenedLayer, Kernel, KernelPlan, is_global_pool, plan_kernel
from hsflow_harden.lower import LowerMatrix, lower_tasks
from hsflow_harden.names import identifiers

T = TypeVar("T")

SERIAL = SerialExecutor()

_PROBED_IMAGES = 3
"""Images that the timing model streams through: FIFO depths and the interval no longer change after the second."""


@dataclass(frozen=True)
class StreamLayer:
    """Hold one layer of the stream: what it is, the modules it becomes, and when its input must wait in a FIFO.

    `kernel` is None for a max pool, which compares. `fifo_depths` holds, for each source, the pixels that its FIFO must
    take; 0 where none is needed.
    """

    layer: HardenedLayer
    identifier: str
    module: str
    sources: tuple[FeatureMap, ...]
    output: FeatureMap
    kernel: Kernel | None
    fifo_depths: tuple[int, ...] = (0,)

    @property
    def window(self) -> Window:
        """Return how the layer's kernel slides; a residual add reads one pixel of each side."""
        return Window() if isinstance(self.layer, Add) else self.layer.window

    @property
    def former(self) -> str:
        """Return what gathers the kernel's operands: "none", "join", "accumulate" or "window"."""
        if isinstance(self.layer, Add):
            return "join"
        if is_global_pool(self.layer, self.sources[0]):
            return "accumulate"
        return "none" if self.layer.window.is_pointwise else "window"

    @property
    def kernel_latency(self) -> int:
        """Return the kernel's cycles; a comparison takes one."""
        return self.kernel.latency if self.kernel else 1

    @property
    def initiation_interval(self) -> int:
        """Return the cycles that the layer needs an image."""
        if self.former == "window" and not isinstance(self.layer, Add):
            return timing.window_schedule(
                self.layer.window, self.sources[0].shape, self.layer.name
            ).initiation_interval
        return self.sources[0].shape.pixels


@dataclass(frozen=True)
class Structure:
    """Hold the whole stream network.

    `latency` is the cycle in which an isolated image's last pixel leaves, counted from the first pixel's transfer into
    the first layer; `initiation_interval` the cycles from image to image.
    """

    name: str
    graph: Graph
    layers: tuple[StreamLayer, ...]
    latency: int
    initiation_interval: int


class Track(Protocol):
    """Be a progress bar around an iteration, as `StageContext.track` is."""

    def __call__(
        self, items: Iterable[T], description: str | Callable[[], str], total: int | None = None
    ) -> Iterable[T]:
        """Iterate over `items`."""


def untracked(
    items: Iterable[T], description: str | Callable[[], str], total: int | None = None
) -> Iterable[T]:
    """Be the `Track` that shows nothing."""
    return items


def build_structure(
    graph: Graph,
    lower: LowerMatrix,
    levels: int,
    *,
    executor: Executor = SERIAL,
    track: Track = untracked,
) -> Structure:
    """Harden every layer of `graph` but its programmable classifier, and schedule the stream.

    Args:
        graph: a verified graph.
        lower: makes the adder graph of an integer matrix.
        levels: adder levels between two pipeline registers, at least 1.
        executor: where matrices are lowered; `lower` must be a value that can go there.
        track: shows the layers done and the adders so far.

    Raises:
        ModelError: if the graph's name cannot begin a module's name.
    """
    _check_name(graph.name)
    hardened = [layer for layer in graph.layers if not isinstance(layer, Dense)]
    prefix = f"{graph.name}_"
    keywords = (word.removeprefix(prefix) for word in SYSTEMVERILOG_KEYWORDS if word.startswith(prefix))
    names = identifiers((layer.name for layer in hardened), reserved=keywords)
    plans = [
        plan_kernel(layer, _sources(graph, layer), _module(graph, names, layer))
        for layer in hardened
        if not isinstance(layer, MaxPool)
    ]
    graphs = _lowered(plans, lower, executor, track)
    kernels = {plan.layer.name: plan.kernel(graphs[plan.layer.name], levels) for plan in plans}
    layers = (
        StreamLayer(
            layer,
            names[layer.name],
            _module(graph, names, layer),
            _sources(graph, layer),
            graph.feature_maps[layer.name],
            kernels.get(layer.name),
        )
        for layer in hardened
    )
    return schedule(graph, tuple(layers))


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


def _sources(graph: Graph, layer: HardenedLayer) -> tuple[FeatureMap, ...]:
    return tuple(graph.feature_maps[source] for source in layer.sources)


def _module(graph: Graph, names: Mapping[str, str], layer: HardenedLayer) -> str:
    return f"{graph.name}_{names[layer.name]}"


def schedule(graph: Graph, layers: tuple[StreamLayer, ...]) -> Structure:
    """Run the timing model, and give each join the FIFO that its earlier side needs."""
    pixels = np.arange(graph.input.shape.pixels, dtype=np.int64)
    interval = max([pixels.size, *(layer.initiation_interval for layer in layers)])
    isolated, alone = _times(layers, pixels[np.newaxis])
    _, streamed = _times(layers, pixels + np.arange(_PROBED_IMAGES)[:, np.newaxis] * interval)
    sized = tuple(
        replace(layer, fifo_depths=tuple(map(max, streamed[layer.layer.name], alone[layer.layer.name])))
        for layer in layers
    )
    last = layers[-1].layer.name if layers else INPUT_NAME
    return Structure(graph.name, graph, sized, int(isolated[last][0, -1]), interval)


def _times(
    layers: tuple[StreamLayer, ...], pixels: IntArray
) -> tuple[dict[str, IntArray], dict[str, tuple[int, ...]]]:
    """Return each stream's transfer times, shape (images, pixels), and each layer's FIFO depths."""
    times = {INPUT_NAME: pixels}
    depths: dict[str, tuple[int, ...]] = {}
    for layer in layers:
        arrivals = [times[source] for source in layer.layer.sources]
        ready, depths[layer.layer.name] = _gather(layer, arrivals)
        times[layer.layer.name] = ready + layer.kernel_latency + timing.STREAM_REGISTER_LATENCY
    return times, depths


def _gather(layer: StreamLayer, arrivals: list[IntArray]) -> tuple[IntArray, tuple[int, ...]]:
    """Return when each operand vector is complete, and the FIFO depths in front of the layer."""
    if isinstance(layer.layer, Add):
        return _join(arrivals[0], arrivals[1])
    if layer.former == "accumulate":
        return arrivals[0][:, -1:] + timing.ACCUMULATE_LATENCY, (0,)
    if layer.former == "window":
        steps = timing.window_schedule(layer.layer.window, layer.sources[0].shape, layer.layer.name)
        return timing.window_times(steps, arrivals[0]), (0,)
    return arrivals[0], (0,)


def _join(left: IntArray, right: IntArray) -> tuple[IntArray, tuple[int, ...]]:
    """Return when both sides are there; a side that comes earlier waits in a FIFO."""
    waits = (bool((left < right).any()), bool((right < left).any()))
    delayed = [side + timing.FIFO_LATENCY * wait for side, wait in zip((left, right), waits, strict=True)]
    both = np.maximum(delayed[0], delayed[1])
    depths = tuple(
        timing.fifo_depth(side, both) if wait else 0 for side, wait in zip((left, right), waits, strict=True)
    )
    return both, depths


def layer_cost(layer: StreamLayer) -> LayerCost:
    """Return the scheduler's figures for one layer."""
    weights = layer.layer.weight.integers if isinstance(layer.layer, Conv) else np.zeros(0, dtype=np.int64)
    tiles = layer.kernel.tiles if layer.kernel else ()
    graphs = [tile.pipeline.graph for tile in tiles]
    output_bits = layer.output.shape.channels * layer.output.format.width
    window_bits, line_bits = _former_bits(layer)
    # The kernel's last register, the stream register's two words, and a valid bit for each.
    streams = 3 * (output_bits + 1) + layer.kernel_latency - 1
    return LayerCost(
        name=layer.layer.name,
        module=layer.module,
        kind=describe_kind(layer),
        weights=int(weights.size),
        zero_weights=int((weights == 0).sum()),
        adders_before_sharing=layer.kernel.adders_before_sharing if layer.kernel else 0,
        adders=sum(len(graph.adders) for graph in graphs),
        full_adder_bits=sum(graph.full_adder_bits for graph in graphs),
        adder_depth=max((graph.depth for graph in graphs), default=0),
        kernel_latency=layer.kernel_latency,
        register_bits=sum(tile.pipeline.register_bits for tile in tiles) + streams + window_bits,
        line_buffer_bits=line_bits,
        fifo_bits=sum(
            depth * source.shape.channels * source.format.width
            for depth, source in zip(layer.fifo_depths, layer.sources, strict=True)
        ),
        initiation_interval=layer.initiation_interval,
    )


def _former_bits(layer: StreamLayer) -> tuple[int, int]:
    """Return the bits of the window's registers and of the line buffers."""
    if isinstance(layer.layer, Add) or layer.former not in ("window", "accumulate"):
        return 0, 0
    if layer.former == "accumulate" and layer.kernel is not None:
        return 2 * sum(operand.width for operand in layer.kernel.operands), 0
    window, source = layer.layer.window, layer.sources[0]
    pixel = source.shape.channels * source.format.width
    rows, columns = window.extent
    return window.kernel[0] * columns * pixel, (rows - 1) * source.shape.width * pixel


def describe_kind(layer: StreamLayer) -> str:
    """Return the layer's kind in words, such as "depthwise convolution 3x3, stride 2"."""
    node = layer.layer
    if isinstance(node, Add):
        return "residual add"
    size = f"{node.window.kernel[0]}x{node.window.kernel[1]}"
    stride = "" if node.window.stride == (1, 1) else f", stride {node.window.stride[0]}"
    if isinstance(node, MaxPool):
        return f"max pool {size}{stride}"
    if not isinstance(node, Conv):
        return f"average pool {size}{stride}"
    depthwise = node.groups > 1 and node.groups == layer.sources[0].shape.channels
    kind = (
        "depthwise" if depthwise else "grouped" if node.groups > 1 else "pointwise" if size == "1x1" else ""
    )
    return f"{kind} convolution {size}{stride}".strip()
