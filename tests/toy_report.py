# SPDX-License-Identifier: Apache-2.0
"""Designs made by hand, for the tests of the report."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hsflow.design import Design, LayerCost, LineBuffer, NpuPlan, Resources
from hsflow.ir.graph import Conv, Dense, FeatureMap, Graph, GraphLayer, Po2Weight
from hsflow.ir.tensor import Block, Constant, Shape, TensorFormat, Window
from hsflow.metrics import Metric
from hsflow.report.result import Result

SIDE = 4
CHANNELS = 2

METRICS = {
    "load.accuracy_float": Metric(value=91.5, unit="%", better="higher"),
    "quantize.accuracy_po2": Metric(value=90.25, unit="%", better="higher"),
    "harden.adders": Metric(value=4, unit="adders", better="lower"),
    "harden.wall_seconds": Metric(value=12.3, unit="s", better="lower"),
}


def weight(second_term: bool = True) -> Po2Weight:
    """Return 2x2 weights 1, -4, 0 and 8 (8 + 2 with a second term)."""
    sign = np.zeros((2, CHANNELS, CHANNELS, 1, 1), dtype=np.int8)
    exponent = np.zeros_like(sign)
    sign[0].reshape(-1)[:] = [1, -1, 0, 1]
    exponent[0].reshape(-1)[:] = [0, 2, 0, 3]
    if second_term:
        sign[1, 1, 1] = 1
        exponent[1, 1, 1] = 1
    return Po2Weight(Constant(sign), Constant(exponent), 5)


def design(names: Sequence[str] = ("first", "second"), name: str = "toy", *, npu: bool = True) -> Design:
    """Return a design of pointwise layers, the first one busy, each other one a quarter of the time."""
    form = TensorFormat.uniform(8, False, 8, CHANNELS)
    sources = ("input", *names)
    layers: list[GraphLayer] = [
        Conv(
            layer, source, weight(), (0,) * CHANNELS, Constant(np.zeros(CHANNELS, np.int64)), Window(), 1,
            (0,) * CHANNELS, form,
        )
        for layer, source in zip(names, sources, strict=False)
    ]  # fmt: skip
    if npu:
        dense = np.ones((3, CHANNELS * SIDE * SIDE), dtype=np.int8)
        layers.append(
            Dense("classify", sources[-1], Constant(dense), Constant(np.zeros(3, np.int32)), 8)
        )  # fmt: skip
    graph = Graph(name, FeatureMap(Shape(CHANNELS, SIDE, SIDE), form), tuple(layers), ("a", "b", "c"))
    costs = tuple(cost(layer, 16 if number == 0 else 4) for number, layer in enumerate(names))
    plan = NpuPlan(3, 1, 10, 800, 16, 20) if npu else None
    return Design(name, graph, (), costs, 40, 16, plan)


def cost(name: str, interval: int) -> LayerCost:
    """Return the cost of a layer with 4 weights."""
    return LayerCost(
        name=name, module="m", kind="pointwise convolution 1x1", block=Block(1, 2), copies=2, weights=4,
        zero_weights=1, adders_before_sharing=6, adders=4, full_adder_bits=100, adder_depth=2, kernel_latency=2,
        register_bits=200, line_buffer_bits=64, fifo_bits=32, initiation_interval=interval,
        resources=Resources(full_adders=100, tile_registers=200), line_buffers=(LineBuffer(8, 8),),
    )  # fmt: skip


def result(made: Design | None = None) -> Result:
    """Return what a report is about: a design with two layers, or the one given."""
    return Result(made or design(), METRICS, 500.0)
