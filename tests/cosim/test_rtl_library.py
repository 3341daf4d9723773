# SPDX-License-Identifier: Apache-2.0
"""The hand-written stream and requantize modules against Python models, under random traffic; lint of all RTL.

Every design of this file lives in one generated testbench, so that only one build is paid for. The window,
the accumulator and the modules at the chip's edge have files of their own: test_rtl_*.py.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import pytest
from simulator import CORES, lint, run
from stream_bench import Bench, Log, inputs, outputs, random_words, read_log, signed, traffic

CORE_NAMES = ("stream", "window", "requantize", "axil")
RTL = [path for core in CORE_NAMES for path in sorted((CORES / core / "rtl").glob("*.sv"))]
SOURCES = [path for path in RTL if path.parent.parent.name in ("stream", "requantize")]
MODES = ("full", "random", "bursty")
COUNT = 150
WIDTH = 9

QUEUES = {"register": ("hsflow_stream_register", 2)} | {
    f"fifo{depth}": ("hsflow_stream_fifo", depth) for depth in (1, 2, 3, 5, 8)
}
FAULTS = {"dropped": 0, "flipped": 1, "changed": 2, "retracted": 3, "repeated": 4}


# Queues: register and FIFO.


def add_queue(bench: Bench, name: str, module: str, depth: int, modes: tuple[str, str]) -> str:
    source = bench.source(
        f"{name}_in", WIDTH, random_words(WIDTH, COUNT, name), traffic(modes[0], f"{name} in")
    )
    stalled = modes[1] == "never"
    sink = bench.sink(f"{name}_out", WIDTH, COUNT, traffic(modes[1], f"{name} out"), required=not stalled)
    parameters: dict[str, object] = {"Width": WIDTH}
    parameters |= {"Depth": depth} if module.endswith("fifo") else {}
    bench.instance(module, name, parameters, f"{inputs(source)}, {outputs(sink)}")
    return name


def add_queues(bench: Bench) -> None:
    for key, (module, depth) in QUEUES.items():
        for mode in MODES:
            add_queue(bench, f"{key}_{mode}", module, depth, (mode, mode))
        add_queue(bench, f"{key}_never", module, depth, ("full", "never"))
    for key, kind in {**FAULTS, "waiting": 5}.items():
        name, pattern = f"fault_{key}", traffic("never" if key == "waiting" else "random", key)
        source = bench.source(f"{name}_in", WIDTH, random_words(WIDTH, COUNT, name))
        bench.fault(source, bench.sink(f"{name}_out", WIDTH, COUNT, pattern, required=False), WIDTH, kind)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("key", QUEUES)
def test_queues_keep_every_word(log: Log, key: str, mode: str) -> None:
    assert log.words(f"{key}_{mode}_out") == random_words(WIDTH, COUNT, f"{key}_{mode}")
    assert f"{key}_{mode}_out" not in log.violations


@pytest.mark.parametrize("key", QUEUES)
def test_queues_have_latency_one_and_full_throughput(log: Log, key: str) -> None:
    taken = log.taken(f"{key}_full_in")
    assert taken == list(range(taken[0], taken[0] + COUNT))
    assert log.taken(f"{key}_full_out") == [cycle + 1 for cycle in taken]


@pytest.mark.parametrize("key", QUEUES)
def test_queues_hold_their_depth_and_show_without_ready(log: Log, key: str) -> None:
    assert len(log.taken(f"{key}_never_in")) == QUEUES[key][1]
    assert log.offered(f"{key}_never_out") == 1


@pytest.mark.parametrize("key", ["dropped", "flipped", "repeated", "changed"])
def test_twin_wrong_words_are_caught(log: Log, key: str) -> None:
    assert log.words(f"fault_{key}_out")[:COUNT] != random_words(WIDTH, COUNT, f"fault_{key}")


@pytest.mark.parametrize("key", ["changed", "retracted"])
def test_twin_broken_stream_rules_are_caught(log: Log, key: str) -> None:
    assert f"fault_{key}_out" in log.violations


def test_twin_valid_that_waits_for_ready_is_caught(log: Log) -> None:
    assert log.offered("fault_waiting_out") == 0


# Fork and join.


def add_fork(bench: Bench, mode: str, modes: tuple[str, str]) -> None:
    name, source_mode = f"fork_{mode}", "random" if mode == "random" else "full"
    source = bench.source(f"{name}_in", WIDTH, random_words(WIDTH, COUNT, name), traffic(source_mode, name))
    sinks = [
        bench.sink(
            f"{name}_out{i}", WIDTH, COUNT, traffic(kind, f"{name} {i}"), required="never" not in modes
        )
        for i, kind in enumerate(modes)
    ]
    bench.declarations.append(f"assign {sinks[1]}_data = {sinks[0]}_data;")
    second = f".valid1_o({sinks[1]}_valid), .ready1_i({sinks[1]}_ready)"
    first = f".valid0_o({sinks[0]}_valid), .ready0_i({sinks[0]}_ready), .data_o({sinks[0]}_data)"
    bench.instance("hsflow_stream_fork", name, {"Width": WIDTH}, f"{inputs(source)}, {first}, {second}")


def add_join(bench: Bench, mode: str, modes: tuple[str, str, str]) -> None:
    name = f"join_{mode}"
    widths = (5, 11)
    sources = [
        bench.source(
            f"{name}_in{i}", width, random_words(width, COUNT, f"{name}{i}"), traffic(modes[i], f"{name}{i}")
        )
        for i, width in enumerate(widths)
    ]
    sink = bench.sink(
        f"{name}_out", sum(widths), COUNT, traffic(modes[2], name), required=modes[2] != "never"
    )
    ports = f"{inputs(sources[0], '0')}, {inputs(sources[1], '1')}, {outputs(sink)}"
    bench.combinational("hsflow_stream_join", name, {"Width0": widths[0], "Width1": widths[1]}, ports)


def add_forks_and_joins(bench: Bench) -> None:
    add_fork(bench, "full", ("full", "full"))
    add_fork(bench, "random", ("random", "bursty"))
    add_fork(bench, "half", ("never", "full"))
    add_join(bench, "full", ("full", "full", "full"))
    add_join(bench, "random", ("random", "bursty", "random"))
    add_join(bench, "never", ("full", "full", "never"))


@pytest.mark.parametrize("mode", ["full", "random"])
def test_fork_gives_both_readers_every_word_once(log: Log, mode: str) -> None:
    words = random_words(WIDTH, COUNT, f"fork_{mode}")
    assert log.words(f"fork_{mode}_out0") == words
    assert log.words(f"fork_{mode}_out1") == words
    assert not log.violations & {f"fork_{mode}_out0", f"fork_{mode}_out1"}


def test_fork_is_eager_and_combinational(log: Log) -> None:
    assert log.taken("fork_full_out0") == log.taken("fork_full_out1") == log.taken("fork_full_in")
    assert len(log.taken("fork_half_out1")) == log.offered("fork_half_out0") == 1
    assert log.taken("fork_half_in") == []


@pytest.mark.parametrize("mode", ["full", "random"])
def test_join_pairs_the_words(log: Log, mode: str) -> None:
    low, high = (random_words(width, COUNT, f"join_{mode}{i}") for i, width in enumerate((5, 11)))
    assert log.words(f"join_{mode}_out") == [b << 5 | a for a, b in zip(low, high, strict=True)]
    assert f"join_{mode}_out" not in log.violations
    assert log.taken(f"join_{mode}_out") == log.taken(f"join_{mode}_in0") == log.taken(f"join_{mode}_in1")


def test_join_shows_without_ready(log: Log) -> None:
    assert log.offered("join_never_out") == 1
    assert log.taken("join_never_in0") == log.taken("join_never_in1") == []


# Requantize.


@dataclass(frozen=True)
class Requantizer:
    """One configuration of hsflow_requantize."""

    name: str
    in_width: int
    bias: int
    shift: int
    low: int
    high: int
    out_width: int
    negate: bool = False

    def inputs(self) -> list[int]:
        top = 1 << (self.in_width - 1)
        corners = [
            -top,
            top - 1,
            0,
            -1,
            *(b * (1 << max(self.shift, 0)) - self.bias for b in (self.low, self.high)),
        ]
        near = [value + step for value in corners for step in (-1, 0, 1)]
        spread = [signed(word, self.in_width) >> (i % self.in_width) for i, word in enumerate(self.noise())]
        return [value & ((1 << self.in_width) - 1) for value in [*near, *spread] if -top <= value < top]

    def noise(self) -> list[int]:
        return random_words(self.in_width, 40, self.name)

    def expected(self) -> list[int]:
        return [self.requantize(signed(word, self.in_width)) for word in self.inputs()]

    def requantize(self, accumulator: int) -> int:
        total = self.bias - accumulator if self.negate else self.bias + accumulator
        scaled = total >> self.shift if self.shift >= 0 else total << -self.shift
        return min(max(scaled, self.low), self.high) & ((1 << self.out_width) - 1)

    def parameters(self) -> dict[str, object]:
        sign = "-" if self.bias < 0 else ""
        values: dict[str, object] = {"InWidth": self.in_width, "Bias": f"{sign}64'sd{abs(self.bias)}"}
        values |= {"Shift": self.shift, "Low": self.low, "High": self.high, "OutWidth": self.out_width}
        return values | {"Negate": int(self.negate)}


def random_requantizers(count: int, seed: int = 7) -> list[Requantizer]:
    """Return reproducible legal configurations."""
    generator = random.Random(seed)
    cases = []
    for index in range(count):
        bits, in_width = generator.randint(1, 16), generator.randint(1, 62)
        is_signed = generator.random() < 0.5
        low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if is_signed else (0, (1 << bits) - 1)
        bias = signed(generator.getrandbits(62), 62) >> generator.randint(0, 61)
        shift = generator.randint(-4, in_width)
        cases.append(
            Requantizer(f"requantize_{index}", in_width, bias, shift, low, high, bits, index % 3 == 0)
        )
    return cases


REQUANTIZERS = [
    Requantizer("requantize_relu", 20, 8, 4, 0, 255, 8),
    Requantizer("requantize_relu6", 20, 8, 4, 0, 96, 8),
    Requantizer("requantize_signed", 20, -1000, 4, -128, 127, 8),
    Requantizer("requantize_no_shift", 9, 0, 0, -128, 127, 8),
    Requantizer("requantize_left", 6, 3, -3, -128, 127, 8),
    Requantizer("requantize_one_bit", 12, 64, 7, 0, 1, 1),
    Requantizer("requantize_tiny_input", 1, 0, 0, -1, 1, 16),
    Requantizer("requantize_largest", 62, -(1 << 61), 62, -65536, 65535, 17),
    Requantizer("requantize_negated_largest", 62, (1 << 61) - 1, 0, -65536, 65535, 17, True),
    Requantizer("requantize_shift_all", 8, 0, 40, -128, 127, 8),
    Requantizer("requantize_constant", 8, 5, 0, 3, 3, 8),
    *random_requantizers(30),
]


def add_requantizer(bench: Bench, case: Requantizer, name: str, parameters: dict[str, object]) -> None:
    source = bench.source(f"{name}_in", case.in_width, case.inputs())
    sink = bench.sink(f"{name}_out", case.out_width, len(case.inputs()))
    bench.declarations.append(f"assign {sink}_valid = {source}_valid; assign {source}_ready = {sink}_ready;")
    bench.combinational("hsflow_requantize", name, parameters, f".acc_i({source}_data), .data_o({sink}_data)")


def add_requantizers(bench: Bench) -> None:
    for case in REQUANTIZERS:
        add_requantizer(bench, case, case.name, case.parameters())
    first = REQUANTIZERS[0]
    wrong: dict[str, dict[str, object]] = {
        "round": {"Bias": "64'sd0"},
        "high": {"High": 254},
        "low": {"Low": -1},
        "sign": {"Negate": 1},
        "shift": {"Shift": 5},
    }
    for key, change in wrong.items():
        add_requantizer(bench, first, f"requantize_fault_{key}", first.parameters() | change)


@pytest.mark.parametrize("case", REQUANTIZERS, ids=lambda case: case.name)
def test_requantize_is_exact(log: Log, case: Requantizer) -> None:
    assert log.words(f"{case.name}_out") == case.expected(), case


@pytest.mark.parametrize("key", ["round", "high", "low", "sign", "shift"])
def test_twin_a_wrong_requantizer_is_caught(log: Log, key: str) -> None:
    assert log.words(f"requantize_fault_{key}_out") != REQUANTIZERS[0].expected()


# Lint, and the bench that holds all of it.


@pytest.mark.parametrize("path", RTL, ids=lambda path: path.stem)
def test_every_module_is_lint_clean(path: Path) -> None:
    assert lint([path], path.stem) == []


@pytest.mark.parametrize("path", RTL, ids=lambda path: path.stem)
def test_every_file_says_what_it_is(path: Path) -> None:
    lines = path.read_text(encoding="ascii").splitlines()
    assert lines[0] == "// SPDX-License-Identifier: Apache-2.0"
    assert lines[2].startswith(f"// {path.stem}: ")
    assert all(len(line) <= 110 for line in lines)


def test_twin_lint_finds_a_warning(tmp_path: Path) -> None:
    text = (CORES / "stream/rtl/hsflow_stream_join.sv").read_text(encoding="ascii")
    wrong = tmp_path / "hsflow_stream_join.sv"
    wrong.write_text(text.replace("{data1_i, data0_i}", "data0_i"), encoding="ascii")
    assert any("WIDTHEXPAND" in line for line in lint([wrong], "hsflow_stream_join"))


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    bench = Bench()
    for add in (add_queues, add_forks_and_joins, add_requantizers):
        add(bench)
    result = read_log(run(bench.compile(SOURCES, tmp_path_factory.mktemp("library"))))
    assert not result.timed_out
    return result
