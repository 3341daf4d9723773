# SPDX-License-Identifier: Apache-2.0
"""hsflow_npu against its NumPy model: every logit, every formula, every register, and a change of weights."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hsflow_npu import MemoryImage, NpuConfiguration, NpuDriver, Register, assemble, dense
from hsflow_npu.choice import with_fewest_multipliers
from hsflow_npu.driver import IDENTIFIER, VERSION
from numpy.typing import NDArray
from simulator import CORES, choose_simulator, lint, run
from stream_bench import Bench, Log, inputs, outputs, read_log, traffic

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


SIMULATORS = ["verilator", *(["icarus"] if choose_simulator() == "icarus" else [])]
SLOW_IN_ICARUS = {
    "all_logits",
    "more_logits_than_classes",
    "rows_inside_beats",
    "rows_of_odd_beats",
    "one_beat_a_cycle",
    "tree_of_three_stages",
    "wide_extreme",
}
"""Verilator alone runs these."""


def runs_of(simulator: str) -> list[tuple[Case, str]]:
    """Return each case and traffic that is simulated; Icarus is spared most of the wide beats."""
    runs = [(case, kind) for case in CASES for kind in TRAFFIC]
    if simulator == "verilator":
        return runs
    return [
        (case, kind)
        for case, kind in runs
        if case.name not in SLOW_IN_ICARUS and (case.npu.logit_lanes == 1 or kind in ("full", "random"))
    ]


@pytest.fixture(scope="module")
def executables(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that builds all runs of a simulator, once."""

    @cache
    def build(simulator: str) -> Path:
        bench = Bench()
        for case, kind in runs_of(simulator):
            add_npu(bench, case, f"{case.name}_{kind}", kind)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HSFLOW_TEST_SIMULATOR", simulator)
            return bench.compile([*LIBRARY, *NPU], tmp_path_factory.mktemp(f"npu_{simulator}"))

    return build


@pytest.fixture(scope="module")
def logs(executables: Callable[[str], Path]) -> Callable[[str], Log]:
    """Return a function that simulates all runs of a simulator, once."""
    return cache(lambda simulator: read_log(run(executables(simulator))))


@pytest.mark.parametrize(
    ("simulator", "case", "kind"),
    [(simulator, *one) for simulator in SIMULATORS for one in runs_of(simulator)],
    ids=lambda value: value.name if isinstance(value, Case) else value,
)
def test_everything_is_exact(logs: Callable[[str], Log], simulator: str, case: Case, kind: str) -> None:
    log, name = logs(simulator), f"{case.name}_{kind}"
    assert not log.timed_out
    assert wrong_answers(log, case, name, kind) == []
    assert problems(log, case, name, kind) == []


@pytest.mark.parametrize("simulator", SIMULATORS)
def test_results_survive_a_reset_at_any_moment(executables: Callable[[str], Path], simulator: str) -> None:
    # Icarus needs many seconds for each.
    for reset_at in (1001,) if simulator == "icarus" else (123, 1001, 1502):
        log = read_log(run(executables(simulator), [f"+reset_at={reset_at}"]))
        wrong = {
            f"{case.name}_{kind}": found
            for case, kind in runs_of(simulator)
            if (found := problems(log, case, f"{case.name}_{kind}", kind))
        }
        assert wrong == {}, f"reset at {reset_at}"


def test_twin_a_wrong_model_is_caught(logs: Callable[[str], Log]) -> None:
    log = logs(SIMULATORS[-1])
    case = BY_NAME["ragged_classes"]
    switch = switch_of(log, "ragged_classes_full")
    assert log.words("ragged_classes_full_out") != case.beats(switch - 1)
    assert log.words("ragged_classes_full_out") != case.beats(switch + 1)


def test_twin_slower_traffic_breaks_the_formulas(logs: Callable[[str], Log]) -> None:
    log = logs(SIMULATORS[-1])
    switch = switch_of(log, "long_slow")
    assert timing_problems(log, BY_NAME["long"], "long_slow", switch)


@dataclass(frozen=True)
class Mutant:
    """One wrong line of RTL, the case and the traffic that must show it, and how."""

    name: str
    case: str
    old: str
    new: str
    shows: str
    kind: str = "full"


MUTANTS = [
    Mutant(
        "argmax_of_last_equal", "ragged_classes", "$signed(logit_q) > $", "$signed(logit_q) >= $", "words"
    ),
    Mutant(
        "argmax_unsigned", "ragged_classes", "$signed(logit_q) > $signed(best_q)", "logit_q > best_q", "words"
    ),
    Mutant(
        "unsigned_weight",
        "one_class",
        "{ActivationWidth{weight_i[8*f+7]}}",
        "{ActivationWidth{1'b0}}",
        "words",
    ),
    Mutant("unsigned_activation", "tokens", "assign sign = ", "assign sign = 1'b0 && ", "words"),
    Mutant("stale_accumulator", "long", "(first_i ? 32'd0 : sum_o)", "sum_o", "words"),
    Mutant("late_sum", "ragged_features", ".Delay(2 + TreeStages)", ".Delay(3 + TreeStages)", "words"),
    Mutant("lost_term", "one_bit", "term[(4*n + 3)*NodeWidth +: NodeWidth]", "'0", "words"),
    Mutant("no_rotation", "ragged_classes", ".rotate_i(rotate)", ".rotate_i(1'b0)", "words"),
    Mutant("bias_of_next_class", "wide", "move ? class_next : class_q", "class_next", "words"),
    Mutant("wrong_last", "drain_bound", "last_o = last;", "last_o = !last;", "words"),
    Mutant(
        "no_stall",
        "drain_bound",
        "assign advance = !row_done_q || load_ready",
        "assign advance = 1'b1",
        "words",
    ),
    Mutant("hold_ignored", "long", "(full_i && !hold_i)", "full_i", "words"),
    Mutant("holding_too_early", "long", "holding = hold_q && quiet_i", "holding = hold_q", "words"),
    Mutant("busy_write", "long", "write_is_weight && open", "write_is_weight", "words"),
    Mutant("busy_bias_write", "long", "write_is_bias && open", "write_is_bias", "words"),
    Mutant("no_error_bit", "long", "write_while_busy_q <= 1'b1", "write_while_busy_q <= 1'b0", "answers"),
    Mutant("no_strobes", "long", "== WordWidth'(w)) ? write_strobe_i", "== WordWidth'(w)) ? 4'hF", "answers"),
    Mutant("wrong_row", "tokens", "row_index < Rows", "row_index <= Rows", "answers"),
    Mutant("image_counted_twice", "long", "images_q + 32'd1", "images_q + 32'd2", "words"),
    Mutant("bubble_before_image", "one_multiply", "!full_q || take_i", "!full_q", "interval"),
    Mutant("bubble_before_token", "token_bound", "!full_q || take_i", "!full_q", "interval"),
    Mutant(
        "bubble_between_rows", "drain_bound", "!row_valid_q || (move && row_ends)", "!row_valid_q", "interval"
    ),
    Mutant(
        "bubble_between_chunks",
        "drain_bound_wide",
        "!row_valid_q || (move && row_done)",
        "!row_valid_q",
        "interval",
    ),
    Mutant(
        "beat_of_two_rows_lost", "rows_inside_beats", "|| move_q != LastMove || fills;", "|| fills;", "words"
    ),
    Mutant("not_rotated", "rows_of_odd_beats", "twice[{left, 5'd0} +: 32*LogitLanes]", "chunk", "words"),
    Mutant("waiting_sums_lost", "rows_shorter_than_beats", "emit == below", "!below", "words"),
    Mutant(
        "start_not_cleared", "last_row_takes_longer", "in_last_tile ? '0 : start_next", "start_next", "words"
    ),
    Mutant(
        "early_last_row",
        "last_row_takes_longer",
        "in_last_tile ? LastMoveOfImage : LastMove",
        "LastMove",
        "words",
    ),
    Mutant("padding_wins", "more_logits_than_classes", "logit_last_q ? Lowest : logit_q", "logit_q", "words"),
    Mutant("padding_sent", "rows_inside_beats", "pad ? 32'd0 : sum", "sum", "words"),
    Mutant(
        "first_of_equals_lost", "all_logits", "$signed(high_value) > $", "$signed(high_value) >= $", "words"
    ),
    Mutant(
        "equal_neighbours",
        "all_logits",
        "$signed(value_i[32*Second +: 32]) > $",
        "$signed(value_i[32*Second +: 32]) >= $",
        "words",
    ),
    Mutant("beats_unsigned", "two_logits", "$signed(largest) > $signed(best_q)", "largest > best_q", "words"),
    Mutant("lane_zero_wins", "two_logits", "base_q + 16'(largest_lane)", "base_q", "words"),
    Mutant("bias_of_next_beat", "rows_inside_beats", "add ? beat_next : beat_q", "beat_next", "words"),
    Mutant(
        "tree_not_stopped",
        "one_beat_a_cycle",
        "advance = !valid_o || ready_i;",
        "advance = 1'b1;",
        "words",
        "slow",
    ),
    Mutant(
        "wrong_bias_lane",
        "two_logits",
        "write_lane == LaneWidth'(l)",
        "write_lane != LaneWidth'(l)",
        "answers",
    ),
    Mutant(
        "padding_written",
        "more_logits_than_classes_in_tiles",
        "? LastLanes : LogitLanes",
        "? LogitLanes : LogitLanes",
        "answers",
    ),
]


def mutate(mutant: Mutant, folder: Path) -> list[Path]:
    """Write a copy of the NPU whose modules have other names and one wrong line."""
    folder.mkdir()
    texts = {path.name: path.read_text(encoding="ascii") for path in NPU}
    assert sum(text.count(mutant.old) for text in texts.values()) == 1, mutant.name
    paths = []
    for file, text in texts.items():
        paths.append(folder / file.replace("hsflow_npu", f"hsflow_npu_{mutant.name}"))
        wrong = text.replace(mutant.old, mutant.new)
        paths[-1].write_text(wrong.replace("hsflow_npu", f"hsflow_npu_{mutant.name}"), encoding="ascii")
    return paths


@pytest.fixture(scope="module")
def mutant_log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    folder = tmp_path_factory.mktemp("npu_mutants")
    bench, sources = Bench(), [*LIBRARY, *NPU]
    for mutant in MUTANTS:
        sources += mutate(mutant, folder / mutant.name)
        module = f"hsflow_npu_{mutant.name}_bench"
        case, kind = BY_NAME[mutant.case], mutant.kind
        add_npu(bench, case, f"mutant_{mutant.name}", kind, required=False, module=module)
    for name, kind in sorted({(mutant.case, mutant.kind) for mutant in MUTANTS}):
        add_npu(bench, BY_NAME[name], f"sound_{name}_{kind}", kind, required=False)
    # Mutants may hang, so the time says when to look; the sound copies show that it is enough.
    bench.done.append("(cycle > 6000)")
    return bench.simulate(sources, folder)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_twin_wrong_rtl_is_caught(mutant_log: Log, mutant: Mutant) -> None:
    case, kind = BY_NAME[mutant.case], mutant.kind
    assert problems(mutant_log, case, f"sound_{mutant.case}_{kind}", kind) == []
    assert mutant.shows in problems(mutant_log, case, f"mutant_{mutant.name}", kind)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_lint_of_every_case(case: Case) -> None:
    sources = [*LIBRARY, *(path for path in NPU if path.parent.name == "rtl")]
    assert (
        lint(sources, "hsflow_npu", case.npu.rtl_parameters() | {"AddressWidth": case.npu.address_width})
        == []
    )


@pytest.mark.slow
def test_lint_of_the_largest_npu() -> None:
    """Lint MobileNetV2's classifier at an image every 49 cycles: 26,169 multipliers; 85 s and 4.5 GB."""
    npu = with_fewest_multipliers(NpuConfiguration(1, 1280, 1000, 1, 1), 49)
    sources = [*LIBRARY, *(path for path in NPU if path.parent.name == "rtl")]
    assert lint(sources, "hsflow_npu", npu.rtl_parameters() | {"AddressWidth": npu.address_width}) == []


@pytest.mark.parametrize(
    "illegal",
    [
        {"ClassLanes": 11},
        {"FeatureLanes": 17},
        {"ActivationWidth": 17},
        {"Classes": 65537},
        {"AddressWidth": NpuConfiguration(1, 16, 10, 2, 1).address_width - 1},
    ],
)
def test_illegal_parameters_are_refused(illegal: dict[str, int]) -> None:
    assert any("hsflow_npu:" in line for line in lint([*LIBRARY, *NPU], "hsflow_npu", illegal))
