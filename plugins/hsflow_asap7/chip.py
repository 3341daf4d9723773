# SPDX-License-Identifier: Apache-2.0
"""What the steps after synthesis share: the netlist on its library, its constraints, and how figures are named."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from hsflow.metrics import Metric, make_metric
from hsflow_asap7.area import Inventory
from hsflow_asap7.constraints import Constraints
from hsflow_asap7.gatesim import ACTIVITY, SCOPE
from hsflow_asap7.layout import Memory
from hsflow_asap7.memories import LINE_BUFFER, macros_of, with_memories, write_line_buffers
from hsflow_asap7.platform import Corner, merged_liberty
from hsflow_asap7.power import Power, Simulated, measure_power
from hsflow_asap7.runner import Job, figures_of
from hsflow_asap7.synthesis import NETLIST_JSON, NETLIST_VERILOG
from hsflow_asap7.timing import Design, Timing, time_design

INVENTORY, TIMING, POWER = "inventory.json", "timing.json", "power.json"
LIBERTY = "liberty"
"""The folder of the work root with the corners' libraries, which steps share: a file's name states its content."""

TIMINGS = TypeAdapter(tuple[Timing, ...])
POWERS = TypeAdapter(Power)
Figure = tuple[str, object, str, str]
"""A metric's name, value, unit and better direction."""

_CLOCKS, _RESETS = ("aclk", "clk_i"), ("aresetn", "rst_ni")


@dataclass(frozen=True)
class Rtl:
    """Hold what is synthesized: the sources, and those of modules that are library cells (SRAM macros)."""

    sources: tuple[Path, ...]
    macros: tuple[Path, ...] = ()


def rtl(job: Job) -> Rtl:
    """Return the design's sources, with line buffers on macros if the request asks for it."""
    sources = tuple(job.source(name) for name in job.request.sources)
    original = next((path for path in sources if path.name == LINE_BUFFER), None)
    if job.request.memory_bits is None or original is None:
        return Rtl(sources)
    folder = job.folder / "memories"
    replacement, models = write_line_buffers(job.request.platform, original, job.request.memory_bits, folder)
    return Rtl(with_memories(sources, replacement), (models,))


def memories(job: Job) -> tuple[Memory, ...]:
    """Return the SRAM macros of the netlist."""
    counts = inventory(job).memories
    known = macros_of(job.request.platform) if counts else ()
    return tuple(
        Memory(macro.name, macro.liberty, macro.lef, counts[macro.name], *macro.sides)
        for macro in known
        if macro.name in counts
    )


def inventory(job: Job) -> Inventory:
    """Return what synthesis made."""
    return Inventory.model_validate_json(job.made_by("synthesis", INVENTORY).read_bytes())


def design(job: Job, corner: Corner) -> Design:
    """Return the netlist on the library of a corner."""
    liberty = merged_liberty(job.request.platform, corner, job.work_root / LIBERTY)
    liberties = (liberty, *(memory.liberty for memory in memories(job)))
    return Design(job.made_by("synthesis", NETLIST_VERILOG), job.request.top, liberties, corner)


def constraints(job: Job) -> Constraints:
    """Return the constraints of a chip, or of one of the modules in it, whose clock and reset have other names."""
    ports = inventory(job).ports
    clock, reset = (next((name for name in names if name in ports), None) for names in (_CLOCKS, _RESETS))
    return Constraints(job.request.clock_ps, clock, reset)


def time_corners(job: Job, designs: Iterable[Design], stage: str = "") -> dict[str, Metric]:
    """Time the design at each corner, leave the timings in the step's folder, and return their figures."""
    bounds = constraints(job)
    timings = tuple(time_design(each, bounds, job.folder) for each in designs)
    (job.folder / TIMING).write_bytes(TIMINGS.dump_json(timings))
    return named(figure for timing in timings for figure in _timing_figures(timing, stage))


def _timing_figures(timing: Timing, stage: str) -> Iterator[Figure]:
    corner = f"corner:{timing.corner.lower()}"
    for kind, check in (("setup", timing.setup), ("hold", timing.hold)):
        if check.slacks:
            yield f"{stage}timing__{kind}__ws__{corner}", check.slack_ps, "ps", "higher"
        yield f"{stage}timing__{kind}__tns__{corner}", check.total_negative_slack_ps, "ps", "higher"
        yield f"{stage}timing__{kind}_vio__count__{corner}", check.violations, "", "lower"
    yield f"{stage}timing__fmax__{corner}", timing.fmax_mhz, "MHz", "higher"
    if timing.setup.layers:
        yield f"{stage}timing__setup__path__{corner}", " > ".join(timing.setup.layers), "", ""


def find_power(job: Job, parasitics: Path | None = None, stage: str = "") -> dict[str, Metric]:
    """Find the power on the simulation's images, leave it in the step's folder, and return its figures.

    With the `parasitics` of a layout its wires and its clock's tree are part of it.
    """
    images = int(figures_of(job.work_root / "simulation")["simulate.images"].value)
    simulated = Simulated(job.made_by("simulation", ACTIVITY), SCOPE, images)
    on, bounds = design(job, Corner.TT), constraints(job)
    power = measure_power(
        job.made_by("synthesis", NETLIST_JSON), on.liberties, on.corner, bounds.clock_ps, simulated,
        bounds.clock_port or "", [memory.name for memory in memories(job)], parasitics,
    )  # fmt: skip
    (job.folder / POWER).write_bytes(POWERS.dump_json(power))
    return named(_power_figures(power, stage))


def _power_figures(power: Power, stage: str) -> Iterator[Figure]:
    kinds = {"internal": power.internal_w, "switching": power.switching_w, "leakage": power.leakage_w}
    yield f"{stage}power__total", power.total_w, "W", "lower"
    for name, watts in {**kinds, **power.parts}.items():
        yield f"{stage}power__{name}__total", watts, "W", "lower"
    yield f"{stage}power__energy_per_image", power.energy_per_image_j, "J", "lower"
    yield f"{stage}power__images_per_second", power.images_per_second, "images/s", "higher"
    yield f"{stage}power__annotated", 100 * power.annotated, "%", "higher"


def named(figures: Iterable[Figure]) -> dict[str, Metric]:
    """Return figures as metrics."""
    return {name: make_metric(name, value, unit, better) for name, value, unit, better in figures}
