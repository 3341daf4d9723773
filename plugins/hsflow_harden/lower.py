# SPDX-License-Identifier: Apache-2.0
"""Lowering of many matrices: each becomes an adder graph that is proved where it was made, in this process or another."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from hsflow.errors import MismatchError, PluginError
from hsflow.executor import Executor, SerialExecutor
from hsflow.fixedpoint import IntArray, Interval
from hsflow.ir.addergraph import AdderGraph
from hsflow.lowering import LoweringGoal

LowerMatrix = Callable[[IntArray, tuple[Interval, ...], str], AdderGraph]
"""Make the adder graph of a matrix with these input ranges, for the layer of this name."""

PROCESS_NONZEROS = 3000
"""The nonzero coefficients below which worker processes would take longer to start than to save."""


@dataclass(frozen=True, eq=False)
class LoweringTask:
    """Hold a matrix to lower, shape (outputs, inputs), the ranges of its inputs, and its layer's name."""

    layer: str
    matrix: IntArray
    inputs: tuple[Interval, ...]

    @property
    def nonzeros(self) -> int:
        """Return the nonzero coefficients: about the time that lowering takes."""
        return int(np.count_nonzero(self.matrix))


@dataclass(frozen=True)
class HookLowering:
    """Be the `LowerMatrix` that asks plugins by the hook `hsflow_lower_layer`; can be pickled if `hook` can."""

    hook: Callable[..., Any]
    goal: LoweringGoal

    def __call__(self, matrix: IntArray, inputs: tuple[Interval, ...], layer: str) -> AdderGraph:
        """Return the graph of the first plugin that has one.

        Raises:
            PluginError: if there is none.
        """
        graph = self.hook(matrix=matrix, inputs=inputs, layer=layer, goal=self.goal)
        if not isinstance(graph, AdderGraph):
            raise PluginError("no plugin lowered a layer", where=layer, got=graph, expected="an AdderGraph")
        return graph


def lower_task(lower: LowerMatrix, task: LoweringTask) -> AdderGraph:
    """Return the proved adder graph of one matrix, without adders that nothing reads.

    Raises:
        MismatchError: if `lower` returns a graph that does not compute the matrix, or for other input ranges.
    """
    graph = lower(task.matrix, task.inputs, task.layer)
    graph.prove(task.matrix, task.layer)
    if graph.inputs != task.inputs:
        raise MismatchError(
            "the adder graph assumes other input ranges, so its widths prove nothing", where=task.layer
        )
    return graph.without_unused()


def lower_tasks(
    tasks: Sequence[LoweringTask], lower: LowerMatrix, executor: Executor
) -> Iterator[tuple[int, AdderGraph]]:
    """Yield the place of each task with its graph, the largest first, so that no worker is left with it at the end.

    Little work is done in this process, whatever the executor.
    """
    sizes = [task.nonzeros for task in tasks]
    order = sorted(range(len(tasks)), key=lambda place: -sizes[place])
    executor = executor if sum(sizes) >= PROCESS_NONZEROS else SerialExecutor()
    yield from zip(
        order, executor.map(partial(lower_task, lower), (tasks[place] for place in order)), strict=True
    )
