# SPDX-License-Identifier: Apache-2.0
"""The hardening stage: whom it asks, where the work runs, what it shows, and what it refuses."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from typing import Any

import numpy as np
import pytest
from hsflow_cmvm.optimizer import lower
from hsflow_harden import lower as lowering
from hsflow_harden.comparator import Comparator
from hsflow_harden.kernel import KernelFigures
from hsflow_harden.lower import LoweringTask, lower_tasks
from hsflow_harden.stage import HardenOptions, HardenStage
from random_graphs import GraphBuilder, square

from hsflow import hookimpl
from hsflow.design import Design, Resources
from hsflow.errors import ConfigurationError, MismatchError, PluginError
from hsflow.executor import ProcessExecutor, SerialExecutor
from hsflow.fixedpoint import IntArray, Interval
from hsflow.ir.addergraph import AdderGraph
from hsflow.ir.graph import Graph
from hsflow.ir.tensor import Shape
from hsflow.lowering import LoweringGoal, Objective
from hsflow.plugins import Plugin, PluginManager, PortableHook, load_plugins
from hsflow.stage import FlowSettings


@dataclass
class Context:
    """Be a stage's context that remembers what was shown."""

    plugins: PluginManager
    shown: list[str] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    settings: FlowSettings = field(default_factory=lambda: FlowSettings(name="net"))

    @property
    def hooks(self) -> Any:
        return self.plugins.hook

    def portable_hook(self, name: str) -> Callable[..., Any] | None:
        return self.plugins.portable_hook(name)

    def track(self, items: Iterable[Any], description: Any, total: int | None = None) -> Iterator[Any]:
        for item in items:
            yield item
            self.shown.append(description if isinstance(description, str) else description())

    def record(self, name: str, value: Any, *, unit: str = "", better: str = "") -> None:
        self.metrics[name] = value


class Optimizer:
    """Lower like hsflow's own, and remember who was asked for what, in which process."""

    def __init__(self) -> None:
        self.goals: list[LoweringGoal] = []

    @hookimpl
    def hsflow_lower_layer(
        self, matrix: IntArray, inputs: tuple[Interval, ...], layer: str, goal: LoweringGoal
    ) -> AdderGraph:
        self.goals.append(goal)
        return lower(matrix, inputs, goal, layer)


class Modest:
    """Implement the hook as before there was a goal, and lower nothing."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    @hookimpl
    def hsflow_lower_layer(self, matrix: IntArray, inputs: tuple[Interval, ...], layer: str) -> None:
        self.asked.append(layer)


def network() -> Graph:
    builder = GraphBuilder(Shape(2, 4, 4), 1).conv(4, square(3, 1, 1), name="large").conv(3, name="small")
    return builder.conv(3, square(3, 1, 1), groups=3, name="depthwise").max_pool(square(2, 2)).build("net")


def harden(context: Context, **options: Any) -> Design:
    return HardenStage().run(network(), HardenOptions(effort="low", **options), context)  # type: ignore[arg-type]


@pytest.fixture
def eager(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take worker processes for any work."""
    monkeypatch.setattr(lowering, "PROCESS_NONZEROS", 0)


def test_processes_make_the_same_design(eager: None) -> None:
    alone, together = Context(load_plugins()), Context(load_plugins())
    assert harden(alone, workers=1) == harden(together, workers=2)
    assert alone.metrics == together.metrics
    assert alone.shown == together.shown


def test_the_rtl_is_counted_and_measured() -> None:
    context = Context(load_plugins())
    sizes = [len(file.text) for file in harden(context, workers=1).files]
    found = {name: value for name, value in context.metrics.items() if name.startswith("rtl_")}
    assert found == {
        "rtl_files": len(sizes),
        "rtl_bytes": sum(sizes),
        "rtl_largest_file_bytes": max(sizes),
    }


def test_the_layers_done_and_the_adders_are_shown() -> None:
    context = Context(load_plugins())
    design = harden(context, workers=1)
    adders = [cost.adders for cost in design.layers]
    assert [text.split(",")[0] for text in context.shown] == [
        f"harden: {done} of 3 layers" for done in (1, 2, 3)
    ]
    assert context.shown[0].endswith(f" {adders[0]:,} adders"), "the largest matrix is lowered first"
    assert context.shown[-1].endswith(f" {sum(adders):,} adders")


def clocked(clock_mhz: float, **options: Any) -> Design:
    context = Context(load_plugins(), settings=FlowSettings(name="net", clock_mhz=clock_mhz))
    return harden(context, workers=1, **options)


def register_bits(design: Design) -> int:
    return sum(cost.register_bits for cost in design.layers)


def test_registers_follow_the_clock_where_no_levels_are_given() -> None:
    slow, fast = (clocked(clock) for clock in (100.0, 1000.0))
    assert register_bits(slow) < register_bits(fast)
    assert slow.latency < fast.latency
    two = [clocked(clock, adder_levels_per_stage=2) for clock in (100.0, 1000.0)]
    assert register_bits(two[0]) == register_bits(two[1]), "two levels are two levels"


def test_a_clock_that_cannot_be_reached_is_refused_with_one_that_can() -> None:
    with pytest.raises(ConfigurationError, match=r"takes longer than the clock allows(?s:.*)at most \d+ MHz"):
        clocked(4000.0, adder_levels_per_stage=0)
    with pytest.raises(ConfigurationError, match="takes longer than the clock allows"):
        clocked(1000.0, adder_levels_per_stage=0, timing_margin=0.9)


@pytest.mark.parametrize(("levels", "stages", "pixels"), [(1, 3, 5 + 3 + 2), (2, 1, 3), (3, 1, 2), (4, 0, 0)])
def test_a_maximum_has_a_register_every_so_many_levels(levels: int, stages: int, pixels: int) -> None:
    found = Comparator(channels=3, width=8, taps=9, levels=levels)
    assert found.stages == stages
    used = Resources(tile_registers=pixels * 3 * 8, compared=8 * 3 * 8, results=3 * 8)
    assert found.figures == KernelFigures(stages + 1, 0, 0, 0, 0, pixels * 3 * 8, used)


def test_a_plugin_of_this_process_is_asked_in_it(eager: None) -> None:
    optimizer, modest = Optimizer(), Modest()
    plugins = load_plugins({"optimizer": optimizer, "modest": modest})
    assert plugins.portable_hook("hsflow_lower_layer") is None
    harden(Context(plugins), workers=2, objective="latency", depth_slack=1)
    assert {goal.objective for goal in optimizer.goals} == {Objective.LATENCY}
    assert {goal.depth_slack for goal in optimizer.goals} == {1}
    assert sorted(modest.asked) == ["depthwise", "large", "small"]


def test_a_hook_of_entry_points_travels() -> None:
    hook = load_plugins().portable_hook("hsflow_lower_layer")
    assert hook == PortableHook("hsflow_lower_layer", (("cmvm", "hsflow_cmvm.plugin"),))
    travelled = pickle.loads(pickle.dumps(hook))
    matrix, inputs = np.array([[1, 2], [3, -4]]), (Interval(0, 255),) * 2
    graph = travelled(matrix=matrix, inputs=inputs, layer="x", goal=LoweringGoal())
    assert graph == lower(matrix, inputs, LoweringGoal(), "x")


FIRST, SECOND = Modest(), Modest()


def test_a_portable_hook_asks_in_the_same_order() -> None:
    manager = PluginManager()
    for name in ("FIRST", "SECOND"):
        manager.load(EntryPoint(name.lower(), f"{__name__}:{name}", "hsflow"))
    hook = manager.portable_hook("hsflow_lower_layer")
    assert hook is not None
    assert [name for name, _ in hook.entry_points] == ["first", "second"]
    assert hook(matrix=None, inputs=(), layer="asked", goal=None) is None
    assert FIRST.asked == SECOND.asked == ["asked"]
    manager.register(Modest(), Plugin("third", "this process", "0"))
    assert manager.portable_hook("hsflow_lower_layer") is None
    assert manager.portable_hook("hsflow_emit_kernel") is not None, "the third one has no part in it"


def test_without_an_optimizer_the_layer_is_named() -> None:
    with pytest.raises(PluginError, match="large: no plugin lowered a layer"):
        harden(Context(load_plugins({"harden": HardenStage()}, installed=False)))


class Texts:
    @hookimpl
    def hsflow_emit_kernel(self, tile: Any, operands: Any, title: str) -> str:
        return "module x; endmodule"


def test_a_kernel_that_is_no_files_is_refused() -> None:
    with pytest.raises(PluginError, match=r"tile0: no plugin emitted a kernel(?s:.*)DesignFile"):
        harden(Context(load_plugins({"texts": Texts()})), workers=1)
    nobody = PluginManager()
    nobody.load(EntryPoint("cmvm", "hsflow_cmvm.plugin", "hsflow"))
    with pytest.raises(PluginError, match="no plugin emitted a kernel"):
        harden(Context(nobody), workers=1)


# ---- Where matrices are lowered


def process_of(matrix: IntArray, inputs: tuple[Interval, ...], layer: str) -> AdderGraph:
    """Lower, and fail with the process' number if that is not the one that the layer is called by."""
    if layer != str(os.getpid()):
        raise MismatchError("another process", where=layer)
    return lower(matrix, inputs, LoweringGoal(), layer)


def tasks(*sizes: int) -> list[LoweringTask]:
    return [
        LoweringTask(str(os.getpid()), np.ones((1, size), np.int64), (Interval(0, 1),) * size)
        for size in sizes
    ]


def test_the_largest_comes_first_and_all_find_their_place() -> None:
    found = list(lower_tasks(tasks(2, 9, 4, 9), process_of, SerialExecutor()))
    assert [place for place, _ in found] == [1, 3, 2, 0]
    assert [len(graph.inputs) for _, graph in found] == [9, 9, 4, 2]


def test_little_work_stays_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(list(lower_tasks(tasks(5, 5), process_of, ProcessExecutor(2)))) == 2
    monkeypatch.setattr(lowering, "PROCESS_NONZEROS", 10)
    with pytest.raises(MismatchError, match="another process"):
        list(lower_tasks(tasks(5, 5), process_of, ProcessExecutor(2)))


def wrong(matrix: IntArray, inputs: tuple[Interval, ...], layer: str) -> AdderGraph:
    return lower(-matrix, inputs, LoweringGoal(), layer)


@pytest.mark.parametrize("executor", [SerialExecutor(), ProcessExecutor(2)])
def test_a_wrong_graph_is_refused_wherever_it_was_made(executor: Any, eager: None) -> None:
    with pytest.raises(MismatchError, match="other coefficients"):
        list(lower_tasks(tasks(3, 3), wrong, executor))
