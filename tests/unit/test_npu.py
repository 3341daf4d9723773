# SPDX-License-Identifier: Apache-2.0
"""The NPU's configuration, assembler, reference model and driver, without RTL."""

from __future__ import annotations

import dataclasses
import itertools
import time

import numpy as np
import pytest
from hsflow_npu import (
    MemoryImage,
    NpuConfiguration,
    NpuDriver,
    NpuError,
    Register,
    Status,
    assemble,
    choice,
    dense,
    disassemble,
)
from hsflow_npu.driver import IDENTIFIER, VERSION
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hsflow.errors import ModelError

SMALL = NpuConfiguration(tokens=2, channels=3, classes=5, class_lanes=2, feature_lanes=4)


@st.composite
def configurations(draw: st.DrawFn) -> NpuConfiguration:
    tokens, channels = draw(st.integers(1, 4)), draw(st.integers(1, 9))
    classes = draw(st.integers(1, 12))
    return NpuConfiguration(
        tokens,
        channels,
        classes,
        draw(st.integers(1, classes)),
        draw(st.integers(1, tokens * channels)),
        draw(st.integers(1, 16)),
        draw(st.booleans()),
        draw(st.integers(1, 14)),
    )


def layer_of(npu: NpuConfiguration, seed: int) -> tuple[NDArray[np.int8], NDArray[np.int32]]:
    generator = np.random.default_rng(seed)
    weights = generator.integers(-128, 128, (npu.classes, npu.features), dtype=np.int8)
    return weights, generator.integers(-(2**28), 2**28, npu.classes, dtype=np.int32)


def run_array(image: MemoryImage, npu: NpuConfiguration, activations: NDArray[np.int64]) -> list[int]:
    """Compute one image's logits the way the array does: row by row, byte by byte, from the image alone."""
    memory = {address + i: data >> (8 * i) & 0xFF for address, data in image for i in range(4)}
    padded = [*activations.tolist(), *[0] * npu.feature_lanes]
    sums = [0] * (npu.tiles * npu.class_lanes)
    for row in range(npu.compute_cycles):
        tile, group = divmod(row, npu.groups)
        for byte in range(npu.multipliers):
            lane, position = divmod(byte, npu.feature_lanes)
            weight = (memory[npu.weight_base + row * npu.row_stride + byte] ^ 0x80) - 0x80
            sums[tile * npu.class_lanes + lane] += weight * padded[group * npu.feature_lanes + position]
    biases = [sum(memory[npu.bias_address(n) + i] << (8 * i) for i in range(4)) for n in range(npu.classes)]
    return [(s + b + 2**31) % 2**32 - 2**31 for s, b in zip(sums, biases, strict=False)]


@given(configurations(), st.integers(0, 2**32))
def test_assemble_and_disassemble_are_inverse(npu: NpuConfiguration, seed: int) -> None:
    weights, bias = layer_of(npu, seed)
    image = assemble(weights, bias, npu)
    found_weights, found_bias = disassemble(MemoryImage.from_hex(image.to_hex()), npu)
    assert found_weights.dtype == np.int8 and found_bias.dtype == np.int32
    assert np.array_equal(found_weights, weights) and np.array_equal(found_bias, bias)


@given(configurations(), st.integers(0, 2**32))
def test_the_image_computes_the_layer(npu: NpuConfiguration, seed: int) -> None:
    weights, bias = layer_of(npu, seed)
    low, high = npu.activation_minimum, npu.activation_maximum
    activations = np.random.default_rng(seed).integers(low, high + 1, npu.features)
    logits, winner = dense(activations, weights, bias)
    assert run_array(assemble(weights, bias, npu), npu, activations) == logits.tolist()
    assert logits[winner] == logits.max() and (logits[:winner] < logits.max()).all()


@given(configurations(), st.integers(0, 2**32))
def test_twin_a_flipped_weight_bit_is_another_layer(npu: NpuConfiguration, seed: int) -> None:
    weights, bias = layer_of(npu, seed)
    image = assemble(weights, bias, npu)
    generator = np.random.default_rng(seed)
    n, feature = int(generator.integers(npu.classes)), int(generator.integers(npu.features))
    byte = npu.weight_address(n, feature)
    flip = {byte & ~3: 1 << (8 * (byte & 3) + int(generator.integers(8)))}
    flipped = MemoryImage(tuple((address, data ^ flip.get(address, 0)) for address, data in image))
    found, _ = disassemble(flipped, npu)
    assert [tuple(index) for index in np.argwhere(found != weights)] == [(n, feature)]


@given(configurations())
def test_the_image_covers_every_word_once_in_ascending_order(npu: NpuConfiguration) -> None:
    addresses = [address for address, _ in assemble(*layer_of(npu, 1), npu)]
    assert addresses == sorted(set(addresses))
    assert len(addresses) == npu.classes + npu.compute_cycles * npu.row_words
    assert all(address % 4 == 0 and address < 1 << npu.address_width for address in addresses)
    assert npu.bias_base + npu.beats * npu.bias_stride <= npu.weight_base
    assert npu.beats * npu.bias_stride <= npu.bias_base  # this window is aligned to its size, too
    assert npu.compute_cycles * npu.row_stride <= npu.weight_base  # the window is aligned to its size


def test_padding_is_zero_and_present() -> None:
    image = assemble(np.full((5, 6), -1), np.zeros(5, np.int64), SMALL)
    words = [data for address, data in image if address >= SMALL.weight_base]
    full, half = 0xFFFF_FFFF, 0x0000_FFFF
    assert words == [full, full, half, half] * 2 + [full, 0, half, 0]


def test_hex_text_is_golden() -> None:
    npu = NpuConfiguration(1, 3, 2, 2, 1)
    image = assemble(np.array([[1, 2, 3], [-1, -2, -128]]), np.array([7, -1]), npu)
    assert image.to_hex() == (
        "00001000 00000007\n00001004 FFFFFFFF\n00002000 0000FF01\n00002004 0000FE02\n00002008 00008003\n"
    )


@pytest.mark.parametrize(
    "line", ["00001000 0000000g", "00001000  0000007", "00001000 00000007 ", "", "0x001000 00000007"]
)
def test_hex_text_refuses_other_lines(line: str) -> None:
    with pytest.raises(ModelError, match="line 2"):
        MemoryImage.from_hex(f"00001000 00000007\n{line}\n")


@pytest.mark.parametrize("signed", [False, True])
def test_overflow_is_refused_at_the_first_integer_too_many(signed: bool) -> None:
    npu = NpuConfiguration(1, 4, 2, 1, 1, 16, signed)
    weights = np.array([[0, 0, 0, 0], [127, -128, 5, 0]])
    ends = np.stack([weights[1] * npu.activation_minimum, weights[1] * npu.activation_maximum])
    top, bottom = 2**31 - 1 - ends.max(axis=0).sum(), -(2**31) - ends.min(axis=0).sum()
    for bias in (top, bottom):
        assert len(assemble(weights, np.array([0, bias]), npu)) == 2 + 8
    for bias in (top + 1, bottom - 1):
        with pytest.raises(ModelError, match="class 1: a logit could overflow"):
            assemble(weights, np.array([0, bias]), npu)


def test_a_layer_that_cannot_fit_whatever_its_bias_is_refused() -> None:
    npu = NpuConfiguration(1, 1000, 1, 1, 1, 16)
    with pytest.raises(ModelError, match="overflow"):
        assemble(np.full((1, 1000), 127), np.zeros(1, np.int64), npu)


@pytest.mark.parametrize(
    ("weights", "bias", "message"),
    [
        (np.zeros((6, 5), int), np.zeros(5, int), "weights have the wrong shape"),
        (np.zeros((5, 6), int), np.zeros((5, 1), int), "bias have the wrong shape"),
        (np.zeros((5, 6)), np.zeros(5, int), "weights are no integers"),
        (np.zeros((5, 6), bool), np.zeros(5, int), "weights are no integers"),
        (np.full((5, 6), 128), np.zeros(5, int), r"weights\[0, 0\]: the weights leave their range"),
        (np.full((5, 6), -129), np.zeros(5, int), "weights leave their range"),
        (np.full((5, 6), 2**63, np.uint64), np.zeros(5, int), "weights leave their range"),
        (np.zeros((5, 6), int), np.array([0, 0, 2**31, 0, 0]), r"bias\[2\]: the bias leave their range"),
    ],
)
def test_what_is_no_layer_is_refused(
    weights: NDArray[np.integer], bias: NDArray[np.integer], message: str
) -> None:
    with pytest.raises(ModelError, match=message):
        assemble(weights, bias, SMALL)


def test_disassemble_refuses_another_layout() -> None:
    image = assemble(*layer_of(SMALL, 3), SMALL)
    with pytest.raises(ModelError, match="wrong size"):
        disassemble(MemoryImage(image.words[:-1]), SMALL)
    with pytest.raises(ModelError, match="does not fit"):
        disassemble(MemoryImage(image.words[1:] + image.words[:1]), SMALL)
    address, data = image.words[-1]
    with pytest.raises(ModelError, match="does not fit"):
        disassemble(MemoryImage((*image.words[:-1], (address, data | 1 << 31))), SMALL)


def test_dense_refuses_to_wrap() -> None:
    high = np.array([2**31 - 1])
    assert dense(np.array([0]), np.array([[1]]), high)[0].tolist() == [2**31 - 1]
    with pytest.raises(ModelError, match="32 bits"):
        dense(np.array([1]), np.array([[1]]), high)


def test_dense_takes_any_leading_shape_and_the_lowest_of_equals() -> None:
    logits, winner = dense(np.ones((2, 3, 4), int), np.array([[0] * 4, [1] * 4, [1] * 4]), np.zeros(3, int))
    assert logits.shape == (2, 3, 3) and winner.tolist() == [[1, 1, 1]] * 2


@pytest.mark.parametrize(
    ("lanes", "expected"),
    [
        (1, (1, 1)),
        (7, (7, 1)),
        (10, (10, 1)),
        (19, (10, 1)),
        (20, (10, 2)),
        (640, (10, 64)),
        (10**6, (10, 64)),
    ],
)
def test_lanes_go_to_classes_first(lanes: int, expected: tuple[int, int]) -> None:
    npu = NpuConfiguration.from_lanes(lanes, tokens=1, channels=64, classes=10)
    assert (npu.class_lanes, npu.feature_lanes) == expected
    assert npu.multipliers <= lanes


def test_mobilenet_v2_costs_what_it_should() -> None:
    npu = NpuConfiguration.from_lanes(1000, tokens=1, channels=1280, classes=1000)
    assert (npu.compute_cycles, npu.initiation_interval) == (1280, 1280)
    assert (npu.first_logit_latency, npu.last_logit_latency) == (1286, 2285)
    assert npu.memory_bits == 1280 * 1000 * 8 + 1000 * 32
    assert (npu.bias_base, npu.row_stride, npu.weight_base) == (4096, 1024, 1 << 21)
    assert npu.address_width == 22


@given(configurations())
def test_the_interval_is_that_of_a_two_stage_pipeline(npu: NpuConfiguration) -> None:
    """Compare the closed form with the recurrence: a row is loaded once done and once the last one left."""
    sizes = leaving_cycles(npu)
    start = 0
    loads: list[tuple[int, int]] = []
    for image in range(6):
        start = max(start, image * npu.tokens)
        for size in sizes:
            start = max(start + npu.groups, loads[-1][0] + loads[-1][1] if loads else 0)
            loads.append((start, size))
    firsts = [load for load, _ in loads[:: npu.tiles]]
    assert firsts[-1] - firsts[-2] == npu.initiation_interval
    least = max(npu.compute_cycles, npu.beats, npu.tokens)
    assert least <= npu.initiation_interval
    if npu.tiles == 1 or (npu.logit_lanes == 1 and npu.groups >= npu.class_lanes):
        assert npu.initiation_interval == least


def leaving_cycles(npu: NpuConfiguration) -> list[int]:
    """Count the cycles in which each tile leaves, by packing its sums chunk by chunk into beats."""
    cycles, waiting = [], 0
    for tile in range(npu.tiles):
        last = tile == npu.tiles - 1
        left, moves = npu.last_tile_classes if last else npu.class_lanes, 0
        while left or (last and waiting):
            chunk = min(left, npu.logit_lanes)
            held = waiting + chunk
            sent = npu.logit_lanes if held >= npu.logit_lanes else held if last else 0
            left, waiting, moves = left - chunk, held - sent, moves + 1
        cycles.append(moves)
    return cycles


def every_array(layer: NpuConfiguration, most_logits: int) -> list[NpuConfiguration]:
    """Return `layer` with every number of lanes."""
    sizes = itertools.product(
        range(1, layer.classes + 1), range(1, layer.features + 1), range(1, most_logits + 1)
    )
    return [dataclasses.replace(layer, class_lanes=p, feature_lanes=q, logit_lanes=m) for p, q, m in sizes]


@settings(max_examples=60)
@given(st.integers(1, 3), st.integers(1, 7), st.integers(1, 11), st.integers(1, 40), st.integers(0, 6))
def test_the_chosen_lanes_are_the_fewest(
    tokens: int, channels: int, classes: int, interval: int, logit_lanes: int
) -> None:
    layer = NpuConfiguration(tokens, channels, classes, 1, 1)
    given_lanes = logit_lanes or None
    chosen = choice.with_fewest_multipliers(layer, interval, given_lanes)
    rivals = every_array(layer, max(classes, logit_lanes))
    rivals = [npu for npu in rivals if given_lanes in (None, npu.logit_lanes)]
    fastest = min(npu.initiation_interval for npu in rivals)
    assert chosen.initiation_interval <= max(interval, fastest)
    rivals = [npu for npu in rivals if npu.initiation_interval <= max(interval, fastest)]
    assert (chosen.multipliers, chosen.logit_lanes) == min(
        (npu.multipliers, npu.logit_lanes) for npu in rivals
    )


@pytest.mark.parametrize(
    ("interval", "expected"),
    [(50_176, (26, 1)), (784, (1647, 2)), (250, (5120, 4)), (49, (26_169, 22)), (1, (1_280_000, 1000))],
)
def test_mobilenet_v2_keeps_up_with_every_interval(interval: int, expected: tuple[int, int]) -> None:
    start = time.process_time()
    npu = choice.with_fewest_multipliers(NpuConfiguration(1, 1280, 1000, 1, 1), interval)
    assert time.process_time() - start < 0.5
    assert npu.initiation_interval <= interval
    assert (npu.multipliers, npu.logit_lanes) == expected


def test_of_equals_the_one_with_the_most_class_lanes_is_chosen() -> None:
    npu = choice.with_fewest_multipliers(NpuConfiguration(1, 64, 10, 1, 1), 64)  # 5 x 2 would do as well
    assert (npu.class_lanes, npu.feature_lanes, npu.logit_lanes) == (10, 1, 1)


def test_an_interval_that_no_npu_reaches_is_missed_by_the_least() -> None:
    layer = NpuConfiguration(7, 4, 30, 1, 1)
    assert choice.with_fewest_multipliers(layer, 3).initiation_interval == 7
    one_by_one = choice.with_fewest_multipliers(layer, 7, logit_lanes=1)
    assert (one_by_one.initiation_interval, one_by_one.logit_lanes) == (30, 1)
    assert one_by_one.multipliers == 28  # not more than 30 cycles need


@pytest.mark.parametrize(
    ("multipliers", "interval", "logit_lanes", "expected"),
    [
        (7, 40, None, (7, 1, 1)),
        (160, 4, None, (10, 16, 3)),
        (160, 4, 2, (10, 16, 2)),
        (10**6, 1, None, (10, 64, 10)),
    ],
)
def test_given_multipliers_get_the_logit_lanes_they_need(
    multipliers: int, interval: int, logit_lanes: int | None, expected: tuple[int, int, int]
) -> None:
    npu = choice.with_multipliers(NpuConfiguration(1, 64, 10, 1, 1), multipliers, interval, logit_lanes)
    assert (npu.class_lanes, npu.feature_lanes, npu.logit_lanes) == expected


@pytest.mark.parametrize(
    "change",
    [
        {"tokens": 0},
        {"channels": 0},
        {"channels": True},
        {"classes": 65537},
        {"class_lanes": 6},
        {"feature_lanes": 7},
        {"activation_width": 17},
        {"logit_lanes": 0},
        {"logit_lanes": 65536},
        {"activation_width": 0},
        {"channels": 1 << 30, "class_lanes": 1, "feature_lanes": 1},
    ],
)
def test_impossible_configurations_are_refused(change: dict[str, int]) -> None:
    with pytest.raises(ModelError, match="out of range"):
        dataclasses.replace(SMALL, **change)  # type: ignore[arg-type]


class FakeNpu:
    """Stand in for the RTL's bus side; `running` images need `drain` readings of STATUS to end."""

    def __init__(self, npu: NpuConfiguration, images: int = 0, drain: int = 0) -> None:
        lanes = npu.class_lanes | npu.feature_lanes << 16
        self.constants = {0x00: IDENTIFIER, 0x04: VERSION, 0x14: npu.features, 0x18: npu.classes, 0x1C: lanes}
        self.constants[0x20] = npu.logit_lanes
        self.memory: dict[int, int] = {}
        self.images, self.drain, self.hold, self.error = images, drain, 0, 0

    def read(self, address: int) -> int:
        if address == Register.STATUS:
            self.drain -= 1
            return self.error | (Status.IDLE | (Status.HOLDING if self.hold else 0) if self.drain <= 0 else 0)
        if address == Register.IMAGES:
            return self.images
        return {**self.constants, **self.memory}[address]

    def write(self, address: int, data: int) -> None:
        if address == Register.CONTROL:
            self.hold = data
        elif address == Register.STATUS:
            self.error &= ~data
        elif self.drain > 0 and not self.hold:
            raise NpuError("refused")
        else:
            self.memory[address] = data


def test_driver_identifies_loads_and_verifies() -> None:
    fake = FakeNpu(SMALL)
    driver, image = NpuDriver(fake, SMALL), assemble(*layer_of(SMALL, 4), SMALL)
    driver.identify()
    driver.wait_until_idle()
    driver.load(image)
    driver.verify(image)
    assert fake.memory == dict(image.words)


def test_driver_exchanges_weights_under_hold() -> None:
    fake = FakeNpu(SMALL, images=17, drain=5)
    image = assemble(*layer_of(SMALL, 5), SMALL)
    assert NpuDriver(fake, SMALL).exchange(image) == 17
    assert fake.memory == dict(image.words)
    assert fake.hold == 0


def test_driver_clears_only_the_error_bit() -> None:
    fake = FakeNpu(SMALL)
    fake.error = Status.WRITE_WHILE_BUSY
    driver = NpuDriver(fake, SMALL)
    assert Status.WRITE_WHILE_BUSY in driver.status()
    driver.clear_error()
    assert Status.WRITE_WHILE_BUSY not in driver.status()


def test_twin_driver_refuses_another_npu() -> None:
    for register in (0x00, 0x04, 0x14, 0x18, 0x1C, 0x20):
        fake = FakeNpu(SMALL)
        fake.constants[register] ^= 1
        with pytest.raises(NpuError, match=Register(register).name):
            NpuDriver(fake, SMALL).identify()


def test_twin_driver_finds_a_wrong_word() -> None:
    fake = FakeNpu(SMALL)
    driver, image = NpuDriver(fake, SMALL), assemble(*layer_of(SMALL, 6), SMALL)
    driver.load(image)
    fake.memory[image.words[3][0]] ^= 1 << 31
    with pytest.raises(NpuError, match=f"0x{image.words[3][0]:08X}"):
        driver.verify(image)


def test_driver_gives_up_on_an_npu_that_cannot_drain() -> None:
    driver = NpuDriver(FakeNpu(SMALL, drain=1000), SMALL)
    with pytest.raises(NpuError, match="HOLDING"):
        driver.hold(polls=10)
    with pytest.raises(NpuError, match="IDLE"):
        driver.wait_until_idle(polls=10)
