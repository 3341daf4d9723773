# SPDX-License-Identifier: Apache-2.0
"""The whole network at the rates of the reference and beyond: planned area, and power by area of the measured layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hsflow_harden.plan import plan_network
from hsflow_npu.plan import plan_classifier

from benchmarks.asap7.layers import MARGIN
from benchmarks.asap7.measure import LayerFigures
from hsflow.area import square_millimetres
from hsflow.ir.graph import Graph
from hsflow.plan import PlanRequest

RATES = (4e6, 20.4e6)
"""Images a second: that of the reference without its programmable layer, and a cycle for each pixel of the smallest map."""


@dataclass(frozen=True)
class Whole:
    """Hold a network's figures; None is what nobody states. Power is that of the hardened layers."""

    design: str
    images_per_second: float
    clock_mhz: float | None
    area_mm2: float | None
    power_w: float | None
    energy_per_image_uj: float | None
    images_per_second_per_mm2: float | None


REFERENCE = (
    Whole("HaShiFlex, with its NPU (stated)", 1.21e6, None, None, None, None, None),
    Whole("HaShiFlex, without (stated)", 4e6, None, None, None, None, None),
)
"""arXiv 2512.12847: MobileNetV2, 7 nm."""


def whole(graph: Graph, layers: Sequence[LayerFigures], clock_mhz: float) -> Iterator[Whole]:
    """Yield the network at each rate.

    An area that works in every cycle is taken to use what the measured layers use in the mean; what waits uses a clock's
    share less, which is left out, so that the figure is an upper bound.
    """
    density = sum(layer.power_mw for layer in layers) / sum(layer.area_um2 for layer in layers)
    for rate in RATES:
        request = PlanRequest(
            clock_mhz=clock_mhz, target_throughput=rate, adder_levels_per_stage=0, timing_margin=MARGIN
        )
        plan = plan_network(graph, request)
        design = plan_classifier(plan.design)
        images = clock_mhz * 1e6 / design.initiation_interval
        area = square_millimetres(plan.area.total)
        power = 1e-3 * density * plan.area.total
        yield Whole(
            f"hsflow, interval {design.initiation_interval}",
            images,
            clock_mhz,
            area,
            power,
            1e6 * power / images,
            images / area,
        )
