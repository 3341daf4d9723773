# SPDX-License-Identifier: Apache-2.0
"""The whole chip through its AXI ports: results, broken frames, resets, gaps and backpressure, exact timing."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from chip_bench import LIBRARY, Chip, Frame, Run, build_bench, simulate_chips
from hsflow_npu.stage import add_npu
from network_bench import harden
from random_graphs import GraphBuilder, inverted_residual, random_images, square
from simulator import lint, run
from stream_bench import read_log

from hsflow.design import FileRole
from hsflow.ir.graph import Graph
from hsflow.ir.tensor import Block, Shape

IMAGES = 5
TRAFFIC = (("full", "full"), ("random", "random"), ("bursty", "full"), ("full", "bursty"))


def _builders() -> dict[str, GraphBuilder]:
    def image(channels: int, rows: int, columns: int, seed: int, **options: object) -> GraphBuilder:
        return GraphBuilder(Shape(channels, rows, columns), seed, **options)  # type: ignore[arg-type]

    return {
        "classifier": image(3, 5, 4, 1).conv(4, square(3, 2, 1)).conv(5).global_pool().dense(4),
        "residual": inverted_residual(image(2, 4, 4, 2).conv(3), 2, 3, 1).global_pool().dense(3),
        "tokens": image(2, 4, 4, 3).conv(3, square(3, 2, 1)).dense(3),
        "signed_tokens": image(1, 3, 3, 4).conv(2, output=image(2, 1, 1, 4).format(2, 5, True)).dense(2),
        "dense_alone": image(2, 3, 3, 5, width=5).dense(3),
        "dense_of_one_pixel": image(3, 1, 1, 6).dense(2),
        "no_classifier_one_pixel_out": image(2, 3, 3, 8).conv(3).global_pool(),
        "one_pixel_in_and_out": image(1, 1, 1, 9, width=1).conv(1),
    }


NAMES = list(_builders())

BLOCKS = {
    "classifier_of_blocks": (
        GraphBuilder(Shape(3, 8, 4), 11).conv(4, square(3, 2, 1)).global_pool().dense(5),
        Block(4, 4),
    ),
    "map_of_blocks": (GraphBuilder(Shape(2, 4, 6), 12, width=5).conv(3, square(3, 1, 1)), Block(2, 3)),
    "tokens_of_blocks": (GraphBuilder(Shape(2, 4, 8), 13).conv(3, square(3, 1, 1)).dense(7), Block(2, 4)),
    "image_in_one_beat": (GraphBuilder(Shape(1, 4, 4), 14).conv(3, square(3, 2, 1)).dense(6), Block(4, 4)),
    "map_in_one_beat": (GraphBuilder(Shape(2, 2, 2), 15, width=3).conv(2), Block(2, 2)),
}
"""Chips that take several pixels a cycle."""

PLAIN = {
    "logits_of_blocks": (GraphBuilder(Shape(3, 4, 6), 16, width=7).max_pool(square(1)).dense(9), Block(2, 2)),
    "wide_beats": (GraphBuilder(Shape(3, 32, 16), 17).max_pool(square(1)), Block(16, 16)),
    "widest_beats": (GraphBuilder(Shape(3, 64, 32), 18).max_pool(square(1)), Block(32, 32)),
}
"""Chips whose hardened layers are a register: 6,144 and 24,576 bits in a beat."""


def _frames(beats: int) -> tuple[Frame, ...]:
    """Mix right frames with ones that are too short and too long, alone and one after another."""
    short = [1 - beats, -1] if beats > 2 else []
    extras = [0, *short[:1], 0, 1, 0, 0, *short[1:], *short, 3, 2 * beats, beats, 0, *short, 0, 1]
    return tuple((number % IMAGES, extra) for number, extra in enumerate([*extras, 0]))


def _chip(name: str, variant: str, ends: tuple[str, str] = ("full", "full"), *, broken: bool = False) -> Chip:
    graph = _builders()[name].build(f"{name}_{variant}")
    images = random_images(graph, IMAGES, len(name))
    return Chip(graph, images, _frames(graph.input.shape.pixels) if broken else (), ends)


def _variants(name: str) -> dict[str, Chip]:
    chips = {f"good{n}": _chip(name, f"good{n}", ends) for n, ends in enumerate(TRAFFIC)}
    chips |= {f"broken{n}": _chip(name, f"broken{n}", ends, broken=True) for n, ends in enumerate(TRAFFIC)}
    alone = _chip(name, "alone")
    return chips | {"alone": replace(alone, images=alone.images[:1])}


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[tuple[str, str], int], list[Chip], Run]:
    """Simulate every chip with every traffic in one testbench."""
    chips, where = [], {}
    for name in NAMES:
        for variant, chip in _variants(name).items():
            where[name, variant] = len(chips)
            chips.append(chip)
    return where, chips, simulate_chips(chips, tmp_path_factory.mktemp("chips"))


@pytest.mark.parametrize("name", NAMES)
def test_every_beat_is_right_and_every_broken_frame_is_dropped(simulated, name: str) -> None:
    where, chips, result = simulated
    for variant in _variants(name):
        number = where[name, variant]
        chip = chips[number]
        assert result.log.words(f"out{number}") == chip.expected(), variant
        assert result.errors(number) == chip.bad_frames, variant
        assert result.refused(number) == 0
        assert len(result.log.words(f"in{number}")) == len(chip.beats())
    assert not result.log.timed_out
    assert not result.log.violations


def _chip_of_blocks(name: str, variant: str, ends: tuple[str, str], *, broken: bool = False) -> Chip:
    builder, block = (BLOCKS | PLAIN)[name]
    graph = builder.build(f"{name}_{variant}")
    frames = _frames(block.beats(graph.input.shape)) if broken else ()
    images = random_images(graph, IMAGES, len(name))
    return Chip(graph, images, frames, ends, block=block, plain=name in PLAIN)


@pytest.fixture(scope="module")
def simulated_blocks(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[dict[tuple[str, str], int], list[Chip], Run]:
    """Simulate chips that take several pixels a cycle."""
    chips, where = [], {}
    for name in [*BLOCKS, *PLAIN]:
        variants = {
            "good": _chip_of_blocks(name, "good", ("full", "full")),
            "alone": _chip_of_blocks(name, "alone", ("full", "full")),
            "broken": _chip_of_blocks(name, "broken", ("random", "bursty"), broken=True),
        }
        variants["alone"] = replace(variants["alone"], images=variants["alone"].images[:1])
        for variant, chip in variants.items():
            where[name, variant] = len(chips)
            chips.append(chip)
    return where, chips, simulate_chips(chips, tmp_path_factory.mktemp("blocks"))


@pytest.mark.parametrize("name", [*BLOCKS, *PLAIN])
def test_blocks_of_pixels_go_in_and_out(simulated_blocks, name: str) -> None:
    where, chips, result = simulated_blocks
    for variant in ("good", "alone", "broken"):
        number = where[name, variant]
        chip = chips[number]
        assert result.log.words(f"out{number}") == chip.expected(), variant
        assert result.errors(number) == chip.bad_frames, variant
        assert result.refused(number) == 0
    assert not result.log.timed_out
    assert not result.log.violations


@pytest.mark.parametrize("name", [*BLOCKS, *PLAIN])
def test_blocks_take_the_computed_cycles(simulated_blocks, name: str) -> None:
    where, _, result = simulated_blocks
    alone, full = where[name, "alone"], where[name, "good"]
    design = result.designs[alone]
    assert result.log.taken(f"out{alone}")[-1] - result.log.taken(f"in{alone}")[0] == design.latency
    taken = result.log.taken(f"out{full}")
    ends = taken[len(taken) // IMAGES - 1 :: len(taken) // IMAGES]
    assert {later - earlier for earlier, later in list(pairwise(ends))[1:]} == {design.initiation_interval}


def test_logits_keep_up_with_blocks() -> None:
    builder, block = BLOCKS["tokens_of_blocks"]
    design = Chip(builder.build("tokens"), np.zeros(0), block=block).design
    assert design.npu is not None and design.npu.logit_lanes == 2
    assert design.initiation_interval == 4


def test_features_in_raster_order_are_caught(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raster = lambda shape, block: np.arange(shape.elements)  # noqa: E731
    monkeypatch.setattr("hsflow_npu.stage.feature_order", raster)
    chip = _chip_of_blocks("logits_of_blocks", "raster", ("full", "full"))
    result = simulate_chips([chip], tmp_path)
    assert len(result.log.words("out0")) == len(chip.expected())
    assert result.log.words("out0") != chip.expected()


def test_a_feature_map_of_many_pixels_can_leave_the_chip(tmp_path: Path) -> None:
    graph = GraphBuilder(Shape(3, 4, 4), 7, width=5).conv(3, square(3, 1, 1)).build("map_out")
    chip = Chip(graph, random_images(graph, 2))
    bench, sources, _ = build_bench([chip], tmp_path)
    log = read_log(run(bench.compile(sources, tmp_path, max_cycles=1000)))
    assert log.words("out0") == chip.expected()


def test_the_frames_are_broken_in_every_way() -> None:
    chip = _chip("classifier", "x", broken=True)
    lengths = {extra for _, extra in chip.sent}
    assert {0, -19, -1, 1, 3, 20, 40} <= lengths
    assert chip.bad_frames >= 8
    assert len(chip.expected()) == 4 * (len(chip.sent) - chip.bad_frames)


@pytest.mark.parametrize("name", NAMES)
def test_latency_and_interval_are_the_computed_ones(simulated, name: str) -> None:
    where, chips, result = simulated
    alone, full = where[name, "alone"], where[name, "good0"]
    design = result.designs[alone]
    assert result.log.taken(f"out{alone}")[-1] - result.log.taken(f"in{alone}")[0] == design.latency
    taken = result.log.taken(f"out{full}")
    beats = len(taken) // IMAGES
    ends = taken[beats - 1 :: beats]
    assert {later - earlier for earlier, later in list(pairwise(ends))[1:]} == {
        result.designs[full].initiation_interval
    }
    assert len(chips[full].expected()) == len(taken)


# ---- Reset


RESETS = (40, 97, 203)
FORGETFUL = {
    "  logic pixel_valid, pixel_ready, pixel_last;": "  logic awake_q = 1'b0;\n"
    "  always @(posedge aclk) if (aresetn) awake_q <= 1'b1;\n"
    "  wire stale_reset = aresetn | awake_q;\n"
    "  logic pixel_valid, pixel_ready, pixel_last;",
    "u_network (\n    .clk_i  (aclk),\n    .rst_ni (aresetn),": "u_network (\n    .clk_i  (aclk),\n"
    "    .rst_ni (stale_reset),",
}


def _reset_chips() -> list[Chip]:
    names = ("classifier", "residual", "tokens", "no_classifier_one_pixel_out", "dense_alone")
    chips = [_chip(name, "reset", ("full", "full")) for name in names]
    return [*chips, *(_chip(name, "reset_broken", ("random", "bursty"), broken=True) for name in names)]


def _wrong_after_reset(workdir: Path, edits: dict[str, str]) -> set[int]:
    """Return the cycles at which a reset leaves a chip that does not work from its first frame on."""
    chips = _reset_chips()
    bench, sources, _ = build_bench(chips, workdir, edits)
    executable = bench.compile(sources, workdir, max_cycles=4000)
    wrong = set()
    for cycle in RESETS:
        log = read_log(run(executable, [f"+reset_at={cycle}"]))
        right = all(log.words(f"out{n}") == chip.expected() for n, chip in enumerate(chips))
        errors = [log.prints.count(f"error {n}") for n in range(len(chips))]
        if not right or log.violations or log.timed_out or errors != [chip.bad_frames for chip in chips]:
            wrong.add(cycle)
    return wrong


def test_a_reset_at_any_moment_leaves_a_chip_that_works(tmp_path: Path) -> None:
    assert _wrong_after_reset(tmp_path, {}) == set()


def test_a_network_that_misses_the_reset_is_seen(tmp_path: Path) -> None:
    assert _wrong_after_reset(tmp_path, FORGETFUL)


# ---- What must fail


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (".verdict_drop_i (filter_drop)", ".verdict_drop_i (1'b0)"),
        (".data_i ({s_axis_tlast, ", ".data_i ({1'b0, "),
        ("assign result[47:32] = winner;", "assign result[47:32] = winner + 16'd1;"),
        (".last_o         (m_axis_tlast)", ".last_o         ()"),
    ],
)
def test_a_wrong_top_module_is_caught(tmp_path: Path, old: str, new: str) -> None:
    chip = _chip("classifier", "wrong", broken=True)
    result = simulate_chips([chip], tmp_path, {old: new})
    assert result.log.words("out0") != chip.expected()


def test_other_weights_are_caught(tmp_path: Path) -> None:
    chip = _chip("classifier", "weights")
    bench, sources, _ = build_bench([chip], tmp_path)
    lines = bench.files["npu0.words"].splitlines()
    lines[0] = lines[0][:8] + f"{int(lines[0][8:], 16) ^ 0x80:08X}"
    bench.files["npu0.words"] = "\n".join(lines) + "\n"
    log = bench.simulate(sources, tmp_path)
    assert log.words("out0") != chip.expected()
    assert len(log.words("out0")) == len(chip.expected())


# ---- Lint and size


@pytest.mark.parametrize("name", NAMES)
def test_the_chip_is_lint_clean(tmp_path: Path, name: str) -> None:
    assert _lint(_builders()[name].build("chip"), tmp_path) == []


def test_lint_sees_a_fault_in_the_top_module(tmp_path: Path) -> None:
    graph = _builders()["classifier"].build("chip")
    assert _lint(graph, tmp_path, ("endmodule", "  wire nobody_reads_me = 1'b0;\nendmodule"))


def _lint(graph: Graph, folder: Path, edit: tuple[str, str] = ("", "")) -> list[str]:
    sources = list(LIBRARY)
    for file in add_npu(harden(graph)).files:
        if file.role is FileRole.RTL:
            path = folder / Path(file.path).name
            path.write_text(file.text.replace(*edit) if edit[0] else file.text, encoding="utf-8")
            sources.append(path)
    return lint(sources, graph.name)


@pytest.mark.parametrize("logit_lanes", [2, 3, 5])
def test_any_number_of_logit_lanes_gives_the_same_results(tmp_path: Path, logit_lanes: int) -> None:
    chip = replace(_chip("tokens", f"logits{logit_lanes}"), logit_lanes=logit_lanes)
    result = simulate_chips([chip], tmp_path)
    assert result.log.words("out0") == chip.expected()


@pytest.mark.parametrize("lanes", [1, 2, 5, 1000])
def test_any_number_of_lanes_gives_the_same_results(tmp_path: Path, lanes: int) -> None:
    chip = replace(_chip("tokens", f"lanes{lanes}"), lanes=lanes)
    result = simulate_chips([chip], tmp_path)
    assert result.log.words("out0") == chip.expected()
    plan = result.designs[0].npu
    assert plan is not None
    assert plan.class_lanes * plan.feature_lanes <= lanes
