# SPDX-License-Identifier: Apache-2.0
"""What one layer costs on ASAP7: synthesized, proved, timed, and simulated on a real feature map at gate level."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from hsflow_asap7.constraints import Constraints
from hsflow_asap7.gates import write_models
from hsflow_asap7.gatesim import ACTIVITY, OPTIONS
from hsflow_asap7.platform import Corner, Platform, merged_liberty
from hsflow_asap7.power import Power, Simulated, measure_power
from hsflow_asap7.repair import repair_synthesis
from hsflow_asap7.synthesis import Synthesis, SynthesisOptions
from hsflow_asap7.tiles import prove_parts, synthesize_parts
from hsflow_asap7.timing import Design, Timing, time_design
from hsflow_targets import FOLDER as TARGETS

from benchmarks.asap7.layers import HardenedLayer
from hsflow.artifact import digest, file_digest
from hsflow.durable import replace_file
from hsflow.errors import MismatchError
from hsflow.executor import ProcessExecutor
from hsflow.launch import resolve
from hsflow.layerbench import TOP
from hsflow.layerwise import VERDICT
from hsflow.process import run

CORNERS = (Corner.TT, Corner.SS)
FIGURES = "figures.json"
_LONGEST_RUN = 3600.0


@dataclass(frozen=True)
class LayerFigures:
    """Hold a layer's figures; `seconds` are of wall time, for synthesis with its proof left out, and timing at both corners."""

    name: str
    adders: int
    full_adder_bits: int
    register_bits: int
    line_buffer_bits: int
    area_um2: float
    estimated_area_um2: float
    abc_area_um2: float | None
    slack_ps: float
    fmax_mhz: float
    estimated_fmax_mhz: float | None
    fmax_slow_mhz: float
    power_mw: float
    energy_per_image_nj: float
    words_simulated: int
    seconds: float
    peak_mib: float

    @property
    def over_abc(self) -> float | None:
        """Return the area over that of ABC alone."""
        return None if self.abc_area_um2 is None else self.area_um2 / self.abc_area_um2


@dataclass(frozen=True)
class Bench:
    """Measure layers on a platform at a clock, working in `folder`."""

    platform: Platform
    clock_mhz: float
    folder: Path

    @property
    def clock_ps(self) -> float:
        """Return the clock's period."""
        return 1e6 / self.clock_mhz

    @cached_property
    def liberties(self) -> dict[Corner, Path]:
        """Return each corner's cells."""
        return {corner: merged_liberty(self.platform, corner, self.folder / "liberty") for corner in CORNERS}

    def measure(self, layer: HardenedLayer, with_abc: bool) -> LayerFigures:
        """Return a layer's figures: those that an earlier run left in the folder, if it measured the same.

        Raises:
            MismatchError: if the netlist is not proved equal to the RTL, or a word of its simulation is wrong.
            ToolError: if a tool is missing or fails.
        """
        record, key = self.folder / layer.cost.module / FIGURES, self._key(layer, with_abc)
        if record.exists():
            found = json.loads(record.read_text(encoding="utf-8"))
            if found.pop("key") == key:
                return LayerFigures(**found)
        figures = self._measured(layer, with_abc)
        replace_file(record, json.dumps({"key": key, **asdict(figures)}, indent=2).encode())
        return figures

    def _key(self, layer: HardenedLayer, with_abc: bool) -> str:
        cells = {str(corner): file_digest(path) for corner, path in self.liberties.items()}
        sources = [file_digest(path) for path in layer.sources]
        return digest(json.dumps([self.clock_mhz, with_abc, cells, sources, layer.task.digest]))

    def _measured(self, layer: HardenedLayer, with_abc: bool) -> LayerFigures:
        work = self.folder / layer.cost.module
        made = self._repaired(self._synthesize(layer, "full-adder", work / "synthesis"), layer)
        timings = {corner: self._time(made, layer, corner, work / f"timing_{corner}") for corner in CORNERS}
        prove_parts(
            layer.sources, made.netlist_json, self.platform, work / "proof", executor=ProcessExecutor()
        )
        words, power = self._power(made, layer, work / "simulation")
        abc = self._synthesize(layer, "abc", work / "abc").area_um2 if with_abc else None
        cost, typical = layer.cost, timings[Corner.TT]
        return LayerFigures(
            layer.name, cost.adders, cost.full_adder_bits, cost.register_bits, cost.line_buffer_bits,
            made.area_um2, layer.estimate.area.total, abc,
            typical.slack_ps, typical.fmax_mhz, layer.estimate.fmax_mhz, timings[Corner.SS].fmax_mhz,
            1e3 * power.total_w, 1e9 * power.total_w * layer.pixels * self.clock_ps * 1e-12, words,
            made.seconds, made.peak_mib,
        )  # fmt: skip

    def _synthesize(
        self, layer: HardenedLayer, adders: Literal["full-adder", "abc"], folder: Path
    ) -> Synthesis:
        options = SynthesisOptions(adders=adders, clock_ps=self.clock_ps)
        folder.mkdir(parents=True, exist_ok=True)
        return synthesize_parts(
            layer.sources, layer.cost.module, options, self.platform, folder,
            store=self.folder / "store", executor=ProcessExecutor(),
        )  # fmt: skip

    def _repaired(self, made: Synthesis, layer: HardenedLayer) -> Synthesis:
        design = self._design(made, layer, Corner.TT)
        return repair_synthesis(made, design, Constraints(self.clock_ps), self.platform)[0]

    def _design(self, made: Synthesis, layer: HardenedLayer, corner: Corner) -> Design:
        return Design(made.netlist_v, layer.cost.module, (self.liberties[corner],), corner)

    def _time(self, made: Synthesis, layer: HardenedLayer, corner: Corner, folder: Path) -> Timing:
        folder.mkdir(parents=True, exist_ok=True)
        return time_design(self._design(made, layer, corner), Constraints(self.clock_ps), folder)

    def _power(self, made: Synthesis, layer: HardenedLayer, folder: Path) -> tuple[int, Power]:
        """Return how many words the netlist made of a real feature map, and its power meanwhile."""
        words = simulate(made, layer, self.platform, folder)
        seen = Simulated(folder / ACTIVITY, f"{TOP}/u_layer", 1)
        corner = Corner.TT
        return words, measure_power(made.netlist_json, (self.liberties[corner],), corner, self.clock_ps, seen)


def simulate(made: Synthesis, layer: HardenedLayer, platform: Platform, folder: Path) -> int:
    """Simulate a netlist on a layer's data, record its activity, and return how many words were compared.

    Raises:
        MismatchError: if a word is wrong or missing.
        ToolError: if Verilator is missing or fails.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number, stream in enumerate(layer.task.sources):
        (folder / f"in{number}.hex").write_text(stream.text, encoding="ascii")
    (folder / "out.hex").write_text(layer.task.expected.text, encoding="ascii")
    write_models(platform, made.cells, folder / "models.v")
    (folder / "bench.sv").write_text(layer.task.bench, encoding="utf-8")
    recorder = (Path(TARGETS) / "asap7" / "activity.sv").read_text(encoding="utf-8")
    (folder / "activity.sv").write_text(recorder.replace("bind hsflow_tb", f"bind {TOP}"), encoding="utf-8")
    _build(folder, [folder / "models.v", made.netlist_v, folder / "bench.sv", folder / "activity.sv"])
    log = folder / "simulation.log"
    run([folder / "build" / f"V{TOP}"], cwd=folder, log=log, timeout=_LONGEST_RUN)
    verdict = VERDICT.search(log.read_text(encoding="utf-8"))
    if verdict is None or int(verdict[2]):
        got = verdict and verdict[0]
        raise MismatchError("the netlist is wrong", where=layer.name, got=got, expected="no wrong word")
    return int(verdict[1])


def _build(folder: Path, sources: Sequence[Path]) -> None:
    build = folder / "build"
    build.mkdir(exist_ok=True)
    command = resolve("verilator")
    words = command.adapt([*OPTIONS, "--top-module", TOP, *(str(path.resolve()) for path in sources)])
    run([*command.argv, *words], cwd=build, env=dict(command.env), log=folder / "build.log", timeout=_LONGEST_RUN)  # fmt: skip
