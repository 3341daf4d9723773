# SPDX-License-Identifier: Apache-2.0
"""hsflow_window against a NumPy model: every bit, and every cycle where the traffic allows it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hsflow_harden.blocks import former_bits, output_block, patch_size
from hsflow_harden.timing import window_schedule, window_times
from simulator import lint, run
from storage import needs_yosys, stored_bits
from stream_bench import Bench, Log, read_log
from window_bench import (
    BLOCKS,
    PIXELS,
    SOURCES,
    Shape,
    add_window,
    expected_cycles,
    expected_patches,
    random_shapes,
    same,
)

SIDES = (0, 1, 2, 3, 4)
RANDOM = random_shapes(14) + [
    Shape(**{**vars(shape), "name": f"block_{shape.name}"}) for shape in random_shapes(12, 21, SIDES, 5)
]
SHAPES = PIXELS + BLOCKS + RANDOM
TRAFFIC = {
    "full": ("full", "full"),
    "random": ("random", "random"),
    "bursty": ("bursty", "full"),
    "slow": ("full", "bursty"),
}
FAULTS = {"dropped": 0, "flipped": 1, "changed": 2, "retracted": 3, "repeated": 4}
PLAIN = next(shape for shape in PIXELS if shape.name == "plain")
SQUARE = next(shape for shape in BLOCKS if shape.name == "square")
FAULTY = {"pixel": PLAIN, "block": SQUARE}


def build(shapes: Sequence[Shape], folder: Path, *, faults: bool = False) -> Path:
    bench = Bench()
    for shape in shapes:
        for key, kinds in TRAFFIC.items():
            add_window(bench, shape, f"{shape.name}_{key}", kinds)
    for name, shape in FAULTY.items() if faults else ():
        for key, kind in FAULTS.items():
            add_window(bench, shape, f"fault_{name}_{key}", ("full", "random"), kind)
    return bench.compile(SOURCES, folder)


def late(log: Log, shape: Shape) -> bool:
    """Tell whether patches came in other cycles than expected, under full traffic."""
    start = log.taken(f"{shape.name}_full_in")[0]
    return [cycle - start for cycle in log.shown(f"{shape.name}_full_out")] != expected_cycles(shape)


def wrong(log: Log, shapes: Sequence[Shape]) -> list[str]:
    """Return the streams whose words are not those expected."""
    return [
        f"{shape.name}_{key}"
        for shape in shapes
        for key in TRAFFIC
        if log.words(f"{shape.name}_{key}_out") != expected_patches(shape)
    ]


def modelled(log: Log, shape: Shape, key: str) -> list[int]:
    """Return the cycles in which the timing model shows the patches of the blocks that were taken."""
    schedule = window_schedule(shape.window, shape.feature_map.shape, shape.name, shape.transfer)
    taken = np.array(log.taken(f"{shape.name}_{key}_in")).reshape(shape.images, shape.beats)
    return [int(cycle) for cycle in window_times(schedule, taken).reshape(-1)]


@pytest.fixture(scope="module")
def executable(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(SHAPES, tmp_path_factory.mktemp("window"), faults=True)


@pytest.fixture(scope="module")
def log(executable: Path) -> Log:
    return read_log(run(executable))


@pytest.mark.parametrize("key", TRAFFIC)
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_patches_are_exact(log: Log, shape: Shape, key: str) -> None:
    stream = f"{shape.name}_{key}_out"
    assert log.words(stream) == expected_patches(shape), shape
    assert stream not in log.violations
    assert not log.timed_out


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_latency_and_initiation_interval_are_exact(log: Log, shape: Shape) -> None:
    assert not late(log, shape)


@pytest.mark.parametrize("key", ["full", "bursty"])
@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_timing_model_is_exact(log: Log, shape: Shape, key: str) -> None:
    assert log.shown(f"{shape.name}_{key}_out") == modelled(log, shape, key)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_back_to_back_images_take_one_cycle_a_block(log: Log, shape: Shape) -> None:
    taken = log.taken(f"{shape.name}_full_in")
    assert taken == list(range(taken[0], taken[0] + shape.images * shape.beats))


def test_results_survive_a_reset_at_any_moment(executable: Path) -> None:
    for reset_at in (17, 61):
        assert not wrong(read_log(run(executable, [f"+reset_at={reset_at}"])), SHAPES), reset_at


@pytest.mark.parametrize("name", FAULTY)
@pytest.mark.parametrize("key", ["dropped", "flipped", "repeated", "changed"])
def test_twin_wrong_words_are_caught(log: Log, name: str, key: str) -> None:
    assert log.words(f"fault_{name}_{key}_out") != expected_patches(FAULTY[name])


@pytest.mark.parametrize("name", FAULTY)
@pytest.mark.parametrize("key", ["changed", "retracted"])
def test_twin_broken_stream_rules_are_caught(log: Log, name: str, key: str) -> None:
    assert f"fault_{name}_{key}_out" in log.violations


@pytest.mark.parametrize("shape", FAULTY.values(), ids=lambda shape: shape.name)
def test_twin_late_patches_are_caught(log: Log, shape: Shape) -> None:
    start = log.taken(f"{shape.name}_random_in")[0]
    late = log.shown(f"{shape.name}_random_out")
    assert [cycle - start for cycle in late] != expected_cycles(shape)
    assert late != modelled(log, shape, "random")


@pytest.mark.parametrize("shape", FAULTY.values(), ids=lambda shape: shape.name)
def test_twin_a_wrong_expected_bit_is_caught(log: Log, shape: Shape) -> None:
    words = expected_patches(shape)
    words[3] ^= 1
    assert log.words(f"{shape.name}_full_out") != words


# One line of the design is wrong in each, and some block must show it.
MUTANTS = {
    "place": ("(r + RowShift) % BlockHeight;", "r % BlockHeight;"),
    "wait": ("RowsAbove + RowsBelow - First;", "RowsAbove + RowsBelow - First + 1;"),
    "mask": ("RowsAbove + Rows - First)", "RowsAbove + Rows - First + 1)"),
    "clamp": ("? (PatchHeight - 1 - PadTop) / BlockHeight : Rows - 1;", "? Rows - 1 : Rows - 1;"),
}


@pytest.mark.parametrize("key", MUTANTS)
def test_twin_a_wrong_design_is_caught(key: str, tmp_path: Path) -> None:
    right, changed = MUTANTS[key]
    text = next(path for path in SOURCES if path.stem == "hsflow_window").read_text(encoding="ascii")
    assert text.count(right) == 1
    mutant = tmp_path / "hsflow_window.sv"
    mutant.write_text(text.replace(right, changed), encoding="ascii")
    bench = Bench()
    for shape in BLOCKS[:10]:
        add_window(bench, shape, f"{shape.name}_full", ("full", "full"), None)
    sources = [mutant, *(path for path in SOURCES if path.stem != "hsflow_window")]
    log = read_log(run(bench.compile(sources, tmp_path, max_cycles=2000)))
    found = [
        late(log, shape) or log.words(f"{shape.name}_full_out") != expected_patches(shape)
        for shape in BLOCKS[:10]
    ]
    assert any(found)


LARGE = [
    same("large_block", (32, 32), block=(16, 16)),
    same("large_image", (32, 32), stride=2, block=(32, 32)),
]


@pytest.mark.parametrize("shape", PIXELS[::4] + BLOCKS + LARGE, ids=lambda shape: shape.name)
def test_lint_of_every_shape(shape: Shape) -> None:
    assert lint(SOURCES, "hsflow_window", shape.integers()) == []


@pytest.mark.parametrize(
    "illegal",
    [
        {"PadTop": 2, "PadBottom": 1},
        {"PadLeft": 3},
        {"Height": 1, "PadTop": 0},
        {"BlockHeight": 3},
        {"BlockWidth": 8},
        {"Width": 6, "BlockWidth": 3, "StrideWidth": 2},
        {"BlockWidth": 2, "PadLeft": 0},
    ],
)
def test_illegal_shapes_are_refused(illegal: dict[str, int]) -> None:
    assert any("hsflow_window:" in line for line in lint(SOURCES, "hsflow_window", illegal))


def test_shapes_cover_the_edge_cases() -> None:
    assert all(shape.is_legal for shape in SHAPES)
    assert any(shape.size[1] < shape.extent[1] for shape in SHAPES)
    assert any(shape.stride[0] > shape.extent[0] for shape in SHAPES)
    assert any(shape.before != shape.after for shape in SHAPES)
    assert any(shape.stride[0] > shape.block[0] > 1 for shape in SHAPES)
    assert any(shape.beats == 1 < shape.block[0] for shape in SHAPES)
    assert any(max(expected_cycles(shape)) > shape.images * shape.beats for shape in BLOCKS)


# Storage.


def storage(shapes: Sequence[Shape], folder: Path) -> list[int]:
    return stored_bits(SOURCES, "hsflow_window", [shape.integers() for shape in shapes], folder)


def counted(shape: Shape) -> int:
    return sum(former_bits(shape.window, shape.feature_map, shape.transfer))


@needs_yosys
def test_storage_is_what_yosys_finds(tmp_path: Path) -> None:
    names = [shape.name for shape in SHAPES]
    found = dict(zip(names, storage(SHAPES, tmp_path), strict=True))
    assert found == dict(zip(names, map(counted, SHAPES), strict=True))
    assert found["square"] != counted(Shape(**{**vars(SQUARE), "block": (4, 2)}))


def test_storage_by_hand() -> None:
    # Three rows of three pixels; lines of four pixels. Steps 0 to 20: three counters of 5 bits; rows and columns 0
    # to 3: 3 bits each; two pointers; a mask for either side of both directions; valid.
    assert former_bits(PLAIN.window, PLAIN.feature_map) == (72 + 15 + 6 + 4 + 4 + 1, 2 * 4 * 8)
    # Rows -1, 0, 1 and 2 of 2x2 blocks, 4 a row: row -1 two blocks' rows ago, rows 0 and 1 one. Four rows of four
    # columns, from places 1, 0, 1, 0 in three blocks.
    patch = 4 * (3 + 2 - 1) * 8 + 4 * 2 * 8
    register, line = former_bits(SQUARE.window, SQUARE.feature_map, SQUARE.transfer)
    assert line == 3 * 4 * 2 * 8
    assert register > patch - 1
    whole = next(shape for shape in BLOCKS if shape.name == "whole")
    assert former_bits(whole.window, whole.feature_map, whole.transfer) == (24 * 8 + 5, 0)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_output_blocks_and_patches(shape: Shape) -> None:
    out = output_block(shape.window, shape.transfer, shape.name)
    assert (out.rows, out.columns) == shape.out_block
    assert patch_size(shape.window, shape.transfer, shape.name) == shape.patch


# The wide sweep.


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_sweep(seed: int, tmp_path: Path) -> None:
    shapes = random_shapes(60, 100 + seed, SIDES, 5)
    executable = build(shapes, tmp_path / "bench")
    for plusargs in ([], ["+reset_at=23"]):
        log = read_log(run(executable, plusargs))
        assert not wrong(log, shapes)
        assert not log.violations
        assert not log.timed_out
        for shape in shapes:
            assert log.shown(f"{shape.name}_full_out") == modelled(log, shape, "full")
            assert log.shown(f"{shape.name}_bursty_out") == modelled(log, shape, "bursty")
    for shape in shapes[::4]:
        assert lint(SOURCES, "hsflow_window", shape.integers()) == []
    if shutil.which("yosys"):
        assert storage(shapes, tmp_path) == list(map(counted, shapes))
