# SPDX-License-Identifier: Apache-2.0
"""Sketched graphs: legal, close to the float weights, and as sparse as asked for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hsflow_po2.sketch import round_to_nearest, sketch_graph
from hsflow_torch.sketch import sketch_network

from hsflow.errors import ModelError
from hsflow.ir.graph import Conv, Graph
from hsflow.ir.network import Conv as FloatConv
from hsflow.ir.network import Network
from hsflow.ir.tensor import Constant, Shape
from hsflow.ir.verify import verify


@pytest.fixture(scope="module")
def network() -> Network:
    return sketch_network("mobilenet_v2", 0.1, 32, seed=1)


def _convs(graph: Graph) -> list[Conv]:
    return [layer for layer in graph.layers if isinstance(layer, Conv)]


def test_a_sketch_is_a_legal_graph(network: Network) -> None:
    graph = verify(sketch_graph(network))
    assert [layer.name for layer in graph.layers] == [layer.name for layer in network.layers]
    assert all(graph.feature_maps[name].shape == network.shapes[name] for name in network.shapes)
    assert graph.input.shape == Shape(3, 32, 32)


def test_weights_are_the_nearest_powers_of_two() -> None:
    weight = np.array(
        [[1.0, -0.75, 0.74, 0.011, 0.003], [0.0, 0.0, 0.0, 0.0, 0.0], [-5.9, 6.1, 0.1, 0.0, 3.0]]
    )
    rounded = round_to_nearest(weight.reshape(3, 5, 1, 1), levels=8)
    values = rounded.weight.integers.reshape(3, 5) * 2.0 ** -rounded.fractions[:, np.newaxis]
    assert values.tolist() == [
        [1.0, -1.0, 0.5, 2.0**-7, 0.0],
        [0.0, 0.0, 0.0, 0.0, 0.0],
        [-4.0, 8.0, 0.125, 0.0, 4.0],
    ]


@pytest.mark.parametrize("sparsity", [0.0, 0.5, 0.8])
def test_a_sketch_has_the_zeros_that_are_asked_for(network: Network, sparsity: float) -> None:
    for conv in _convs(sketch_graph(network, sparsity)):
        zeros = float((conv.weight.sign.array == 0).mean())
        assert sparsity - 1e-9 <= zeros <= sparsity + 0.15


def test_a_weight_that_is_not_finite_is_refused(network: Network) -> None:
    first = network.layers[0]
    assert isinstance(first, FloatConv)
    spoilt = replace(first, bias=Constant(np.full_like(first.bias.array, np.nan)))
    with pytest.raises(ModelError, match="not finite"):
        sketch_graph(replace(network, layers=(spoilt, *network.layers[1:])))
