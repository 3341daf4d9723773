# SPDX-License-Identifier: Apache-2.0
"""Canonical JSON: equal values give equal bytes, and hostile text gives a ModelError that names the place."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from hsflow.design import Design, DesignFile, FileRole, LayerCost, LineBuffer, LongestPath, NpuPlan, Resources
from hsflow.errors import ModelError
from hsflow.fixedpoint import Interval
from hsflow.ir import graph as integer
from hsflow.ir import network as real
from hsflow.ir.addergraph import Adder, AdderGraph, Output
from hsflow.ir.graph import FeatureMap, Graph, Po2Weight
from hsflow.ir.network import Network
from hsflow.ir.serial import ARRAY_TYPES, from_json, to_json
from hsflow.ir.tensor import Block, Constant, Padding, Shape, TensorFormat, Window

NUMBERS = st.integers(-(1 << 62), 1 << 62)
REALS = st.floats(allow_nan=False, allow_infinity=False)


def _elements(dtype: str) -> st.SearchStrategy[Any]:
    finite = {"allow_nan": False, "allow_infinity": False} if "f" in dtype else {}
    return arrays.from_dtype(np.dtype(dtype), **finite)


CONSTANTS = st.sampled_from(ARRAY_TYPES).flatmap(
    lambda dtype: st.builds(
        Constant,
        arrays.arrays(
            dtype,
            arrays.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=3),
            elements=_elements(dtype),
        ),
    )
)
INTERVALS = st.tuples(NUMBERS, NUMBERS).map(lambda pair: Interval(min(pair), max(pair)))
for _type, _strategy in {
    int: NUMBERS,
    float: REALS,
    str: st.text(max_size=8),
    Constant: CONSTANTS,
    Interval: INTERVALS,
    Block: st.builds(Block, st.integers(1, 99), st.integers(1, 99)),
}.items():
    st.register_type_strategy(_type, _strategy)

VALUES = st.sampled_from((Network, Graph, AdderGraph, Design)).flatmap(st.from_type)


@given(VALUES)
@settings(max_examples=150, deadline=None)
def test_every_value_comes_back_equal_and_in_the_same_bytes(value: Any) -> None:
    text = to_json(value)
    again = from_json(text, type(value))
    assert again == value
    assert to_json(again) == text
    assert to_json(copy.deepcopy(value)) == text


@given(VALUES, st.data())
@settings(max_examples=150, deadline=None)
def test_no_corruption_gives_anything_but_a_model_error_or_a_sound_value(
    value: Any, data: st.DataObject
) -> None:
    document = json.loads(to_json(value))
    holder, key = data.draw(st.sampled_from(list(_places(document))))
    holder[key] = data.draw(JUNK)
    try:
        read = from_json(json.dumps(document), type(value))
    except ModelError as error:
        assert str(error.where).startswith("$")
    else:
        assert from_json(to_json(read), type(value)) == read


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(["Conv", "Add", "<i8"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=4,
)


def _places(node: Any) -> Iterator[tuple[Any, Any]]:
    items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in items:
        yield node, key
        yield from _places(child)


def example_graph() -> Graph:
    """Return a graph with every kind of layer and array."""
    pixel = TensorFormat.uniform(8, False, 8, 2)
    output = TensorFormat(4, True, (1, -2), (-8, -7), (7, 7))
    weight = Po2Weight(
        Constant(np.array([[[[[1]]], [[[-1]]]]], dtype=np.int8)),
        Constant(np.array([[[[[3]]], [[[0]]]]], dtype=np.int8)),
        8,
    )
    window = Window(padding=Padding(1, 0, 0, 1))
    bias = Constant(np.array([5, -(1 << 40)], dtype=np.int64))
    dense_weight, dense_bias = (
        np.array([[1, -2], [3, 127]], dtype=np.int8),
        np.array([1 << 20, -1], dtype=np.int32),
    )
    layers = (
        integer.Conv("conv", "input", weight, (3, 4), bias, window, 2, (0, 255), output),
        integer.Add("add", ("conv", "conv"), output),
        integer.MaxPool("max", "add", Window((2, 2), (2, 2))),
        integer.AveragePool("mean", "max", Window(), output),
        integer.Dense("dense", "mean", Constant(dense_weight), Constant(dense_bias), -3),
    )
    return Graph("example", FeatureMap(Shape(2, 2, 2), pixel), layers, ("zero", "naïve"))


def example_network() -> Network:
    weight = np.linspace(-1, 1, 4, dtype=np.float32).reshape(2, 2, 1, 1)
    conv = real.Conv(
        "conv", "input", Constant(weight), Constant(np.zeros(2, np.float32)), Window(), activation=real.Activation.RELU6,
        pad_values=(0.5, -0.0), mask=Constant(weight > 0),
    )  # fmt: skip
    return Network(
        "example",
        Shape(2, 1, 1),
        (conv, real.Add("add", ("conv", "input"))),
        origins=(("conv", "features.0"),),
    )


def example_design() -> Design:
    resources = Resources(*range(len(fields(Resources))))
    nested = resources, (LineBuffer(3, 8),), (LongestPath("TT", 1.5),)
    cost = LayerCost("conv", "example_conv", "conv", Block(2, 3), *range(len(fields(LayerCost)) - 7), *nested)
    files = (DesignFile("rtl/example.sv", "module example;\nendmodule\n", FileRole.RTL),)
    return Design(
        "example", example_graph(), files, (cost,), 12, 4, NpuPlan(*range(1, 1 + len(fields(NpuPlan))))
    )


def example_adder_graph() -> AdderGraph:
    adders = (Adder(0, 1, 2, 0, True), Adder(2, 0, right_shift=3))
    return AdderGraph((Interval(-128, 127), Interval(0, 255)), adders, (Output(3, 1, True), Output(None)))


EXAMPLES = {
    "network": example_network(),
    "graph": example_graph(),
    "design": example_design(),
    "addergraph": example_adder_graph(),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_the_written_form_stays(name: str, golden: Any) -> None:
    golden(f"serial/{name}.json", to_json(EXAMPLES[name]) + "\n")


def test_equal_values_of_other_number_types_give_the_same_bytes() -> None:
    graph = example_graph()
    numpy_shape = Shape(np.int64(2), np.int8(2), 2)  # type: ignore[arg-type]
    assert to_json(replace(graph, input=replace(graph.input, shape=numpy_shape))) == to_json(graph)
    network = example_network()
    plain = replace(
        network, layers=(replace(network.layers[0], pad_values=(np.float32(0.5), 0)), network.layers[1])
    )
    assert to_json(plain) == to_json(network)


def test_an_array_in_another_byte_order_is_written_little_endian() -> None:
    little, big = np.arange(3, dtype="<i4"), np.arange(3, dtype=">i4")
    assert to_json(_Holder(Constant(big))) == to_json(_Holder(Constant(little)))


@dataclass(frozen=True)
class _Holder:
    array: Constant


@dataclass(frozen=True)
class _Loose:
    numbers: dict[str, int]


@dataclass(frozen=True)
class _Ambiguous:
    either: int | str


@pytest.mark.parametrize(
    "array", [np.array([np.nan]), np.array([np.inf], np.float32), np.array(["x"]), np.array([1j])]
)
def test_an_array_that_no_stage_understands_is_not_written(array: Any) -> None:
    with pytest.raises(ModelError, match=r"\$\.value\.array"):
        to_json(_Holder(Constant(array)))


def test_a_field_of_the_wrong_type_is_not_written() -> None:
    with pytest.raises(ModelError, match=r"\$\.value\.adders\[0\]\.subtract"):
        to_json(AdderGraph((), (Adder(0, 0, subtract=1),), ()))  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [_Loose({}), _Ambiguous(1), {"a": 1}])
def test_a_class_without_a_canonical_form_is_a_programming_error(value: object) -> None:
    with pytest.raises(TypeError):
        to_json(value)


def _with(path: str, value: Any) -> str:
    """Return the example graph's text with one place changed; a value of ... removes it."""
    document = json.loads(to_json(example_graph()))
    *parents, last = [int(step) if step.isdigit() else step for step in path.split("/")]
    node = document
    for step in parents:
        node = node[step]
    if value is ...:
        del node[last]
    else:
        node[last] = value
    return json.dumps(document)


@pytest.mark.parametrize(
    ("path", "value", "where"),
    [
        ("format", 1, "$.format"),
        ("format", 2, "$.format"),
        ("format", 3.0, "$.format"),
        ("format", True, "$.format"),
        ("type", "Network", "$.type"),
        ("extra", 1, "$.extra"),
        ("value/name", ..., "$.value"),
        ("value/name", "\ud800", "$.value.name"),
        ("value/surprise", 1, "$.value.surprise"),
        ("value/input/shape/channels", "2", "$.value.input.shape.channels"),
        ("value/input/shape/channels", 2.0, "$.value.input.shape.channels"),
        ("value/input/shape/channels", True, "$.value.input.shape.channels"),
        ("value/input/shape/channels", 1 << 63, "$.value.input.shape.channels"),
        ("value/input/format/signed", 0, "$.value.input.format.signed"),
        ("value/layers/0/type", "Popen", "$.value.layers[0].type"),
        ("value/layers/0/type", ["Conv"], "$.value.layers[0].type"),
        ("value/layers/0/type", ..., "$.value.layers[0]"),
        ("value/layers/1/sources", ["conv"], "$.value.layers[1].sources"),
        ("value/layers/0/bias/dtype", "|O", "$.value.layers[0].bias.dtype"),
        ("value/layers/0/bias/dtype", ">i8", "$.value.layers[0].bias.dtype"),
        ("value/layers/0/bias/shape", [3], "$.value.layers[0].bias.data"),
        ("value/layers/0/bias/shape", [-2, -1], "$.value.layers[0].bias.shape[0]"),
        ("value/layers/0/bias/shape", [1] * 40 + [2], "$.value.layers[0].bias.shape"),
        ("value/layers/0/bias/shape", [1 << 60, 1 << 60], "$.value.layers[0].bias.data"),
        ("value/layers/0/bias/data", "!", "$.value.layers[0].bias.data"),
        ("value/layers/0/bias", {"data": "", "dtype": "<i8", "shape": [0, 1 << 62]}, "$.value.layers[0].bias.shape"),
        ("value/layers/0/bias", {"data": "AAAAAAAA+H8=", "dtype": "<f8", "shape": [1]}, "$.value.layers[0].bias"),
        ("value/layers/0/bias", {"data": "Ag==", "dtype": "|b1", "shape": [1]}, "$.value.layers[0].bias.data"),
    ],
)  # fmt: skip
def test_hostile_text_is_refused_with_its_place(path: str, value: Any, where: str) -> None:
    with pytest.raises(ModelError) as caught:
        from_json(_with(path, value), Graph)
    assert caught.value.where == where


def test_another_version_is_told_from_a_damaged_text() -> None:
    with pytest.raises(ModelError, match="another version of hsflow wrote the text") as caught:
        from_json(_with("format", 1), Graph)
    assert (caught.value.got, caught.value.expected) == ("1", 3)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "nul", '{"format":1,"format":1}', "NaN", '{"format":Infinity}', "[" * 100_000, b"\xff\xfe\xff", "9" * 5000],
)  # fmt: skip
def test_what_is_no_such_document_is_refused(text: str | bytes) -> None:
    with pytest.raises(ModelError):
        from_json(text, Graph)


def test_the_range_check_of_a_class_is_reported_with_its_place() -> None:
    text = to_json(example_adder_graph()).replace('"low":-128', '"low":128')
    with pytest.raises(ModelError, match=r"\$\.value\.inputs\[0\].*Interval"):
        from_json(text, AdderGraph)
