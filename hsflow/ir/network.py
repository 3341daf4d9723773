# SPDX-License-Identifier: Apache-2.0
"""The float network: what a loader makes, a pruner thins out and a quantizer turns into a `Graph`.

Batch normalization is folded, dropout is gone, preprocessing is folded into the first layer: the input is the raw
8-bit pixel `p`, which stands for `p / 256`. Layers are in topological order and name their sources.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import TypeAlias

from hsflow.ir.tensor import Constant, OneSource, Shape, Window

INPUT_NAME = "input"
"""The reserved name by which a layer refers to the image."""

PIXEL_WIDTH = 8
PIXEL_FRACTION = 8


class Activation(Enum):
    """Name the function that follows a layer."""

    NONE = "none"
    RELU = "relu"
    RELU6 = "relu6"


@dataclass(frozen=True)
class Conv(OneSource):
    """Convolve, add the bias, apply the activation.

    `weight` is float, shape (outputs, inputs / groups, kernel height, kernel width); `bias` is float, shape (outputs,);
    `mask` is bool of `weight`'s shape, false where a weight was pruned; `pad_values` stand for padding, one for each
    input channel, in the input's unit (an integer multiple of 1/256 in the first layer).
    """

    name: str
    source: str
    weight: Constant
    bias: Constant
    window: Window
    groups: int = 1
    activation: Activation = Activation.NONE
    pad_values: tuple[float, ...] = ()
    mask: Constant | None = None


@dataclass(frozen=True)
class Add:
    """Add two feature maps of one shape, then apply the activation."""

    name: str
    sources: tuple[str, str]
    activation: Activation = Activation.NONE


@dataclass(frozen=True)
class MaxPool(OneSource):
    """Take the maximum of each window; padding never wins."""

    name: str
    source: str
    window: Window


@dataclass(frozen=True)
class AveragePool(OneSource):
    """Take the mean of each window; padding counts as zeros."""

    name: str
    source: str
    window: Window


@dataclass(frozen=True)
class Dense(OneSource):
    """Classify: the last layer, which stays programmable.

    `weight` is float, shape (classes, features), with the features in stream order: pixel by pixel, in each pixel
    channel by channel (height, width, channels; not torch's channels, height, width). `bias` has shape (classes,).
    """

    name: str
    source: str
    weight: Constant
    bias: Constant


NetworkLayer: TypeAlias = Conv | Add | MaxPool | AveragePool | Dense


@dataclass(frozen=True)
class Preprocessing:
    """Tell what happened to an image before the trained model saw it.

    The shorter side was scaled to `resize` pixels and (height, width) `crop` cut from the centre, where they are not
    None: that is still the images' reader's to do. Then came `(pixel / 255 - mean) / std`, one value for all channels or
    one for each: that is folded into the layers.
    """

    resize: int | None = None
    crop: tuple[int, int] | None = None
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)


_NO_PREPROCESSING = Preprocessing()


@dataclass(frozen=True)
class Network:
    """Hold a trained float network and where each layer came from.

    `origins` gives each layer's module path in the model that was loaded. `classes` names the classes. `preprocessing`
    is a record: what of it concerns values is folded into the layers.
    """

    name: str
    input_shape: Shape
    layers: tuple[NetworkLayer, ...]
    classes: tuple[str, ...] = ()
    origins: tuple[tuple[str, str], ...] = ()
    preprocessing: Preprocessing = _NO_PREPROCESSING

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """Return the shape of every feature map by name; `Dense` gives classes x 1 x 1."""
        shapes = {INPUT_NAME: self.input_shape}
        for layer in self.layers:
            shapes[layer.name] = layer_shape(layer, shapes[layer.sources[0]])
        return shapes


def layer_shape(layer: NetworkLayer, source: Shape) -> Shape:
    """Return the shape that `layer` makes of `source`."""
    match layer:
        case Conv():
            return Shape(layer.weight.array.shape[0], *layer.window.output_size(source.height, source.width))
        case MaxPool() | AveragePool():
            return Shape(source.channels, *layer.window.output_size(source.height, source.width))
        case Dense():
            return Shape(layer.weight.array.shape[0], 1, 1)
        case Add():
            return source
