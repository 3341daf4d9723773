# SPDX-License-Identifier: Apache-2.0
"""The state of one lowering: layers so far, what each traced value stands for, and every problem found."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import fx, nn

from hsflow.ir.network import INPUT_NAME, Activation, Add, Conv, NetworkLayer, layer_shape
from hsflow.ir.tensor import Shape, Window
from hsflow_torch.fold import fold_scale, identity_conv, per_channel_conv

BATCH = object()
"""Stands for the batch size wherever a model reads it from a tensor's shape."""

_NUMBER = re.compile(r"_\d+$")


class Unsupported(Exception):  # noqa: N818  (not an error of the program: it becomes a line of one ModelError)
    """Say why an operator cannot be lowered."""


@dataclass(frozen=True)
class Value:
    """Stand for a traced tensor: the layer that makes it, and whether it was flattened to (n, features)."""

    layer: str
    flat: bool = False


@dataclass(frozen=True)
class SizeOf:
    """Stand for the result of `tensor.size()` or `tensor.shape`."""

    value: Value


class Poison:
    """Stand for the result of an unsupported operator, so that lowering can go on and find further ones."""


@dataclass
class Builder:
    """Collect layers in topological order."""

    root: nn.Module
    input_shape: Shape
    layers: dict[str, NetworkLayer] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)
    origins: dict[str, str] = field(default_factory=dict)
    values: dict[fx.Node, Any] = field(default_factory=dict)
    order: dict[fx.Node, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.shapes[INPUT_NAME] = self.input_shape

    def shape(self, value: Value) -> Shape:
        """Return the shape of the feature map behind `value`."""
        return self.shapes[value.layer]

    def unique(self, wanted: str) -> str:
        """Return `wanted`, or with a number behind it where the name is taken."""
        name, count = wanted, 1
        while not name or name in self.shapes:
            count += 1
            name = f"{wanted}#{count}"
        return name

    def append(self, node: fx.Node, layer: NetworkLayer) -> Value:
        """Add a layer; raises Unsupported where it does not fit its source."""
        check_window(getattr(layer, "window", None))
        shape = layer_shape(layer, self.shapes[layer.sources[0]])
        if min(shape.height, shape.width) < 1:
            raise Unsupported(f"its window does not fit the input of {self.shapes[layer.sources[0]]}")
        self.layers[layer.name] = layer
        self.shapes[layer.name] = shape
        self.origins[layer.name] = path_of(node)
        return Value(layer.name)

    def scale(self, node: fx.Node, value: Value, scale: NDArray[Any], offset: NDArray[Any]) -> Value:
        """Apply `x * scale + offset`, folded into the convolution before if nothing else reads that one."""
        layer = self.layers.get(value.layer)
        plain = isinstance(layer, Conv) and layer.activation is Activation.NONE
        if isinstance(layer, Conv) and plain and self.is_exclusive(value, node):
            self.layers[layer.name] = fold_scale(layer, scale, offset)
            return value
        added = self.append(node, per_channel_conv(self.name_of(node), value.layer, scale, offset))
        return replace(added, flat=value.flat)

    def activate(self, node: fx.Node, value: Value, activation: Activation) -> Value:
        """Apply `activation`, as part of the layer before if nothing else reads that one."""
        layer = self.layers.get(value.layer)
        if isinstance(layer, Conv | Add) and layer.activation is activation:
            return value
        if isinstance(layer, Conv | Add) and layer.activation is Activation.NONE:
            in_place = is_in_place(self.root, node)
            if self.is_exclusive(value, node, in_place=in_place):
                self.layers[layer.name] = replace(layer, activation=activation)
                return value
        conv = identity_conv(self.name_of(node), value.layer, self.shape(value).channels)
        return replace(self.append(node, replace(conv, activation=activation)), flat=value.flat)

    def is_exclusive(self, value: Value, node: fx.Node, *, in_place: bool = False) -> bool:
        """Tell whether `node` alone reads the feature map; what reads after an in-place write sees the new one."""
        if any(value.layer in layer.sources for layer in self.layers.values()):
            return False
        return in_place or not any(self.order[user] > self.order[node] for user in self._users(value))

    def rebind(self, old: Value, new: Value) -> None:
        """Let every alias of `old` stand for `new`: an operator wrote in place."""
        for node, value in self.values.items():
            if isinstance(value, Value) and value.layer == old.layer:
                self.values[node] = replace(value, layer=new.layer)

    def name_of(self, node: fx.Node) -> str:
        """Return a free name for the layer that `node` makes."""
        return self.unique(path_of(node))

    def _users(self, value: Value) -> Iterator[fx.Node]:
        for node, known in self.values.items():
            if isinstance(known, Value) and known.layer == value.layer:
                yield from node.users


def check_window(window: Window | None) -> None:
    """Refuse by raising Unsupported what torch refuses only when it computes."""
    if window is None:
        return
    pad = window.padding
    if min(*window.kernel, *window.stride, *window.dilation) < 1:
        raise Unsupported("its kernel, stride and dilation must be at least 1")
    if min(pad.top, pad.bottom, pad.left, pad.right) < 0:
        raise Unsupported("its padding must not be negative")


def path_of(node: fx.Node) -> str:
    """Return the module path of a module call; for a function, the calling module's path and its name."""
    if node.op == "call_module":
        return str(node.target)
    stack = list(node.meta.get("nn_module_stack", {}).values())
    owner = str(stack[-1][0]) if stack else ""
    name = _NUMBER.sub("", node.name)
    return f"{owner}.{name}" if owner else name


def is_in_place(root: nn.Module, node: fx.Node) -> bool:
    """Tell whether `node` overwrites its first argument."""
    if node.op == "call_module":
        return bool(getattr(root.get_submodule(str(node.target)), "inplace", False))
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    written = name.endswith("_") and not name.endswith("__")
    return written or name == "iadd" or node.kwargs.get("inplace") is True or _positional_inplace(node)


def _positional_inplace(node: fx.Node) -> bool:
    return getattr(node.target, "__name__", "") in {"relu", "relu6"} and node.args[1:] == (True,)


def float64(tensor: Any) -> NDArray[np.float64]:
    """Return a tensor's values as a float64 array."""
    array: NDArray[np.float64] = tensor.detach().cpu().double().numpy()
    return array
