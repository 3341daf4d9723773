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

from hsflow.importing.assembly import Assembly, Value
from hsflow.ir.network import Activation

BATCH = object()
"""Stands for the batch size wherever a model reads it from a tensor's shape."""

_NUMBER = re.compile(r"_\d+$")


@dataclass(frozen=True)
class SizeOf:
    """Stand for the result of `tensor.size()` or `tensor.shape`."""

    value: Value


class Poison:
    """Stand for the result of an unsupported operator, so that lowering can go on and find further ones."""


@dataclass
class Builder(Assembly):
    """Assemble what torch.fx traced."""

    root: nn.Module = field(kw_only=True)
    values: dict[fx.Node, Any] = field(default_factory=dict)
    order: dict[fx.Node, int] = field(default_factory=dict)

    def scale(self, node: fx.Node, value: Value, scale: NDArray[Any], offset: NDArray[Any]) -> Value:
        """Apply `x * scale + offset`."""
        return self.add_scale(path_of(node), value, scale, offset, exclusive=self.is_exclusive(value, node))

    def activate(self, node: fx.Node, value: Value, activation: Activation) -> Value:
        """Apply `activation`."""
        exclusive = self.is_exclusive(value, node, in_place=is_in_place(self.root, node))
        return self.add_activation(path_of(node), value, activation, exclusive=exclusive)

    def is_exclusive(self, value: Value, node: fx.Node, *, in_place: bool = False) -> bool:
        """Tell whether `node` alone reads the feature map; what reads after an in-place write sees the new one."""
        if self.is_read(value):
            return False
        return in_place or not any(self.order[user] > self.order[node] for user in self._users(value))

    def rebind(self, old: Value, new: Value) -> None:
        """Let every alias of `old` stand for `new`: an operator wrote in place."""
        for node, value in self.values.items():
            if isinstance(value, Value) and value.layer == old.layer:
                self.values[node] = replace(value, layer=new.layer)

    def _users(self, value: Value) -> Iterator[fx.Node]:
        for node, known in self.values.items():
            if isinstance(known, Value) and known.layer == value.layer:
                yield from node.users


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
