# SPDX-License-Identifier: Apache-2.0
"""Kernels that are cut into many modules: bit-exact, cycle-exact, lint-clean, and with the registers that are counted."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest
from hsflow_harden.clocking import kernel_ends
from hsflow_harden.emit_kernel import emit_kernel
from hsflow_harden.kernel import Kernel, Tile, build_kernel
from lowered import share
from network_bench import CUTS, Case, harden, lint_design, simulate
from random_graphs import GraphBuilder, random_images, square

from hsflow.design import DesignFile
from hsflow.ir.graph import Conv, Graph
from hsflow.ir.pipeline import Cut, LevelCut
from hsflow.ir.tensor import Shape, TensorFormat

NARROW = TensorFormat(8, False, (4, 4, 4), (0, 0, 0), (3, 200, 7))
FAR = TensorFormat(8, True, (4, 4, 4), (-128, 90, -70), (-125, 93, -66))
LAYERS = {
    "dense_3x3": lambda: GraphBuilder(Shape(3, 5, 5), 1).conv(6, square(3, 1, 1), zeros=0.3),
    "pointwise_signed": lambda: GraphBuilder(Shape(12, 3, 3), 2, 8, True).conv(16, zeros=0.2),
    "two_terms": lambda: GraphBuilder(Shape(4, 4, 4), 3).conv(5, square(3, 1, 1), terms=2, zeros=0.2),
    "grouped": lambda: GraphBuilder(Shape(6, 4, 4), 4).conv(8, square(3, 1, 1), groups=2, zeros=0.2),
    "narrow_ranges": lambda: GraphBuilder(Shape(3, 3, 3), 5).conv(3, output=NARROW).conv(6, zeros=0.1),
    "upper_bits_that_cancel": lambda: GraphBuilder(Shape(3, 3, 3), 7).conv(3, output=FAR).conv(9, zeros=0.0),
    "a_channel_without_weights": lambda: GraphBuilder(Shape(8, 3, 3), 6).conv(12, zeros=0.8),
}
BOUNDS = (1, 3, 10)


def cases() -> list[Case]:
    found = []
    for number, (name, builder) in enumerate(LAYERS.items()):
        for bound in BOUNDS:
            graph = builder().build(f"{name}_{bound}")
            ends = ("random", "bursty") if bound == 3 else ("full", "full")
            found.append(Case(graph, random_images(graph, 3, number), CUTS[number % len(CUTS)], ends, bound))
    return found


@pytest.mark.parametrize("simulator", ["icarus", pytest.param("verilator", marks=pytest.mark.slow)])
def test_every_pixel_and_cycle_is_exact(
    simulator: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HSFLOW_TEST_SIMULATOR", simulator)
    chosen = cases() if simulator == "icarus" else cases()[1::3]
    alone = [Case(case.graph, case.images[:1], case.cut, bound=case.bound) for case in chosen]
    alone = [Case(rename(case.graph), case.images, case.cut, bound=case.bound) for case in alone]
    log, designs = simulate([*chosen, *alone], tmp_path)
    assert not log.timed_out
    assert not log.violations
    for number, case in enumerate([*chosen, *alone]):
        assert log.words(f"out{number}") == case.expected, case.graph.name
    for number, design in enumerate(designs[len(chosen) :], start=len(chosen)):
        assert log.taken(f"out{number}")[-1] - log.taken(f"in{number}")[0] == design.latency, design.name


def rename(graph: Graph) -> Graph:
    from dataclasses import replace

    return replace(graph, name=f"{graph.name}_alone")


def test_a_lost_register_is_caught(tmp_path: Path) -> None:
    graph = LAYERS["dense_3x3"]().build("lost")
    case = Case(graph, random_images(graph, 2), bound=3)
    log, _ = simulate([case], tmp_path, edits={".data_i(stage1)": ".data_i(stage1 ^ 1)"})
    assert log.words("out0") != case.expected


def kernel(name: str, cut: Cut) -> Kernel:
    graph = LAYERS[name]().build("counted")
    layer = graph.hardened.layers[-1]
    assert isinstance(layer, Conv)
    sources = tuple(graph.feature_maps[source] for source in layer.sources)
    ends = kernel_ends(layer, sources, 1, cut)
    return build_kernel(
        layer, sources, "counted_layer", lambda matrix, inputs, _: share(matrix, inputs), cut, ends
    )


def emitted(kernel: Kernel, tile: Tile, bound: int) -> list[DesignFile]:
    return list(emit_kernel(tile, kernel.operands, "a title", bound))


def flip_flops(files: Iterable[DesignFile]) -> int:
    """Count the bits of everything that is assigned at a clock edge."""
    bits = 0
    for file in files:
        widths = {
            name: int(high) + 1
            for high, name in re.findall(r"^  logic (?:signed )?\[(\d+):0\] (\w+);", file.text, re.MULTILINE)
        }
        bits += sum(widths[name] for name in re.findall(r"^ +(\w+) <= ", file.text, re.MULTILINE))
    return bits


@pytest.mark.parametrize("bound", [*BOUNDS, 10**6])
@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("name", LAYERS)
def test_the_registers_are_those_that_the_pipeline_counts(name: str, cut: Cut, bound: int) -> None:
    made = kernel(name, cut)
    for tile in made.tiles:
        assert flip_flops(emitted(made, tile, bound)) == tile.pipeline.register_bits


def test_a_second_register_of_a_value_is_counted() -> None:
    made = kernel("dense_3x3", LevelCut(1))
    files = emitted(made, made.tiles[0], 3)
    text = next(file.text for file in files if "_q <= " in file.text)
    line = next(line for line in text.splitlines() if "_q <= " in line)
    twice = [*files, DesignFile("rtl/more.sv", text.replace(line, f"{line}\n{line}"), files[0].role)]
    assert flip_flops(twice) > made.tiles[0].pipeline.register_bits


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("cut", CUTS)
def test_no_module_is_larger_than_its_bound_and_each_adder_is_in_one(bound: int, cut: Cut) -> None:
    made = kernel("pointwise_signed", cut)
    (tile,) = made.tiles
    files = emitted(made, tile, bound)
    assert len({file.path for file in files}) == len(files)
    assert files[-1].path == f"rtl/{tile.module}.sv"
    adders = []
    for file in files:
        found = re.findall(r"^  wire .*\b(sum\d+) = .* [-+] ", file.text, re.MULTILINE)
        passed = re.findall(r"^ +(\w+)_q <= ", file.text, re.MULTILINE)
        assert len({*found, *passed}) <= bound
        assert max(map(len, file.text.splitlines())) <= 100
        adders += found
    assert sorted(adders) == sorted(f"sum{number}" for number in range(len(tile.pipeline.graph.adders)))


def test_a_kernel_below_the_bound_is_one_module() -> None:
    made = kernel("pointwise_signed", LevelCut(2))
    (tile,) = made.tiles
    adders = len(tile.pipeline.graph.adders)
    assert len(emitted(made, tile, adders)) == 1
    assert len(emitted(made, tile, adders - 1)) > 1


@pytest.mark.parametrize("name", LAYERS)
def test_many_modules_are_lint_clean(name: str, tmp_path: Path) -> None:
    for bound, cut in zip(BOUNDS, (LevelCut(2), CUTS[3], CUTS[5]), strict=True):
        graph = LAYERS[name]().build(f"lint{bound}")
        assert lint_design(harden(graph, cut, bound), tmp_path / str(bound)) == []


def test_files_are_made_one_by_one() -> None:
    made = kernel("dense_3x3", LevelCut(2))
    files = emit_kernel(made.tiles[0], made.operands, "a title", 3)
    assert next(files).path == "rtl/counted_layer__tile0_stage0_part0.sv"
