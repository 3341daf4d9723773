# SPDX-License-Identifier: Apache-2.0
"""How pooling in its many spellings becomes `MaxPool` and `AveragePool`."""

from __future__ import annotations

from typing import Any

from torch import fx

from hsflow.importing.assembly import Unsupported, Value, require_map
from hsflow.importing.rounding import rounded_up
from hsflow.ir.tensor import Padding, Window
from hsflow_torch.builder import Builder, path_of


def pair(value: Any) -> tuple[int, int]:
    """Return (vertical, horizontal) of torch's one-or-two-integers argument."""
    vertical, horizontal = value if isinstance(value, tuple | list) else (value, value)
    return int(vertical), int(horizontal)


def max_pool(
    builder: Builder,
    node: fx.Node,
    x: Value,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Value:
    """Lower maximum pooling; ceil_mode becomes padding, which never wins."""
    require_map(x)
    if return_indices:
        raise Unsupported("it returns indices")
    steps = pair(kernel_size if stride is None else stride)
    window = Window(pair(kernel_size), steps, pair(dilation), Padding.same_on_all_sides(*pair(padding)))
    if ceil_mode:
        window = rounded_up(window, builder.shape(x))
    return builder.add_max_pool(path_of(node), x, window)


def average_pool(
    builder: Builder,
    node: fx.Node,
    x: Value,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Value:
    """Lower average pooling, where padding counts as zeros."""
    require_map(x)
    steps = pair(kernel_size if stride is None else stride)
    window = Window(pair(kernel_size), steps, padding=Padding.same_on_all_sides(*pair(padding)))
    if divisor_override is not None:
        raise Unsupported(f"divisor_override={divisor_override}")
    if window.padding != Padding() and not count_include_pad:
        raise Unsupported("count_include_pad=False with padding")
    if ceil_mode and rounded_up(window, builder.shape(x)) != window:
        raise Unsupported("ceil_mode=True where it makes a difference")
    return builder.add_average_pool(path_of(node), x, window)


def adaptive_average_pool(builder: Builder, node: fx.Node, x: Value, output_size: Any) -> Value:
    """Lower average pooling to a given size, which must divide the input's."""
    require_map(x)
    shape = builder.shape(x)
    sizes = output_size if isinstance(output_size, tuple | list) else (output_size, output_size)
    rows, columns = (
        shape.height if sizes[0] is None else sizes[0],
        shape.width if sizes[1] is None else sizes[1],
    )
    if min(rows, columns) < 1:
        raise Unsupported(f"an output of {rows}x{columns} is empty")
    if shape.height % rows or shape.width % columns:
        raise Unsupported(f"an output of {rows}x{columns} does not divide the input of {shape}")
    window = Window(*2 * ((shape.height // rows, shape.width // columns),))
    return builder.add_average_pool(path_of(node), x, window)


def mean(
    builder: Builder, node: fx.Node, x: Value, dim: Any = None, keepdim: bool = False, **options: Any
) -> Value:
    """Lower the mean over height and width."""
    require_map(x)
    dims = {d % 4 for d in dim} if isinstance(dim, tuple | list) else set()
    if dims != {2, 3} or options:
        raise Unsupported(f"it takes the mean over {dim}; only over height and width, [2, 3]")
    return builder.add_mean(path_of(node), x, keep=keepdim)
