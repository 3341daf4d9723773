# SPDX-License-Identifier: Apache-2.0
"""Lower any supported torch module to a float `Network`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import fx, nn

from hsflow.importing.assembly import Unsupported, Value
from hsflow.importing.fold import check_preprocessing
from hsflow.ir.network import INPUT_NAME, Network
from hsflow.ir.tensor import Shape
from hsflow_torch.builder import Builder, Poison, is_in_place, path_of
from hsflow_torch.operators import (
    FUNCTIONS,
    METHODS,
    MODULES,
    PASSES_THROUGH,
    Handler,
    call,
    check_module,
    is_pass_through,
    module_type,
)
from hsflow_torch.trace import evaluating, trace

_PATH_SHOWN = 200


def lower(
    module: nn.Module,
    input_shape: Shape,
    *,
    name: str = "network",
    mean: Sequence[float] = (0.0,),
    std: Sequence[float] = (1.0,),
    classes: tuple[str, ...] = (),
) -> Network:
    """Return `module`, as it is in evaluation mode, as a float network that takes raw pixels; it is left as it was.

    Args:
        module: takes one tensor `(pixel / 255 - mean) / std`, shape (n, channels, height, width).
        input_shape: the image's shape.
        name: the network's name.
        mean: of the training's preprocessing, one value or one a channel.
        std: likewise.
        classes: the names of the classes.

    Raises:
        ModelError: names every operator that is not supported, or every weight that is not finite; or `mean` or `std` does
            not fit the image.
    """
    check_preprocessing(input_shape.channels, mean, std)
    root = module if module_type(module) is None else nn.Sequential(module)
    builder = Builder(input_shape, root=root)
    with evaluating(module):
        _walk(builder, trace(root, name))
    return builder.network(name, mean=mean, std=std, classes=classes)


def _walk(builder: Builder, graph: fx.Graph) -> None:
    builder.order.update({node: index for index, node in enumerate(graph.nodes)})
    for node in graph.nodes:
        node.meta[PASSES_THROUGH] = is_pass_through(builder.root, node)
    for node in graph.nodes:
        try:
            builder.values[node] = _lower_node(builder, node)
        except Unsupported as reason:
            builder.problems.append(f"{_shown(path_of(node))} ({_operator(builder, node)}): {reason}")
            builder.values[node] = Poison()


def _lower_node(builder: Builder, node: fx.Node) -> Any:
    if node.op == "placeholder":
        return _placeholder(builder, node)
    if node.op == "output":
        return _output(builder, node)
    handler, leading = _handler(builder, node)
    arguments = fx.node.map_arg(node.args, lambda n: builder.values[n])
    options = fx.node.map_arg(node.kwargs, lambda n: builder.values[n])
    if any(isinstance(value, Poison) for value in _flat([*arguments, *options.values()])):
        return Poison()
    result = call(handler, builder, node, *leading, *arguments, **_renamed(options))
    if is_in_place(builder.root, node) and isinstance(arguments[0], Value):
        builder.rebind(arguments[0], result)
    return result


def _handler(builder: Builder, node: fx.Node) -> tuple[Handler, tuple[nn.Module, ...]]:
    if node.op == "call_module":
        module = builder.root.get_submodule(str(node.target))
        return MODULES[check_module(module)], (module,)
    table: Any = METHODS if node.op == "call_method" else FUNCTIONS
    if node.op == "get_attr" or node.target not in table:
        raise Unsupported("not a supported operator")
    return table[node.target], ()


def _placeholder(builder: Builder, node: fx.Node) -> Any:
    if builder.order[node] == 0:
        return Value(INPUT_NAME)
    if node.users:
        raise Unsupported("the model takes more than one input")
    return None


def _output(builder: Builder, node: fx.Node) -> None:
    value = fx.node.map_arg(node.args[0], lambda n: builder.values[n])
    if isinstance(value, Poison):
        return
    if not isinstance(value, Value):
        raise Unsupported("the model must return one tensor")
    if builder.layers:
        builder.keep_needed(value)


def _renamed(options: dict[str, Any]) -> dict[str, Any]:
    """Return keyword arguments under the names that the handlers use: torch calls the first one `input`."""
    return {"x" if key == "input" else key: value for key, value in options.items()}


def _flat(values: Any) -> Iterator[Any]:
    for value in values:
        if isinstance(value, tuple | list):
            yield from _flat(value)
        else:
            yield value


def _operator(builder: Builder, node: fx.Node) -> str:
    if node.op == "call_module":
        return type(builder.root.get_submodule(str(node.target))).__name__
    return (
        str(node.target)
        if isinstance(node.target, str)
        else getattr(node.target, "__name__", repr(node.target))
    )


def _shown(path: str) -> str:
    return path if len(path) <= _PATH_SHOWN else f"{path[:_PATH_SHOWN]}... ({len(path)} characters)"
