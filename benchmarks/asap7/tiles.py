# SPDX-License-Identifier: Apache-2.0
"""What synthesis makes of the samples: areas of a layer's parts, and its slowest path at two corners."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import hsflow_cores
from hsflow_asap7.area import Part, inventory_of
from hsflow_asap7.constraints import Constraints
from hsflow_asap7.netlist import read_netlist
from hsflow_asap7.platform import Corner, Platform, merged_liberty
from hsflow_asap7.synthesis import SynthesisOptions, synthesize
from hsflow_asap7.timing import Design, time_design
from hsflow_harden.stage import emit_design

from benchmarks.asap7.samples import Sample
from hsflow.technology import ASAP7

CORNERS = (Corner.TT, Corner.SS)
PARTS = ("tiles", "kernels", "stream")
"""Adder graphs with their registers; the kernels around them: requantizers, comparators, a register; all else of a layer."""


@dataclass(frozen=True)
class Measured:
    """Hold what one sample became: um2 of each of `PARTS`, and the slowest path between registers by corner, in ps."""

    um2: Mapping[str, float]
    path_ps: Mapping[str, float]

    @property
    def total(self) -> float:
        """Return the layer's area in um2."""
        return sum(self.um2.values())


def measure(sample: Sample, platform: Platform, folder: Path) -> Measured:
    """Synthesize and time a sample in `folder`."""
    design = emit_design(sample.structure())
    (cost,) = design.layers
    sources = [*sorted(Path(hsflow_cores.FOLDER).glob("*/rtl/*.sv"))]
    for file in design.files:
        path = folder / Path(file.path).name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(file.text, encoding="utf-8")
        sources.append(path)
    clock_ps = 1e6 / sample.clock_mhz
    made = synthesize(
        sources, cost.module, SynthesisOptions(clock_ps=clock_ps), platform, folder / "synthesis"
    )
    area = inventory_of(read_netlist(made.netlist_json), platform).area
    paths = {}
    for corner in CORNERS:
        liberty = merged_liberty(platform, corner, folder.parent / "liberty")
        outside = ASAP7.delays_at(corner).clk_to_q / clock_ps
        timed = Design(made.netlist_v, cost.module, (liberty,), corner)
        timing = time_design(timed, Constraints(clock_ps, io_share=outside), folder / corner.lower())
        paths[str(corner)] = clock_ps - timing.slack_ps
    return Measured(_parts(area, cost.module), paths)


def _parts(layer: Part, module: str) -> dict[str, float]:
    """Return the area of each of `PARTS`."""
    kernels = [part for part in layer.parts if part.module.startswith(f"{module}__kernel")]
    tiles = sum(part.total for kernel in kernels for part in kernel.parts)
    around = sum(kernel.total for kernel in kernels)
    return dict(zip(PARTS, (tiles, around - tiles, layer.total - around), strict=True))
