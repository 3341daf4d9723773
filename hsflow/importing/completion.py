# SPDX-License-Identifier: Apache-2.0
"""What a loader does once a network is there: check that the images fit, name the classes, leave one out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from hsflow.data import Dataset
from hsflow.errors import ModelError
from hsflow.images import Geometry
from hsflow.ir.network import Dense, Network
from hsflow.ir.tensor import Constant

ACCURACY_FLOAT = "accuracy_float"
"""The figure of every loader: the float network's accuracy on the held-out images, in percent."""


def fitted(network: Network, dataset: Dataset, geometry: Geometry, *, drop_background: bool) -> Network:
    """Return what a model's file holds as the network of a dataset, `completed`, and without its first class if so asked.

    Raises:
        ModelError: if the images have another shape than the network takes, or there is no class to leave out.
    """
    if drop_background:
        network = without_first_class(network)
    check_images_fit(network, dataset.test_images.shape[1:])
    return completed(network, dataset, geometry)


def completed(network: Network, dataset: Dataset, geometry: Geometry) -> Network:
    """Return `network` with its classes named and with how its images were cut.

    The classes are the dataset's where they are as many, else numbers.
    """
    outputs = network.shapes[network.layers[-1].name].elements
    names = dataset.classes if len(dataset.classes) == outputs else tuple(map(str, range(outputs)))
    preprocessing = replace(network.preprocessing, resize=geometry.resize, crop=geometry.crop)
    return replace(network, classes=names, preprocessing=preprocessing)


def without_first_class(network: Network) -> Network:
    """Return `network` without the classifier's first class, the background of models that have one.

    Raises:
        ModelError: if the last layer is no classifier of at least two classes.
    """
    *before, last = network.layers
    if not isinstance(last, Dense) or len(last.bias.array) < 2:
        raise ModelError(
            "the first class cannot be left out",
            where=last.name,
            got=type(last).__name__,
            expected="a classifier of at least two classes",
        )
    weight, bias = (Constant(np.array(each.array[1:])) for each in (last.weight, last.bias))
    return replace(network, layers=(*before, replace(last, weight=weight, bias=bias)))


def check_images_fit(network: Network, image: Sequence[int]) -> None:
    """Refuse images of another shape than the network takes.

    Raises:
        ModelError: if (channels, height, width) differ.
    """
    shape = network.input_shape
    wanted = (shape.channels, shape.height, shape.width)
    if tuple(image) != wanted:
        raise ModelError(
            "the images do not fit the model",
            where="[flow] data",
            got="x".join(map(str, image)),
            expected=f"{shape} (channels x height x width)",
            hint="name other images, or resize and crop them in [flow]",
        )
