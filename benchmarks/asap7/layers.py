# SPDX-License-Identifier: Apache-2.0
"""Single layers of MobileNetV2 as designs of their own: published weights as powers of two, and real feature maps."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import hsflow_cores
import numpy as np
from hsflow_harden.build import build_structure
from hsflow_harden.clocking import cut_of, levels_to_expect
from hsflow_harden.lower import HookLowering
from hsflow_harden.stage import emit_design
from hsflow_po2.reconstruct import ReconstructOptions, reconstruct
from hsflow_tflite.lower import lower_file

from hsflow.design import Design, LayerCost
from hsflow.emulation import feature_maps
from hsflow.estimate import LayerEstimate, estimate_design
from hsflow.fixedpoint import IntArray
from hsflow.images import Geometry, read_image_files
from hsflow.ir.graph import Conv, Graph
from hsflow.ir.network import INPUT_NAME
from hsflow.layerwise import STRIP, Conditions, LayerTask, layer_tasks
from hsflow.lowering import LoweringGoal
from hsflow.plugins import load_plugins

NAME = "mobilenet_v2"
LAYERS = ("expanded_conv_3/expand", "expanded_conv_3/depthwise", "expanded_conv_3/project")
"""An inverted residual: 24 to 144 channels, 144 channels depthwise with windows of 3x3, 144 to 24 channels."""

MARGIN = 0.1
"""Share of the clock's period that is left for wires and the clock's skew, as the flow leaves it."""

CALIBRATION_IMAGES = 32
SEED = 1


@dataclass(frozen=True, eq=False)
class Quantized:
    """Hold the network in powers of two, and every feature map of one image, (1, channels, height, width)."""

    graph: Graph
    maps: MappingProxyType[str, IntArray]


@dataclass(frozen=True)
class HardenedLayer:
    """Hold a layer alone: its costs, its sources with the library's, and the data and testbench of its simulation.

    `estimate` is what `hsflow estimate` tells of it, at TT.
    """

    name: str
    estimate: LayerEstimate
    pixels: int
    sources: tuple[Path, ...]
    task: LayerTask

    @property
    def cost(self) -> LayerCost:
        """Return what the layer consists of."""
        return self.estimate.cost


def quantize(model: Path, images: Path) -> Quantized:
    """Return MobileNetV2 from a TFLite file, fitted to a few images, and what it makes of one."""
    network = lower_file(model, name=NAME)
    shape = network.input_shape
    pixels = read_image_files(images, Geometry(crop=(shape.height, shape.width))).images
    every = len(pixels) // CALIBRATION_IMAGES
    options = ReconstructOptions(budget=0.0, gradient_images=CALIBRATION_IMAGES // 2)
    graph = reconstruct(network, pixels[:: max(1, every)][:CALIBRATION_IMAGES], options, SEED)
    maps = feature_maps(graph, pixels[1:2], load_plugins({}).hook)
    return Quantized(graph, MappingProxyType({**maps, INPUT_NAME: pixels[1:2].astype(np.int64)}))


def harden(network: Quantized, name: str, clock_mhz: float, folder: Path) -> HardenedLayer:
    """Harden the convolution whose name has `name` in it, for a pixel a cycle, and write its RTL."""
    graph = network.graph
    layer = next(layer for layer in graph.layers if isinstance(layer, Conv) and name in layer.name)
    alone = Graph(NAME, graph.feature_maps[layer.source], (replace(layer, name=name, source=INPUT_NAME),))
    cut = cut_of(None, clock_mhz, MARGIN, "TT")
    goal = LoweringGoal(adder_levels_per_stage=levels_to_expect(cut))
    lower = HookLowering(load_plugins({}).hook.hsflow_lower_layer, goal)
    design = emit_design(build_structure(alone, lower, cut))
    maps = {INPUT_NAME: network.maps[layer.source], name: network.maps[layer.name]}
    (task,) = layer_tasks(design, maps, folder, Conditions(words=STRIP), ())
    (estimate,) = estimate_design(design).layers
    return HardenedLayer(
        name, estimate, alone.feature_maps[name].shape.pixels, _written(design, folder), task
    )


def _written(design: Design, folder: Path) -> tuple[Path, ...]:
    """Write a design's RTL and return it with the library's."""
    folder.mkdir(parents=True, exist_ok=True)
    found = []
    for file in design.files:
        path = folder / Path(file.path).name
        path.write_text(file.text, encoding="utf-8")
        found.append(path)
    return (*sorted(Path(hsflow_cores.FOLDER).glob("*/rtl/*.sv")), *sorted(found))
