# SPDX-License-Identifier: Apache-2.0
"""Cases of hsflow_npu: what a bench master asks of it, and its words, answers and cycles by the NumPy model."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np
from hsflow_npu import MemoryImage, NpuConfiguration, NpuDriver, Register, assemble, dense
from hsflow_npu.driver import IDENTIFIER, VERSION
from numpy.typing import NDArray
from simulator import CORES
from stream_bench import Bench, Log, inputs, outputs, traffic

NPU = sorted((CORES / "npu" / "rtl").glob("*.sv")) + sorted((CORES / "npu" / "tb").glob("*.sv"))
LIBRARY = [
    CORES / "axil" / "rtl" / "hsflow_axil_slave.sv",
    CORES / "stream" / "rtl" / "hsflow_stream_register.sv",
]
WRITE, READ, POLL, OPEN, BEATS = range(1, 6)
OKAY, SLVERR = 0, 2
IDLE, HOLDING, BUSY_WRITE = 1, 2, 4
OUTSIDE = 0xDEAD_BEEF
Layer = tuple[NDArray[np.int64], NDArray[np.int64]]


@dataclass(frozen=True)
class Case:
    """One NPU and what runs through it; `ties` draws the classes' weights from two rows only."""

    name: str
    npu: NpuConfiguration
    ties: bool = False
    extreme: bool = False

    @property
    def images(self) -> int:
        return 10 + 90 // self.npu.initiation_interval

    def generator(self, purpose: str) -> np.random.Generator:
        return np.random.default_rng(random.Random(f"{self.name} {purpose}").getrandbits(64))

    def activations(self) -> NDArray[np.int64]:
        """Return (images, features): all lowest, all highest, zero, then random ones."""
        low, high = self.npu.activation_minimum, self.npu.activation_maximum
        values = self.generator("activations").integers(low, high + 1, (self.images, self.npu.features))
        values[:3] = np.array([[low], [high], [0]])
        return values

    def layer(self, version: int) -> Layer:
        generator = self.generator(f"layer {version}")
        classes, features = self.npu.classes, self.npu.features
        weights = generator.integers(-128, 128, (classes, features))
        bias = generator.integers(-5000, 5000, classes)
        if self.ties:
            choice = generator.integers(0, 2, classes)
            weights, bias = weights[choice % classes], bias[choice % classes]
        return (weights, extreme_bias(weights, self.npu)) if self.extreme else (weights, bias)

    def image(self, version: int) -> MemoryImage:
        return assemble(*self.layer(version), self.npu)

    def vectors(self) -> list[int]:
        """Return the words of the input stream, channel 0 in the low bits."""
        width = self.npu.activation_width
        rows = self.activations().reshape(-1, self.npu.channels) & ((1 << width) - 1)
        return [sum(int(value) << (c * width) for c, value in enumerate(row)) for row in rows]

    def beats(self, switch: int) -> list[int]:
        """Return the words of the output stream when the first `switch` images use the first layer."""
        activations = self.activations()
        parts = ((activations[:switch], 0), (activations[switch:], 1))
        return [
            beat
            for some, version in parts
            for image in some
            for beat in packet(image, self.layer(version), self.npu.logit_lanes)
        ]


def extreme_bias(weights: NDArray[np.int64], npu: NpuConfiguration) -> NDArray[np.int64]:
    """Return biases with which the highest and lowest inputs just reach the ends of 32 bits."""
    ends = np.stack([weights * npu.activation_minimum, weights * npu.activation_maximum])
    top = 2**31 - 1 - ends.max(axis=0).sum(axis=1)
    bottom = -(2**31) - ends.min(axis=0).sum(axis=1)
    return np.where(np.arange(len(weights)) % 2 == 0, top, bottom)


def packet(image: NDArray[np.int64], layer: Layer, lanes: int) -> list[int]:
    """Return an image's beats: `lanes` logits, argmax and last, from the low bits on."""
    logits, winner = dense(image, *layer)
    words = [int(logit) & 0xFFFF_FFFF for logit in logits]
    beats = [
        sum(word << (32 * lane) for lane, word in enumerate(words[start : start + lanes]))
        for start in range(0, len(words), lanes)
    ]
    beats[-1] |= int(winner) << (32 * lanes) | 1 << (32 * lanes + 16)
    return beats


def wide(name: str, lanes: int, *layer: int, ties: bool = False, extreme: bool = False) -> Case:
    """Return a case whose logits leave `lanes` in a beat; `layer` is tokens, channels, classes, lanes."""
    tokens, channels, classes, class_lanes, feature_lanes = layer
    npu = NpuConfiguration(tokens, channels, classes, class_lanes, feature_lanes, logit_lanes=lanes)
    return Case(name, npu, ties, extreme)


CASES = [
    Case("one_class", NpuConfiguration(1, 5, 1, 1, 1)),
    Case("one_multiply", NpuConfiguration(1, 1, 1, 1, 1)),
    Case("ragged_classes", NpuConfiguration(1, 12, 7, 3, 1, 8, True), ties=True),
    Case("ragged_features", NpuConfiguration(1, 9, 5, 2, 4)),
    Case("tokens", NpuConfiguration(4, 3, 6, 6, 5, 4, True), ties=True),
    Case("one_bit", NpuConfiguration(2, 8, 3, 3, 16, 1), ties=True),
    Case("one_bit_signed", NpuConfiguration(1, 6, 4, 4, 2, 1, True), ties=True),
    Case("wide", NpuConfiguration(1, 7, 10, 4, 1, 16), extreme=True),
    Case("wide_signed", NpuConfiguration(1, 18, 3, 1, 17, 16, True), extreme=True),
    Case("short_last_tile", NpuConfiguration(1, 3, 9, 4, 1)),
    Case("drain_bound", NpuConfiguration(1, 4, 11, 5, 2)),
    Case("token_bound", NpuConfiguration(16, 1, 2, 2, 4)),
    Case("long", NpuConfiguration(1, 40, 6, 2, 1)),
    wide("two_logits", 2, 1, 6, 8, 4, 2),
    wide("all_logits", 6, 1, 5, 6, 6, 2, ties=True),
    wide("more_logits_than_classes", 8, 2, 3, 5, 5, 3),
    wide("more_logits_than_classes_in_tiles", 9, 1, 4, 7, 2, 1, ties=True),
    wide("rows_inside_beats", 4, 1, 8, 23, 6, 4),
    wide("rows_of_odd_beats", 3, 1, 9, 17, 7, 3, ties=True),
    wide("rows_shorter_than_beats", 5, 1, 4, 13, 2, 4),
    wide("last_row_takes_longer", 3, 1, 3, 10, 5, 3),
    wide("drain_bound_wide", 2, 1, 2, 21, 7, 2),
    wide("one_beat_a_cycle", 7, 1, 4, 7, 7, 4),
    wide("tree_of_three_stages", 17, 1, 6, 36, 18, 3, ties=True),
    wide("wide_extreme", 4, 1, 7, 10, 5, 3, extreme=True),
]
TRAFFIC = {
    "full": ("full", "full"),
    "random": ("random", "random"),
    "slow": ("full", "bursty"),
    "fed": ("bursty", "full"),
}
BY_NAME = {case.name: case for case in CASES}


class Script:
    """Collect the commands of one bench master; a Bus whose writes come from the driver."""

    def __init__(self) -> None:
        self.commands: list[tuple[int, int, int, int]] = []
        self.responses: list[tuple[str, int, int | None, int]] = []

    def command(self, operation: int, address: int = 0, data: int = 0, strobe: int = 15) -> None:
        self.commands.append((operation, strobe, address, data))

    def write(self, address: int, data: int, *, strobe: int = 15, response: int = OKAY) -> None:
        self.command(WRITE, address, data, strobe)
        self.responses.append(("write", address, data, response))

    def read(self, address: int, expected: int | None = None, *, response: int = OKAY) -> int:
        self.command(READ, address)
        self.responses.append(("read", address, expected, response))
        return 0

    def poll(self, mask: int, expected: int) -> None:
        self.command(POLL, Register.STATUS, mask)
        self.responses.append(("read", Register.STATUS, expected, OKAY))

    def text(self) -> str:
        return "".join(
            f"{op:02x}{strobe:02x}{address:08x}{data:08x}\n" for op, strobe, address, data in self.commands
        )


def script_of(case: Case, kind: str) -> Script:
    script = Script()
    identify(script, case.npu)
    load_when_idle(script, case)
    refuse_addresses(script, case.npu)
    script.command(OPEN)
    script.command(BEATS, data=3 * case.npu.beats)
    if kind == "full":
        refuse_busy(script, case)
    change_weights(script, case)
    finish(script, case)
    return script


def identify(script: Script, npu: NpuConfiguration) -> None:
    lanes = npu.class_lanes | npu.feature_lanes << 16
    values = (IDENTIFIER, VERSION, 0, IDLE, 0, npu.features, npu.classes, lanes, npu.logit_lanes)
    for register, value in zip(Register, values, strict=True):
        script.read(register, value)


def load_when_idle(script: Script, case: Case) -> None:
    """Load without hold, read everything back, and write single bytes."""
    image = case.image(0)
    NpuDriver(script, case.npu).load(image)
    for address, data in image:
        script.read(address, data)
    address, data = image.words[0]
    script.write(address, ~data & 0xFFFF_FFFF, strobe=0b0110)
    script.read(address, data ^ 0x00FF_FF00)
    script.write(address, data)
    address, data = image.words[-1]
    script.write(address, ~data & 0xFFFF_FFFF, strobe=0b0001)
    script.read(address, data ^ 0x0000_00FF)
    script.write(address, data, strobe=0b0001)


def refuse_addresses(script: Script, npu: NpuConfiguration) -> None:
    end = npu.weight_base + npu.compute_cycles * npu.row_stride
    gap = [npu.weight_base + 4 * npu.row_words] if 4 * npu.row_words < npu.row_stride else []
    if npu.logit_lanes > 1:
        gap.append(
            npu.bias_address(npu.logit_lanes - 1) + 4 if npu.bias_stride > 4 * npu.logit_lanes else 0x24
        )
    for address in (0x24, 0x40, npu.bias_base - 4, npu.bias_address(npu.classes), end, 1 << 31, *gap):
        script.read(address, response=SLVERR)
        script.write(address, OUTSIDE, response=SLVERR)
    for register in set(Register) - {Register.CONTROL, Register.STATUS}:
        script.write(register, OUTSIDE, response=SLVERR)
    script.read(Register.STATUS, IDLE)


def refuse_busy(script: Script, case: Case) -> None:
    """Touch the memories while images compute: nothing changes, the error bit stays until cleared."""
    address = case.image(0).words[-1][0]
    script.write(address, OUTSIDE, response=SLVERR)
    script.read(Register.STATUS, BUSY_WRITE)
    script.write(Register.STATUS, BUSY_WRITE)
    script.read(Register.STATUS, 0)
    script.read(address, response=SLVERR)
    script.write(case.npu.bias_base, OUTSIDE, response=SLVERR)
    script.write(Register.STATUS, ~BUSY_WRITE & 0xFFFF_FFFF)
    script.read(Register.STATUS, BUSY_WRITE)
    script.write(Register.STATUS, BUSY_WRITE)


def change_weights(script: Script, case: Case) -> None:
    """Do what NpuDriver.exchange does, with a check of the memories before the release."""
    script.write(Register.CONTROL, 1)
    script.command(POLL, Register.STATUS, HOLDING)
    script.responses.append(("read", Register.STATUS, None, OKAY))
    script.read(Register.IMAGES)
    NpuDriver(script, case.npu).load(case.image(1))
    for address, data in case.image(1):
        script.read(address, data)
    script.write(Register.CONTROL, 0)


def finish(script: Script, case: Case) -> None:
    script.command(BEATS, data=case.images * case.npu.beats)
    script.poll(IDLE, IDLE)
    script.read(Register.IMAGES, case.images)


def add_npu(
    bench: Bench, case: Case, name: str, kind: str, *, required: bool = True, module: str = "hsflow_npu_bench"
) -> None:
    npu, script = case.npu, script_of(case, kind)
    width = npu.channels * npu.activation_width
    source = bench.source(f"{name}_in", width, case.vectors(), traffic(TRAFFIC[kind][0], f"{name} in"))
    pattern = traffic(TRAFFIC[kind][1], f"{name} out")
    bits = 32 * npu.logit_lanes + 17
    sink = bench.sink(f"{name}_out", bits, case.images * npu.beats, pattern, required=required)
    bench.files[f"{name}.commands"] = script.text()
    bench.declarations.append(f"logic {name}_script_done;")
    if required:
        bench.done.append(f"{name}_script_done")
    parameters = {"Name": f'"{name}"', "Commands": len(script.commands), **npu.rtl_parameters()}
    ports = f".cycle_i(cycle), {inputs(source)}, {outputs(sink)}, .done_o({name}_script_done)"
    bench.instance(module, name, parameters, ports)


@dataclass(frozen=True)
class Answer:
    """One logged bus access."""

    kind: str
    address: int
    data: int | None
    response: int


def answers_of(log: Log, name: str) -> list[Answer]:
    fields = (line.split() for line in log.prints)
    return [
        Answer(kind, int(address, 16), int(data, 16) if not set(data) & set("xzXZ") else None, int(response))
        for who, kind, _, address, data, response in fields
        if who == name
    ]


def switch_of(log: Log, name: str) -> int:
    """Return how many images the NPU said used the first weights, -1 if it never did."""
    reads = [a.data for a in answers_of(log, name) if a.kind == "read" and a.address == Register.IMAGES]
    return reads[1] if len(reads) > 1 and reads[1] is not None else -1


def problems(log: Log, case: Case, name: str, kind: str) -> list[str]:
    """Return what is wrong with one run, by kind: words, rules, answers, latency, interval."""
    switch = switch_of(log, name)
    found = []
    if not 0 < switch < case.images or log.words(f"{name}_out") != case.beats(switch):
        found.append("words")
    if f"{name}_out" in log.violations:
        found.append("rules")
    if wrong_answers(log, case, name, kind):
        found.append("answers")
    if kind == "full" and "words" not in found:
        found += timing_problems(log, case, name, switch)
    return found


def wrong_answers(log: Log, case: Case, name: str, kind: str) -> list[str]:
    answers, expected = answers_of(log, name), script_of(case, kind).responses
    wrong = [] if len(answers) == len(expected) else [f"{len(answers)} answers of {len(expected)}"]
    for answer, (what, address, data, response) in zip(answers, expected, strict=False):
        same = (answer.kind, answer.address, answer.response) == (what, address, response)
        if not same or (data is not None and response == OKAY and answer.data != data):
            wrong.append(f"{answer}, expected {what} {address:x} {data} {response}")
    return wrong


def timing_problems(log: Log, case: Case, name: str, switch: int) -> list[str]:
    npu = case.npu
    start = log.taken(f"{name}_in")[npu.tokens - 1]
    first = log.shown(f"{name}_out")[0] - start
    last = log.taken(f"{name}_out")[npu.beats - 1] - start
    ends = log.taken(f"{name}_out")[npu.beats - 1 : switch * npu.beats : npu.beats]
    found = [] if (first, last) == (npu.first_logit_latency, npu.last_logit_latency) else ["latency"]
    return found + ([] if set(np.diff(ends)) == {npu.initiation_interval} else ["interval"])
