# SPDX-License-Identifier: Apache-2.0
"""hsflow_accumulate against a Python model, for pixels and blocks, under random traffic; its storage and lint."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import pytest
from hsflow_harden.accumulator import Accumulator
from simulator import CORES, lint, run
from storage import needs_yosys, stored_bits
from stream_bench import Bench, Log, inputs, outputs, random_words, read_log, signed, split, traffic

SOURCES = [CORES / "stream" / "rtl" / f"hsflow_{name}.sv" for name in ("accumulate", "add_pixels")]
MODES = ("full", "random", "bursty")


@dataclass(frozen=True)
class Sum:
    """One configuration of hsflow_accumulate."""

    name: str
    channels: int
    in_width: int
    is_signed: bool
    pixels: int
    out_width: int
    block: int = 1
    levels: int = 2

    @property
    def beats(self) -> int:
        return self.pixels // self.block

    @property
    def model(self) -> Accumulator:
        return Accumulator(self.channels, self.block, self.beats, self.in_width, self.out_width, self.levels)

    def parameters(self) -> dict[str, int]:
        values = {"Channels": self.channels, "InWidth": self.in_width, "Signed": int(self.is_signed)}
        values |= {"Pixels": self.pixels, "BlockPixels": self.block, "OutWidth": self.out_width}
        return values | {"LevelsPerStage": self.levels}

    def inputs(self) -> list[int]:
        return random_words(self.block * self.channels * self.in_width, 12 * self.beats, self.name)

    def expected(self) -> list[int]:
        blocks = split(self.inputs(), self.channels * self.in_width, self.block)
        pixels = split(list(chain.from_iterable(blocks)), self.in_width, self.channels)
        values = [[signed(v, self.in_width) if self.is_signed else v for v in pixel] for pixel in pixels]
        images = [values[i : i + self.pixels] for i in range(0, len(values), self.pixels)]
        sums = [[sum(channel) for channel in zip(*image, strict=True)] for image in images]
        mask = (1 << self.out_width) - 1
        return [sum((value & mask) << (i * self.out_width) for i, value in enumerate(row)) for row in sums]


SUMS = (
    Sum("sum_unsigned", 3, 8, False, 9, 12),
    Sum("sum_signed", 2, 5, True, 4, 7),
    Sum("sum_single", 2, 6, True, 1, 9),
    Sum("sum_same_width", 1, 7, False, 1, 7),
    Sum("sum_large", 1, 1, False, 49, 6),
    Sum("sum_block", 3, 8, False, 12, 12, block=4),
    Sum("sum_block_signed", 2, 5, True, 21, 10, block=7),
    Sum("sum_block_pair", 2, 6, True, 4, 8, block=2),
    Sum("sum_block_whole", 3, 7, True, 6, 10, block=6),
    Sum("sum_block_wraps", 2, 5, True, 16, 6, block=8),
    Sum("sum_block_same_width", 1, 4, False, 10, 4, block=5),
    Sum("sum_every_level", 2, 4, True, 18, 9, block=9, levels=1),
    Sum("sum_every_level_whole", 1, 5, False, 16, 9, block=16, levels=1),
    Sum("sum_every_level_pixel", 2, 4, False, 3, 6, levels=1),
    Sum("sum_one_stage", 2, 6, True, 26, 11, block=13, levels=5),
    Sum("sum_last_stage_full", 1, 4, True, 64, 10, block=32, levels=3),
    Sum("sum_large_block", 2, 3, False, 49, 9, block=49),
    Sum("sum_large_block_wraps", 1, 6, True, 120, 8, block=40, levels=3),
)
BY_NAME = {case.name: case for case in SUMS}
BLOCK_SUM = BY_NAME["sum_block_signed"]
OTHER_STAGES = replace(BY_NAME["sum_large_block"], levels=3)
"""The same sum with fewer registers."""


def add_sum(bench: Bench, case: Sum, name: str, modes: tuple[str, str], is_signed: bool) -> None:
    width = case.block * case.channels * case.in_width
    source = bench.source(f"{name}_in", width, case.inputs(), traffic(modes[0], f"{name} in"))
    sink = bench.sink(f"{name}_out", case.channels * case.out_width, 12, traffic(modes[1], f"{name} out"))
    parameters: dict[str, object] = {**case.parameters(), "Signed": int(is_signed)}
    bench.instance("hsflow_accumulate", name, parameters, f"{inputs(source)}, {outputs(sink)}")


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    bench = Bench()
    for case in SUMS:
        for mode in MODES:
            add_sum(bench, case, f"{case.name}_{mode}", (mode, mode), case.is_signed)
        add_sum(bench, case, f"{case.name}_slow", ("full", "bursty"), case.is_signed)
    for case in SUMS[1], BLOCK_SUM:
        add_sum(bench, case, f"{case.name}_fault", ("full", "full"), not case.is_signed)
    add_sum(bench, OTHER_STAGES, "other_stages", ("full", "full"), OTHER_STAGES.is_signed)
    result = read_log(run(bench.compile(SOURCES, tmp_path_factory.mktemp("accumulate"))))
    assert not result.timed_out
    return result


@pytest.mark.parametrize("mode", [*MODES, "slow"])
@pytest.mark.parametrize("case", SUMS, ids=lambda case: case.name)
def test_sums_are_exact(log: Log, case: Sum, mode: str) -> None:
    assert log.words(f"{case.name}_{mode}_out") == case.expected()
    assert f"{case.name}_{mode}_out" not in log.violations


@pytest.mark.parametrize("case", SUMS, ids=lambda case: case.name)
def test_sums_have_their_latency_and_no_gaps(log: Log, case: Sum) -> None:
    taken = log.taken(f"{case.name}_full_in")
    assert taken == list(range(taken[0], taken[0] + 12 * case.beats))
    assert log.taken(f"{case.name}_full_out") == [
        cycle + case.model.latency for cycle in taken[case.beats - 1 :: case.beats]
    ]


def test_twin_other_stages_take_other_cycles(log: Log) -> None:
    case = BY_NAME["sum_large_block"]
    assert log.words("other_stages_out") == log.words(f"{case.name}_full_out") == case.expected()
    waits = {
        out - into
        for into, out in zip(log.taken("other_stages_in"), log.taken("other_stages_out"), strict=True)
    }
    assert waits == {OTHER_STAGES.model.latency} != {case.model.latency}


@pytest.mark.parametrize("case", [SUMS[1], BLOCK_SUM], ids=lambda case: case.name)
def test_twin_a_wrong_signedness_is_caught(log: Log, case: Sum) -> None:
    assert log.words(f"{case.name}_fault_out") != case.expected()


@pytest.mark.parametrize("case", SUMS, ids=lambda case: case.name)
def test_lint_of_every_sum(case: Sum) -> None:
    assert lint(SOURCES, "hsflow_accumulate", case.parameters()) == []
    assert lint(SOURCES, "hsflow_accumulate", case.parameters() | {"BlockPixels": case.pixels + 1})


@needs_yosys
def test_storage_is_what_yosys_finds(tmp_path: Path) -> None:
    found = stored_bits(SOURCES, "hsflow_accumulate", [case.parameters() for case in SUMS], tmp_path)
    assert found == [case.model.register_bits for case in SUMS]
    assert found[SUMS.index(BY_NAME["sum_large_block"])] != OTHER_STAGES.model.register_bits
