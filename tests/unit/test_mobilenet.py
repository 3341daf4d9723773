# SPDX-License-Identifier: Apache-2.0
"""MobileNetV2: the module and the network with random weights are one architecture."""

from __future__ import annotations

from typing import Any

import pytest
from hsflow_torch.lower import lower
from hsflow_torch.mobilenet import random_mobilenet_v2, round_channels
from hsflow_torch.models.mobilenet_v2 import mobilenet_v2
from hsflow_torch.sketch import sketch_network

from hsflow.errors import ConfigurationError
from hsflow.ir.network import Add, Conv, Network
from hsflow.ir.tensor import Shape


def _structure(network: Network) -> list[tuple[Any, ...]]:
    return [
        (
            type(layer),
            layer.name,
            layer.sources,
            network.shapes[layer.name],
            getattr(layer, "window", None),
            getattr(layer, "groups", None),
            getattr(layer, "activation", None),
            getattr(layer, "pad_values", None),
        )
        for layer in network.layers
    ]


@pytest.mark.parametrize(("width", "size"), [(0.25, 32), (0.5, 96), (1.4, 64)])
def test_the_module_lowers_to_the_random_networks_structure(width: float, size: int) -> None:
    lowered = lower(mobilenet_v2(10, width), Shape(3, size, size))
    sketched = random_mobilenet_v2(width, Shape(3, size, size), 10, seed=1)
    assert _structure(lowered) == _structure(sketched)
    assert _structure(random_mobilenet_v2(1.0, Shape(3, size, size), 10, seed=1)) != _structure(lowered)


def test_width_1_has_the_published_size() -> None:
    network = sketch_network("mobilenet_v2", None, None, seed=1)
    convs = [layer for layer in network.layers if isinstance(layer, Conv)]
    assert (len(convs), sum(conv.weight.array.size for conv in convs)) == (52, 2_189_760)
    assert sum(isinstance(layer, Add) for layer in network.layers) == 10
    assert network.input_shape == Shape(3, 224, 224)
    assert network.shapes["features.18.0"] == Shape(1280, 7, 7)


def test_torchvisions_names_are_the_checkpoints() -> None:
    names = set(mobilenet_v2(width=0.25).state_dict())
    assert {"features.0.0.weight", "features.1.conv.1.weight", "features.2.conv.3.running_var"} <= names
    assert {"features.17.conv.1.1.bias", "features.18.1.weight", "classifier.1.weight"} <= names


@pytest.mark.parametrize(
    ("channels", "rounded"), [(2, 8), (11.2, 16), (8.9, 16), (8.8, 8), (448, 448), (24 * 1.4, 32)]
)
def test_channels_are_multiples_of_8(channels: float, rounded: int) -> None:
    assert round_channels(channels) == rounded


def test_a_seed_draws_the_weights() -> None:
    first, again, other = (sketch_network("mobilenet_v2", 0.25, 32, seed) for seed in (1, 1, 2))
    assert first == again != other


def test_other_architectures_are_sketched_and_not_scaled() -> None:
    network = sketch_network("digits", None, None, seed=1)
    assert network.input_shape == Shape(1, 8, 8)
    with pytest.raises(ConfigurationError, match="cannot be scaled"):
        sketch_network("digits", 0.5, None, seed=1)
