# SPDX-License-Identifier: Apache-2.0
"""Simulate hardened networks, many in one testbench, and compare every pixel and cycle with the models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
from hsflow_harden.build import build_structure
from hsflow_harden.emit_kernel import MODULE_VALUES, emit_kernel
from hsflow_harden.emit_network import network_module
from hsflow_harden.rates import spread
from hsflow_harden.stage import emit_design
from lowered import share
from simulator import CORES, lint
from stream_bench import Bench, Log, inputs, outputs, traffic

from hsflow.design import Design
from hsflow.ir.graph import FeatureMap, Graph
from hsflow.ir.interp import interpret
from hsflow.ir.pipeline import ClockCut, Cut, LevelCut
from hsflow.ir.tensor import ONE_PIXEL, Block
from hsflow.technology import ASAP7

LIBRARY = [
    path
    for core in ("stream", "window", "requantize", "pool")
    for path in sorted((CORES / core / "rtl").glob("*.sv"))
]


TWO_LEVELS = LevelCut(2)
CUTS: tuple[Cut, ...] = (
    *map(LevelCut, (1, 2, 3)),
    *(ClockCut(clock_mhz, 0.0, ASAP7.delays_at("TT")) for clock_mhz in (150.0, 500.0, 900.0)),
)
"""By levels, and by clocks: at the slowest one adders work beside the requantizers."""


def harden(
    graph: Graph, cut: Cut = TWO_LEVELS, bound: int = MODULE_VALUES, block: Block = ONE_PIXEL
) -> Design:
    """Harden `graph` for blocks of the image; no module of a kernel is larger than `bound`."""
    structure = build_structure(
        graph, lambda matrix, ranges, name: share(matrix, ranges), cut, blocks=spread(graph, block)
    )
    return emit_design(structure, partial(emit_kernel, bound=bound))


def words(values: np.ndarray, feature_map: FeatureMap, block: Block = ONE_PIXEL) -> list[int]:
    """Return (n, channels, height, width) integers as stream words, block by block."""
    bits = feature_map.format.width
    images, channels, height, width = values.shape
    grid = values.reshape(images, channels, height // block.rows, block.rows, width // block.columns, -1)
    rows = grid.transpose(0, 2, 4, 3, 5, 1).reshape(-1, block.pixels * channels) & ((1 << bits) - 1)
    return [sum(value << (bits * place) for place, value in enumerate(row)) for row in rows.tolist()]


@dataclass(frozen=True)
class Case:
    """One network to simulate with some images.

    `ends` names the traffic at both ends, `bound` a module's size, `block` what a transfer of the image carries.
    """

    graph: Graph
    images: np.ndarray
    cut: Cut = TWO_LEVELS
    ends: tuple[str, str] = ("full", "full")
    bound: int = MODULE_VALUES
    block: Block = ONE_PIXEL

    @property
    def output_block(self) -> Block:
        """Return what a transfer of the result carries."""
        return spread(self.graph, self.block)[self.graph.layers[-1].name]

    @property
    def expected(self) -> list[int]:
        """Return the words that the interpreter says."""
        return words(interpret(self.graph, self.images), self.graph.output, self.output_block)


def simulate(
    cases: Sequence[Case], workdir: Path, edits: dict[str, str] | None = None
) -> tuple[Log, list[Design]]:
    """Simulate all cases together; `edits` replaces text in the generated RTL. Streams are `in0`, `out0`, ..."""
    bench = Bench()
    sources = list(LIBRARY)
    designs = []
    for number, case in enumerate(cases):
        design = harden(case.graph, case.cut, case.bound, case.block)
        designs.append(design)
        for file in design.files:
            path = workdir / file.path
            path.parent.mkdir(parents=True, exist_ok=True)
            text = file.text
            for old, new in (edits or {}).items():
                text = text.replace(old, new)
            path.write_text(text, encoding="utf-8")
            sources.append(path)
        beats, expected = words(case.images, case.graph.input, case.block), case.expected
        patterns = [traffic(kind, f"{case.graph.name} {end}") for end, kind in enumerate(case.ends)]
        width_in = case.block.pixels * case.graph.input.pixel_width
        width_out = case.output_block.pixels * case.graph.output.pixel_width
        bench.source(f"in{number}", width_in, beats, patterns[0])
        bench.sink(f"out{number}", width_out, len(expected), patterns[1])
        ports = f"{inputs(f'in{number}')}, {outputs(f'out{number}')}"
        bench.instance(network_module(case.graph.name), f"dut{number}", {}, ports)
    return bench.simulate(sources, workdir), designs


@dataclass(frozen=True)
class Simulated:
    """Hold groups of cases that were simulated in one testbench: the last case of a group is a single image, alone."""

    cases: dict[str, list[Case]]
    log: Log
    designs: dict[str, Design]

    @classmethod
    def of(cls, cases: dict[str, list[Case]], workdir: Path) -> Simulated:
        """Simulate all groups together."""
        log, designs = simulate([case for group in cases.values() for case in group], workdir)
        return cls(cases, log, {design.name: design for design in designs})

    def check_words(self, name: str) -> None:
        """Demand what the interpreter says of every pixel of a group."""
        for case, number in self._streams(name):
            assert self.log.words(f"out{number}") == case.expected, (case.graph.name, case.ends)
        assert not self.log.timed_out
        assert not self.log.violations

    def check_cycles(self, name: str) -> None:
        """Demand the computed interval of the group's first case, and the computed latency of its last one."""
        streams = self._streams(name)
        (full, full_number), (_, alone_number) = streams[0], streams[-1]
        design = self.designs[full.graph.name]
        taken = self.log.taken(f"out{full_number}")
        beats = full.output_block.beats(full.graph.output.shape)
        ends = [taken[image * beats - 1] for image in range(2, len(full.images) + 1)]
        assert {later - earlier for earlier, later in pairwise(ends)} == {design.initiation_interval}
        latency = self.log.taken(f"out{alone_number}")[-1] - self.log.taken(f"in{alone_number}")[0]
        assert latency == design.latency

    def _streams(self, name: str) -> list[tuple[Case, int]]:
        first = sum(len(group) for group in list(self.cases.values())[: list(self.cases).index(name)])
        return [(case, first + offset) for offset, case in enumerate(self.cases[name])]


def lint_design(design: Design, folder: Path, edit: tuple[str, str] = ("", "")) -> list[str]:
    """Return Verilator's warnings about the RTL of a design, in which the text of `edit` is replaced."""
    folder.mkdir(parents=True, exist_ok=True)
    sources = list(LIBRARY)
    for file in design.files:
        sources.append(folder / Path(file.path).name)
        sources[-1].write_text(file.text.replace(*edit) if edit[0] else file.text, encoding="utf-8")
    return lint(sources, network_module(design.name))
