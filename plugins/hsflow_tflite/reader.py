# SPDX-License-Identifier: Apache-2.0
"""Read a TFLite flat buffer that nobody vouches for into plain values; nothing is copied, no length is believed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hsflow.errors import ModelError
from hsflow.importing.dataflow import MAX_WEIGHTS, Operator, check_count, shown
from hsflow.importing.files import content, optional_library, parsed

MAX_DIMENSIONS = 8
_IDENTIFIER = b"TFL3"

TYPES: Mapping[str, str] = {
    "FLOAT32": "<f4",
    "FLOAT16": "<f2",
    "INT8": "|i1",
    "UINT8": "|u1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
}

_CONV = ("Padding", "StrideH", "StrideW", "DilationHFactor", "DilationWFactor", "FusedActivationFunction")
_POOL = ("Padding", "StrideH", "StrideW", "FilterHeight", "FilterWidth", "FusedActivationFunction")
OPTIONS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "CONV_2D": ("Conv2DOptions", _CONV),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", _CONV),
    "AVERAGE_POOL_2D": ("Pool2DOptions", _POOL),
    "MAX_POOL_2D": ("Pool2DOptions", _POOL),
    "ADD": ("AddOptions", ("FusedActivationFunction",)),
    "FULLY_CONNECTED": ("FullyConnectedOptions", ("FusedActivationFunction", "WeightsFormat")),
    "MEAN": ("ReducerOptions", ("KeepDims",)),
}
"""The table of each operator's options and what is read of it; without a table, all are 0."""


@dataclass(frozen=True, eq=False)
class Tensor:
    """Hold a tensor: `data` is None where it is computed; `value = (integer - zeros) * scales` along `axis`."""

    name: str
    kind: str
    shape: tuple[int, ...]
    scales: NDArray[np.float64]
    zeros: NDArray[np.float64]
    axis: int
    data: NDArray[Any] | None


@dataclass(frozen=True)
class Model:
    """Hold a file's one graph; a tensor's name in an operator is its index."""

    tensors: Mapping[str, Tensor]
    operators: tuple[Operator, ...]
    input: str
    output: str


def read_model(path: Path) -> Model:
    """Return the model in a TFLite file.

    Raises:
        HsflowError: if the package `tflite` is not installed.
        ModelError: if the file is unreadable, damaged, too large, or is more than one graph of one image and one output.
    """
    library()
    return parsed(_model, _content(path), path, "TFLite")


@cache
def library() -> Any:
    """Return the package `tflite`.

    Raises:
        HsflowError: if it is not installed.
    """
    return optional_library("tflite", "TFLite")


def _content(path: Path) -> bytes:
    raw = content(path)
    if raw[4:8] != _IDENTIFIER:
        raise ModelError(
            "the file is not TFLite", where=str(path), got=raw[4:8], expected=f"{_IDENTIFIER!r} at byte 4"
        )
    return raw


def _model(raw: bytes, where: str) -> Model:
    model = library().Model.GetRootAs(raw, 0)
    graph = model.Subgraphs(0)
    inputs, outputs = graph.InputsLength(), graph.OutputsLength()
    if (model.SubgraphsLength(), inputs, outputs) != (1, 1, 1):
        raise ModelError(
            "the model is more than one graph of one input and one output",
            where=where,
            got=f"{model.SubgraphsLength()} graphs, {inputs} inputs, {outputs} outputs",
            expected="1 of each",
        )
    check_count(graph.OperatorsLength(), where)
    used = _used(graph)
    tensors = {str(index): _tensor(model, graph.Tensors(index), where) for index in used}
    names = {index: tensor.name for index, tensor in tensors.items()}
    operators = tuple(
        _operator(model, graph.Operators(index), names) for index in range(graph.OperatorsLength())
    )
    return Model(tensors, operators, str(graph.Inputs(0)), str(graph.Outputs(0)))


def _used(graph: Any) -> list[int]:
    """Return the tensors that the operators use; a length that the file claims is bounded by what is there."""
    used = {graph.Inputs(0), graph.Outputs(0)}
    for index in range(graph.OperatorsLength()):
        operator = graph.Operators(index)
        used |= set(_indices(operator.InputsAsNumpy())) | set(_indices(operator.OutputsAsNumpy()))
    count = graph.TensorsLength()
    if strangers := [index for index in used if not -1 <= index < count]:
        raise ValueError(f"tensor {strangers[0]} of {count}")
    return sorted(used - {-1})


def _indices(array: Any) -> list[int]:
    """Return a vector of tensor indices; the library gives 0 for one that is missing."""
    if not isinstance(array, np.ndarray):
        return []
    if array.size > MAX_DIMENSIONS:
        raise ValueError(f"an operator with {array.size} tensors")
    return [int(index) for index in array]


def _operator(model: Any, operator: Any, names: Mapping[str, str]) -> Operator:
    code = model.OperatorCodes(operator.OpcodeIndex())
    number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    kind = _enum("BuiltinOperator").get(number, f"operator {number}")
    inputs, outputs = (_indices(each) for each in (operator.InputsAsNumpy(), operator.OutputsAsNumpy()))
    return Operator(
        kind if kind != "CUSTOM" else f"CUSTOM {shown(_text(code.CustomCode()))}",
        names[str(outputs[0])] if outputs else kind,
        tuple("" if index < 0 else str(index) for index in inputs),
        tuple(str(index) for index in outputs if index >= 0),
        _options(kind, operator),
    )


def _options(kind: str, operator: Any) -> dict[str, int]:
    if kind not in OPTIONS:
        return {}
    table, names = OPTIONS[kind]
    found = operator.BuiltinOptions()
    if found is None:
        return dict.fromkeys(names, 0)
    options = getattr(library(), table)()
    options.Init(found.Bytes, found.Pos)
    return {name: int(getattr(options, name)()) for name in names}


def _tensor(model: Any, tensor: Any, where: str) -> Tensor:
    name = _text(tensor.Name()).partition(";")[0]
    kind = _enum("TensorType").get(tensor.Type(), str(tensor.Type()))
    sizes = tensor.ShapeAsNumpy()
    shape = tuple(int(size) for size in sizes[:MAX_DIMENSIONS]) if isinstance(sizes, np.ndarray) else ()
    if tensor.Sparsity() is not None:
        raise ModelError("a sparse tensor is not supported", where=f"{where}, {shown(name)}")
    data = _data(model, tensor, kind, shape, f"{where}, {shown(name)}")
    scales, zeros, axis = _quantization(tensor.Quantization())
    return Tensor(name, kind, shape, scales, zeros, axis, data)


def _data(model: Any, tensor: Any, kind: str, shape: tuple[int, ...], where: str) -> NDArray[Any] | None:
    buffer = model.Buffers(tensor.Buffer())
    raw = buffer.DataAsNumpy()
    if buffer.Offset() > 1:
        raise ModelError("weights outside of the flat buffer are not supported", where=where)
    if not isinstance(raw, np.ndarray) or raw.size == 0:
        return None
    if kind not in TYPES:
        raise ModelError(
            "a type of weights is not supported", where=where, got=kind, expected=", ".join(TYPES)
        )
    dtype = np.dtype(TYPES[kind])
    count = math.prod(shape)
    if min(shape, default=1) < 1 or count > MAX_WEIGHTS or count * dtype.itemsize != raw.size:
        raise ModelError(
            "a tensor's data do not fit its shape", where=where, got=f"{raw.size} bytes for {shape}"
        )
    return raw.view(np.uint8).view(dtype).reshape(shape)


def _quantization(found: Any) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    scales = found.ScaleAsNumpy() if found is not None else 0
    if not isinstance(scales, np.ndarray) or scales.size == 0:
        return np.zeros(0), np.zeros(0), 0
    zeros = found.ZeroPointAsNumpy()
    zeros = zeros if isinstance(zeros, np.ndarray) and zeros.size else np.zeros(1)
    if not np.isfinite(scales).all() or scales.min() < 0 or zeros.size not in {1, scales.size}:
        raise ValueError("a tensor's scales or zero points are out of range")
    return scales.astype(np.float64), zeros.astype(np.float64), int(found.QuantizedDimension())


def real_values(tensor: Tensor) -> NDArray[Any]:
    """Return what a constant tensor stands for: float64 where it has a scale or is of floats, else its integers.

    Raises:
        ModelError: if the scales do not fit the shape.
    """
    data = np.zeros(0) if tensor.data is None else tensor.data
    if data.dtype.kind == "f" or tensor.scales.size == 0:
        return data
    scales, zeros = (_along(tensor, values) for values in (tensor.scales, tensor.zeros))
    values: NDArray[Any] = (data.astype(np.float64) - zeros) * scales
    return values


def _along(tensor: Tensor, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return one value for all, or one for each index of the quantized dimension, so that NumPy spreads them."""
    if values.size == 1:
        return values
    if not 0 <= tensor.axis < len(tensor.shape) or tensor.shape[tensor.axis] != values.size:
        raise ModelError(
            "a tensor's scales do not fit its shape",
            where=shown(tensor.name),
            got=f"{values.size} scales along dimension {tensor.axis} of {tensor.shape}",
        )
    return values.reshape([-1 if axis == tensor.axis else 1 for axis in range(len(tensor.shape))])


@cache
def _enum(name: str) -> dict[int, str]:
    members = vars(getattr(library(), name))
    return {value: key for key, value in members.items() if isinstance(value, int)}


def _text(raw: bytes | None) -> str:
    return (raw or b"").decode(errors="replace")
