# SPDX-License-Identifier: Apache-2.0
"""Write small TFLite files: what the converter of TensorFlow would write, and what an attacker would."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import flatbuffers
import numpy as np
import tflite

TYPES = {"float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int64": 4, "int8": 9}
OPTIONS = {
    "CONV_2D": ("Conv2DOptions", 1),
    "DEPTHWISE_CONV_2D": ("DepthwiseConv2DOptions", 2),
    "AVERAGE_POOL_2D": ("Pool2DOptions", 5),
    "MAX_POOL_2D": ("Pool2DOptions", 5),
    "FULLY_CONNECTED": ("FullyConnectedOptions", 8),
    "ADD": ("AddOptions", 11),
    "MEAN": ("ReducerOptions", 27),
}


@dataclass(frozen=True)
class Tensor:
    name: str
    shape: tuple[int, ...]
    kind: str = "float32"
    data: Any = None
    scale: tuple[float, ...] = ()
    zero: tuple[int, ...] = ()
    axis: int = 0


@dataclass(frozen=True)
class Node:
    kind: str
    inputs: tuple[str, ...]
    output: str
    options: Mapping[str, Any] = field(default_factory=dict)


def constant(name: str, array: Any, **quantization: Any) -> Tensor:
    array = np.asarray(array)
    return Tensor(name, array.shape, str(array.dtype), array.tobytes(), **quantization)


def tflite_file(
    tensors: list[Tensor], nodes: list[Node], source: str = "input", output: str = "output"
) -> bytes:
    """Return a file of one graph; every tensor must be among `tensors`."""
    builder = flatbuffers.Builder(1024)
    index = {tensor.name: number for number, tensor in enumerate(tensors)}
    kinds = sorted({node.kind for node in nodes})
    buffers = [_buffer(builder, None), *(_buffer(builder, tensor.data) for tensor in tensors)]
    made = [_tensor(builder, tensor, number + 1) for number, tensor in enumerate(tensors)]
    operators = [_operator(builder, node, kinds, index) for node in nodes]
    graph = _graph(builder, made, operators, index[source], index[output])
    codes = [_code(builder, kind) for kind in kinds]
    graphs, codes_, buffers_ = (_tables(builder, each) for each in ([graph], codes, buffers))
    tflite.ModelStart(builder)
    tflite.ModelAddVersion(builder, 3)
    tflite.ModelAddOperatorCodes(builder, codes_)
    tflite.ModelAddSubgraphs(builder, graphs)
    tflite.ModelAddBuffers(builder, buffers_)
    builder.Finish(tflite.ModelEnd(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _buffer(builder: Any, data: bytes | None) -> int:
    vector = None if data is None else builder.CreateByteVector(data)
    tflite.BufferStart(builder)
    if vector is not None:
        tflite.BufferAddData(builder, vector)
    return int(tflite.BufferEnd(builder))


def _tensor(builder: Any, tensor: Tensor, buffer: int) -> int:
    name, shape = builder.CreateString(tensor.name), builder.CreateNumpyVector(np.array(tensor.shape, "<i4"))
    quantization = _quantization(builder, tensor) if tensor.scale else None
    tflite.TensorStart(builder)
    tflite.TensorAddShape(builder, shape)
    tflite.TensorAddType(builder, TYPES[tensor.kind])
    tflite.TensorAddBuffer(builder, buffer)
    tflite.TensorAddName(builder, name)
    if quantization is not None:
        tflite.TensorAddQuantization(builder, quantization)
    return int(tflite.TensorEnd(builder))


def _quantization(builder: Any, tensor: Tensor) -> int:
    scale = builder.CreateNumpyVector(np.array(tensor.scale, "<f4"))
    zero = builder.CreateNumpyVector(np.array(tensor.zero or (0,) * len(tensor.scale), "<i8"))
    tflite.QuantizationParametersStart(builder)
    tflite.QuantizationParametersAddScale(builder, scale)
    tflite.QuantizationParametersAddZeroPoint(builder, zero)
    tflite.QuantizationParametersAddQuantizedDimension(builder, tensor.axis)
    return int(tflite.QuantizationParametersEnd(builder))


def _operator(builder: Any, node: Node, kinds: list[str], index: Mapping[str, int]) -> int:
    inputs = builder.CreateNumpyVector(np.array([index.get(name, -1) for name in node.inputs], "<i4"))
    outputs = builder.CreateNumpyVector(np.array([index[node.output]], "<i4"))
    table, number = OPTIONS.get(node.kind, ("", 0))
    options = _options(builder, table, node.options) if table else None
    tflite.OperatorStart(builder)
    tflite.OperatorAddOpcodeIndex(builder, kinds.index(node.kind))
    tflite.OperatorAddInputs(builder, inputs)
    tflite.OperatorAddOutputs(builder, outputs)
    if options is not None:
        tflite.OperatorAddBuiltinOptionsType(builder, number)
        tflite.OperatorAddBuiltinOptions(builder, options)
    return int(tflite.OperatorEnd(builder))


def _options(builder: Any, table: str, options: Mapping[str, Any]) -> int:
    getattr(tflite, f"{table}Start")(builder)
    for name, value in options.items():
        getattr(tflite, f"{table}Add{name}")(builder, value)
    return int(getattr(tflite, f"{table}End")(builder))


def _code(builder: Any, kind: str) -> int:
    number = getattr(tflite.BuiltinOperator, kind)
    tflite.OperatorCodeStart(builder)
    tflite.OperatorCodeAddDeprecatedBuiltinCode(builder, min(number, 127))
    tflite.OperatorCodeAddBuiltinCode(builder, number)
    return int(tflite.OperatorCodeEnd(builder))


def _graph(builder: Any, tensors: list[int], operators: list[int], source: int, output: int) -> int:
    tensors_, operators_ = _tables(builder, tensors), _tables(builder, operators)
    inputs, outputs = (builder.CreateNumpyVector(np.array([each], "<i4")) for each in (source, output))
    tflite.SubGraphStart(builder)
    tflite.SubGraphAddTensors(builder, tensors_)
    tflite.SubGraphAddInputs(builder, inputs)
    tflite.SubGraphAddOutputs(builder, outputs)
    tflite.SubGraphAddOperators(builder, operators_)
    return int(tflite.SubGraphEnd(builder))


def _tables(builder: Any, tables: list[int]) -> int:
    builder.StartVector(4, len(tables), 4)
    for table in reversed(tables):
        builder.PrependUOffsetTRelative(table)
    return int(builder.EndVector())
