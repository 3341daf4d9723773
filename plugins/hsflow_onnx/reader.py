# SPDX-License-Identifier: Apache-2.0
"""Read an ONNX file that nobody vouches for into plain values; external data and subgraphs are left alone."""

from __future__ import annotations

from collections import Counter
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

_DOMAINS = frozenset({"", "ai.onnx"})
_NUMBERS = "fiu"


@dataclass(frozen=True)
class Model:
    """Hold a file's graph: constants by name, operators in order, the image's name and sizes (None where free)."""

    constants: Mapping[str, NDArray[Any]]
    operators: tuple[Operator, ...]
    input: str
    sizes: tuple[int | None, ...]
    output: str


def read_model(path: Path) -> Model:
    """Return the model in an ONNX file.

    Raises:
        HsflowError: if the package `onnx` is not installed.
        ModelError: if the file is unreadable, damaged, too large, keeps weights in other files, or is of more than one
            input or output.
    """
    library()
    return parsed(
        lambda raw, where: _model(library().load_from_string(raw), where), content(path), path, "ONNX"
    )


@cache
def library() -> Any:
    """Return the package `onnx`.

    Raises:
        HsflowError: if it is not installed.
    """
    return optional_library("onnx", "ONNX")


def _model(model: Any, where: str) -> Model:
    graph = model.graph
    check_count(len(graph.node), where)
    constants = {_text(tensor.name): _array(tensor, where) for tensor in graph.initializer}
    inputs = [value for value in graph.input if _text(value.name) not in constants]
    if len(inputs) != 1 or len(graph.output) != 1:
        raise ModelError(
            "the model is not of one input and one output",
            where=where,
            got=f"{len(inputs)} inputs, {len(graph.output)} outputs",
            expected="1 of each",
        )
    reads = Counter(_text(name) for node in graph.node for name in node.input)
    output = _text(graph.output[0].name)
    reads[output] += 1
    operators = tuple(_operator(node, reads, where) for node in graph.node)
    return Model(constants, operators, _text(inputs[0].name), _sizes(inputs[0]), output)


def _sizes(value: Any) -> tuple[int | None, ...]:
    dimensions = value.type.tensor_type.shape.dim
    return tuple(int(each.dim_value) if each.HasField("dim_value") else None for each in dimensions)


def _operator(node: Any, reads: Mapping[str, int], where: str) -> Operator:
    outputs = [_text(name) for name in node.output if name]
    kind, domain = _text(node.op_type), _text(node.domain)
    return Operator(
        kind if domain in _DOMAINS else f"{shown(domain)}.{shown(kind)}",
        _text(node.name) or (outputs[0] if outputs else kind),
        tuple(_text(name) for name in node.input),
        tuple(name for index, name in enumerate(outputs) if index == 0 or reads.get(name)),
        {_text(each.name): _attribute(each, where) for each in node.attribute},
    )


def _text(name: str | bytes) -> str:
    """Return a name; protobuf gives the bytes of one that is no Unicode."""
    return name.decode(errors="replace") if isinstance(name, bytes) else name


def _attribute(attribute: Any, where: str) -> Any:
    if attribute.type == library().AttributeProto.TENSOR:
        return _array(attribute.t, where)
    value = library().helper.get_attribute_value(attribute)
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _array(tensor: Any, where: str) -> NDArray[Any]:
    if tensor.data_location == library().TensorProto.EXTERNAL or tensor.external_data:
        raise ModelError(
            "the model keeps weights in another file",
            where=f"{where}, {shown(_text(tensor.name))}",
            expected="one file",
            hint="onnx.save(onnx.load('model.onnx'), 'whole.onnx', save_as_external_data=False)",
        )
    sizes = [int(size) for size in tensor.dims]
    if any(size < 0 or size > MAX_WEIGHTS for size in sizes):
        raise ValueError(f"a tensor of shape {sizes[:8]}")
    array: NDArray[Any] = np.asarray(library().numpy_helper.to_array(tensor))
    return array if array.dtype.kind in _NUMBERS else np.zeros((0,))
