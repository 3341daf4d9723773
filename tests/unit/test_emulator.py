# SPDX-License-Identifier: Apache-2.0
"""The fast emulator gives the interpreter's integers, every one of them, whatever the widths."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from hsflow_po2 import emulator_exact
from hsflow_po2.emulator import Emulator, emulate, feature_maps, features
from hsflow_po2.emulator_exact import exact_products, number_type
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.emulator.networks import RandomMobileNet
from hsflow.errors import ModelError
from hsflow.fixedpoint import IntArray, shift_round
from hsflow.ir.graph import Add, Conv, Graph
from hsflow.ir.interp import interpret, interpret_all
from hsflow.ir.tensor import Constant, Shape, TensorFormat, Window
from hsflow.progress import Description
from tests.random_graphs import GraphBuilder, inverted_residual, square

T = TypeVar("T")


def images(graph: Graph, count: int, seed: int = 0) -> IntArray:
    """Return random images with the extremes among them."""
    rng, shape, form = np.random.default_rng(seed), graph.input.shape, graph.input.format
    size = (count, shape.channels, shape.height, shape.width)
    low, high = form.low[0], form.high[0]
    values = rng.integers(low, high + 1, size)
    values[0], values[-1] = low, high
    return values


def assert_equal(graph: Graph, count: int = 5, seed: int = 0) -> None:
    values = images(graph, count, seed)
    wanted = interpret(graph, values)
    found = emulate(graph, values, batch_size=3)
    assert found.dtype == np.int64
    assert np.array_equal(found, wanted)


def chain(seed: int, width: int, signed: bool, levels: int, terms: int) -> Graph:
    """Return a graph with every kind of layer."""
    builder = GraphBuilder(Shape(3, 9, 7), seed, width, signed)
    builder.conv(6, square(3, 2, 1), levels=levels, terms=terms)
    builder.conv(6, square(3, 1, 2, 2), groups=6, levels=levels, output=builder.format(6, 5, True))
    first = builder.last
    builder.conv(6, square(3, 1, 1), groups=2, output=builder.format(6, 8, True))
    builder.add(first, builder.last, builder.format(6, 7, True)).max_pool(square(2, 1, 1))
    builder.average_pool(square(3, 2, 1)).conv(4, zeros=0.9).global_pool().dense(5)
    return builder.build()


@given(
    seed=st.integers(0, 10**6),
    width=st.sampled_from([1, 2, 8, 16]),
    signed=st.booleans(),
    levels=st.sampled_from([1, 4, 8, 16]),
    terms=st.sampled_from([1, 2]),
)
@settings(max_examples=40, deadline=None)
def test_equals_the_interpreter(seed: int, width: int, signed: bool, levels: int, terms: int) -> None:
    assert_equal(chain(seed, width, signed, levels, terms), seed=seed)


def test_inverted_residuals() -> None:
    builder = GraphBuilder(Shape(4, 8, 8), 7)
    inverted_residual(builder, 3, 4, 1)
    inverted_residual(builder, 2, 8, 2)
    assert_equal(builder.build())


@pytest.mark.parametrize(("levels", "dtype"), [(8, torch.float32), (20, torch.float64), (32, torch.int64)])
def test_every_number_type(levels: int, dtype: torch.dtype) -> None:
    """Each type must be taken, and right, where it is due; 72 products of 32 bits by 16 need 64-bit integers."""
    builder = GraphBuilder(Shape(8, 4, 4), 3, 16 if levels == 32 else 8)
    sign = np.ones((1, 8, 8, 3, 3))
    exponent = np.full(sign.shape, levels - 1)
    exponent[:, :, 0, 0, 0] = 0  # a unit, so that no bit is zero in all products
    graph = builder.conv(8, square(3, 1, 1), levels=levels, weight=(sign, exponent)).build()
    conv = graph.layers[0]
    assert isinstance(conv, Conv)
    lsb = graph.input.format.width + levels - 8
    accumulator = graph.input.format.finest_fraction + np.array(conv.weight_fractions)
    output = replace(conv.output, fractions=tuple(int(f) - lsb for f in accumulator))
    graph = replace(graph, layers=(replace(conv, output=output),))
    assert Emulator(graph).steps[0][1].dtype is dtype
    assert_equal(graph)


@pytest.mark.parametrize("bound", [emulator_exact.FLOAT32_EXACT, emulator_exact.FLOAT64_EXACT])
def test_number_type_at_the_bound(bound: int) -> None:
    """Below the bound every integer is exact; at it the next odd one is not."""
    dtype = number_type(bound - 1)
    assert int(torch.tensor(bound - 1, dtype=dtype)) == bound - 1
    assert int(torch.tensor(bound, dtype=dtype) + torch.tensor(1, dtype=dtype)) != bound + 1
    assert number_type(bound) is not dtype


def test_a_too_narrow_type_would_be_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin: without the proof of the bound, integers would be lost."""
    builder = GraphBuilder(Shape(16, 4, 4), 3, 16)
    graph = builder.conv(4, square(3, 1, 1), levels=16, zeros=0.0).build()
    conv = graph.layers[0]
    assert isinstance(conv, Conv)
    wide = builder.format(4, 16, True, max(conv.weight_fractions) + graph.input.format.finest_fraction - 12)
    graph = replace(graph, layers=(replace(conv, output=wide),))
    values = images(graph, 64)
    assert np.array_equal(emulate(graph, values), interpret(graph, values))
    monkeypatch.setattr(emulator_exact, "number_type", lambda bound: torch.float32)
    assert not np.array_equal(emulate(graph, values), interpret(graph, values))


def test_one_wrong_bias_is_noticed() -> None:
    """The twin: the comparison with the interpreter can fail."""
    graph = chain(0, 8, False, 8, 1)
    values = images(graph, 5)
    dense = graph.classifier
    assert dense is not None
    bias = dense.bias.array.copy()
    bias[2] += 1
    wrong = replace(graph, layers=(*graph.layers[:-1], replace(dense, bias=Constant(bias))))
    assert not np.array_equal(emulate(wrong, values), interpret(graph, values))


def test_reduced_precision_of_the_user_is_suspended() -> None:
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("medium")
        with exact_products():
            assert torch.get_float32_matmul_precision() == "highest"
        assert torch.get_float32_matmul_precision() == "medium"
        assert_equal(chain(1, 8, False, 8, 1))
    finally:
        torch.set_float32_matmul_precision(before)


def test_no_image_and_wrong_images() -> None:
    graph = chain(2, 8, False, 8, 1)
    assert emulate(graph, np.zeros((0, 3, 9, 7), dtype=np.uint8)).shape == (0, 5)
    assert emulate(graph.hardened, np.zeros((0, 3, 9, 7), dtype=np.uint8)).shape == (0, 4, 1, 1)
    for wrong in (np.zeros((1, 3, 9, 8), dtype=np.uint8), np.zeros((1, 3, 9, 7)), np.full((1, 3, 9, 7), 256)):
        with pytest.raises(ModelError):
            emulate(graph, wrong)


def test_features_are_in_stream_order() -> None:
    graph = GraphBuilder(Shape(2, 4, 4), 5).conv(3, Window()).dense(4).build()
    values = images(graph, 3)
    maps = interpret(graph.hardened, values)
    found = features(graph, values)
    assert np.array_equal(found[:, 3 * 5 + 1], maps[:, 1, 1, 1])


def test_features_show_their_progress() -> None:
    graph = GraphBuilder(Shape(2, 4, 4), 5).conv(3, Window()).dense(4).build()
    shown: list[tuple[object, int | None]] = []

    def track(items: Iterable[T], description: Description, total: int | None = None) -> Iterable[T]:
        shown.append((description, total))
        return items

    assert np.array_equal(features(graph, images(graph, 3), track=track), features(graph, images(graph, 3)))
    assert len(shown) == 1 and shown[0][1]


@pytest.mark.parametrize("dead_first", [True, False])
def test_features_are_what_the_classifier_reads(dead_first: bool) -> None:
    """`verify` refuses a layer that nothing reads; a graph that was never verified is still read right."""
    builder = GraphBuilder(Shape(2, 4, 4), 5)
    for name in ("dead", "live") if dead_first else ("live", "dead"):
        builder.conv(3, source="input", name=name)
    classifier = GraphBuilder(Shape(3, 4, 4), 6).dense(4).build().classifier
    assert classifier is not None
    graph = Graph("dut", builder.source, (*builder.layers, replace(classifier, source="live")))
    values = images(graph, 5)
    live = interpret(replace(graph, layers=(graph.layer("live"),)), values)
    dead = interpret(replace(graph, layers=(graph.layer("dead"),)), values)
    found = features(graph, values)
    assert np.array_equal(found, live.transpose(0, 2, 3, 1).reshape(5, -1))
    assert not np.array_equal(found, dead.transpose(0, 2, 3, 1).reshape(5, -1))
    assert_equal(graph)


def test_features_may_be_the_image_and_may_have_no_classifier() -> None:
    graph = GraphBuilder(Shape(2, 2, 2), 5).dense(3).build()
    values = images(graph, 3)
    assert np.array_equal(features(graph, values), values.transpose(0, 2, 3, 1).reshape(3, -1))
    assert features(graph, values[:0]).shape == (0, 8)
    hard = GraphBuilder(Shape(2, 2, 2), 5).conv(3).build()
    wanted = interpret(hard, values).transpose(0, 2, 3, 1).reshape(3, -1)
    assert np.array_equal(features(hard, values), wanted)


def spread(builder: GraphBuilder, channels: int, fractions: tuple[int, int], width: int = 8) -> TensorFormat:
    """Return a format whose channels take the two fractions at random, the first channel the first of them."""
    chosen = [fractions[0], *(int(f) for f in builder.rng.choice(fractions, channels - 1))]
    return replace(builder.format(channels, width, True), fractions=tuple(chosen))


@given(seed=st.integers(0, 10**6), finest=st.sampled_from([14, 40, 46]), width=st.sampled_from([2, 8, 12]))
@settings(max_examples=40, deadline=None)
def test_wide_alignments(seed: int, finest: int, width: int) -> None:
    """Additions, convolutions and pools whose channels' fractions are far apart."""
    builder = GraphBuilder(Shape(3, 5, 5), seed)
    builder.conv(4, output=spread(builder, 4, (0, finest), width), name="left")
    builder.conv(4, source="input", output=spread(builder, 4, (finest, 0), width), name="right")
    builder.add("left", "right", spread(builder, 4, (finest, 0)))
    builder.conv(4, square(3, 1, 1), levels=2, output=spread(builder, 4, (0, finest)))
    builder.average_pool(square(2), spread(builder, 4, (0, finest))).conv(2, levels=1).dense(3)
    assert_equal(builder.build(), seed=seed)


@pytest.mark.parametrize(("finest", "dtype"), [(6, torch.float32), (30, torch.float64), (46, torch.int64)])
def test_every_number_type_of_an_addition(finest: int, dtype: torch.dtype) -> None:
    builder = GraphBuilder(Shape(3, 4, 4), 1)
    for name, fraction in (("left", 0), ("right", finest)):
        form = TensorFormat.uniform(8, True, fraction, 2)
        builder.conv(2, source="input", output=form, name=name)
    output = TensorFormat.uniform(16, True, 8, 2)
    graph = builder.add("left", "right", output).build()
    assert Emulator(graph).steps[-1][1].dtype is dtype
    assert_equal(graph)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("seed", range(5))
def test_gpu_equals_the_interpreter(seed: int) -> None:
    graph = chain(seed, 16 if seed % 2 else 8, False, 16 if seed % 2 else 8, 2)
    values = images(graph, 5)
    assert np.array_equal(emulate(graph, values, device="cuda"), interpret(graph, values))


# ---- Maps


def test_maps_are_all_of_the_interpreters_maps() -> None:
    graph = chain(4, 8, False, 8, 2)
    values = images(graph, 7)
    wanted = interpret_all(graph, values)
    batches = list(feature_maps(graph, values, batch_size=3))
    assert [len(batch["input"]) for batch in batches] == [3, 3, 1]
    assert set(batches[0]) == set(wanted)
    for name, array in wanted.items():
        found = np.concatenate([batch[name] for batch in batches])
        assert found.dtype == array.dtype and np.array_equal(found, array), name


def test_only_named_maps_are_computed() -> None:
    graph = chain(4, 8, False, 8, 1)
    second = graph.layers[1].name
    emulator = Emulator(graph, outputs=("input", second))
    assert [layer.name for layer, _ in emulator.steps] == [layer.name for layer in graph.layers[:2]]
    values = images(graph, 2)
    (batch,) = emulator.maps(values)
    assert tuple(batch) == ("input", second)
    assert np.array_equal(batch[second], interpret_all(graph, values)[second])
    assert np.array_equal(emulator.run(values), batch[second])


def test_an_unknown_map_is_refused() -> None:
    graph = chain(4, 8, False, 8, 1)
    with pytest.raises(ModelError, match="no such feature map") as refused:
        next(feature_maps(graph, images(graph, 2), ["conv0", "convO"]))
    assert "convO" in str(refused.value) and "conv0" in str(refused.value)


def test_maps_are_dropped_when_nobody_needs_them() -> None:
    """What a batch holds at a time is what some later layer reads, and what is wanted."""
    builder = GraphBuilder(Shape(2, 4, 4), 5)
    graph = inverted_residual(builder, 2, 2, 1).build()
    assert isinstance(graph.layers[-1], Add)
    emulator = Emulator(graph)
    names = [layer.name for layer in graph.layers]
    assert emulator._dead == [[], [names[0]], [names[1]], ["input", names[2]]]
    kept = Emulator(graph, outputs=(names[0], names[-1]))
    assert kept._dead == [[], [], [names[1]], ["input", names[2]]]


# ---- Threads, progress and settings


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_threads_share_the_images_and_are_given_back() -> None:
    graph = chain(6, 8, False, 8, 2)
    values = images(graph, 40)
    seen: set[tuple[str, int]] = set()
    emulator = Emulator(graph)
    layer, step = emulator.steps[0]

    def spy(*maps: torch.Tensor) -> torch.Tensor:
        seen.add((threading.current_thread().name, torch.get_num_threads()))
        return step(*maps)

    emulator.steps[0] = (layer, spy)
    assert np.array_equal(emulator.run(values, 3), interpret(graph, values))
    assert all(name.startswith("emulator") and threads == 1 for name, threads in seen)
    assert torch.get_num_threads() == 2


@pytest.mark.usefixtures("two_threads")
def test_an_error_in_a_thread_is_raised_here() -> None:
    graph = chain(6, 8, False, 8, 1)
    values = images(graph, 9).astype(np.int64)
    values[7, 0, 0, 0] = 256
    with pytest.raises(ModelError, match="out of range"):
        emulate(graph, values, batch_size=1)
    assert torch.get_num_threads() == 2


def test_progress_is_told() -> None:
    graph = chain(6, 8, False, 8, 1)
    told: list[tuple[str, int]] = []

    def track(items: Iterable[Any], description: str, total: int) -> Iterator[Any]:
        for item in items:
            told.append((description, total))
            yield item

    values = images(graph, 7)
    assert np.array_equal(emulate(graph, values, batch_size=3, track=track), interpret(graph, values))
    assert told == [("emulating images", 3)] * 3


def depthwise_of_wide_pixels() -> Graph:
    """Return a layer whose pixels bfloat16 cannot hold, but float32 can."""
    builder = GraphBuilder(Shape(8, 6, 6), 3, 12)
    form = TensorFormat.uniform(16, True, 18, 8)
    return builder.conv(8, square(3, 1, 1), groups=8, zeros=0.2, output=form).build()


def test_reduced_precision_of_convolutions_is_suspended() -> None:
    if not hasattr(torch.backends.mkldnn, "conv"):
        pytest.skip("this torch has no reduced precision of convolutions on the CPU")
    graph, setting = depthwise_of_wide_pixels(), torch.backends.mkldnn.conv
    values = images(graph, 5)
    before = setting.fp32_precision
    try:
        setting.fp32_precision = "bf16"
        assert np.array_equal(emulate(graph, values), interpret(graph, values))
        assert setting.fp32_precision == "bf16"
    finally:
        setting.fp32_precision = before


def test_autocast_of_the_user_is_suspended() -> None:
    graph = depthwise_of_wide_pixels()
    values = images(graph, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert np.array_equal(emulate(graph, values), interpret(graph, values))


# ---- Bounds


def test_bits_that_are_zero_in_all_products_are_left_out() -> None:
    """Weights of 2**20 with a bias that is no multiple of it still fit float32, and round as they should."""
    builder = GraphBuilder(Shape(2, 3, 3), 3)
    sign = np.ones((1, 3, 2, 1, 1))
    graph = builder.conv(3, levels=21, weight=(sign, np.full(sign.shape, 20))).build()
    conv = graph.layers[0]
    assert isinstance(conv, Conv)
    finest = graph.input.format.finest_fraction
    for shift in (18, 20, 22):
        fractions = tuple(fraction + finest - shift for fraction in conv.weight_fractions)
        for bias in (-1, 0, 1, (1 << 19) - 1, 1 << 19, -(1 << 19), -(1 << 19) - 1):
            form = TensorFormat(16, True, fractions, (-(1 << 15),) * 3, ((1 << 15) - 1,) * 3)
            layer = replace(conv, bias=Constant(np.full(3, bias, dtype=np.int64)), output=form)
            changed = replace(graph, layers=(layer,))
            assert Emulator(changed).steps[0][1].dtype is torch.float32
            assert_equal(changed)


def test_a_channel_that_is_always_zero_costs_no_precision() -> None:
    """Its weight and its alignment may be anything."""
    builder = GraphBuilder(Shape(2, 3, 3), 3)
    form = TensorFormat(8, False, (0, 40), (0, 0), (0, 255))
    builder.conv(2, output=form).conv(3, output=TensorFormat.uniform(8, True, 48, 3))
    graph = builder.build()
    assert Emulator(graph).steps[1][1].dtype is torch.float32
    assert_equal(graph)


@given(
    products=st.integers(1, 12),
    seed=st.integers(0, 10**6),
    low=st.integers(-200, 0),
    high=st.integers(0, 300),
)
@settings(max_examples=60, deadline=None)
def test_the_bound_holds_for_every_partial_sum(products: int, seed: int, low: int, high: int) -> None:
    rng = np.random.default_rng(seed)
    weight = rng.integers(-128, 129, (3, products))
    alignment = rng.integers(0, 4, (3, products))
    shape = np.ones_like(weight)
    bias, shifts = rng.integers(-4000, 4000, 3), rng.integers(-3, 9, 3)
    found = emulator_exact.sums(weight, alignment, (shape * low, shape * high), bias, shifts)
    ends = found.weight * low, found.weight * high
    terms = np.concatenate([np.maximum(*ends), np.minimum(*ends), found.bias[:, None]], axis=1)
    extremes = (np.maximum(terms, 0).sum(axis=1), -np.minimum(terms, 0).sum(axis=1))
    assert max(int(side.max()) for side in extremes) <= found.bound
    x = rng.integers(low, high + 1, products)
    exact = ((weight << alignment) * x).sum(axis=1) + bias
    assert np.array_equal(
        shift_round(exact, shifts),
        shift_round_down((found.weight * x).sum(axis=1) + found.bias, found.shifts),
    )


def shift_round_down(values: IntArray, shifts: IntArray) -> IntArray:
    """Shift right without rounding, left exactly."""
    return (values >> np.maximum(shifts, 0)) << np.maximum(-shifts, 0)


def test_a_bound_that_64_bits_do_not_hold_is_not_computed() -> None:
    weight = np.full((1, 4), 1 << 40)
    ranges = (np.zeros_like(weight), np.full_like(weight, 1 << 20))
    found = emulator_exact.sums(weight, np.full_like(weight, 1), ranges, np.zeros(1, int), np.zeros(1, int))
    assert number_type(found.bound) is torch.int64


def test_mobilenet_v2_in_float32() -> None:
    """The real network's structure, narrow and small: every map of it, none by the slower types."""
    graph = RandomMobileNet(size=64, width=0.25, terms=2, classes=10).graph()
    values = images(graph, 3)
    wanted = interpret_all(graph, values)
    (found,) = feature_maps(graph, values)
    assert all(np.array_equal(found[name], array) for name, array in wanted.items())
    emulator = Emulator(graph)
    assert {str(step.dtype) for layer, step in emulator.steps[:-1]} == {"torch.float32"}
    for array in (wanted[name] for name in wanted if name != "classifier"):
        assert len(np.unique(array)) > 20  # neither dead nor saturated


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_gpu_maps_of_mobilenet_v2() -> None:
    graph = RandomMobileNet(size=64, width=0.5, terms=2, classes=10).graph()
    values = images(graph, 9)
    wanted = interpret_all(graph, values)
    (found,) = feature_maps(graph, values, device="cuda", batch_size=9)
    assert all(np.array_equal(found[name], array) for name, array in wanted.items())
