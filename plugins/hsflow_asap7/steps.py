# SPDX-License-Identifier: Apache-2.0
"""The steps of the flow, in order: what each reads, does and leaves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping

from pydantic import TypeAdapter

from hsflow.metrics import Metric, make_metric
from hsflow.results import measured_metrics, read_plan
from hsflow_asap7.area import Inventory, inventory_of, kind_of
from hsflow_asap7.constraints import Constraints
from hsflow_asap7.gates import write_models
from hsflow_asap7.gatesim import ACTIVITY, SCOPE, Gates, simulate
from hsflow_asap7.netlist import read_netlist
from hsflow_asap7.platform import Corner, cell_areas, merged_liberty
from hsflow_asap7.power import Power, Simulated, measure_power
from hsflow_asap7.proof import prove
from hsflow_asap7.request import Request
from hsflow_asap7.runner import Job, Step, figures_of
from hsflow_asap7.synthesis import NETLIST_JSON, NETLIST_VERILOG, SynthesisOptions, synthesize
from hsflow_asap7.timing import Design, Timing, time_design

INVENTORY, TIMING, POWER = "inventory.json", "timing.json", "power.json"
LIBERTY = "liberty"
"""The folder of the work root with the corners' libraries, which steps share: a file's name states its content."""

TIMINGS = TypeAdapter(tuple[Timing, ...])
POWERS = TypeAdapter(Power)
Figure = tuple[str, object, str, str]
"""A metric's name, value, unit and better direction."""

_CLOCKS, _RESETS = ("aclk", "clk_i"), ("aresetn", "rst_ni")


def _synthesize(job: Job) -> dict[str, Metric]:
    request = job.request
    options = SynthesisOptions(request.adders, request.carry_save, request.clock_ps, request.flatten)
    sources = [job.source(name) for name in request.sources]
    made = synthesize(sources, request.top, options, request.platform, job.folder)
    netlist = read_netlist(made.netlist_json)
    found = inventory_of(netlist, cell_areas(request.platform))
    (job.folder / INVENTORY).write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return _named(_synthesis_figures(found))


def _synthesis_figures(found: Inventory) -> Iterator[Figure]:
    yield "synth__design__instance__area", found.area.total, "um^2", "lower"
    yield "synth__design__instance__count", sum(found.cells.values()), "", "lower"
    kinds: Counter[str] = Counter()
    for cell, count in found.cells.items():
        kinds[kind_of(cell)] += count
    for kind, count in sorted(kinds.items()):
        yield f"synth__design__instance__count__class:{kind.replace(' ', '_')}", count, "", "lower"


def _prove(job: Job) -> dict[str, Metric]:
    request = job.request
    sources = [job.source(name) for name in request.sources]
    netlist = read_netlist(job.made_by("synthesis", NETLIST_JSON))
    proof = prove(sources, netlist, request.platform, job.folder, flatten=request.flatten)
    return _named(
        [
            ("proof__modules", proof.modules, "", ""),
            ("proof__registers", proof.registers, "", ""),
            ("proof__outputs", proof.outputs, "", ""),
            ("proof__outputs__unequal", 0, "", "lower"),
        ]
    )


def _simulate(job: Job) -> dict[str, Metric]:
    request = job.request
    models = job.folder / "models.v"
    write_models(request.platform, _inventory(job).cells, models)
    testbench = tuple(job.source(name) for name in request.testbench)
    gates = Gates(job.made_by("synthesis", NETLIST_VERILOG), models, testbench)
    data = [job.source(name) for name in request.data]
    result = simulate(gates, data, request.conditions, job.folder, request.simulation_timeout)
    return measured_metrics(read_plan(job.work_root), result)


def _time(job: Job) -> dict[str, Metric]:
    constraints = _constraints(job)
    timings = tuple(
        time_design(_design(job, corner), constraints, job.folder) for corner in job.request.corners
    )
    (job.folder / TIMING).write_bytes(TIMINGS.dump_json(timings))
    return _named(figure for timing in timings for figure in _timing_figures(timing))


def _timing_figures(timing: Timing) -> Iterator[Figure]:
    corner = f"corner:{timing.corner.lower()}"
    yield f"timing__setup__ws__{corner}", timing.slack_ps, "ps", "higher"
    yield f"timing__setup__tns__{corner}", timing.setup.total_negative_slack_ps, "ps", "higher"
    yield f"timing__setup_vio__count__{corner}", timing.setup.violations, "", "lower"
    yield f"timing__fmax__{corner}", timing.fmax_mhz, "MHz", "higher"
    if timing.setup.layers:
        yield f"timing__setup__path__{corner}", " > ".join(timing.setup.layers), "", ""


def _power(job: Job) -> dict[str, Metric]:
    images = int(figures_of(job.work_root / "simulation")["simulate.images"].value)
    simulated = Simulated(job.made_by("simulation", ACTIVITY), SCOPE, images)
    liberty = merged_liberty(job.request.platform, Corner.TT, job.work_root / LIBERTY)
    netlist, constraints = job.made_by("synthesis", NETLIST_JSON), _constraints(job)
    power = measure_power(
        netlist, [liberty], Corner.TT, constraints.clock_ps, simulated, constraints.clock_port or ""
    )
    (job.folder / POWER).write_bytes(POWERS.dump_json(power))
    return _named(_power_figures(power))


def _power_figures(power: Power) -> Iterator[Figure]:
    yield "power__total", power.total_w, "W", "lower"
    yield "power__internal__total", power.internal_w, "W", "lower"
    yield "power__switching__total", power.switching_w, "W", "lower"
    yield "power__leakage__total", power.leakage_w, "W", "lower"
    for part, watts in power.parts.items():
        yield f"power__{part}__total", watts, "W", "lower"
    yield "power__energy_per_image", power.energy_per_image_j, "J", "lower"
    yield "power__images_per_second", power.images_per_second, "images/s", "higher"
    yield "power__annotated", 100 * power.annotated, "%", "higher"


def _design(job: Job, corner: Corner) -> Design:
    liberty = merged_liberty(job.request.platform, corner, job.work_root / LIBERTY)
    netlist = job.made_by("synthesis", NETLIST_VERILOG)
    return Design(netlist, job.request.top, (liberty,), corner)


def _constraints(job: Job) -> Constraints:
    """Return the constraints of a chip, or of one of the modules in it, whose clock and reset have other names."""
    ports = _inventory(job).ports
    clock, reset = (next((name for name in names if name in ports), None) for names in (_CLOCKS, _RESETS))
    return Constraints(job.request.clock_ps, clock, reset)


def _inventory(job: Job) -> Inventory:
    return Inventory.model_validate_json(job.made_by("synthesis", INVENTORY).read_bytes())


def _named(figures: Iterable[Figure]) -> dict[str, Metric]:
    return {name: make_metric(name, value, unit, better) for name, value, unit, better in figures}


def _sources(request: Request) -> tuple[str, ...]:
    return request.sources


def _of_the_simulation(request: Request) -> tuple[str, ...]:
    return (*request.testbench, *request.data)


def _nothing(request: Request) -> tuple[str, ...]:
    return ()


_ALL = (
    Step(
        "synthesis", "synth", "RTL to cells, by Yosys", (), ("yosys",),
        ("top", "sources", "clock_mhz", "adders", "carry_save", "flatten"), _sources,
        (NETLIST_VERILOG, NETLIST_JSON, INVENTORY), _synthesize,
    ),
    Step(
        "proof", "proof", "the netlist equals the RTL for every input, by Yosys and ABC", ("synthesis",),
        ("yosys", "yosys-abc"), ("top", "sources", "flatten"), _sources, (), _prove,
    ),
    Step(
        "simulation", "gatesim", "real images on the netlist, by Verilator", ("synthesis",), ("verilator",),
        ("top", "testbench", "data", "conditions", "simulation_timeout"), _of_the_simulation, (ACTIVITY,), _simulate,
    ),
    Step(
        "timing", "timing", "setup and hold in each corner, by OpenSTA", ("synthesis",), ("sta",),
        ("top", "clock_mhz", "corners"), _nothing, (TIMING,), _time,
    ),
    Step(
        "power", "power", "power on real images", ("synthesis", "simulation"), (), ("top", "clock_mhz"), _nothing,
        (POWER,), _power,
    ),
)  # fmt: skip
STEPS: Mapping[str, Step] = {step.name: step for step in _ALL}
