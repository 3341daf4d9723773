# SPDX-License-Identifier: Apache-2.0
"""The ONNX loader: every supported operator against torch, whole networks against the torch loader, the rest refused."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hsflow_torch.architectures import build
from hsflow_torch.lower import lower
from hsflow_torch.module import NetworkModule
from torch import nn
from torch.nn import functional as f

from hsflow.data import Dataset
from hsflow.errors import HsflowError, ModelError
from hsflow.importing import dataflow, files
from hsflow.ir import network as ir
from hsflow.ir.tensor import Shape
from tests.torch_models import Context, pixels, randomize

pytest.importorskip("onnx", reason="the package onnx is not installed")

import onnx
from hsflow_onnx import reader
from hsflow_onnx.lower import lower_file
from hsflow_onnx.stage import OnnxLoader, OnnxOptions

RNG = np.random.default_rng(0)
SIZES = (1, 4, 9, 10)


def floats(*shape: int) -> Any:
    return RNG.normal(size=shape).astype(np.float32)


CONSTANTS = {
    "w": floats(6, 4, 3, 3),
    "b": floats(6),
    "deep": floats(8, 1, 3, 2),
    "classes": floats(360, 5),
    "classes_t": floats(5, 360),
    "six": floats(6, 5),
    "b5": floats(5),
    "b15": floats(1, 5),
    "b6": floats(1, 6, 1, 1),
    "b66": floats(6, 6, 1),
    "gain": floats(6),
    "shift": floats(6),
    "mean": floats(6),
    "var": np.abs(floats(6)) + 1,
    "zero": np.float32(0),
    "top": np.float32(6),
    "one": np.float32(1),
    "axes": np.array([2, 3]),
    "axis": np.array([1]),
    "sides": np.array([0, 0, 1, 3, 0, 0, 2, 0]),
    "channel": np.array([0, 1, 0, 0, 0, 0, 0, 0]),
    "wide": np.array([0, 0, 900, 0, 0, 0, 0, 0]),
    "flat": np.array([0, -1]),
    "rows": np.array([0, 4, -1]),
    "nan": np.full((6, 4, 3, 3), np.nan, np.float32),
    "signal": np.full((6, 4, 3, 3), 0x7FA00000, np.uint32).view(np.float32),
    "large": np.full((6, 4, 3, 3), 1e300),
    "huge": np.full(6, 1e300),
    "huge_classes": np.full((360, 5), 1e300),
    "below": np.full(6, -2.0, np.float32),
    "no_axes": np.array([2.0, np.nan]),
}
T = {name: torch.from_numpy(np.array(array)) for name, array in CONSTANTS.items()}


def node(kind: str, inputs: str, output: str = "y", **attributes: Any) -> Any:
    """Return a node; `inputs` are names between spaces, "-" for one that is left out."""
    names = ["" if name == "-" else name for name in inputs.split()]
    return onnx.helper.make_node(kind, names, output.split(), **attributes)


CONV = node("Conv", "x w b", "c")
LAST = node("Conv", "x w b")


def model(nodes: list[Any], sizes: Any = SIZES, opset: int = 18, **constants: Any) -> Any:
    used = {name for each in nodes for name in each.input}
    initializers = [
        onnx.numpy_helper.from_array(np.asarray(array), name)
        for name, array in {**CONSTANTS, **constants}.items()
        if name in used
    ]
    float32 = onnx.TensorProto.FLOAT
    image = onnx.helper.make_tensor_value_info("x", float32, sizes)
    output = onnx.helper.make_tensor_value_info("y", float32, None)
    graph = onnx.helper.make_graph(nodes, "g", [image], [output], initializers)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])


def write(path: Path, nodes: list[Any], **options: Any) -> Path:
    path.write_bytes(model(nodes, **options).SerializeToString())
    return path


Reference = Callable[[torch.Tensor], torch.Tensor]


def conv(x: torch.Tensor, **options: Any) -> torch.Tensor:
    return f.conv2d(x, T["w"], T["b"], **options)


CASES: dict[str, tuple[list[Any], Reference]] = {
    "conv": ([LAST], conv),
    "no bias": ([node("Conv", "x w")], lambda x: f.conv2d(x, T["w"])),
    "pads": (
        [node("Conv", "x w b", pads=[1, 0, 2, 3], strides=[2, 1], dilations=[1, 2])],
        lambda x: conv(f.pad(x, (0, 3, 1, 2)), stride=(2, 1), dilation=(1, 2)),
    ),
    "same upper": (
        [node("Conv", "x w b", auto_pad="SAME_UPPER", strides=[2, 2])],
        lambda x: conv(f.pad(x, (0, 1, 1, 1)), stride=2),
    ),
    "same lower": (
        [node("Conv", "x w b", auto_pad="SAME_LOWER", strides=[2, 2])],
        lambda x: conv(f.pad(x, (1, 0, 1, 1)), stride=2),
    ),
    "valid": ([node("Conv", "x w b", auto_pad="VALID", pads=[9, 9, 9, 9])], conv),
    "grouped": ([node("Conv", "x deep", group=4)], lambda x: f.conv2d(x, T["deep"], groups=4)),
    "batch normalization": (
        [CONV, node("BatchNormalization", "c gain shift mean var", epsilon=0.25)],
        lambda x: f.batch_norm(conv(x), T["mean"], T["var"], T["gain"], T["shift"], eps=0.25),
    ),
    "relu": ([CONV, node("Relu", "c")], lambda x: f.relu(conv(x))),
    "clip": ([CONV, node("Clip", "c zero top")], lambda x: f.relu6(conv(x))),
    "clip at the bottom": ([CONV, node("Clip", "c zero")], lambda x: f.relu(conv(x))),
    "add of branches": (
        [CONV, node("Relu", "c", "r"), node("Add", "c r")],
        lambda x: (y := conv(x)) + f.relu(y),
    ),
    "add of a constant": ([CONV, node("Add", "b6 c")], lambda x: conv(x) + T["b6"]),
    "max pool": (
        [node("MaxPool", "x", kernel_shape=[3, 2], strides=[2, 2], pads=[1, 0, 1, 1])],
        lambda x: f.max_pool2d(f.pad(x, (0, 1, 1, 1), value=-torch.inf), (3, 2), 2),
    ),
    "max pool, ceil_mode": (
        [node("MaxPool", "x", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)],
        lambda x: f.max_pool2d(x, 2, ceil_mode=True),
    ),
    "average pool": (
        [node("AveragePool", "x", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1)],
        lambda x: f.avg_pool2d(x, 3, 1, 1),
    ),
    "global average pool": (
        [CONV, node("GlobalAveragePool", "c", "p"), node("Flatten", "p", "q"), node("MatMul", "q six")],
        lambda x: conv(x).mean((2, 3)) @ T["six"],
    ),
    "mean, squeezed": (
        [CONV, node("ReduceMean", "c axes", "p"), node("Squeeze", "p axes", "q"), node("MatMul", "q six")],
        lambda x: conv(x).mean((2, 3)) @ T["six"],
    ),
    "mean, not kept": (
        [CONV, node("ReduceMean", "c axes", "p", keepdims=0), node("MatMul", "p six")],
        lambda x: conv(x).mean((2, 3)) @ T["six"],
    ),
    "gemm": (
        [node("Flatten", "x", "q"), node("Gemm", "q classes_t b5", alpha=0.5, beta=2.0, transB=1)],
        lambda x: x.flatten(1) @ T["classes_t"].T * 0.5 + 2 * T["b5"],
    ),
    "matmul, bias, softmax": (
        [node("Reshape", "x flat", "q"), node("MatMul", "q classes", "m"), node("Add", "m b15", "n"), node("Softmax", "n")],
        lambda x: x.flatten(1) @ T["classes"] + T["b15"],
    ),
    "linear, then relu": (
        [node("Flatten", "x", "q"), node("Gemm", "q classes b5", "m"), node("Relu", "m")],
        lambda x: f.relu(x.flatten(1) @ T["classes"] + T["b5"]),
    ),
    "pad": (
        [node("Pad", "x sides", "p"), node("Conv", "p w b")],
        lambda x: conv(f.pad(x, (3, 0, 1, 2))),
    ),
    "constants and identities": (
        [
            onnx.helper.make_node("Constant", [], ["k"], value=onnx.numpy_helper.from_array(CONSTANTS["w"])),
            node("Identity", "k", "kk"),
            node("Dropout", "x", "d unused"),
            node("Conv", "d kk b"),
        ],
        conv,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_operators_equal_torch(name: str, tmp_path: Path) -> None:
    nodes, reference = CASES[name]
    exact = round(0.4 * 255) / 255  # padding is a pixel
    network = lower_file(write(tmp_path / "m.onnx", nodes), mean=(exact,), std=(0.25,))
    images = torch.from_numpy(pixels(network))
    with torch.no_grad():
        wanted = reference((images / 255 - exact) / 0.25).flatten(1)
        found = NetworkModule(network)(images).flatten(1)
    assert torch.allclose(found, wanted, atol=2e-4, rtol=1e-4)
    assert not torch.allclose(found, wanted + 0.01, atol=2e-4, rtol=1e-4)


@pytest.mark.parametrize("name", ["matmul, bias, softmax", "gemm", "global average pool"])
def test_the_classifier_is_dense(name: str, tmp_path: Path) -> None:
    network = lower_file(write(tmp_path / "m.onnx", CASES[name][0]))
    assert isinstance(network.layers[-1], ir.Dense)


def test_normalization_and_activation_are_no_layers(tmp_path: Path) -> None:
    nodes = [CONV, node("BatchNormalization", "c gain shift mean var", "n"), node("Relu", "n")]
    assert len(lower_file(write(tmp_path / "m.onnx", nodes)).layers) == 1


def test_older_files_keep_sizes_in_attributes(tmp_path: Path) -> None:
    nodes = [
        node("Pad", "x", "p", pads=[0, 0, 1, 3, 0, 0, 2, 0]),
        node("Conv", "p w b", "c"),
        node("Clip", "c", "r", min=0.0, max=6.0),
        node("ReduceMean", "r", "m", axes=[2, 3], keepdims=1),
        node("Squeeze", "m", "y", axes=[2, 3]),
    ]
    network = lower_file(write(tmp_path / "m.onnx", nodes, opset=10))
    images = torch.from_numpy(pixels(network))
    wanted = f.relu6(conv(f.pad(images / 255, (3, 0, 1, 2)))).mean((2, 3))
    with torch.no_grad():
        assert torch.allclose(NetworkModule(network)(images).flatten(1), wanted, atol=1e-5)


REFUSED: dict[str, tuple[list[Any], str]] = {
    "operator": ([node("Sigmoid", "x")], r"y \(Sigmoid\)"),
    "domain": ([node("Conv", "x w b", domain="evil")], r"evil\.Conv"),
    "clip": ([CONV, node("Clip", "c one top")], "bounds"),
    "alpha": ([node("Gemm", "x classes b5")], "its matrix"),
    "transA": ([node("Gemm", "x classes b5", transA=1)], "transA"),
    "average": ([node("AveragePool", "x", kernel_shape=[3, 3], pads=[1, 1, 1, 1])], "count_include_pad"),
    "mean": ([node("ReduceMean", "x axis")], r"mean over \[1\]"),
    "pad channels": ([node("Pad", "x channel")], "height and width only"),
    "pad much": ([node("Pad", "x wide")], "pixels around"),
    "pad by ones": ([node("Pad", "x sides one")], "by zeros"),
    "reflect": ([node("Pad", "x sides", mode="reflect")], "by zeros"),
    "reshape": ([node("Reshape", "x rows")], "reshapes"),
    "flatten": ([node("Flatten", "x", axis=2)], "axis=2"),
    "groups": ([node("Conv", "x w b", group=0)], "0 groups"),
    "other groups": ([node("Conv", "x w b", group=2)], "takes 8 channels"),
    "strides": ([node("Conv", "x w b", strides=[0, 1])], "at least 1"),
    "one stride": ([node("Conv", "x w b", strides=[1])], "2 integers"),
    "negative pads": ([node("Conv", "x w b", pads=[-1, 0, 0, 0])], "negative"),
    "auto_pad": ([node("Conv", "x w b", auto_pad="EVIL")], "auto_pad"),
    "bias": ([node("Conv", "x w b5")], "bias has shape"),
    "constant": ([CONV, node("Add", "c b66")], "adds a constant"),
    "training": ([CONV, node("BatchNormalization", "c gain shift mean var", training_mode=1)], "training"),
    "normalization": ([node("BatchNormalization", "x gain shift mean var")], "parameters"),
    "indices": ([node("MaxPool", "x", "p i", kernel_shape=[2, 2]), node("Add", "p i")], "one output"),
    "softmax inside": ([node("Softmax", "x", "s"), node("Conv", "s w b")], "last operator"),
    "unmade": ([node("Conv", "z w b")], "nothing makes"),
    "twice": ([LAST, LAST], "nothing else makes"),
    "no weight": ([node("Conv", "x")], "must be a constant"),
    "no input": ([onnx.helper.make_node("Relu", [], ["y"])], "nothing makes"),
    "nan": ([node("Conv", "x nan b")], "tensor nan: .*NaN or infinite"),
    "signalling nan": ([node("Conv", "x signal b")], "tensor signal: .*NaN or infinite"),
    "too large": ([node("Conv", "x large b")], "NaN or infinite"),
    "too large a product": (
        [node("Flatten", "x", "f"), node("Gemm", "f huge_classes b5", alpha=1e30)],
        "NaN or infinite",
    ),
    "infinite alpha": (
        [node("Flatten", "x", "f"), node("Gemm", "f classes b5", alpha=float("inf"))],
        "alpha is no finite",
    ),
    "alpha of letters": (
        [node("Flatten", "x", "f"), node("Gemm", "f classes b5", alpha="a")],
        "alpha is no finite",
    ),
    "variance below 0": ([CONV, node("BatchNormalization", "c gain shift mean below")], "not finite"),
    "folded to infinity": (
        [node("Conv", "x large b", "c"), node("BatchNormalization", "c huge shift mean var")],
        "NaN or infinite",
    ),
    "folded too far": ([CONV, node("BatchNormalization", "c huge huge huge var")], "not finite"),
    "axes of floats": ([node("ReduceMean", "x no_axes")], "must be integers"),
    "strides of floats": ([node("Conv", "x w b", strides=[1.0, 1.0])], "strides must be integers"),
    "window": ([node("MaxPool", "x", kernel_shape=[1 << 40, 2])], "does not fit"),
    "input": ([node("Identity", "x")], "returns its input"),
}


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(name: str, tmp_path: Path) -> None:
    nodes, reason = REFUSED[name]
    with pytest.raises(ModelError, match=reason):
        lower_file(write(tmp_path / "m.onnx", nodes))


@pytest.mark.filterwarnings("error")
def test_a_deviation_near_0_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="NaN or infinite"):
        lower_file(write(tmp_path / "m.onnx", [LAST]), mean=(0.5,), std=(1e-320,))


def test_free_sizes_are_the_images(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", [LAST], sizes=("n", 4, "h", "w"))
    assert lower_file(path, image=Shape(3, 7, 8)).input_shape == Shape(4, 7, 8)
    with pytest.raises(ModelError, match="the input is no image"):
        lower_file(path)


@pytest.mark.parametrize("sizes", [(1, 4), (1, 4, 1 << 20, 1 << 20), (1, 4, 0, 4), (1, 4, -3, 4), None])
def test_an_input_that_is_no_image(sizes: Any, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="the input is no image"):
        lower_file(write(tmp_path / "m.onnx", [LAST], sizes=sizes))


def test_weights_in_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(6 * 4 * 9 * 4))
    proto = model([LAST])
    tensor = next(each for each in proto.graph.initializer if each.name == "w")
    onnx.external_data_helper.set_external_data(tensor, "secret")
    tensor.ClearField("raw_data")
    (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
    with pytest.raises(ModelError, match="another file"):
        lower_file(tmp_path / "m.onnx")


def test_a_tensor_that_claims_a_terabyte(tmp_path: Path) -> None:
    for dims in ([1 << 40], [1 << 20, 1 << 20], [-1]):
        proto = model([LAST])
        del proto.graph.initializer[0].dims[:]
        proto.graph.initializer[0].dims.extend(dims)
        (tmp_path / "m.onnx").write_bytes(proto.SerializeToString())
        with pytest.raises(ModelError, match="damaged"):
            lower_file(tmp_path / "m.onnx")


def test_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "m.onnx", [LAST])
    for module, name, limit, match in (
        (dataflow, "MAX_WEIGHTS", 10, "the weights are more than"),
        (dataflow, "MAX_OPERATORS", 0, "too many operators"),
        (files, "MAX_FILE_BYTES", 10, "too large"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, limit)
            with pytest.raises(ModelError, match=match):
                lower_file(path)


@pytest.mark.filterwarnings("error")
def test_damaged_files_end_in_a_model_error(tmp_path: Path) -> None:
    whole = write(tmp_path / "m.onnx", CASES["matmul, bias, softmax"][0]).read_bytes()
    rng, path = np.random.default_rng(1), tmp_path / "damaged.onnx"
    refused = 0
    for trial in range(300):
        raw = bytearray(whole[: rng.integers(1, len(whole))] if trial % 4 == 0 else whole)
        for place in rng.integers(0, min(len(raw), 300) if trial % 2 else len(raw), size=3):
            raw[place] = rng.integers(256)
        path.write_bytes(raw)
        try:
            lower_file(path)
        except ModelError:
            refused += 1
    assert refused > 50


def test_without_the_package_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "m.onnx", [LAST])
    reader.library.cache_clear()
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(HsflowError, match=r"hsflow\[onnx\]"):
        lower_file(path)


def test_the_stage(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", CASES["gemm"][0], sizes=("n", 4, 9, 10))
    images, labels = np.zeros((2, 4, 9, 10), np.uint8), np.array([0, 4])
    context = Context(dataset=Dataset("set", images, labels, images, labels, tuple("abcde")))
    network = OnnxLoader().run(None, OnnxOptions(model=path), context)
    assert network.classes == tuple("abcde") and "accuracy_float" in context.metrics
    fewer = OnnxLoader().run(None, OnnxOptions(model=path, drop_background=True), context)
    assert len(fewer.classes) == 4
    wide = write(tmp_path / "m.onnx", CASES["gemm"][0], sizes=("n", 4, 10, 9))
    with pytest.raises(ModelError, match="images do not fit"):
        OnnxLoader().run(None, OnnxOptions(model=wide), context)


def _anonymous(network: ir.Network) -> list[Any]:
    """Return the layers by number instead of name, without weights."""
    number = {ir.INPUT_NAME: -1, **{layer.name: index for index, layer in enumerate(network.layers)}}
    return [
        (
            type(layer),
            [number[each] for each in layer.sources],
            network.shapes[layer.name],
            *(getattr(layer, name, None) for name in ("window", "groups", "activation", "pad_values")),
        )
        for layer in network.layers
    ]


EXPORTED: dict[str, tuple[Callable[[], nn.Module], Shape]] = {
    "mobilenet_v2": (lambda: build("mobilenet_v2", classes=10, seed=1, width=0.35), Shape(3, 64, 64)),
    "resnet20": (lambda: build("resnet20", classes=10, seed=1), Shape(3, 32, 32)),
    "digits": (lambda: build("digits", classes=10, seed=1), Shape(1, 8, 8)),
}


@pytest.mark.parametrize("name", EXPORTED)
def test_exported_networks_are_what_the_torch_loader_makes(name: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="onnxscript, which torch.onnx.export needs, is not installed")
    factory, shape = EXPORTED[name]
    module, options = randomize(factory()).eval(), {"mean": (0.5,), "std": (0.25,)}
    example = torch.zeros(1, shape.channels, shape.height, shape.width)
    torch.onnx.export(module, (example,), tmp_path / "m.onnx", external_data=False, verbose=False)
    through_onnx = lower_file(tmp_path / "m.onnx", **options)
    through_torch = lower(module, shape, **options)
    assert _anonymous(through_onnx) == _anonymous(through_torch)
    images = torch.from_numpy(pixels(through_torch))
    with torch.no_grad():
        found, wanted = (NetworkModule(each)(images) for each in (through_onnx, through_torch))
    assert torch.allclose(found, wanted, rtol=1e-3, atol=1e-3 * float(wanted.abs().max()))
    other = replace(through_torch, layers=through_torch.layers[1:])
    assert len(other.layers) != len(through_onnx.layers)
