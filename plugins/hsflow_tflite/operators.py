# SPDX-License-Identifier: Apache-2.0
"""How each supported TFLite operator becomes network layers: one function each, and a table that names them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsflow.importing.assembly import Unsupported, Value, require_map
from hsflow.importing.dataflow import Dataflow, Operator, finite, same_padding
from hsflow.importing.fold import FloatArray
from hsflow.ir.network import INPUT_NAME, Activation
from hsflow.ir.tensor import Padding, Window
from hsflow_tflite.reader import Tensor, real_values

ACTIVATIONS: Mapping[int, Activation] = {0: Activation.NONE, 1: Activation.RELU, 3: Activation.RELU6}
"""The fused activations by their numbers in the schema."""

SAME = 0
CHANNELS_LAST = (0, 2, 3, 1)


@dataclass
class Flow(Dataflow):
    """Assemble a TFLite file; its tensors are (batch, height, width, channels)."""

    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    channels_first: bool = False
    """The image is (batch, channels, height, width), and a transposition follows it."""

    aliases: dict[str, str] = field(default_factory=dict)
    """The constant that a dequantization gives back under another name."""

    def weights(self, name: str) -> FloatArray:
        """Return what a constant tensor stands for, as finite float64."""
        self.charged(self.constant(name))
        tensor = self.tensors[self.aliases.get(name, name)]
        return finite(real_values(tensor), tensor.name)

    def integers(self, name: str) -> NDArray[Any]:
        """Return a constant tensor of integers; raises Unsupported where it is of something else."""
        array = self.constant(name)
        if array.dtype.kind not in "iu":
            raise Unsupported("it needs a constant of integers")
        return array


def convolution(flow: Flow, operator: Operator) -> Value:
    """Take CONV_2D: any groups, stride and dilation; its weight is (outputs, height, width, inputs)."""
    weight = _weight(flow, operator, 4)
    x = flow.value(operator.inputs[0])
    return _convolve(flow, operator, x, weight.transpose(0, 3, 1, 2))


def depthwise(flow: Flow, operator: Operator) -> Value:
    """Take DEPTHWISE_CONV_2D with any multiplier; its weight is (1, height, width, outputs)."""
    weight = _weight(flow, operator, 4)
    x = flow.value(operator.inputs[0])
    if weight.shape[0] != 1:
        raise Unsupported(f"its weight has shape {weight.shape}; expected (1, height, width, channels)")
    return _convolve(flow, operator, x, weight.transpose(3, 0, 1, 2))


def _convolve(flow: Flow, operator: Operator, x: Value, weight: FloatArray) -> Value:
    groups, rest = divmod(flow.shape(x).channels, weight.shape[1])
    if rest or not groups:
        raise Unsupported(f"it takes {weight.shape[1]} channels a group but gets {flow.described(x)}")
    option = operator.options
    dilation = option["DilationHFactor"] or 1, option["DilationWFactor"] or 1
    window = _window(flow, operator, x, (weight.shape[2], weight.shape[3]), dilation)
    bias, activation = _bias(flow, operator, len(weight)), _activation(operator)
    return flow.add_conv(operator.origin, x, weight, bias, window, groups=groups, activation=activation)


def _weight(flow: Flow, operator: Operator, rank: int) -> FloatArray:
    """Return the weight of a layer, whose inputs are the map, the weight and perhaps the bias."""
    if len(operator.inputs) not in {2, 3}:
        raise Unsupported(f"it has {len(operator.inputs)} inputs; expected 2 or 3")
    weight = flow.weights(operator.inputs[1])
    if weight.ndim != rank:
        raise Unsupported(f"its weight has shape {weight.shape}; expected {rank} dimensions")
    return weight


def _bias(flow: Flow, operator: Operator, outputs: int) -> FloatArray:
    name = operator.inputs[2] if len(operator.inputs) == 3 else ""
    return flow.weights(name) if name else np.zeros(outputs)


def _window(
    flow: Flow,
    operator: Operator,
    x: Value,
    kernel: tuple[int, int],
    dilation: tuple[int, int] = (1, 1),
) -> Window:
    """Return the window; "same" padding depends on the input's size, what was padded before included."""
    stride = operator.options["StrideH"], operator.options["StrideW"]
    window = Window(kernel, stride, dilation)
    if min(*kernel, *stride, *dilation) < 1:
        raise Unsupported("its kernel, stride and dilation must be at least 1")
    if operator.options["Padding"] != SAME:
        return window
    shape, around = flow.shape(x), x.padding
    size = shape.height + around.top + around.bottom, shape.width + around.left + around.right
    return replace(window, padding=same_padding(size, window.extent, stride))


def _activation(operator: Operator) -> Activation:
    number = operator.options["FusedActivationFunction"]
    if number not in ACTIVATIONS:
        raise Unsupported(f"its fused activation is number {number}; only none, RELU and RELU6 are supported")
    return ACTIVATIONS[number]


def _activated(flow: Flow, operator: Operator, value: Value) -> Value:
    activation = _activation(operator)
    if activation is Activation.NONE:
        return value
    return flow.add_activation(operator.origin, value, activation, exclusive=True)


def fully_connected(flow: Flow, operator: Operator) -> Value:
    """Take FULLY_CONNECTED; its features are in stream order already."""
    weight = _weight(flow, operator, 2)
    x = flow.value(operator.inputs[0])
    shape = flow.shape(x)
    if weight.shape[1] != shape.elements or operator.options["WeightsFormat"]:
        raise Unsupported(f"its weight has shape {weight.shape} for {flow.described(x)}")
    bias = _bias(flow, operator, len(weight))
    whole = weight.reshape(-1, shape.height, shape.width, shape.channels).transpose(0, 3, 1, 2)
    is_output = _activation(operator) is Activation.NONE and flow.is_output(operator)
    return _activated(flow, operator, flow.add_linear(operator.origin, x, whole, bias, is_output=is_output))


def add(flow: Flow, operator: Operator) -> Value:
    """Take ADD of two feature maps of one shape."""
    x, y = (flow.value(name) for name in _inputs(operator, 2))
    return flow.add_sum(operator.origin, x, y, _activation(operator))


def max_pool(flow: Flow, operator: Operator) -> Value:
    """Take MAX_POOL_2D; padding never wins."""
    x = require_map(flow.value(_inputs(operator, 1)[0]))
    window = _window(flow, operator, x, _filter(operator))
    return _activated(flow, operator, flow.add_max_pool(operator.origin, x, window))


def average_pool(flow: Flow, operator: Operator) -> Value:
    """Take AVERAGE_POOL_2D whose windows lie within the map: TFLite leaves padding out of the mean."""
    x = require_map(flow.value(_inputs(operator, 1)[0]))
    window = _window(flow, operator, x, _filter(operator))
    if window.padding != Padding():
        raise Unsupported("'same' padding, which TFLite leaves out of the mean")
    return _activated(flow, operator, flow.add_average_pool(operator.origin, x, window))


def _filter(operator: Operator) -> tuple[int, int]:
    return operator.options["FilterHeight"], operator.options["FilterWidth"]


def mean(flow: Flow, operator: Operator) -> Value:
    """Take MEAN over height and width."""
    name, axes = _inputs(operator, 2)
    x, over = require_map(flow.value(name)), flow.integers(axes).ravel()
    if sorted(int(axis) % 4 for axis in over[:4]) != [1, 2]:
        raise Unsupported(f"it takes the mean over {over[:4].tolist()}; only over height and width, [1, 2]")
    return flow.add_mean(operator.origin, x, keep=bool(operator.options["KeepDims"]))


def pad(flow: Flow, operator: Operator) -> Value:
    """Take PAD by zeros around height and width; what reads it pads itself."""
    name, sizes = _inputs(operator, 2)
    x, amounts = require_map(flow.value(name)), flow.integers(sizes)
    if amounts.shape != (4, 2) or amounts[[0, 3]].any() or x.padding != Padding():
        raise Unsupported("it must pad height and width only, and once")
    shape = flow.shape(x)
    if amounts.min() < 0 or amounts.max() > max(shape.height, shape.width):
        raise Unsupported(f"it pads {amounts[1:3].tolist()} pixels around a map of {shape}")
    top, bottom, left, right = (int(each) for each in amounts[1:3].ravel())
    return replace(x, padding=Padding(top, bottom, left, right))


def reshape(flow: Flow, operator: Operator) -> Value:
    """Take RESHAPE and SQUEEZE that flatten the map, or that change nothing."""
    x = flow.value(operator.inputs[0] if operator.inputs else "")
    shape, sizes = flow.shape(x), flow.tensors[operator.outputs[0]].shape
    if sizes[1:] == (shape.elements,):
        return replace(x, flat=True)
    if sizes[1:] == (shape.height, shape.width, shape.channels):
        return replace(x, flat=False)
    raise Unsupported(f"it reshapes {flow.described(x)} to {sizes}; only to (1, features)")


def transpose(flow: Flow, operator: Operator) -> Value:
    """Take the TRANSPOSE of an image whose channels come first."""
    name, order = _inputs(operator, 2)
    x = flow.value(name)
    if not flow.channels_first or x != Value(INPUT_NAME):
        raise Unsupported(
            f"only of the image, by {list(CHANNELS_LAST)}, and where nothing else reads the image"
        )
    if tuple(flow.integers(order).ravel()[:5].tolist()) != CHANNELS_LAST:
        raise Unsupported(f"its order must be {list(CHANNELS_LAST)}")
    return x


def convert(flow: Flow, operator: Operator) -> Value | None:
    """Take QUANTIZE and DEQUANTIZE, which change the format and not the value; of a constant as well."""
    (name,) = _inputs(operator, 1)
    if name not in flow.constants:
        return flow.value(name)
    if operator.kind != "DEQUANTIZE":
        raise Unsupported("it quantizes a constant")
    (output,) = operator.outputs
    flow.constants[output] = flow.constants[name]
    flow.aliases[output] = flow.aliases.get(name, name)
    return None


def softmax(flow: Flow, operator: Operator) -> Value:
    """Leave SOFTMAX out where it is the last operator: it changes no order of the classes."""
    if not flow.is_output(operator):
        raise Unsupported("it is not the last operator")
    return flow.value(_inputs(operator, 1)[0])


def relu(flow: Flow, operator: Operator) -> Value:
    """Take RELU."""
    return flow.activate(operator.origin, flow.value(_inputs(operator, 1)[0]), Activation.RELU)


def relu6(flow: Flow, operator: Operator) -> Value:
    """Take RELU6."""
    return flow.activate(operator.origin, flow.value(_inputs(operator, 1)[0]), Activation.RELU6)


def _inputs(operator: Operator, count: int) -> tuple[str, ...]:
    if len(operator.inputs) != count:
        raise Unsupported(f"it has {len(operator.inputs)} inputs; expected {count}")
    return operator.inputs


HANDLERS: Mapping[str, Callable[[Flow, Operator], Value | None]] = {
    "ADD": add,
    "AVERAGE_POOL_2D": average_pool,
    "CONV_2D": convolution,
    "DEPTHWISE_CONV_2D": depthwise,
    "DEQUANTIZE": convert,
    "FULLY_CONNECTED": fully_connected,
    "MAX_POOL_2D": max_pool,
    "MEAN": mean,
    "PAD": pad,
    "QUANTIZE": convert,
    "RELU": relu,
    "RELU6": relu6,
    "RESHAPE": reshape,
    "SOFTMAX": softmax,
    "SQUEEZE": reshape,
    "TRANSPOSE": transpose,
}

PASSING = frozenset({"DEQUANTIZE", "QUANTIZE", "RESHAPE", "SOFTMAX", "SQUEEZE"})
"""What may stand behind the classifier: it changes no order of the classes."""
