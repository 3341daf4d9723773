# SPDX-License-Identifier: Apache-2.0
"""Distillation of an integer graph: biases learned from the float network's logits, without labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hsflow_po2.distill import GraphModule, distill
from hsflow_po2.emulator import emulate
from hsflow_po2.reconstruct import ReconstructOptions, reconstruct
from hsflow_po2.stage import Po2Options, Po2Quantizer
from hsflow_torch.lower import lower
from hsflow_torch.module import NetworkModule
from hsflow_torch.stage import TorchLoader, TorchOptions
from hsflow_torch.training import Recipe, fit
from pydantic import ValidationError
from torch.nn import functional

from hsflow.errors import ModelError
from hsflow.ir import graph as ir
from hsflow.ir import network as net
from hsflow.ir.interp import interpret
from hsflow.ir.tensor import Constant, Padding, Shape, Window
from tests.random_graphs import GraphBuilder, random_images, square
from tests.torch_models import CHECKPOINT, Bottleneck, Context, coarse, pixels, randomize, small

RECIPE = Recipe(8, 0.05, batch_size=20, distillation=1.0)


@pytest.fixture(scope="module")
def network() -> net.Network:
    return lower(randomize(Bottleneck()), Shape(3, 12, 12))


@pytest.fixture(scope="module")
def images() -> tuple[np.ndarray, np.ndarray]:
    calibration, held_out = np.split(coarse(400), 2)
    return calibration, held_out


@pytest.fixture(scope="module")
def graph(network: net.Network, images: tuple[np.ndarray, np.ndarray]) -> ir.Graph:
    return reconstruct(network, images[0], ReconstructOptions(budget=0.0), 1)


def divergence(graph: ir.Graph, network: net.Network, images: np.ndarray) -> float:
    """Return the mean Kullback-Leibler divergence of the classes, by the emulator."""
    assert graph.classifier is not None
    found = torch.from_numpy(emulate(graph, images) * 2.0**-graph.classifier.fraction)
    with torch.no_grad():
        wanted = NetworkModule(network)(torch.from_numpy(images)).double()
    logs = functional.log_softmax(found, 1), functional.log_softmax(wanted, 1)
    return float(functional.kl_div(*logs, reduction="batchmean", log_target=True))


def without_biases(graph: ir.Graph) -> list[object]:
    """Return what hardware is made of: everything but biases and the ranges that follow from them."""
    return [
        (layer.name, layer.weight, layer.weight_fractions, layer.output.fractions)
        if isinstance(layer, ir.Conv)
        else (layer.name, layer.sources)
        for layer in graph.layers
    ]


def everything(seed: int) -> ir.Graph:
    """Return a graph with every kind of layer; its last pool is of no power of two."""
    builder = GraphBuilder(Shape(4, 12, 12), seed)
    builder.conv(8, square(3, padding=1), terms=2).max_pool(square(2, 2))
    builder.conv(8, Window((3, 3), padding=Padding(0, 1, 1, 0)), groups=8).conv(8, groups=2, name="left")
    builder.conv(8, square(3, padding=1), source="left", name="right").add("left", "right")
    return builder.average_pool(square(3, padding=1)).global_pool().dense(5).build()


@pytest.mark.parametrize("seed", range(4))
def test_the_module_computes_the_graph(seed: int) -> None:
    graph = everything(seed)
    assert graph.classifier is not None
    values = random_images(graph, 5)
    with torch.no_grad():
        logits = GraphModule(graph)(torch.from_numpy(values)).double() * 2.0**graph.classifier.fraction
    assert np.array_equal(logits.numpy(), interpret(graph, values))


def test_the_logits_come_closer(
    graph: ir.Graph, network: net.Network, images: tuple[np.ndarray, np.ndarray]
) -> None:
    """On images that were learned from, and on others; only biases change, and all arithmetic agrees on them."""
    learned = distill(graph, network, images[0], RECIPE, 1)
    for values, share in zip(images, (0.8, 0.9), strict=True):
        assert divergence(learned, network, values) < share * divergence(graph, network, values)
    assert without_biases(learned) == without_biases(graph) and learned != graph
    assert learned.classifier == graph.classifier
    assert np.array_equal(emulate(learned, images[1][:9]), interpret(learned, images[1][:9]))
    assert distill(graph, network, images[0], RECIPE, 1) == learned


def test_a_wrong_teacher_leads_astray(
    graph: ir.Graph, network: net.Network, images: tuple[np.ndarray, np.ndarray]
) -> None:
    """The divergence falls because of the float network's logits, not by itself."""
    last = network.layers[-1]
    assert isinstance(last, net.Dense)
    wrong = replace(last, weight=Constant(-last.weight.array))
    other = replace(network, layers=(*network.layers[:-1], wrong))
    learned = distill(graph, other, images[0], RECIPE, 1)
    assert divergence(learned, network, images[0]) > divergence(graph, network, images[0])


def test_no_epoch_changes_nothing(graph: ir.Graph, network: net.Network) -> None:
    assert distill(graph, network, pixels(network, 4), replace(RECIPE, epochs=0), 1) == graph


def test_a_graph_without_logits_is_refused(graph: ir.Graph, network: net.Network) -> None:
    with pytest.raises(ModelError, match="only logits can be distilled"):
        distill(graph.hardened, network, pixels(network, 4), RECIPE, 1)


def test_training_without_labels_needs_a_teacher_alone(network: net.Network) -> None:
    for recipe, teacher in ((RECIPE, None), (replace(RECIPE, distillation=0.5), NetworkModule(network))):
        with pytest.raises(ModelError, match="no labels"):
            fit(NetworkModule(network), pixels(network, 4), None, recipe, 1, teacher=teacher)


def test_the_stage_distils_and_reads_no_label() -> None:
    trained = TorchLoader().run(None, TorchOptions(checkpoint=CHECKPOINT), Context())
    contexts = small(128), small(128), small(128)
    contexts[1].dataset = replace(
        contexts[1].dataset, train_labels=np.full_like(contexts[1].dataset.train_labels, 7)
    )
    options = Po2Options(mode="ptq", distillation_epochs=2)
    first, second = (Po2Quantizer().run(trained, options, context) for context in contexts[:2])
    assert first == second
    plain = Po2Quantizer().run(trained, Po2Options(mode="ptq", distillation_epochs=0), contexts[2])
    assert plain != first and without_biases(plain) == without_biases(first)


def test_the_stage_leaves_feature_maps_alone() -> None:
    """A network that ends in a feature map has no logits to distil."""
    trained = TorchLoader().run(None, TorchOptions(checkpoint=CHECKPOINT), Context())
    headless = replace(trained, layers=trained.layers[:-1])
    context = small(64)
    Po2Quantizer().run(headless, Po2Options(mode="ptq", distillation_epochs=2), context)
    assert any("not distilled" in line for line in context.lines)


@pytest.mark.parametrize(
    "choice",
    [
        {"distillation_epochs": 2},
        {"mode": "ptq", "reconstruction": False, "distillation_epochs": 2},
        {"mode": "ptq", "distillation_epochs": -1},
    ],
)
def test_contradictions_are_refused(choice: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Po2Options(**choice)  # type: ignore[arg-type]
