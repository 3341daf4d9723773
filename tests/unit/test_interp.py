# SPDX-License-Identifier: Apache-2.0
"""The reference interpreter against values computed by hand: each layer kind, each rule, each edge case."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import pytest
from numpy.typing import ArrayLike
from random_graphs import GraphBuilder, random_images, square

from hsflow.errors import ModelError
from hsflow.fixedpoint import MAX_WIDTH, Interval
from hsflow.ir.graph import Add, AveragePool, Conv, Dense, FeatureMap, Graph, GraphLayer, MaxPool, Po2Weight
from hsflow.ir.interp import interpret, interpret_all
from hsflow.ir.tensor import Constant, Padding, Shape, TensorFormat, Window
from hsflow.ir.verify import accumulator_intervals, verify


def po2(integers: ArrayLike, levels: int = 8) -> Po2Weight:
    """Return weights that are single signed powers of two, from their integer values (outputs, inputs, h, w)."""
    values = np.array(integers)
    magnitude = np.abs(values)
    exponent = np.where(magnitude > 0, np.log2(np.maximum(magnitude, 1)), 0).astype(np.int8)
    assert np.array_equal(np.sign(values) * 2 ** exponent.astype(np.int64), values)
    return Po2Weight(Constant(np.sign(values).astype(np.int8)[None]), Constant(exponent[None]), levels)


def uniform(width: int, signed: bool, fraction: int, channels: int) -> TensorFormat:
    return TensorFormat.uniform(width, signed, fraction, channels)


def conv(
    integers: ArrayLike,
    output: TensorFormat,
    *,
    window: Window | None = None,
    bias: Sequence[int] | None = None,
    fractions: Sequence[int] | None = None,
    groups: int = 1,
    pads: Sequence[int] | None = None,
    levels: int = 8,
) -> Conv:
    weight = po2(integers, levels)
    outputs, inputs, height, width = weight.shape
    return Conv(
        name="conv",
        source="input",
        weight=weight,
        weight_fractions=tuple(fractions or [0] * outputs),
        bias=Constant(np.array(bias or [0] * outputs, dtype=np.int64)),
        window=window or Window((height, width)),
        groups=groups,
        pad_values=tuple(pads or [0] * inputs * groups),
        output=output,
    )


def run(
    layers: GraphLayer | Sequence[GraphLayer], image: ArrayLike, form: TensorFormat | None = None
) -> list:
    """Run one image, shape (channels, height, width), and return the output as nested lists."""
    pixels = np.array(image)[None]
    form = form or uniform(8, False, 0, pixels.shape[1])
    chain = tuple(layers) if isinstance(layers, Sequence) else (layers,)
    graph = verify(Graph("net", FeatureMap(Shape(*pixels.shape[1:]), form), chain))
    return interpret(graph, pixels)[0].tolist()


IMAGE_3X3 = [[[1, 2, 3], [4, 5, 6], [7, 8, 9]]]


# ---- Convolutions


def test_pointwise_with_bias() -> None:
    layer = conv([[[[2]], [[-1]]], [[[0]], [[4]]]], uniform(8, True, 0, 2), bias=[10, -3])
    # 2 * 3 - 5 + 10 = 11 and 4 * 5 - 3 = 17
    assert run(layer, [[[3]], [[5]]]) == [[[11]], [[17]]]


def test_a_full_window_is_a_correlation() -> None:
    layer = conv([[[[1, 2], [4, -8]]]], uniform(16, True, 0, 1))
    # top left: 1*1 + 2*2 + 4*4 - 8*5 = -19; the kernel is not turned around
    assert run(layer, IMAGE_3X3) == [[[-19, -20], [-22, -23]]]


def test_padding_is_the_raw_value_of_the_channel() -> None:
    layer = conv(
        [[[[1, 1], [1, 1]]]], uniform(8, False, 0, 1), window=Window((2, 2), padding=Padding(1)), pads=[50]
    )
    assert run(layer, IMAGE_3X3) == [[[103, 105], [12, 16], [24, 28]]]


@pytest.mark.parametrize(
    ("padding", "expected"),
    [
        (Padding(top=1), [[[20, 20, 20], [1, 2, 3]]]),
        (Padding(bottom=1), [[[4, 5, 6], [20, 20, 20]]]),
        (Padding(left=1), [[[20, 1, 2], [20, 4, 5]]]),
        (Padding(right=1), [[[2, 3, 20], [5, 6, 20]]]),
    ],
)
def test_padding_on_each_side_alone(padding: Padding, expected: list) -> None:
    kernels = {"top": [[1], [0]], "bottom": [[0], [1]], "left": [[1, 0]], "right": [[0, 1]]}
    side = next(name for name in kernels if getattr(padding, name))
    kernel = np.array([[kernels[side]]])
    layer = conv(kernel, uniform(8, False, 0, 1), window=Window(kernel.shape[2:], padding=padding), pads=[20])
    assert run(layer, [[[1, 2, 3], [4, 5, 6]]]) == expected


def test_a_1x1_input_sees_padding_all_around() -> None:
    layer = conv([[[[1] * 3] * 3]], uniform(8, False, 0, 1), window=square(3, 1, 1), pads=[2])
    assert run(layer, [[[100]]]) == [[[116]]]


def test_a_stride_larger_than_the_kernel_skips_pixels() -> None:
    layer = conv([[[[1, 1]]]], uniform(8, False, 0, 1), window=Window((1, 2), (2, 3)))
    assert run(layer, [np.arange(15).reshape(3, 5)]) == [[[1, 7], [21, 27]]]


def test_dilation_spreads_the_taps() -> None:
    layer = conv([[[[1, 2], [4, 8]]]], uniform(16, False, 0, 1), window=Window((2, 2), dilation=(2, 1)))
    # 1*1 + 2*2 + 4*7 + 8*8
    assert run(layer, IMAGE_3X3) == [[[97, 112]]]


def test_groups_read_their_own_channels() -> None:
    weights = [[[[1]], [[2]]], [[[4]], [[8]]]]
    layer = conv(weights, uniform(8, False, 0, 2), groups=2)
    assert run(layer, [[[1]], [[2]], [[3]], [[4]]]) == [[[5]], [[44]]]


def test_depthwise() -> None:
    layer = conv([[[[2, 1]]], [[[-1, 4]]]], uniform(8, True, 0, 2), groups=2)
    assert run(layer, [[[1, 2]], [[3, 4]]]) == [[[4]], [[13]]]


def test_a_sum_of_two_terms() -> None:
    sign = Constant(np.array([1, -1], dtype=np.int8).reshape(2, 1, 1, 1, 1))
    exponent = Constant(np.array([3, 0], dtype=np.int8).reshape(2, 1, 1, 1, 1))
    weight = Po2Weight(sign, exponent, 8)
    assert weight.integers.tolist() == [[[[7]]]]
    layer = Conv(
        "c",
        "input",
        weight,
        (0,),
        Constant(np.zeros(1, np.int64)),
        Window(),
        1,
        (0,),
        uniform(8, False, 0, 1),
    )
    assert run(layer, [[[9]]]) == [[[63]]]


def test_channels_of_other_fractions_are_aligned_to_the_finest() -> None:
    source = TensorFormat(8, False, (4, 2), (0, 0), (255, 255))
    # 16/16 + 4/4 = 2: the accumulator is 16 + (4 << 2) = 32 with fraction 4, minus one for the output.
    layer = conv([[[[1]], [[1]]]], uniform(8, False, 3, 1))
    assert run(layer, [[[16]], [[4]]], source) == [[[16]]]


def test_padding_is_aligned_with_its_channel() -> None:
    source = TensorFormat(8, False, (4, 2), (0, 0), (255, 255))
    layer = conv(
        [[[[1, 0]], [[1, 0]]]],
        uniform(8, False, 4, 1),
        window=Window((1, 2), padding=Padding(left=1)),
        pads=[16, 4],
    )
    assert run(layer, [[[0]], [[0]]], source) == [[[32]]]


def test_each_output_channel_has_its_own_weight_fraction() -> None:
    layer = conv([[[[8]]], [[[8]]], [[[8]]]], uniform(8, False, 0, 3), fractions=[3, 4, 2])
    assert run(layer, [[[5]]]) == [[[5]], [[3]], [[10]]]


def test_a_finer_output_is_an_exact_left_shift() -> None:
    assert run(conv([[[[1]]]], uniform(8, False, 3, 1), bias=[-1]), [[[5]]]) == [[[32]]]


def test_half_rounds_up_then_saturates() -> None:
    layer = conv([[[[1]]]], TensorFormat(8, True, (-1,), (-3,), (3,)), bias=[-10])
    found = [run(layer, [[[value]]])[0][0][0] for value in (1, 3, 4, 5, 7, 8, 15, 16, 30)]
    # (value - 10) / 2: -4.5, -3.5, -3, -2.5, -1.5, -1, 2.5, 3, 10
    assert found == [-3, -3, -3, -2, -1, -1, 3, 3, 3]


def test_relu_and_relu6_are_ranges() -> None:
    relu = conv([[[[1]]]], uniform(8, False, 4, 1), fractions=[4], bias=[-50])
    relu6 = conv([[[[1]]]], TensorFormat(8, False, (4,), (0,), (6 * 16,)), fractions=[4], bias=[-50])
    values = [0, 50, 100, 146, 147, 255]
    assert [run(relu, [[[v]]])[0][0][0] for v in values] == [0, 0, 50, 96, 97, 205]
    assert [run(relu6, [[[v]]])[0][0][0] for v in values] == [0, 0, 50, 96, 96, 96]


# ---- Edge cases of numerics.md


def test_an_all_zero_channel_gives_the_requantized_bias() -> None:
    layer = conv([[[[0]]], [[[0]]], [[[1]]]], uniform(8, True, -2, 3), bias=[7, -6, 0])
    # 7 / 4 rounds to 2, -6 / 4 = -1.5 rounds up to -1.
    assert run(layer, [[[200]]]) == [[[2]], [[-1]], [[50]]]


def test_an_all_negative_kernel() -> None:
    window = square(3)
    layer = conv([[[[-8] * 3] * 3]], uniform(16, True, 0, 1), window=window)
    assert run(layer, IMAGE_3X3) == [[[-360]]]
    rectified = conv([[[[-8] * 3] * 3]], uniform(8, False, 0, 1), window=window)
    assert run(rectified, IMAGE_3X3) == [[[0]]]


@pytest.mark.parametrize("position", range(9))
def test_a_single_weight_picks_one_pixel(position: int) -> None:
    kernel = np.zeros(9, int)
    kernel[position] = 4
    layer = conv(kernel.reshape(1, 1, 3, 3), uniform(8, False, 0, 1))
    assert run(layer, IMAGE_3X3) == [[[4 * (position + 1)]]]


@pytest.mark.parametrize("levels", [1, 2, 8, 15])
def test_weights_at_both_ends_of_the_exponent_window(levels: int) -> None:
    highest = 1 << (levels - 1)
    layer = conv(
        [[[[1]], [[-highest]]], [[[-1]], [[highest]]]],
        uniform(16, True, max(0, levels - 8) - levels + 1, 2),
        fractions=[0, 0],
        levels=levels,
    )
    image = [[[1]], [[255]]]
    down = levels - 1 - max(0, levels - 8)
    exact = [1 - highest * 255, highest * 255 - 1]
    rounded = [(value + (1 << (down - 1))) >> down if down else value for value in exact]
    assert run(layer, image) == [[[min(max(value, -(2**15)), 2**15 - 1)]] for value in rounded]


def test_saturating_both_ways() -> None:
    layer = conv([[[[128]]], [[[-128]]]], uniform(8, True, 0, 2))
    assert run(layer, [[[255]]]) == [[[127]], [[-128]]]


def test_one_bit_activations() -> None:
    source = uniform(1, False, 0, 3)
    layer = conv([[[[1]], [[2]], [[-4]]]], uniform(1, False, -1, 1))
    found = {
        bits: run(layer, [[[bit]] for bit in bits], source)[0][0][0] for bits in product((0, 1), repeat=3)
    }
    # a + 2b - 4c, halved, rounded half up, clamped to one bit
    assert found == {bits: int(bits[0] + 2 * bits[1] - 4 * bits[2] >= 1) for bits in found}
    signed = conv([[[[1]]]], uniform(1, True, 0, 1))
    assert [run(signed, [[[value]]], uniform(1, True, 0, 1)) for value in (-1, 0)] == [[[[-1]]], [[[0]]]]


def test_signed_16_bit_activations_use_their_whole_range() -> None:
    source = uniform(16, True, 0, 1)
    layer = conv([[[[-1]]]], uniform(16, True, 0, 1))
    assert run(layer, [[[-32768]]], source) == [[[32767]]]
    assert run(layer, [[[32767]]], source) == [[[-32767]]]


def wide_conv(bias: int) -> Graph:
    """Return a graph whose accumulator reaches `bias` + 255."""
    layer = conv([[[[1]]]], uniform(16, True, -50, 1), bias=[bias])
    return Graph("wide", FeatureMap(Shape(1, 1, 1), uniform(8, False, 0, 1)), (layer,))


def test_an_accumulator_of_exactly_the_bounds_width_is_exact() -> None:
    # One bit is kept for the rounding constant: the accumulator itself may need MAX_WIDTH - 1.
    highest = 2 ** (MAX_WIDTH - 2) - 1 - 255
    graph = verify(wide_conv(highest))
    (interval,) = accumulator_intervals(graph.layers[0], (graph.input,))
    assert interval.signed_width == MAX_WIDTH - 1
    for pixel in (0, 255):
        exact = (highest + pixel + (1 << 49)) >> 50
        assert interpret(graph, np.full((1, 1, 1, 1), pixel)).item() == min(exact, 32767)
    with pytest.raises(ModelError, match="too wide"):
        verify(wide_conv(highest + 1))


# ---- Add


def test_a_residual_add_brings_both_sides_to_the_finer_fraction() -> None:
    left = conv([[[[1]]], [[[1]]]], TensorFormat(8, False, (4, 1), (0, 0), (255, 255)), fractions=[4, 1])
    right = conv([[[[1]]], [[[1]]]], TensorFormat(8, False, (2, 3), (0, 0), (255, 255)), fractions=[2, 3])
    layers = (
        Conv(**{**vars(left), "name": "left"}),
        Conv(**{**vars(right), "name": "right"}),
        Add("add", ("left", "right"), TensorFormat(8, False, (3, 3), (0, 0), (255, 255))),
    )
    # 5/16 + 5/4 = 25/16 = 12.5/8 -> 13; 5/2 + 5/8 = 25/8 -> 25
    assert run(layers, [[[5]]]) == [[[13]], [[25]]]


def test_a_residual_add_saturates_both_ways() -> None:
    source = uniform(8, True, 0, 1)
    layer = Add("add", ("input", "input"), TensorFormat(8, True, (0,), (-100,), (90,)))
    assert [run(layer, [[[v]]], source) for v in (-128, -50, 45, 46)] == [
        [[[-100]]],
        [[[-100]]],
        [[[90]]],
        [[[90]]],
    ]


# ---- Pools


def test_max_pool() -> None:
    assert run(MaxPool("max", "input", square(2)), IMAGE_3X3) == [[[5, 6], [8, 9]]]


def test_padding_never_wins_a_max_pool() -> None:
    layer = MaxPool("max", "input", square(3, 2, 1))
    source = uniform(8, True, 0, 1)
    assert run(layer, -np.array(IMAGE_3X3), source) == [[[-1, -2], [-4, -5]]]
    low = TensorFormat(8, True, (0,), (-9,), (-1,))
    assert run(layer, -np.array(IMAGE_3X3), low) == [[[-1, -2], [-4, -5]]]


def test_an_average_over_a_power_of_two_is_a_shift() -> None:
    layer = AveragePool("average", "input", square(2), uniform(8, False, 0, 1))
    # 12/4, 16/4, 24/4, 28/4
    assert run(layer, IMAGE_3X3) == [[[3, 4], [6, 7]]]
    assert run(layer, [[[1, 1], [0, 0]]]) == [[[1]]]  # 0.5 rounds up
    assert run(layer, [[[1, 0], [0, 0]]]) == [[[0]]]


def test_an_average_over_nine_keeps_the_factor_for_the_next_layer() -> None:
    layer = AveragePool("average", "input", square(3), uniform(8, False, 2, 1))
    assert layer.divisor_shift == 4
    # 45 / 16 in quarters: 11.25
    assert run(layer, IMAGE_3X3) == [[[11]]]


def test_an_average_over_one_pixel_is_the_pixel() -> None:
    layer = AveragePool("average", "input", Window(), uniform(8, False, 0, 1))
    assert layer.divisor_shift == 0
    assert run(layer, IMAGE_3X3) == IMAGE_3X3


def test_an_average_pool_pads_with_zero() -> None:
    layer = AveragePool("average", "input", square(2, 2, 1), uniform(8, True, 2, 1))
    source = TensorFormat(8, True, (0,), (-9,), (-1,))
    assert run(layer, -np.array(IMAGE_3X3), source) == [[[-1, -5], [-11, -28]]]


def test_a_global_average_pool() -> None:
    layer = AveragePool("average", "input", Window((2, 3)), uniform(8, False, 0, 2))
    # 21 / 8 = 2.625, 6 / 8
    assert run(layer, [[[1, 2, 3], [4, 5, 6]], [[1, 1, 1], [1, 1, 1]]]) == [[[3]], [[1]]]


# ---- Dense


def dense(weight: ArrayLike, bias: ArrayLike) -> Dense:
    return Dense("dense", "input", Constant(np.array(weight, np.int8)), Constant(np.array(bias, np.int32)), 8)


def test_dense_takes_features_in_stream_order() -> None:
    # Channels of the first pixel, then of the second: 1, 3, 2, 4.
    layer = dense([[1, 10, 100, 0], [0, 0, 0, -1]], [1000, 0])
    assert run(layer, [[[1, 2]], [[3, 4]]]) == [1231, -4]


def test_logits_are_raw_and_exact_at_the_ends_of_32_bits() -> None:
    top = 2**31 - 1 - 127 * 255
    layer = dense([[127], [-128]], [top, -(2**31) + 128 * 255])
    assert run(layer, [[[255]]]) == [2**31 - 1, -(2**31)]
    with pytest.raises(ModelError, match="a logit could overflow"):
        run(dense([[127]], [top + 1]), [[[255]]])


# ---- Images


def test_all_feature_maps_are_given_by_name() -> None:
    layer = conv([[[[2]]]], uniform(8, False, 0, 1))
    second = Conv(**{**vars(layer), "name": "again", "source": "conv"})
    graph = Graph("net", FeatureMap(Shape(1, 1, 1), uniform(8, False, 0, 1)), (layer, second))
    values = interpret_all(graph, np.array([[[[3]]]]))
    assert {name: value.item() for name, value in values.items()} == {"input": 3, "conv": 6, "again": 12}


def test_images_that_do_not_fit_are_refused() -> None:
    graph = GraphBuilder(Shape(2, 3, 3), width=4).conv(1).build("net")
    good = random_images(graph, 2)
    interpret(graph, good)
    for bad, what in [
        (good[0], "images do not fit"),
        (good[:, :1], "images do not fit"),
        (good.astype(float), "images do not fit"),
        (good + 16, "out of range"),
        (good - 16, "out of range"),
    ]:
        with pytest.raises(ModelError, match=f"net: .*{what}"):
            interpret(graph, bad)


def test_no_image_gives_no_result() -> None:
    graph = GraphBuilder(Shape(2, 3, 3)).conv(1, square(2)).build("net")
    assert interpret(graph, np.zeros((0, 2, 3, 3), np.uint8)).shape == (0, 1, 2, 2)


@pytest.mark.parametrize("seed", range(8))
def test_every_accumulator_lies_in_its_proved_interval(seed: int) -> None:
    """Drive each weight's sign at the inputs' extremes: the interval's ends are reached exactly."""
    builder = GraphBuilder(Shape(3, 1, 1), seed, signed=bool(seed % 2)).conv(4, zeros=0.2)
    graph = builder.build()
    layer = graph.layers[0]
    wide = Conv(**{**vars(layer), "output": uniform(16, True, -8, 4)})
    intervals = accumulator_intervals(wide, (graph.input,))
    form = graph.input.format
    corners = np.array(list(product(*zip(form.low, form.high, strict=True)))).reshape(-1, 3, 1, 1)
    weights = layer.weight.integers.reshape(4, 3)
    sums = corners.reshape(-1, 3) @ weights.T + layer.bias.array
    assert intervals == tuple(Interval(int(column.min()), int(column.max())) for column in sums.T)
