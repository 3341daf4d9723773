# SPDX-License-Identifier: Apache-2.0
"""Networks by the name of their architecture alone, with random weights: enough to plan their hardware.

torch is imported only for architectures that need it.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from hsflow.errors import ConfigurationError
from hsflow.ir.network import Conv, Network, NetworkLayer
from hsflow.ir.tensor import Constant, Shape
from hsflow_torch.mobilenet import random_mobilenet_v2
from hsflow_torch.naming import TORCHVISION

CLASSES = 1000
COLOURS = 3
RESOLUTION = 224
SCALABLE = "mobilenet_v2"
"""The architecture whose channels can be scaled."""

_BUILT_IN = {"digits": (Shape(1, 8, 8), 10), "resnet20": (Shape(COLOURS, 32, 32), 10)}
"""The images and classes of the other built-in architectures."""


def sketch_network(model: str, width: float | None, resolution: int | None, seed: int) -> Network:
    """Return the network of an architecture, with normally distributed weights.

    Args:
        model: a built-in name, torchvision's, or package.module:factory.
        width: factor of the channels, for `mobilenet_v2`; None is 1.
        resolution: height and width of the image; by default 224, for the digits 8.
        seed: draws the weights.

    Raises:
        ModelError: if there is no such architecture, or it cannot be lowered.
        ConfigurationError: if its channels cannot be scaled.
    """
    name = model.removeprefix(f"{TORCHVISION}:")
    shape, classes = _BUILT_IN.get(model, (Shape(COLOURS, RESOLUTION, RESOLUTION), CLASSES))
    if resolution is not None:
        shape = replace(shape, height=resolution, width=resolution)
    if name == SCALABLE:
        return random_mobilenet_v2(1.0 if width is None else width, shape, classes, seed)
    if width is not None:
        raise ConfigurationError(
            "this architecture's channels cannot be scaled", where="--width", got=model, expected=SCALABLE
        )
    named = model if ":" in model or model in _BUILT_IN else f"{TORCHVISION}:{model}"
    return _lowered(named, shape, classes, seed)


def _lowered(model: str, shape: Shape, classes: int, seed: int) -> Network:
    from hsflow_torch.architectures import build
    from hsflow_torch.lower import lower

    module = build(model, classes=classes, seed=seed)
    network = lower(module, shape, name=model.rpartition(":")[2])
    generator = np.random.default_rng(seed)
    return replace(network, layers=tuple(map(partial(_drawn, generator), network.layers)))


def _drawn(generator: np.random.Generator, layer: NetworkLayer) -> NetworkLayer:
    """Return a convolution with normally distributed weights: fresh ones are uniform in some architectures."""
    if not isinstance(layer, Conv):
        return layer
    shape = layer.weight.array.shape
    deviation = np.float32(np.sqrt(2 / np.prod(shape[1:])))
    return replace(layer, weight=Constant(generator.standard_normal(shape, dtype=np.float32) * deviation))
