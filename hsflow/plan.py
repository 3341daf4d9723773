# SPDX-License-Identifier: Apache-2.0
"""A plan: what a network costs as hardware and how fast it is, before any RTL is made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from hsflow.area import Area, network_area
from hsflow.design import Design, LayerCost
from hsflow.ir.network import Network
from hsflow.ir.tensor import Block

NOT_IN_THE_AREA = "the NPU, the clock tree, and the space between cells"
"""What an estimated area leaves out."""


@dataclass(frozen=True)
class SketchedNetwork:
    """Hold a network that was made to be planned, and whether its weights are random, so that they mean nothing."""

    network: Network
    has_random_weights: bool


@dataclass(frozen=True)
class PlanRequest:
    """Hold how fast a network must be, as cycles an image or images a second, one of them or none, and how it is built.

    Without either a transfer carries one pixel. Registers lie so many adder levels apart, or, where it is 0, as far as the
    clock allows at a corner with a margin for wires. `roofline` asks for the areas of all other intervals, too.
    """

    clock_mhz: float = 1000.0
    target_throughput: float | None = None
    initiation_interval: int | None = None
    adder_levels_per_stage: int = 0
    timing_margin: float = 0.1
    corner: str = "TT"
    roofline: bool = False


@dataclass(frozen=True)
class RooflinePoint:
    """Hold what a network costs with one block of pixels a transfer: the area without FIFOs."""

    input_block: Block
    initiation_interval: int
    adders: int
    area: Area


@dataclass(frozen=True)
class Plan:
    """Hold a planned design, which has no files, with what `LayerCost` does not tell.

    `fifo_depths` gives, for each layer, the transfers that wait in front of each of its inputs; `roofline` is sorted by
    interval, and empty unless it was asked for. Adders, widths, depth and registers are estimates.
    """

    design: Design
    request: PlanRequest
    fifo_depths: Mapping[str, tuple[int, ...]]
    roofline: tuple[RooflinePoint, ...] = ()

    @property
    def area(self) -> Area:
        """Return the area of all layers; `NOT_IN_THE_AREA` says what is missing."""
        return network_area(self.design.layers)

    @property
    def images_per_second(self) -> float:
        """Return the rate at the request's clock."""
        return self.request.clock_mhz * 1e6 / self.design.initiation_interval

    def duty(self, cost: LayerCost) -> float:
        """Return the share of the cycles in which a layer takes its input."""
        return cost.initiation_interval / self.design.initiation_interval

    @property
    def utilization(self) -> float:
        """Return the share of the cycles in which an adder works, the mean over all adders."""
        maps, adders = self.design.graph.feature_maps, sum(cost.adders for cost in self.design.layers)
        busy = sum(cost.adders * cost.block.beats(maps[cost.name].shape) for cost in self.design.layers)
        return busy / (adders * self.design.initiation_interval) if adders else 0.0
