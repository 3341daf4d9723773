# SPDX-License-Identifier: Apache-2.0
"""Simulate a network whose channels have output scales of two signed digits: every pixel, bit by bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hsflow_po2.phases import CSD
from hsflow_po2.reconstruct import ReconstructOptions, reconstruct
from hsflow_torch.lower import lower
from network_bench import Case, Simulated, simulate

from hsflow.ir.graph import Conv, Graph
from hsflow.ir.tensor import Shape
from tests.torch_models import Bottleneck, coarse, randomize


@pytest.fixture(scope="module")
def graph() -> Graph:
    """Return a bottleneck of MobileNetV2, quantized without training."""
    network = lower(randomize(Bottleneck()), Shape(3, 12, 12))
    return reconstruct(network, coarse(60), ReconstructOptions(budget=0.1, phases=CSD), 1).hardened


def images(graph: Graph, count: int) -> np.ndarray:
    return coarse(100 + count)[100:].astype(np.int64)


def test_rtl_multiplies_by_the_scales_exactly(graph: Graph, tmp_path: Path) -> None:
    scaled = [layer for layer in graph.layers if isinstance(layer, Conv) and (layer.weight.factors > 1).any()]
    assert len(scaled) >= 4, "scales in most layers, depthwise and others"
    cases = {"bottleneck": [Case(graph, images(graph, 4)), Case(graph, images(graph, 1))]}
    cases["bottleneck"][1] = Case(
        Graph("alone", graph.input, graph.layers, graph.classes), cases["bottleneck"][1].images
    )
    simulated = Simulated.of(cases, tmp_path)
    simulated.check_words("bottleneck")
    simulated.check_cycles("bottleneck")


def test_a_changed_sum_is_caught(graph: Graph, tmp_path: Path) -> None:
    case = Case(graph, images(graph, 1))
    log, _ = simulate([case], tmp_path, edits={" - ": " + "})
    assert log.words("out0") != case.expected
