# SPDX-License-Identifier: Apache-2.0
"""How each supported torch operator becomes network layers: one function each, and three tables that name them."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.nn import functional

from hsflow.importing.assembly import Unsupported, Value, normalization
from hsflow.ir.network import Activation
from hsflow.ir.tensor import Padding, Window
from hsflow_torch.builder import BATCH, Builder, SizeOf, float64, path_of
from hsflow_torch.pooling import (
    adaptive_average_pool,
    average_pool,
    max_pool,
    mean,
    pair,
)

PASSES_THROUGH = "hsflow_passes_through"
"""The key of a node's metadata that tells what `is_pass_through` found."""

Handler = Callable[..., Any]
"""Takes the builder, the node, the module (for modules), then the operator's own arguments."""


def convolution(builder: Builder, node: fx.Node, module: nn.Conv2d, x: Value) -> Value:
    """Lower nn.Conv2d: any groups, stride, dilation; zero padding."""
    window = Window(pair(module.kernel_size), pair(module.stride), pair(module.dilation), _padding_of(module))
    weight, bias = float64(module.weight), _bias_of(module, module.out_channels)
    return builder.add_conv(path_of(node), x, weight, bias, window, groups=module.groups)


def _padding_of(module: nn.Conv2d) -> Padding:
    if module.padding == "valid":
        return Padding()
    if module.padding == "same":
        total = [d * (k - 1) for d, k in zip(pair(module.dilation), pair(module.kernel_size), strict=True)]
        top, left = total[0] // 2, total[1] // 2
        return Padding(top, total[0] - top, left, total[1] - left)
    return Padding.same_on_all_sides(*pair(module.padding))


def _bias_of(module: nn.Conv2d | nn.Linear, outputs: int) -> Any:
    return np.zeros(outputs) if module.bias is None else float64(module.bias)


def linear(builder: Builder, node: fx.Node, module: nn.Linear, x: Value) -> Value:
    """Lower nn.Linear to the programmable `Dense` where it is the output, else to a convolution over the whole map."""
    shape = builder.shape(x)
    if not x.flat or shape.elements != module.in_features:
        raise Unsupported(f"it takes {module.in_features} flattened features but gets {builder.described(x)}")
    weight = float64(module.weight).reshape(-1, shape.channels, shape.height, shape.width)
    bias = _bias_of(module, module.out_features)
    return builder.add_linear(path_of(node), x, weight, bias, is_output=_is_output(node))


def _is_output(node: fx.Node) -> bool:
    """Tell whether nothing but operators that change nothing stands between `node` and the output."""
    while len(node.users) == 1:
        (node,) = node.users
        if node.op == "output":
            return True
        if not node.meta.get(PASSES_THROUGH, False):
            return False
    return False


def batch_norm(builder: Builder, node: fx.Node, module: nn.BatchNorm2d | nn.BatchNorm1d, x: Value) -> Value:
    """Lower batch normalization to a factor and an offset for each channel."""
    shape = builder.shape(x)
    if shape.channels != module.num_features or (x.flat and shape.pixels > 1):
        raise Unsupported(f"it takes {module.num_features} channels but gets {builder.described(x)}")
    gain = float64(module.weight) if module.affine else np.ones(shape.channels)
    shift = float64(module.bias) if module.affine else np.zeros(shape.channels)
    mean, variance = float64(module.running_mean), float64(module.running_var)
    scale, offset = normalization(gain, shift, mean, variance, module.eps)
    return builder.scale(node, x, scale, offset)


def relu(builder: Builder, node: fx.Node, x: Value, inplace: bool = False) -> Value:
    """Lower ReLU in any of its spellings."""
    return builder.activate(node, x, Activation.RELU)


def relu6(builder: Builder, node: fx.Node, x: Value, inplace: bool = False) -> Value:
    """Lower ReLU6 in any of its spellings."""
    return builder.activate(node, x, Activation.RELU6)


def hardtanh(
    builder: Builder,
    node: fx.Node,
    x: Value,
    min_val: float = -1.0,
    max_val: float = 1.0,
    inplace: bool = False,
) -> Value:
    """Lower hardtanh between 0 and 6, which is ReLU6."""
    if (min_val, max_val) != (0, 6):
        raise Unsupported(f"its bounds are {min_val}..{max_val}; only 0..6 (ReLU6) is supported")
    return builder.activate(node, x, Activation.RELU6)


def add(builder: Builder, node: fx.Node, x: Any, other: Any, *, alpha: float = 1) -> Value:
    """Lower the addition of two feature maps of one shape."""
    if not isinstance(x, Value) or not isinstance(other, Value):
        raise Unsupported("it adds something that is not a feature map")
    if alpha != 1:
        raise Unsupported(f"alpha={alpha}; only 1 is supported")
    return builder.add_sum(path_of(node), x, other)


def pass_through(builder: Builder, node: fx.Node, x: Value, *rest: Any, **options: Any) -> Value:
    """Lower what changes nothing in evaluation mode."""
    return x


def flatten(builder: Builder, node: fx.Node, x: Value, start_dim: int = 0, end_dim: int = -1) -> Value:
    """Lower flattening to (n, features)."""
    if x.flat and start_dim == 1:
        return x
    if start_dim not in {1, -3} or end_dim not in {-1, 3}:
        raise Unsupported(f"it flattens dimensions {start_dim} to {end_dim}; expected 1 to -1")
    return replace(x, flat=True)


def reshape(builder: Builder, node: fx.Node, x: Value, *sizes: Any, **options: Any) -> Value:
    """Lower view and reshape to (n, features)."""
    given = tuple(sizes[0]) if len(sizes) == 1 and isinstance(sizes[0], tuple | list) else sizes
    features = builder.shape(x).elements
    if (
        len(given) == 2
        and (given[0] is BATCH or given[0] == -1)
        and given[1] in ({-1, features} - {given[0]})
    ):
        return replace(x, flat=True)
    raise Unsupported(f"it reshapes to {len(given)} dimensions; only (n, -1) is supported")


def size(builder: Builder, node: fx.Node, x: Value, dim: int | None = None) -> Any:
    """Lower a tensor's size, of which only the batch dimension may be used."""
    return SizeOf(x) if dim is None else item(builder, node, SizeOf(x), dim)


def attribute(builder: Builder, node: fx.Node, x: Any, name: str) -> Any:
    """Lower `tensor.shape`."""
    if name != "shape" or not isinstance(x, Value):
        raise Unsupported(f"it reads the attribute {name!r}")
    return SizeOf(x)


def item(builder: Builder, node: fx.Node, of: Any, index: Any) -> Any:
    """Lower an element of `tensor.shape`: the batch size, or a number known at tracing."""
    if not isinstance(of, SizeOf) or not isinstance(index, int):
        raise Unsupported("it indexes a feature map")
    shape = builder.shape(of.value)
    sizes = (BATCH, shape.elements) if of.value.flat else (BATCH, shape.channels, shape.height, shape.width)
    if not -len(sizes) <= index < len(sizes):
        raise Unsupported(f"it reads dimension {index} of {len(sizes)}")
    return sizes[index]


def _of_module(handler: Handler, *names: str) -> Handler:
    """Let `handler` take its arguments `names` from a module's attributes."""

    def call(builder: Builder, node: fx.Node, module: nn.Module, x: Value) -> Any:
        return handler(builder, node, x, *(getattr(module, name) for name in names))

    return call


MODULES: Mapping[type[nn.Module], Handler] = {
    nn.Conv2d: convolution,
    nn.Linear: linear,
    nn.BatchNorm2d: batch_norm,
    nn.BatchNorm1d: batch_norm,
    nn.ReLU: _of_module(relu),
    nn.ReLU6: _of_module(relu6),
    nn.Hardtanh: _of_module(hardtanh, "min_val", "max_val"),
    nn.MaxPool2d: _of_module(max_pool, "kernel_size", "stride", "padding", "dilation", "ceil_mode"),
    nn.AvgPool2d: _of_module(
        average_pool,
        "kernel_size",
        "stride",
        "padding",
        "ceil_mode",
        "count_include_pad",
        "divisor_override",
    ),
    nn.AdaptiveAvgPool2d: _of_module(adaptive_average_pool, "output_size"),
    nn.Flatten: _of_module(flatten, "start_dim", "end_dim"),
    nn.Dropout: _of_module(pass_through),
    nn.Dropout2d: _of_module(pass_through),
    nn.Identity: _of_module(pass_through),
}

FUNCTIONS: Mapping[Any, Handler] = {
    operator.add: add,
    operator.iadd: add,
    torch.add: add,
    torch.relu: relu,
    torch.relu_: relu,
    functional.relu: relu,
    functional.relu_: relu,
    functional.relu6: relu6,
    functional.hardtanh: hardtanh,
    functional.hardtanh_: hardtanh,
    functional.max_pool2d: max_pool,
    torch.max_pool2d: max_pool,
    functional.avg_pool2d: average_pool,
    functional.adaptive_avg_pool2d: adaptive_average_pool,
    functional.dropout: pass_through,
    functional.dropout2d: pass_through,
    torch.flatten: flatten,
    torch.reshape: reshape,
    torch.mean: mean,
    getattr: attribute,
    operator.getitem: item,
}

METHODS: Mapping[str, Handler] = {
    "add": add,
    "add_": add,
    "relu": relu,
    "relu_": relu,
    "flatten": flatten,
    "view": reshape,
    "reshape": reshape,
    "mean": mean,
    "size": size,
    "contiguous": pass_through,
}


def module_type(module: nn.Module) -> type[nn.Module] | None:
    """Return the supported layer that `module` is, or behaves as because a subclass left its forward() alone."""
    for known in MODULES:
        if isinstance(module, known) and all(
            getattr(type(module), method, None) is getattr(known, method, None)
            for method in ("forward", "_conv_forward", "_check_input_dim")
        ):
            return known
    return None


def is_pass_through(root: nn.Module, node: fx.Node) -> bool:
    """Tell whether `node` changes nothing in evaluation mode."""
    if node.op == "call_module":
        return module_type(root.get_submodule(str(node.target))) in {nn.Dropout, nn.Dropout2d, nn.Identity}
    table: Any = METHODS if node.op == "call_method" else FUNCTIONS
    return node.op != "get_attr" and table.get(node.target) is pass_through


def check_module(module: nn.Module) -> type[nn.Module]:
    """Return the supported layer that `module` is; refuse what no input could make supported by raising Unsupported."""
    kind = module_type(module)
    if kind is None:
        raise Unsupported("not a supported layer")
    if module._forward_hooks or module._forward_pre_hooks:
        raise Unsupported("it has forward hooks; remove them (torch.nn.utils.prune.remove)")
    if isinstance(module, nn.Conv2d) and module.padding_mode != "zeros":
        raise Unsupported(f"padding_mode={module.padding_mode!r}; only 'zeros' is supported")
    if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) and module.running_var is None:
        raise Unsupported("it has no running statistics (track_running_stats=False)")
    return kind


def call(handler: Handler, *arguments: Any, **options: Any) -> Any:
    """Call a handler; arguments that it does not know make the operator unsupported."""
    try:
        inspect.signature(handler).bind(*arguments, **options)
    except TypeError as error:
        raise Unsupported(f"it is called with arguments that are not supported ({error})") from error
    return handler(*arguments, **options)
