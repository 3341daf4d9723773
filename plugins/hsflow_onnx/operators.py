# SPDX-License-Identifier: Apache-2.0
"""How each supported ONNX operator becomes network layers: one function each, and a table that names them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hsflow.importing.assembly import Unsupported, Value, normalization, require_map
from hsflow.importing.dataflow import Dataflow, Operator, same_padding
from hsflow.importing.fold import FloatArray, overflowing
from hsflow.importing.rounding import rounded_up
from hsflow.ir.network import Activation, Dense
from hsflow.ir.tensor import Padding, Shape, Window

_EPSILON = 1e-5


@dataclass
class Flow(Dataflow):
    """Assemble an ONNX file; its tensors are (batch, channels, height, width)."""

    def passes(self, operator: Operator) -> bool:
        """Tell whether an operator changes no order of the classes, or adds to the classifier's bias."""
        added = operator.kind == "Add" and any(name in self.constants for name in operator.inputs)
        return added or super().passes(operator)

    def input(self, operator: Operator, index: int) -> str:
        """Return the name of an input, "" where it is left out."""
        return operator.inputs[index] if index < len(operator.inputs) else ""

    def numbers(self, operator: Operator, index: int, attribute: str) -> list[Any] | None:
        """Return what newer versions of an operator take as an input and older ones as an attribute."""
        if name := self.input(operator, index):
            array = self.constant(name)
            return list(array.ravel()[:16].tolist())
        given = operator.options.get(attribute)
        return list(given) if isinstance(given, list | tuple) else None if given is None else [given]

    def integers(self, operator: Operator, index: int, attribute: str) -> list[int]:
        """Return `numbers` that are integers, none where they are left out; raises Unsupported where one is not."""
        return _whole(self.numbers(operator, index, attribute) or [], attribute)


def convolution(flow: Flow, operator: Operator) -> Value:
    """Take Conv of two dimensions: any groups, stride, dilation and padding by zeros."""
    x, weight = _map(flow, operator), flow.weights(flow.input(operator, 1))
    if weight.ndim != 4:
        raise Unsupported(f"its weight has shape {weight.shape}; expected 4 dimensions")
    named = flow.input(operator, 2)
    bias = flow.weights(named) if named else np.zeros(len(weight))
    window = _window(flow, operator, x, (weight.shape[2], weight.shape[3]))
    groups = _integer(operator, "group", 1)
    if groups < 1:
        raise Unsupported(f"it has {groups} groups")
    return flow.add_conv(operator.origin, x, weight, bias, window, groups=groups)


def _map(flow: Flow, operator: Operator) -> Value:
    return require_map(flow.value(flow.input(operator, 0)))


def _integer(operator: Operator, name: str, default: int) -> int:
    value = operator.options.get(name, default)
    if not isinstance(value, int):
        raise Unsupported(f"its {name} is no integer")
    return value


def _integers(operator: Operator, name: str, default: tuple[int, ...]) -> tuple[int, ...]:
    values = operator.options.get(name, default)
    if not isinstance(values, list | tuple) or len(values) != len(default):
        raise Unsupported(f"its {name} must be {len(default)} integers")
    return tuple(_whole(values, name))


def _whole(values: Sequence[Any], name: str) -> list[int]:
    if not all(isinstance(value, int) for value in values):
        raise Unsupported(f"its {name} must be integers")
    return list(values)


def _number(operator: Operator, name: str, default: float) -> float:
    value = operator.options.get(name, default)
    if not isinstance(value, int | float) or not math.isfinite(value):
        raise Unsupported(f"its {name} is no finite number")
    return float(value)


def _window(flow: Flow, operator: Operator, x: Value, kernel: tuple[int, int]) -> Window:
    """Return the window; automatic padding depends on the input's size, what was padded before included."""
    stride, dilation = (_integers(operator, name, (1, 1)) for name in ("strides", "dilations"))
    window = Window(kernel, (stride[0], stride[1]), (dilation[0], dilation[1]))
    if min(*kernel, *stride, *dilation) < 1:
        raise Unsupported("its kernel, stride and dilation must be at least 1")
    automatic = operator.options.get("auto_pad", "NOTSET")
    if automatic in {"SAME_UPPER", "SAME_LOWER"}:
        shape, around = flow.shape(x), x.padding
        size = shape.height + around.top + around.bottom, shape.width + around.left + around.right
        below = automatic == "SAME_UPPER"
        return replace(window, padding=same_padding(size, window.extent, window.stride, more_below=below))
    if automatic not in {"NOTSET", "VALID"}:
        raise Unsupported(f"auto_pad={str(automatic)[:40]!r}")
    top, left, bottom, right = _integers(operator, "pads", (0, 0, 0, 0))
    return window if automatic == "VALID" else replace(window, padding=Padding(top, bottom, left, right))


def batch_normalization(flow: Flow, operator: Operator) -> Value:
    """Take BatchNormalization as it is in evaluation: a factor and an offset for each channel."""
    x = flow.value(flow.input(operator, 0))
    if _integer(operator, "training_mode", 0):
        raise Unsupported("it is in training mode")
    arrays = [flow.weights(flow.input(operator, index)) for index in range(1, 5)]
    channels = flow.shape(x).channels
    if any(array.shape != (channels,) for array in arrays) or (x.flat and flow.shape(x).pixels > 1):
        raise Unsupported(f"its parameters have shape {arrays[0].shape} for {flow.described(x)}")
    gain, shift, mean, variance = arrays
    scale, offset = normalization(gain, shift, mean, variance, _number(operator, "epsilon", _EPSILON))
    return flow.add_scale(operator.origin, x, scale, offset, exclusive=flow.is_exclusive(x))


def relu(flow: Flow, operator: Operator) -> Value:
    """Take Relu."""
    return flow.activate(operator.origin, flow.value(flow.input(operator, 0)), Activation.RELU)


def clip(flow: Flow, operator: Operator) -> Value:
    """Take Clip between 0 and 6, which is ReLU6, or from 0 on, which is ReLU."""
    bounds = tuple(
        (flow.numbers(operator, index, name) or [default])[0]
        for index, name, default in ((1, "min", -np.inf), (2, "max", np.inf))
    )
    activations = {(0.0, 6.0): Activation.RELU6, (0.0, np.inf): Activation.RELU}
    if bounds not in activations:
        raise Unsupported(f"its bounds are {bounds[0]}..{bounds[1]}; only 0..6 (ReLU6) and 0.. (ReLU)")
    return flow.activate(operator.origin, flow.value(flow.input(operator, 0)), activations[bounds])


def add(flow: Flow, operator: Operator) -> Value:
    """Take Add of two feature maps of one shape, or of one number for each channel."""
    names = operator.inputs
    if len(names) != 2:
        raise Unsupported(f"it has {len(names)} inputs; expected 2")
    constants = [name for name in names if name in flow.constants]
    if len(constants) != 1:
        return flow.add_sum(operator.origin, flow.value(names[0]), flow.value(names[1]))
    (name,) = (name for name in names if name not in flow.constants)
    return _add_constant(flow, operator, flow.value(name), flow.weights(constants[0]))


def _add_constant(flow: Flow, operator: Operator, x: Value, offset: FloatArray) -> Value:
    shape = flow.shape(x)
    wanted = (shape.elements,) if x.flat else (shape.channels, 1, 1)
    while offset.ndim > len(wanted) and offset.shape[0] == 1:
        offset = offset[0]
    if offset.shape != wanted or (x.flat and shape.pixels > 1):
        raise Unsupported(f"it adds a constant of shape {offset.shape} to {flow.described(x)}")
    layer = flow.layers.get(x.layer)
    if isinstance(layer, Dense) and flow.is_exclusive(x):
        flow.add_bias(layer, offset.ravel())
        return x
    ones = np.ones(shape.channels)
    return flow.add_scale(operator.origin, x, ones, offset.ravel(), exclusive=flow.is_exclusive(x))


def max_pool(flow: Flow, operator: Operator) -> Value:
    """Take MaxPool; ceil_mode becomes padding, which never wins."""
    x = _map(flow, operator)
    window = _pool_window(flow, operator, x)
    if _integer(operator, "ceil_mode", 0):
        window = rounded_up(window, flow.shape(x))
    return flow.add_max_pool(operator.origin, x, window)


def average_pool(flow: Flow, operator: Operator) -> Value:
    """Take AveragePool where padding counts as zeros."""
    x = _map(flow, operator)
    window = _pool_window(flow, operator, x)
    if window.padding != Padding() and not _integer(operator, "count_include_pad", 0):
        raise Unsupported("count_include_pad=0 with padding")
    if _integer(operator, "ceil_mode", 0) and rounded_up(window, flow.shape(x)) != window:
        raise Unsupported("ceil_mode=1 where it makes a difference")
    return flow.add_average_pool(operator.origin, x, window)


def _pool_window(flow: Flow, operator: Operator, x: Value) -> Window:
    kernel = _integers(operator, "kernel_shape", (0, 0))
    return _window(flow, operator, x, (kernel[0], kernel[1]))


def global_average_pool(flow: Flow, operator: Operator) -> Value:
    """Take GlobalAveragePool."""
    return flow.add_mean(operator.origin, _map(flow, operator), keep=True)


def reduce_mean(flow: Flow, operator: Operator) -> Value:
    """Take ReduceMean over height and width."""
    axes = flow.integers(operator, 1, "axes")
    if {axis % 4 for axis in axes} != {2, 3} or len(axes) != 2:
        raise Unsupported(f"it takes the mean over {axes}; only over height and width, [2, 3]")
    keep = bool(_integer(operator, "keepdims", 1))
    return flow.add_mean(operator.origin, _map(flow, operator), keep=keep)


def flatten(flow: Flow, operator: Operator) -> Value:
    """Take Flatten to (batch, features)."""
    x, axis = flow.value(flow.input(operator, 0)), _integer(operator, "axis", 1)
    if axis not in ({1, -1} if x.flat else {1, -3}):
        raise Unsupported(f"axis={axis}; only 1")
    return replace(x, flat=True)


def reshape(flow: Flow, operator: Operator) -> Value:
    """Take Reshape to (batch, features) by constant sizes, or to what the map is already."""
    x, sizes = flow.value(flow.input(operator, 0)), flow.integers(operator, 1, "shape")
    shape = flow.shape(x)
    features = (shape.elements,) if len(sizes) == 2 else (shape.channels, shape.height, shape.width)
    batch = len(sizes) in {2, 4} and sizes.count(-1) <= 1 and sizes[0] in {-1, 0, 1}
    if batch and all(each in {-1, size} for each, size in zip(sizes[1:], features, strict=True)):
        return replace(x, flat=len(sizes) == 2)
    raise Unsupported(f"it reshapes {flow.described(x)} to {sizes}; only to (-1, {shape.elements})")


def squeeze(flow: Flow, operator: Operator) -> Value:
    """Take Squeeze of the height and width of one pixel."""
    x, axes = _map(flow, operator), flow.integers(operator, 1, "axes")
    if sorted(axis % 4 for axis in axes) != [2, 3] or flow.shape(x).pixels != 1:
        raise Unsupported(f"it drops {axes} of {flow.described(x)}; only [2, 3] of one pixel")
    return replace(x, flat=True)


@overflowing
def gemm(flow: Flow, operator: Operator) -> Value:
    """Take Gemm of features and a constant matrix."""
    alpha, beta = (_number(operator, name, 1.0) for name in ("alpha", "beta"))
    if _integer(operator, "transA", 0):
        raise Unsupported("transA=1")
    weight = flow.weights(flow.input(operator, 1))
    weight = weight if _integer(operator, "transB", 0) else weight.T
    named = flow.input(operator, 2)
    bias = flow.weights(named) if named else np.zeros(1)
    return _linear(flow, operator, weight * alpha, bias * beta)


def matmul(flow: Flow, operator: Operator) -> Value:
    """Take MatMul of features and a constant matrix."""
    return _linear(flow, operator, flow.weights(flow.input(operator, 1)).T, np.zeros(1))


def _linear(flow: Flow, operator: Operator, weight: FloatArray, bias: FloatArray) -> Value:
    x = flow.value(flow.input(operator, 0))
    shape: Shape = flow.shape(x)
    if weight.ndim != 2 or not x.flat or weight.shape[1] != shape.elements:
        raise Unsupported(f"its matrix has shape {weight.T.shape} for {flow.described(x)}")
    if bias.size not in {1, len(weight)}:
        raise Unsupported(f"its bias has shape {bias.shape} for {len(weight)} outputs")
    whole = weight.reshape(-1, shape.channels, shape.height, shape.width)
    spread = np.broadcast_to(bias.ravel(), (len(weight),))
    return flow.add_linear(operator.origin, x, whole, spread, is_output=flow.is_output(operator))


def pad(flow: Flow, operator: Operator) -> Value:
    """Take Pad by zeros around height and width; what reads it pads itself."""
    x, amounts = _map(flow, operator), flow.integers(operator, 1, "pads")
    value = flow.numbers(operator, 2, "value") or [0]
    if operator.options.get("mode", "constant") != "constant" or value[0] != 0 or flow.input(operator, 3):
        raise Unsupported("it must pad by zeros, on every dimension in order")
    if len(amounts) != 8 or any(amounts[index] for index in (0, 1, 4, 5)) or x.padding != Padding():
        raise Unsupported("it must pad height and width only, and once")
    top, left, bottom, right = (amounts[index] for index in (2, 3, 6, 7))
    shape = flow.shape(x)
    if min(top, left, bottom, right) < 0 or max(top, left, bottom, right) > max(shape.height, shape.width):
        raise Unsupported(f"it pads {amounts} pixels around a map of {shape}")
    return replace(x, padding=Padding(top, bottom, left, right))


def constant(flow: Flow, operator: Operator) -> None:
    """Enter a Constant."""
    for name in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        if name in operator.options:
            flow.constants[operator.outputs[0]] = np.asarray(operator.options[name])
            return
    raise Unsupported("it has no value of numbers")


def identity(flow: Flow, operator: Operator) -> Value | None:
    """Take what changes nothing, of a constant as well."""
    name = flow.input(operator, 0)
    if name in flow.constants:
        flow.constants[operator.outputs[0]] = flow.constants[name]
        return None
    return flow.value(name)


def softmax(flow: Flow, operator: Operator) -> Value:
    """Leave Softmax out where it is the last operator: it changes no order of the classes."""
    if not flow.is_output(operator):
        raise Unsupported("it is not the last operator")
    return flow.value(flow.input(operator, 0))


HANDLERS: Mapping[str, Callable[[Flow, Operator], Value | None]] = {
    "Add": add,
    "AveragePool": average_pool,
    "BatchNormalization": batch_normalization,
    "Clip": clip,
    "Constant": constant,
    "Conv": convolution,
    "Dropout": identity,
    "Flatten": flatten,
    "Gemm": gemm,
    "GlobalAveragePool": global_average_pool,
    "Identity": identity,
    "LogSoftmax": softmax,
    "MatMul": matmul,
    "MaxPool": max_pool,
    "Pad": pad,
    "ReduceMean": reduce_mean,
    "Relu": relu,
    "Reshape": reshape,
    "Softmax": softmax,
    "Squeeze": squeeze,
}

PASSING = frozenset({"Dropout", "Flatten", "Identity", "LogSoftmax", "Reshape", "Softmax", "Squeeze"})
"""What may stand behind the classifier: it changes no order of the classes."""
