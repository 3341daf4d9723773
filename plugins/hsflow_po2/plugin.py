# SPDX-License-Identifier: Apache-2.0
"""Register the power-of-two quantizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hsflow import hookimpl
from hsflow.data import Dataset
from hsflow.fixedpoint import IntArray
from hsflow.ir.graph import Graph
from hsflow.ir.network import Network
from hsflow.stage import Stage
from hsflow_po2.stage import Po2Quantizer


@hookimpl
def hsflow_stages() -> Sequence[Stage]:
    """Offer `quantize = "po2"`."""
    return (Po2Quantizer(),)


@hookimpl(trylast=True)
def hsflow_emulate(graph: Graph, images: Any, track: Any) -> IntArray:
    """Emulate any graph by torch; other plugins are asked first."""
    from hsflow_po2.emulator import emulate

    return emulate(graph, images, track=track)


@hookimpl(trylast=True)
def hsflow_feature_maps(graph: Graph, images: Any) -> Mapping[str, IntArray]:
    """Return the feature maps of all layers by torch; other plugins are asked first."""
    from hsflow_po2.emulator import feature_maps

    (maps,) = feature_maps(graph, images, batch_size=max(len(images), 1))
    return maps


@hookimpl(trylast=True)
def hsflow_train_classifier(graph: Graph, dataset: Dataset, seed: int, track: Any) -> Graph:
    """Train the last layer on the hardware's own features; other plugins are asked first."""
    from hsflow_po2.finetune import finetune_classifier

    return finetune_classifier(
        graph, dataset.train_images, dataset.train_labels, dataset.classes, seed, track=track
    )


@hookimpl(trylast=True)
def hsflow_sketch_graph(network: Network, sparsity: float) -> Graph:
    """Round weights to the nearest powers of two; other plugins are asked first."""
    from hsflow_po2.sketch import sketch_graph

    return sketch_graph(network, sparsity)
