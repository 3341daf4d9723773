# SPDX-License-Identifier: Apache-2.0
"""Every rule of the verifier: a graph that breaks it is refused with the layer's name, its neighbour is legal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from random_graphs import GraphBuilder, inverted_residual, square

from hsflow.errors import ModelError
from hsflow.ir.graph import AveragePool, Conv, Dense, FeatureMap, Graph, MaxPool, Po2Weight
from hsflow.ir.tensor import Constant, Padding, Shape, TensorFormat, Window
from hsflow.ir.verify import MAX_LEVELS, verify


def legal() -> Graph:
    """Return a graph with every layer kind: first, left, right, sum, max, average, dense."""
    builder = GraphBuilder(Shape(2, 6, 6), 1).conv(4, square(3, 1, 1), name="first")
    builder.conv(4, name="left").conv(4, square(3, 1, 1), source="first", name="right", groups=2)
    builder.add("left", "right").max_pool(square(2, 2)).average_pool(square(3)).dense(3)
    return builder.build("net")


GRAPH = legal()
NAMES = [layer.name for layer in GRAPH.layers]
FIRST, LEFT, RIGHT, SUM, MAX, AVERAGE, DENSE = NAMES


def edited(name: str, /, **changes: Any) -> Graph:
    """Return the legal graph with one layer changed."""
    assert GRAPH.layer(name)
    layers = (replace(layer, **changes) if layer.name == name else layer for layer in GRAPH.layers)
    return replace(GRAPH, layers=tuple(layers))


def weight(sign: Any, exponent: Any, levels: int = 8) -> Po2Weight:
    return Po2Weight(Constant(np.asarray(sign)), Constant(np.asarray(exponent)), levels)


def form(layer: str, **changes: Any) -> TensorFormat:
    return replace(GRAPH.layer(layer).output, **changes)  # type: ignore[union-attr]


def conv(name: str) -> Conv:
    layer = GRAPH.layer(name)
    assert isinstance(layer, Conv)
    return layer


ONES = np.ones((1, 4, 4, 1, 1), np.int8)
ZEROS = np.zeros_like(ONES)
INPUT = GRAPH.input

RULES: dict[str, tuple[Callable[[], Graph], str, str]] = {
    "no_layer": (lambda: replace(GRAPH, layers=()), "net", "no layer"),
    "an_empty_image": (
        lambda: replace(GRAPH, input=FeatureMap(Shape(2, 0, 6), INPUT.format)),
        "input",
        "a feature map is empty",
    ),
    "no_channel": (
        lambda: replace(GRAPH, input=FeatureMap(Shape(0, 6, 6), TensorFormat(8, False, (), (), ()))),
        "input",
        "a feature map is empty",
    ),
    "input_width": (
        lambda: replace(GRAPH, input=FeatureMap(INPUT.shape, TensorFormat.uniform(17, False, 0, 2))),
        "input",
        "width is out of range",
    ),
    "input_channels": (
        lambda: replace(GRAPH, input=FeatureMap(INPUT.shape, TensorFormat.uniform(8, False, 0, 3))),
        "input",
        "one fraction and range a channel",
    ),
    "empty_name": (lambda: edited(LEFT, name=""), "''", "unique and not empty"),
    "name_twice": (lambda: edited(LEFT, name=FIRST), repr(FIRST), "unique and not empty"),
    "name_of_the_image": (lambda: edited(FIRST, name="input"), "'input'", "unique and not empty"),
    "unknown_source": (lambda: edited(FIRST, source="nowhere"), FIRST, "no earlier layer makes"),
    "unknown_source_later": (lambda: edited(LEFT, source="nowhere"), LEFT, "no earlier layer makes"),
    "source_of_the_future": (lambda: edited(LEFT, source=RIGHT), LEFT, "no earlier layer makes"),
    "own_source": (lambda: edited(LEFT, source=LEFT), LEFT, "no earlier layer makes"),
    "second_source": (lambda: edited(SUM, sources=(LEFT, "x")), SUM, "no earlier layer makes"),
    "kernel_0": (lambda: edited(MAX, window=Window((0, 2))), MAX, "must be >= 1"),
    "stride_0": (lambda: edited(AVERAGE, window=Window((3, 3), (1, 0))), AVERAGE, "must be >= 1"),
    "dilation_0": (lambda: edited(RIGHT, window=Window((3, 3), dilation=(0, 1))), RIGHT, "must be >= 1"),
    "negative_padding": (
        lambda: edited(RIGHT, window=Window((3, 3), padding=Padding(1, 1, 1, -1))),
        RIGHT,
        "padding >= 0",
    ),
    "window_too_large": (
        lambda: edited(AVERAGE, window=square(4)),
        AVERAGE,
        "larger than the padded input",
    ),
    "weights_of_4_dimensions": (
        lambda: edited(LEFT, weight=weight(ONES[0], ZEROS[0])),
        LEFT,
        "5-D shape",
    ),
    "signs_and_exponents_differ": (
        lambda: edited(LEFT, weight=weight(ONES, ZEROS[:, :2])),
        LEFT,
        "5-D shape",
    ),
    "weights_of_int64": (
        lambda: edited(LEFT, weight=weight(ONES.astype(np.int64), ZEROS)),
        LEFT,
        "int8",
    ),
    "float_weights": (lambda: edited(LEFT, weight=weight(ONES * np.nan, ZEROS)), LEFT, "int8"),
    "sign_2": (lambda: edited(LEFT, weight=weight(ONES * 2, ZEROS)), LEFT, "outside its window"),
    "negative_exponent": (lambda: edited(LEFT, weight=weight(ONES, ZEROS - 1)), LEFT, "outside its window"),
    "exponent_8_of_8": (lambda: edited(LEFT, weight=weight(ONES, ZEROS + 8)), LEFT, "outside its window"),
    "no_level": (lambda: edited(LEFT, weight=weight(ONES, ZEROS, 0)), LEFT, "window of exponents"),
    "levels_beyond_64_bits": (
        lambda: edited(LEFT, weight=weight(ONES, ZEROS + 100, 128)),
        LEFT,
        "window of exponents",
    ),
    "no_output": (
        lambda: edited(
            LEFT,
            weight=weight(ONES[:, :0], ZEROS[:, :0]),
            weight_fractions=(),
            bias=Constant(np.zeros(0, np.int64)),
            output=TensorFormat(8, False, (), (), ()),
        ),
        LEFT,
        "has no weight",
    ),
    "no_term": (lambda: edited(LEFT, weight=weight(ONES[:0], ZEROS[:0])), LEFT, "has no weight"),
    "no_tap": (lambda: edited(LEFT, weight=weight(ONES[..., :0], ZEROS[..., :0])), LEFT, "has no weight"),
    "groups_0": (lambda: edited(LEFT, groups=0), LEFT, "do not fit the input's channels"),
    "groups_that_do_not_divide": (lambda: edited(RIGHT, groups=3), RIGHT, "do not fit the input's channels"),
    "too_many_inputs": (lambda: edited(LEFT, groups=2), LEFT, "do not fit the input's channels"),
    "weight_fractions": (lambda: edited(LEFT, weight_fractions=(1, 2, 3)), LEFT, "wrong length or type"),
    "pad_values": (lambda: edited(LEFT, pad_values=(0,) * 5), LEFT, "wrong length or type"),
    "bias_length": (lambda: edited(LEFT, bias=Constant(np.zeros(3, np.int64))), LEFT, "wrong length or type"),
    "bias_type": (lambda: edited(LEFT, bias=Constant(np.zeros(4, np.int32))), LEFT, "wrong length or type"),
    "pad_too_high": (lambda: edited(RIGHT, pad_values=(0, 0, 0, 256)), RIGHT, "does not fit the input's"),
    "pad_too_low": (lambda: edited(RIGHT, pad_values=(-1, 0, 0, 0)), RIGHT, "does not fit the input's"),
    "output_width_0": (lambda: edited(LEFT, output=form(LEFT, width=0)), LEFT, "width is out of range"),
    "output_width_17": (lambda: edited(SUM, output=form(SUM, width=17)), SUM, "width is out of range"),
    "output_channels": (
        lambda: edited(AVERAGE, output=TensorFormat.uniform(8, False, 0, 3)),
        AVERAGE,
        "one fraction and range a channel",
    ),
    "range_beyond_the_width": (
        lambda: edited(LEFT, output=form(LEFT, high=(256, 1, 1, 1))),
        LEFT,
        "exceeds its width",
    ),
    "range_below_the_width": (
        lambda: edited(LEFT, output=form(LEFT, low=(-1, 0, 0, 0))),
        LEFT,
        "exceeds its width",
    ),
    "range_upside_down": (
        lambda: edited(LEFT, output=form(LEFT, low=(9, 0, 0, 0), high=(8, 1, 1, 1))),
        LEFT,
        "exceeds its width",
    ),
    "accumulator_too_wide": (
        lambda: edited(LEFT, bias=Constant(np.full(4, 2**61, np.int64))),
        LEFT,
        "accumulator is too wide",
    ),
    "left_shift_too_wide": (
        lambda: edited(LEFT, weight_fractions=(-50,) * 4),
        LEFT,
        "accumulator is too wide",
    ),
    "right_shift_too_wide": (
        lambda: edited(LEFT, weight_fractions=(80,) * 4),
        LEFT,
        "accumulator is too wide",
    ),
    "add_of_far_fractions": (
        lambda: edited(
            RIGHT,
            output=form(RIGHT, fractions=(70, 4, 4, 4)),
            weight_fractions=(70, 5, 5, 5),
        ),
        SUM,
        "accumulator is too wide",
    ),
    "unequal_shapes": (lambda: edited(SUM, sources=(LEFT, "input")), SUM, "equal shapes"),
    "dense_features": (
        lambda: edited(DENSE, weight=Constant(np.zeros((3, 5), np.int8))),
        DENSE,
        "does not fit its input",
    ),
    "dense_bias": (
        lambda: edited(DENSE, bias=Constant(np.zeros(4, np.int32))),
        DENSE,
        "does not fit its input",
    ),
    "dense_weight_type": (
        lambda: edited(DENSE, weight=Constant(np.zeros((3, 4), np.int16))),
        DENSE,
        "int8",
    ),
    "dense_bias_type": (
        lambda: edited(DENSE, bias=Constant(np.zeros(3, np.int64))),
        DENSE,
        "int32",
    ),
    "dense_overflow": (
        lambda: edited(
            DENSE,
            weight=Constant(np.full((3, 4), 127, np.int8)),
            bias=Constant(np.full(3, 2**31 - 1, np.int32)),
        ),
        DENSE,
        "could overflow 32 bits",
    ),
    "dense_underflow": (
        lambda: edited(
            DENSE,
            weight=Constant(np.full((3, 4), -1, np.int8)),
            bias=Constant(np.full(3, -(2**31), np.int32)),
        ),
        DENSE,
        "could overflow 32 bits",
    ),
    "dense_in_the_middle": (
        lambda: replace(GRAPH, layers=(*GRAPH.layers, MaxPool("after", DENSE, Window()))),
        DENSE,
        "must be the last layer",
    ),
}


def test_the_legal_graph_passes_and_is_returned() -> None:
    assert verify(GRAPH) is GRAPH
    assert isinstance(GRAPH.layers[-1], Dense)
    assert isinstance(GRAPH.layer(AVERAGE), AveragePool)


@pytest.mark.parametrize("rule", sorted(RULES))
def test_a_broken_rule_names_its_layer(rule: str) -> None:
    make, where, what = RULES[rule]
    with pytest.raises(ModelError) as caught:
        verify(make())
    assert caught.value.where == where
    assert what in str(caught.value)


LEGAL_NEIGHBOURS: dict[str, Callable[[], Graph]] = {
    "exponent_7_of_8": lambda: edited(LEFT, weight=weight(ONES, ZEROS + 7)),
    "exponent_0_of_1": lambda: edited(LEFT, weight=weight(ONES, ZEROS, 1)),
    "widest_window": lambda: edited(LEFT, weight=weight(ONES, ZEROS + MAX_LEVELS - 1, MAX_LEVELS)),
    "widest_padding_value": lambda: edited(RIGHT, pad_values=(255, 0, 0, 255)),
    "width_16": lambda: edited(SUM, output=form(SUM, width=16)),
    "width_1": lambda: edited(SUM, output=form(SUM, width=1, high=(1,) * 4)),
    "constant_channel": lambda: edited(SUM, output=form(SUM, low=(3,) * 4, high=(3,) * 4)),
    "largest_window": lambda: edited(AVERAGE, window=square(3)),
    "all_weights_zero": lambda: edited(LEFT, weight=weight(ZEROS, ZEROS)),
    "a_far_fraction_that_no_weight_reads": lambda: Graph(
        "net",
        FeatureMap(Shape(4, 6, 6), TensorFormat.uniform(8, False, 0, 4)),
        (
            replace(
                conv(LEFT), source="input", weight_fractions=(60,) * 4, output=form(LEFT, fractions=(60,) * 4)
            ),
        ),
    ),
    "the_same_source_twice": lambda: GraphBuilder(Shape(2, 2, 2)).conv(2, name="a").add("a", "a").build(),
    "dense_alone": lambda: GraphBuilder(Shape(2, 2, 2)).dense(3).build(),
    "blocks": lambda: inverted_residual(GraphBuilder(Shape(4, 4, 4)), 2, 4, 1).build(),
}


@pytest.mark.parametrize("name", sorted(LEGAL_NEIGHBOURS))
def test_the_legal_side_of_a_limit_passes(name: str) -> None:
    graph = LEGAL_NEIGHBOURS[name]()
    assert verify(graph) is graph


def test_a_layer_that_nobody_reads_is_refused() -> None:
    for order in (("dead", "alive"), ("alive", "dead")):
        builder = GraphBuilder(Shape(2, 3, 3))
        for name in order:
            builder.conv(2, name=name, source="input")
        builder.conv(3, name="last", source="alive")
        with pytest.raises(ModelError, match="dead: no layer reads this one"):
            builder.build()
