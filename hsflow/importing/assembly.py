# SPDX-License-Identifier: Apache-2.0
"""Assemble a float network operator by operator: what torch, TFLite and ONNX mean by one becomes layers here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsflow.errors import ModelError
from hsflow.importing.fold import (
    FloatArray,
    check_preprocessing,
    fold_preprocessing,
    fold_scale,
    identity_conv,
    per_channel_conv,
    single,
)
from hsflow.ir.network import (
    INPUT_NAME,
    Activation,
    Add,
    AveragePool,
    Conv,
    Dense,
    MaxPool,
    Network,
    NetworkLayer,
    Preprocessing,
    layer_shape,
)
from hsflow.ir.tensor import Padding, Shape, Window

_SHOWN = 20
_NO_PADDING = Padding()


class Unsupported(Exception):  # noqa: N818  (not an error of the program: it becomes a line of one ModelError)
    """Say why an operator cannot be taken."""


@dataclass(frozen=True)
class Value:
    """Stand for a model's tensor: the layer that makes it, whether it was flattened to (n, features), zeros around it."""

    layer: str
    flat: bool = False
    padding: Padding = _NO_PADDING


@dataclass
class Assembly:
    """Collect layers in topological order.

    `origin` is where an operator stands in the model; the layer that it becomes is named after it.
    """

    input_shape: Shape
    layers: dict[str, NetworkLayer] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.shapes[INPUT_NAME] = self.input_shape

    def shape(self, value: Value) -> Shape:
        """Return the shape of the feature map behind `value`, without zeros around it."""
        return self.shapes[value.layer]

    def described(self, value: Value) -> str:
        """Return what `value` is, for a message."""
        shape = self.shape(value)
        return f"{shape.elements} flattened features" if value.flat else f"a feature map of {shape}"

    def unique(self, wanted: str) -> str:
        """Return `wanted`, or with a number behind it where the name is taken."""
        name, count = wanted, 1
        while not name or name in self.shapes:
            count += 1
            name = f"{wanted}#{count}"
        return name

    def add_layer(self, origin: str, layer: NetworkLayer) -> Value:
        """Add a layer; raises Unsupported where it does not fit its source."""
        check_window(getattr(layer, "window", None))
        shape = layer_shape(layer, self.shapes[layer.sources[0]])
        if min(shape.height, shape.width) < 1:
            raise Unsupported(f"its window does not fit the input of {self.shapes[layer.sources[0]]}")
        self.layers[layer.name] = layer
        self.shapes[layer.name] = shape
        self.origins[layer.name] = origin
        return Value(layer.name)

    def add_conv(
        self,
        origin: str,
        x: Value,
        weight: FloatArray,
        bias: FloatArray,
        window: Window,
        *,
        groups: int = 1,
        activation: Activation = Activation.NONE,
    ) -> Value:
        """Convolve; `weight` has shape (outputs, inputs / groups, kernel height, kernel width)."""
        channels = self.shape(x).channels
        if x.flat or weight.shape[1] * groups != channels or weight.shape[0] % groups:
            raise Unsupported(f"it takes {weight.shape[1] * groups} channels but gets {self.described(x)}")
        check_bias(weight, bias)
        return self.add_layer(
            origin,
            Conv(
                self.unique(origin),
                x.layer,
                single(weight),
                single(bias),
                padded(window, x),
                groups,
                activation,
                pad_values=(0.0,) * channels,
            ),
        )

    def add_linear(
        self, origin: str, x: Value, weight: FloatArray, bias: FloatArray, *, is_output: bool
    ) -> Value:
        """Connect every feature: the programmable `Dense` where it is the output, else a convolution over the whole map.

        `weight` has shape (outputs, channels, height, width), that of the map before it was flattened.
        """
        shape = self.shape(require_unpadded(x))
        check_bias(weight, bias)
        window = Window((shape.height, shape.width))
        if not is_output:
            return replace(self.add_conv(origin, replace(x, flat=False), weight, bias, window), flat=True)
        stream = weight.transpose(0, 2, 3, 1).reshape(len(weight), -1)
        layer = Dense(self.unique(origin), x.layer, single(stream), single(bias))
        return replace(self.add_layer(origin, layer), flat=True)

    def add_sum(self, origin: str, x: Value, y: Value, activation: Activation = Activation.NONE) -> Value:
        """Add two feature maps of one shape."""
        if self.shape(require_unpadded(x)) != self.shape(require_unpadded(y)) or x.flat != y.flat:
            raise Unsupported(f"it adds {self.described(x)} and {self.described(y)}")
        layer = Add(self.unique(origin), (x.layer, y.layer), activation)
        return replace(self.add_layer(origin, layer), flat=x.flat)

    def add_max_pool(self, origin: str, x: Value, window: Window) -> Value:
        """Take the maximum of each window."""
        require_map(require_unpadded(x))
        return self.add_layer(origin, MaxPool(self.unique(origin), x.layer, window))

    def add_average_pool(self, origin: str, x: Value, window: Window) -> Value:
        """Take the mean of each window, where padding counts as zeros."""
        require_map(x)
        return self.add_layer(origin, AveragePool(self.unique(origin), x.layer, padded(window, x)))

    def add_mean(self, origin: str, x: Value, *, keep: bool) -> Value:
        """Take the mean over height and width; `keep` tells whether those dimensions stay."""
        shape = self.shape(require_unpadded(x))
        size = (shape.height, shape.width)
        value = self.add_average_pool(origin, x, Window(size, size))
        return replace(value, flat=not keep)

    def add_scale(
        self, origin: str, x: Value, scale: FloatArray, offset: FloatArray, *, exclusive: bool
    ) -> Value:
        """Apply `x * scale + offset`, folded into the convolution before if nothing else reads that one."""
        layer = self.layers.get(require_unpadded(x).layer)
        if exclusive and isinstance(layer, Conv) and layer.activation is Activation.NONE:
            self.layers[layer.name] = fold_scale(layer, scale, offset)
            return x
        added = self.add_layer(origin, per_channel_conv(self.unique(origin), x.layer, scale, offset))
        return replace(added, flat=x.flat)

    def add_bias(self, layer: Dense, offset: FloatArray) -> None:
        """Add to the classifier's bias."""
        self.layers[layer.name] = replace(layer, bias=single(layer.bias.array.astype(np.float64) + offset))

    def add_activation(self, origin: str, x: Value, activation: Activation, *, exclusive: bool) -> Value:
        """Apply `activation`, as part of the layer before if nothing else reads that one."""
        layer = self.layers.get(require_unpadded(x).layer)
        if isinstance(layer, Conv | Add) and layer.activation is activation:
            return x
        if exclusive and isinstance(layer, Conv | Add) and layer.activation is Activation.NONE:
            self.layers[layer.name] = replace(layer, activation=activation)
            return x
        conv = identity_conv(self.unique(origin), x.layer, self.shape(x).channels)
        return replace(self.add_layer(origin, replace(conv, activation=activation)), flat=x.flat)

    def is_read(self, value: Value) -> bool:
        """Tell whether a layer so far reads the feature map."""
        return any(value.layer in layer.sources for layer in self.layers.values())

    def keep_needed(self, output: Value) -> None:
        """Drop layers that the output does not need; the output's layer is then the last one."""
        if require_unpadded(output).layer == INPUT_NAME:
            raise Unsupported("the model returns its input")
        needed, waiting = {INPUT_NAME}, [output.layer]
        while waiting:
            current = waiting.pop()
            if current not in needed:
                needed.add(current)
                waiting.extend(self.layers[current].sources)
        self.layers = {key: layer for key, layer in self.layers.items() if key in needed}

    def network(
        self,
        name: str,
        *,
        mean: Sequence[float] = (0.0,),
        std: Sequence[float] = (1.0,),
        classes: tuple[str, ...] = (),
    ) -> Network:
        """Return the network that takes raw pixels, where the layers so far expect `(pixel / 255 - mean) / std`.

        Raises:
            ModelError: names every operator that is not supported or weight that is not finite; or there is no layer, or
                `mean` or `std` does not fit the image.
        """
        check_preprocessing(self.input_shape.channels, mean, std)
        self._refuse_problems(name)
        layers = tuple(self._with_classifier())
        check_finite(name, layers)
        layers = fold_preprocessing(layers, self.input_shape.channels, mean, std)
        check_finite(name, layers)
        origins = tuple((layer.name, self.origins.get(layer.name, layer.name)) for layer in layers)
        preprocessing = Preprocessing(mean=tuple(map(float, mean)), std=tuple(map(float, std)))
        return Network(name, self.input_shape, layers, classes, origins, preprocessing)

    def _with_classifier(self) -> list[NetworkLayer]:
        """Return the layers, the last one a `Dense` where it is a convolution that computes the same."""
        *before, last = self.layers.values()
        if isinstance(last, Conv) and self._is_classifier(last):
            weight = single(last.weight.array[:, :, 0, 0])
            return [*before, Dense(last.name, last.source, weight, last.bias)]
        return [*before, last]

    def _is_classifier(self, conv: Conv) -> bool:
        plain = conv.activation is Activation.NONE and conv.groups == 1 and conv.window.is_pointwise
        return plain and self.shapes[conv.source].pixels == 1 and len(self.layers) > 1

    def _refuse_problems(self, name: str) -> None:
        if self.problems:
            raise refusal(name, self.problems)
        if not self.layers:
            raise ModelError(
                "the model has no layer", where=name, expected="at least one convolution or linear layer"
            )


def refusal(name: str, problems: Sequence[str]) -> ModelError:
    """Return the error that lists every operator that is not supported."""
    count = len(problems)
    shown = [*problems[:_SHOWN], *([f"and {count - _SHOWN} more"] if count > _SHOWN else [])]
    return ModelError(
        f"{count} operator{'s are' if count > 1 else ' is'} not supported",
        where=name,
        got="".join(f"\n    {problem}" for problem in shown),
        expected="convolution, batch normalization, ReLU, ReLU6, addition, maximum and average pooling, the mean over "
        "height and width, flattening, linear layers, dropout",
        hint="replace or remove what is listed",
    )


def padded(window: Window, x: Value) -> Window:
    """Return `window` with the zeros around `x` as part of its padding."""
    own, around = window.padding, x.padding
    total = Padding(
        own.top + around.top, own.bottom + around.bottom, own.left + around.left, own.right + around.right
    )
    return replace(window, padding=total)


def require_map(x: Value) -> Value:
    """Return `x`; raises Unsupported where it was flattened."""
    if x.flat:
        raise Unsupported("it gets flattened features, not a feature map")
    return x


def require_unpadded(x: Value) -> Value:
    """Return `x`; raises Unsupported where it has zeros around it."""
    if x.padding != _NO_PADDING:
        raise Unsupported("it follows padding; only a convolution or an average pooling may")
    return x


def normalization(
    gain: FloatArray, shift: FloatArray, mean: FloatArray, variance: FloatArray, epsilon: float
) -> tuple[FloatArray, FloatArray]:
    """Return the factor and the offset of each channel that batch normalization comes to.

    Raises Unsupported where they are not finite.
    """
    with np.errstate(all="ignore"):
        factor = gain / np.sqrt(variance + epsilon)
        offset = shift - mean * factor
    if not np.isfinite([factor, offset]).all():
        raise Unsupported("its running variance gives factors that are not finite")
    return factor, offset


def check_bias(weight: FloatArray, bias: FloatArray) -> None:
    """Refuse by raising Unsupported a bias that is not one number an output."""
    if bias.shape != weight.shape[:1]:
        raise Unsupported(f"its bias has shape {bias.shape} for {len(weight)} outputs")


def check_window(window: Window | None) -> None:
    """Refuse by raising Unsupported a window that frameworks refuse only when they compute."""
    if window is None:
        return
    pad = window.padding
    if min(*window.kernel, *window.stride, *window.dilation) < 1:
        raise Unsupported("its kernel, stride and dilation must be at least 1")
    if min(pad.top, pad.bottom, pad.left, pad.right) < 0:
        raise Unsupported("its padding must not be negative")


def check_finite(name: str, layers: Sequence[NetworkLayer]) -> None:
    """Refuse NaN and infinite weights.

    Raises:
        ModelError: names each layer that has one.
    """
    bad = [layer.name for layer in layers if isinstance(layer, Conv | Dense) and not _is_finite(layer)]
    if bad:
        more = f" and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
        raise not_finite(name, ", ".join(bad[:_SHOWN]) + more)


def not_finite(where: str, got: str) -> ModelError:
    """Return the error about weights that are NaN or infinite."""
    return ModelError(
        "the model has weights that are NaN or infinite",
        where=where,
        got=got,
        expected="finite numbers",
        hint="train again or load another model",
    )


def _is_finite(layer: Conv | Dense) -> bool:
    arrays: tuple[NDArray[Any], ...] = (layer.weight.array, layer.bias.array)
    return all(bool(np.isfinite(array).all()) for array in arrays)
