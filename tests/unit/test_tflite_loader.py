# SPDX-License-Identifier: Apache-2.0
"""The TFLite loader: every supported operator against torch, real files against real images, the rest refused by name."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hsflow_torch.module import NetworkModule
from hsflow_torch.training import accuracy
from torch.nn import functional as f

from hsflow.data import Dataset
from hsflow.errors import HsflowError, ModelError
from hsflow.images import Geometry, read_image_files
from hsflow.importing import dataflow, files
from hsflow.importing.completion import without_first_class
from hsflow.ir import network as ir
from hsflow.ir.tensor import Padding, Shape
from tests.shared_data import shared_file
from tests.torch_models import Context, pixels

pytest.importorskip("tflite", reason="the package tflite is not installed")

from hsflow_tflite import reader
from hsflow_tflite.lower import lower_file
from hsflow_tflite.stage import TfliteLoader, TfliteOptions

from tests.tflite_files import Node, Tensor, constant, tflite_file

RNG = np.random.default_rng(0)
IMAGE = Tensor("input", (1, 9, 10, 4))
WEIGHT = RNG.normal(size=(6, 3, 3, 4)).astype(np.float32)
BIAS = RNG.normal(size=6).astype(np.float32)
DEEP = RNG.normal(size=(1, 3, 2, 8)).astype(np.float32)
DEEP_BIAS = RNG.normal(size=8).astype(np.float32)
CLASSIFIER = RNG.normal(size=(5, 360)).astype(np.float32)
CONSTANTS = [
    constant("w", WEIGHT),
    constant("b", BIAS),
    constant("w6", RNG.normal(size=(6, 1, 1, 6)).astype(np.float32)),
    constant("half", WEIGHT.astype(np.float16)),
    constant("deep", DEEP),
    constant("deep_b", DEEP_BIAS),
    constant("classes", CLASSIFIER),
    constant("sides", np.array([[0, 0], [1, 2], [3, 0], [0, 0]], np.int32)),
    constant("wide", np.array([[0, 0], [900, 2], [3, 0], [0, 0]], np.int32)),
    constant("channels", np.array([[0, 0], [0, 0], [0, 0], [1, 0]], np.int32)),
    constant("axes", np.array([1, 2], np.int32)),
    constant("axis", np.array([3], np.int32)),
    constant("nan", np.full((6, 3, 3, 4), np.nan, np.float32)),
    constant("signal", np.full((6, 3, 3, 4), 0x7FA00000, np.uint32).view(np.float32)),
    constant("no_axes", np.array([1, np.nan], np.float32)),
    constant("no_sides", np.full((4, 2), np.nan, np.float32)),
    constant("b5", np.zeros(5, np.float32)),
    constant("w3", np.zeros((6, 3, 3, 3), np.float32)),
]
STEP = {"StrideH": 1, "StrideW": 1}
SAME = {**STEP, "Padding": 0}
VALID = {**STEP, "Padding": 1}
CONV = Node("CONV_2D", ("input", "w", "b"), "output", VALID)


def nhwc(weight: Any) -> torch.Tensor:
    return torch.from_numpy(np.array(weight)).permute(0, 3, 1, 2).contiguous()


def convolved(x: torch.Tensor, **options: Any) -> torch.Tensor:
    return f.conv2d(x, nhwc(WEIGHT), torch.from_numpy(BIAS), **options)


def maps(*shapes: tuple[str, tuple[int, ...]]) -> list[Tensor]:
    return [Tensor(name, shape) for name, shape in shapes]


def write(path: Path, tensors: list[Tensor], nodes: list[Node], image: Tensor = IMAGE) -> Path:
    path.write_bytes(tflite_file([image, *tensors, *CONSTANTS], nodes))
    return path


Case = tuple[list[Tensor], list[Node], Callable[[torch.Tensor], torch.Tensor]]

OUT = ("output", (1, 7, 8, 6))
CASES: dict[str, Case] = {
    "valid": (maps(OUT), [CONV], convolved),
    "no bias": (
        maps(OUT),
        [replace(CONV, inputs=("input", "w", ""))],
        lambda x: f.conv2d(x, nhwc(WEIGHT)),
    ),
    "same": (maps(OUT), [replace(CONV, options=SAME)], lambda x: convolved(x, padding=1)),
    "same, strided, lopsided": (
        maps(OUT),
        [replace(CONV, options={**SAME, "StrideH": 2, "StrideW": 2})],
        lambda x: convolved(f.pad(x, (0, 1, 1, 1)), stride=2),
    ),
    "dilated": (
        maps(OUT),
        [replace(CONV, options={**SAME, "DilationHFactor": 2, "DilationWFactor": 3})],
        lambda x: convolved(f.pad(x, (3, 3, 2, 2)), dilation=(2, 3)),
    ),
    "relu6": (
        maps(OUT),
        [replace(CONV, options={**VALID, "FusedActivationFunction": 3})],
        lambda x: f.relu6(convolved(x)),
    ),
    "padded": (
        maps(("p", (1, 12, 13, 4)), OUT),
        [Node("PAD", ("input", "sides"), "p"), replace(CONV, inputs=("p", "w", "b"))],
        lambda x: convolved(f.pad(x, (3, 0, 1, 2))),
    ),
    "padded, then same": (
        maps(("p", (1, 12, 13, 4)), OUT),
        [
            Node("PAD", ("input", "sides"), "p"),
            replace(CONV, inputs=("p", "w", "b"), options={**SAME, "StrideH": 2, "StrideW": 2}),
        ],
        lambda x: convolved(f.pad(x, (3 + 1, 0 + 1, 1 + 0, 2 + 1)), stride=2),
    ),
    "half precision weights": (
        maps(("full", (6, 3, 3, 4)), OUT),
        [Node("DEQUANTIZE", ("half",), "full"), replace(CONV, inputs=("input", "full", "b"))],
        lambda x: f.conv2d(x, nhwc(WEIGHT.astype(np.float16).astype(np.float32)), torch.from_numpy(BIAS)),
    ),
    "depthwise with multiplier": (
        maps(("output", (1, 7, 9, 8))),
        [Node("DEPTHWISE_CONV_2D", ("input", "deep", "deep_b"), "output", VALID)],
        lambda x: f.conv2d(
            x, torch.from_numpy(DEEP.transpose(3, 0, 1, 2).copy()), torch.from_numpy(DEEP_BIAS), groups=4
        ),
    ),
    "max pool": (
        maps(("output", (1, 5, 5, 4))),
        [Node("MAX_POOL_2D", ("input",), "output", {**SAME, "StrideH": 2, "StrideW": 2, "FilterHeight": 3, "FilterWidth": 2})],
        lambda x: f.max_pool2d(f.pad(x, (0, 0, 1, 1), value=-torch.inf), (3, 2), 2),
    ),
    "average pool, relu": (
        maps(OUT, ("c", (1, 7, 8, 6))),
        [
            replace(CONV, output="c"),
            Node("AVERAGE_POOL_2D", ("c",), "output", {**VALID, "FilterHeight": 7, "FilterWidth": 2, "FusedActivationFunction": 1}),
        ],
        lambda x: f.relu(f.avg_pool2d(convolved(x), (7, 2), 1)),
    ),
    "mean": (
        maps(("output", (1, 6)), ("c", (1, 7, 8, 6))),
        [replace(CONV, output="c"), Node("MEAN", ("c", "axes"), "output")],
        lambda x: convolved(x).mean((2, 3)),
    ),
    "flatten and classify": (
        maps(("r", (1, 360)), ("logits", (1, 5)), ("output", (1, 5))),
        [
            Node("RESHAPE", ("input",), "r"),
            Node("FULLY_CONNECTED", ("r", "classes", "b5"), "logits"),
            Node("SOFTMAX", ("logits",), "output"),
        ],
        lambda x: x.permute(0, 2, 3, 1).flatten(1) @ torch.from_numpy(CLASSIFIER).T,
    ),
    "classify, then relu": (
        maps(("output", (1, 5))),
        [Node("FULLY_CONNECTED", ("input", "classes", "b5"), "output", {"FusedActivationFunction": 1})],
        lambda x: f.relu(x.permute(0, 2, 3, 1).flatten(1) @ torch.from_numpy(CLASSIFIER).T),
    ),
    "add, relu of one branch": (
        maps(("c", (1, 7, 8, 6)), ("r", (1, 7, 8, 6)), OUT),
        [
            replace(CONV, output="c"),
            Node("RELU", ("c",), "r"),
            Node("ADD", ("c", "r"), "output", {"FusedActivationFunction": 3}),
        ],
        lambda x: f.relu6((y := convolved(x)) + f.relu(y)),
    ),
    "relu alone": (
        maps(("c", (1, 7, 8, 6)), OUT),
        [replace(CONV, output="c"), Node("RELU6", ("c",), "output")],
        lambda x: f.relu6(convolved(x)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_operators_equal_torch(name: str, tmp_path: Path) -> None:
    tensors, nodes, reference = CASES[name]
    network = lower_file(write(tmp_path / "m.tflite", tensors, nodes), mean=(0.4,), std=(0.25,))
    images = torch.from_numpy(pixels(network))
    exact = round(0.4 * 255) / 255  # padding is a pixel
    network = lower_file(tmp_path / "m.tflite", mean=(exact,), std=(0.25,))
    with torch.no_grad():
        wanted = reference((images / 255 - exact) / 0.25).flatten(1)
        found = NetworkModule(network)(images).flatten(1)
    assert torch.allclose(found, wanted, atol=2e-4, rtol=1e-4)
    assert not torch.allclose(found, wanted + 0.01, atol=2e-4, rtol=1e-4)


def test_the_fused_relu_is_no_layer_of_its_own(tmp_path: Path) -> None:
    tensors, nodes, _ = CASES["relu alone"]
    network = lower_file(write(tmp_path / "m.tflite", tensors, nodes), mean=(0.0,), std=(1.0,))
    assert [type(layer) for layer in network.layers] == [ir.Conv]


def test_the_classifier_is_dense_whatever_stands_behind_it(tmp_path: Path) -> None:
    tensors, nodes, _ = CASES["flatten and classify"]
    network = lower_file(write(tmp_path / "m.tflite", tensors, nodes), mean=(0.0,), std=(1.0,))
    assert isinstance(network.layers[-1], ir.Dense)


def test_a_pointwise_convolution_of_one_pixel_is_the_classifier(tmp_path: Path) -> None:
    tensors = maps(("c", (1, 7, 8, 6)), ("m", (1, 1, 1, 6)), ("output", (1, 1, 1, 6)))
    nodes = [
        replace(CONV, output="c"),
        Node("MEAN", ("c", "axes"), "m", {"KeepDims": True}),
        Node("CONV_2D", ("m", "w6", "b"), "output", VALID),
    ]
    network = lower_file(write(tmp_path / "m.tflite", tensors, nodes), mean=(0.0,), std=(1.0,))
    assert isinstance(network.layers[-1], ir.Dense)


@pytest.mark.parametrize("scales", [1, 6])
@pytest.mark.parametrize("kind", ["int8", "uint8"])
def test_8_bit_weights_and_inputs_tell_their_scale(scales: int, kind: str, tmp_path: Path) -> None:
    low, zero = (-128, 3) if kind == "int8" else (0, 131)
    raw = RNG.integers(low, low + 256, size=(6, 3, 3, 4)).astype(kind)
    scale = tuple(np.float32(0.01 * (index + 1)) for index in range(scales))
    real = (raw.astype(np.float32) - zero) * np.array(scale, np.float32).reshape(-1, 1, 1, 1)
    image = Tensor("input", (1, 9, 10, 4), kind, None, (1 / 64,), (low + 100,))
    tensors = [
        *maps(OUT),
        constant("q", raw, scale=scale, zero=(zero,) * scales),
        constant("qb", np.arange(6, dtype=np.int32), scale=(0.5,), zero=(0,)),
    ]
    node = replace(CONV, inputs=("input", "q", "qb"), options=SAME)
    network = lower_file(write(tmp_path / "m.tflite", tensors, [node], image))
    images = torch.from_numpy(pixels(network))
    bias = torch.arange(6).float() / 2
    with torch.no_grad():
        wanted = f.conv2d((images.float() - 100) / 64, nhwc(real), bias, padding=1)
        found = NetworkModule(network)(images)
    assert torch.allclose(found, wanted.reshape(found.shape), atol=1e-3)


def test_channels_first_images_are_transposed_once(tmp_path: Path) -> None:
    image = Tensor("input", (1, 4, 9, 10))
    order = constant("order", np.array([0, 2, 3, 1], np.int32))
    tensors = [*maps(("t", (1, 9, 10, 4)), OUT), order]
    nodes = [Node("TRANSPOSE", ("input", "order"), "t"), replace(CONV, inputs=("t", "w", "b"))]
    path = write(tmp_path / "m.tflite", tensors, nodes, image)
    network = lower_file(path, mean=(0.0,), std=(1.0,))
    assert network.input_shape == Shape(4, 9, 10)
    twice = [*nodes, Node("TRANSPOSE", ("output", "order"), "again")]
    tensors += maps(("again", (1, 8, 6, 7)))
    path.write_bytes(tflite_file([image, *tensors, *CONSTANTS], twice, output="again"))
    with pytest.raises(ModelError, match="only of the image"):
        lower_file(path, mean=(0.0,), std=(1.0,))


POOL = {**SAME, "FilterHeight": 3, "FilterWidth": 3}
REFUSED: dict[str, tuple[list[Node], str]] = {
    "operator": ([Node("LOGISTIC", ("input",), "output")], r"output \(LOGISTIC\)"),
    "average pool": ([Node("AVERAGE_POOL_2D", ("input",), "output", POOL)], "leaves out of the mean"),
    "mean": ([Node("MEAN", ("input", "axis"), "output")], r"mean over \[3\]"),
    "activation": ([replace(CONV, options={**VALID, "FusedActivationFunction": 4})], "number 4"),
    "padding of channels": ([Node("PAD", ("input", "channels"), "output")], "height and width only"),
    "much padding": ([Node("PAD", ("input", "wide"), "output")], "pixels around a map"),
    "padding alone": ([Node("PAD", ("input", "sides"), "output")], "follows padding"),
    "stride": ([replace(CONV, options={**VALID, "StrideH": 0})], "at least 1"),
    "dilation": ([replace(CONV, options={**VALID, "DilationWFactor": -1})], "at least 1"),
    "bias": ([replace(CONV, inputs=("input", "w", "b5"))], "bias has shape"),
    "channels": ([replace(CONV, inputs=("input", "w3", "b"))], "takes 3 channels a group"),
    "weight": ([replace(CONV, inputs=("input", "classes", "b"))], "4 dimensions"),
    "inputs": ([replace(CONV, inputs=("input",))], "1 inputs"),
    "no inputs": ([replace(CONV, inputs=())], "0 inputs"),
    "weight is no constant": ([replace(CONV, inputs=("input", "input", "b"))], "must be a constant"),
    "map is a constant": ([replace(CONV, inputs=("w", "w", "b"))], "reads a constant"),
    "unmade": ([replace(CONV, inputs=("r", "w", "b"))], "nothing makes"),
    "nothing": ([], "nothing makes"),
    "unchanged": ([Node("QUANTIZE", ("input",), "output")], "returns its input"),
    "twice": ([CONV, CONV], "nothing else makes"),
    "softmax inside": ([Node("SOFTMAX", ("input",), "r"), replace(CONV, inputs=("r", "w", "b"))], "last operator"),
    "reshape": ([Node("RESHAPE", ("input",), "output")], "only to"),
    "nan": ([replace(CONV, inputs=("input", "nan", "b"))], "tensor nan: .*NaN or infinite"),
    "signalling nan": ([replace(CONV, inputs=("input", "signal", "b"))], "tensor signal: .*NaN or infinite"),
    "axes of floats": ([Node("MEAN", ("input", "no_axes"), "output")], "constant of integers"),
    "padding by floats": ([Node("PAD", ("input", "no_sides"), "output")], "constant of integers"),
    "window": ([Node("MAX_POOL_2D", ("input",), "output", {**VALID, "FilterHeight": 1 << 30, "FilterWidth": 3})], "does not fit"),
}  # fmt: skip


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name(name: str, tmp_path: Path) -> None:
    nodes, reason = REFUSED[name]
    tensors = maps(OUT, ("r", (1, 9, 10, 4)))
    with pytest.raises(ModelError, match=reason):
        lower_file(write(tmp_path / "m.tflite", tensors, nodes), mean=(0.0,), std=(1.0,))


def test_every_unsupported_operator_is_listed(tmp_path: Path) -> None:
    nodes = [
        Node("LOGISTIC", ("input",), "r"),
        Node("TANH", ("input",), "s"),
        replace(CONV, inputs=("r", "w", "b")),
    ]
    tensors = maps(OUT, ("r", (1, 9, 10, 4)), ("s", (1, 9, 10, 4)))
    with pytest.raises(ModelError) as caught:
        lower_file(write(tmp_path / "m.tflite", tensors, nodes), mean=(0.0,), std=(1.0,))
    assert "2 operators are not supported" in str(caught.value)


def test_a_float_input_needs_its_scale(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="how its input is scaled") as caught:
        lower_file(write(tmp_path / "m.tflite", maps(OUT), [CONV]))
    assert "mean = [0.5]" in str(caught.value)


@pytest.mark.parametrize(
    "shape", [(1, 1 << 20, 1 << 20, 4), (1, 0, 4, 4), (1, -1, 9, 4), (), (1, 2, 3, 4, 5)]
)
def test_an_input_that_is_no_image(shape: tuple[int, ...], tmp_path: Path) -> None:
    path = write(tmp_path / "m.tflite", maps(OUT), [CONV], Tensor("input", shape))
    with pytest.raises(ModelError, match="the input is no image"):
        lower_file(path, mean=(0.0,), std=(1.0,))


def test_one_array_named_many_times_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "m.tflite", maps(OUT), [CONV])
    monkeypatch.setattr(dataflow, "MAX_WEIGHTS", WEIGHT.size + BIAS.size - 1)
    with pytest.raises(ModelError, match="the weights are more than"):
        lower_file(path, mean=(0.0,), std=(1.0,))


def test_too_many_operators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "m.tflite", maps(OUT), [CONV])
    monkeypatch.setattr(dataflow, "MAX_OPERATORS", 0)
    with pytest.raises(ModelError, match="too many operators"):
        lower_file(path, mean=(0.0,), std=(1.0,))


@pytest.mark.parametrize("content", [b"", b"TFL3", b"\0" * 100, b"\x10\0\0\0TFL3" + b"\xff" * 100])
def test_what_is_no_model_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=r"not TFLite|damaged|sparse|outside|one graph"):
        lower_file(path)


def test_a_missing_or_large_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        lower_file(tmp_path / "none.tflite")
    monkeypatch.setattr(files, "MAX_FILE_BYTES", 10)
    with pytest.raises(ModelError, match="too large"):
        lower_file(write(tmp_path / "m.tflite", maps(OUT), [CONV]))


@pytest.mark.filterwarnings("error")
def test_damaged_files_end_in_a_model_error(tmp_path: Path) -> None:
    tensors, nodes, _ = CASES["flatten and classify"]
    whole = write(tmp_path / "m.tflite", tensors, nodes).read_bytes()
    rng, path = np.random.default_rng(1), tmp_path / "damaged.tflite"
    refused = 0
    for trial in range(400):
        raw = bytearray(whole[: rng.integers(8, len(whole))] if trial % 4 == 0 else whole)
        place = rng.integers(8, min(len(raw), len(raw) if trial % 2 else 1200), size=trial % 7 + 1)
        for index in place:
            raw[index] = rng.integers(256)
        path.write_bytes(raw)
        try:
            lower_file(path, mean=(0.0,), std=(1.0,))
        except ModelError:
            refused += 1
    assert refused > 50


def test_without_the_package_the_error_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader.library.cache_clear()
    monkeypatch.setitem(sys.modules, "tflite", None)
    with pytest.raises(HsflowError, match=r"hsflow\[tflite\]"):
        lower_file(write(tmp_path / "m.tflite", maps(OUT), [CONV]))


def _dataset(images: Any, labels: Any) -> Dataset:
    classes = tuple(map(str, range(int(labels.max()) + 1)))
    return Dataset("set", images, labels, images, labels, classes)


def _run(path: Path, shape: tuple[int, ...], **options: Any) -> ir.Network:
    images = np.zeros((2, *shape), np.uint8)
    context = Context(dataset=_dataset(images, np.array([0, 1])))
    return TfliteLoader().run(None, TfliteOptions(model=path, **options), context)


def test_the_stage_leaves_the_background_out(tmp_path: Path) -> None:
    tensors, nodes, _ = CASES["flatten and classify"]
    path = write(tmp_path / "m.tflite", tensors, nodes)
    given: Mapping[str, Any] = {"mean": (0.0,), "std": (1.0,)}
    whole, fewer = (_run(path, (4, 9, 10), drop_background=drop, **given) for drop in (False, True))
    kept, left = whole.layers[-1], fewer.layers[-1]
    assert isinstance(kept, ir.Dense) and isinstance(left, ir.Dense)
    assert np.array_equal(kept.weight.array[1:], left.weight.array)
    assert (len(whole.classes), len(fewer.classes)) == (5, 4)


def test_the_stage_refuses_images_of_another_size(tmp_path: Path) -> None:
    tensors, nodes, _ = CASES["flatten and classify"]
    path = write(tmp_path / "m.tflite", tensors, nodes)
    with pytest.raises(ModelError, match="images do not fit"):
        _run(path, (4, 10, 9), mean=(0.0,), std=(1.0,))


MOBILENETS = {
    "tf2_mobilenet_v2_1.0_224_ptq.tflite": (1001, Padding(0, 1, 0, 1)),
    "mobilenet_v2_1.0_224_quant.tflite": (1001, Padding(0, 1, 0, 1)),
    "mobilenet_v2_quantized_1x3x224x224.tflite": (1000, Padding(1, 1, 1, 1)),
}


@pytest.mark.parametrize("name", MOBILENETS)
def test_published_mobilenets_have_their_structure(name: str) -> None:
    classes, padding = MOBILENETS[name]
    network = lower_file(shared_file(f"models/mobilenet_v2/{name}"))
    convs = [layer for layer in network.layers if isinstance(layer, ir.Conv)]
    adds = [layer for layer in network.layers if isinstance(layer, ir.Add)]
    assert (len(convs), len(adds), network.input_shape) == (52, 10, Shape(3, 224, 224))
    assert convs[0].window.padding == padding
    assert sum(layer.activation is ir.Activation.RELU6 for layer in convs) == 35
    assert network.shapes[network.layers[-1].name] == Shape(classes, 1, 1)


@pytest.mark.parametrize(
    ("name", "layers"),
    [("kws_ref_model", 11), ("vww_96_int8", 29), ("ad01_int8", 10), ("pretrainedResnet_quant", 14)],
)
def test_published_tiny_models_load(name: str, layers: int) -> None:
    network = lower_file(shared_file(f"models/mlperf_tiny/{name}.tflite"))
    assert len(network.layers) == layers


@pytest.mark.parametrize(("name", "scale"), [("pretrainedResnet", 1 / 255), ("pretrainedResnet_quant", None)])
def test_published_resnet8_classifies(name: str, scale: float | None) -> None:
    """The published 87 % are of the original images; as JPEG of quality 75 with halved colours they are harder."""
    path, archive = shared_file(f"models/mlperf_tiny/{name}.tflite"), shared_file("cifar10/cifar10_test.zip")
    given: dict[str, Any] = {} if scale is None else {"mean": (0.0,), "std": (scale,)}
    files = read_image_files(archive, Geometry())
    module = NetworkModule(lower_file(path, **given))
    assert accuracy(module, files.images[::10], files.labels[::10]) > 73


def test_the_published_mobilenet_classifies() -> None:
    """All 1,000 images give 88.2 %."""
    path = shared_file("models/mobilenet_v2/tf2_mobilenet_v2_1.0_224_ptq.tflite")
    files = read_image_files(
        shared_file("imagenet_sample/imagenet_sample_256.zip"), Geometry(256, (224, 224))
    )
    module = NetworkModule(without_first_class(lower_file(path)))
    assert accuracy(module, files.images[::50], files.labels[::50]) >= 75
