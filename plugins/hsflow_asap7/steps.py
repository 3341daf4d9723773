# SPDX-License-Identifier: Apache-2.0
"""The steps of the flow, in order: what each reads, does and leaves."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from hsflow.executor import ProcessExecutor
from hsflow.metrics import Metric
from hsflow.results import measured_metrics, read_plan
from hsflow.store import store_root
from hsflow_asap7.area import Inventory, inventory_of, kind_of
from hsflow_asap7.chip import (
    INVENTORY,
    POWER,
    TIMING,
    Figure,
    constraints,
    design,
    find_power,
    inventory,
    named,
    rtl,
    time_corners,
)
from hsflow_asap7.gates import write_models
from hsflow_asap7.gatesim import ACTIVITY, Gates, simulate
from hsflow_asap7.layout_steps import LAYOUT_STEPS
from hsflow_asap7.netlist import read_netlist
from hsflow_asap7.opensta import TOOL as TIMER
from hsflow_asap7.platform import Corner
from hsflow_asap7.proof import prove
from hsflow_asap7.repair import repair_synthesis
from hsflow_asap7.request import Request
from hsflow_asap7.runner import Job, Step, is_installed, say
from hsflow_asap7.synthesis import (
    NETLIST_JSON,
    NETLIST_VERILOG,
    Synthesis,
    SynthesisOptions,
    synthesize,
)
from hsflow_asap7.tiles import prove_parts, synthesize_parts


def _synthesize(job: Job) -> dict[str, Metric]:
    request = job.request
    options = SynthesisOptions(request.adders, request.carry_save, request.clock_ps, request.flatten)
    given = rtl(job)
    if request.flatten or given.macros:
        made = synthesize(
            given.sources, request.top, options, request.platform, job.folder, blackboxes=given.macros
        )
    else:
        made = synthesize_parts(
            given.sources, request.top, options, request.platform, job.folder,
            store=store_root(job.work_root), executor=ProcessExecutor(request.workers),
        )  # fmt: skip
    found = _inventory(job, made)
    if not is_installed(TIMER):
        return named(_synthesis_figures(found))
    # At the typical corner, which the clock is meant for.
    made, setup = repair_synthesis(made, design(job, Corner.TT), constraints(job), request.platform)
    say(
        f"synthesis: {setup.larger} cells made larger for the clock; {setup.missed} endpoints miss it at {Corner.TT}"
    )
    repaired = ("synth__repair__instance__count", setup.larger, "", "lower")
    return named([*_synthesis_figures(_inventory(job, made)), repaired])


def _inventory(job: Job, made: Synthesis) -> Inventory:
    """Return what a netlist holds, and leave it in the step's folder."""
    found = inventory_of(read_netlist(made.netlist_json), job.request.platform)
    (job.folder / INVENTORY).write_text(found.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return found


def _synthesis_figures(found: Inventory) -> Iterator[Figure]:
    yield "synth__design__instance__area", found.area.total, "um^2", "lower"
    yield "synth__design__instance__area__macros", found.area.total - found.cell_area, "um^2", "lower"
    yield "synth__design__instance__count", sum(found.cells.values()), "", "lower"
    kinds: Counter[str] = Counter()
    for cell, count in found.cells.items():
        kinds[kind_of(cell)] += count
    for kind, count in sorted(kinds.items()):
        yield f"synth__design__instance__count__class:{kind.replace(' ', '_')}", count, "", "lower"


def _prove(job: Job) -> dict[str, Metric]:
    request = job.request
    given, netlist = rtl(job), job.made_by("synthesis", NETLIST_JSON)
    if request.flatten or given.macros:
        proof = prove(
            given.sources, read_netlist(netlist), request.platform, job.folder,
            blackboxes=given.macros, flatten=request.flatten,
        )  # fmt: skip
    else:
        executor = ProcessExecutor(request.workers)
        proof = prove_parts(given.sources, netlist, request.platform, job.folder, executor=executor)
    counts = {"modules": proof.modules, "registers": proof.registers, "outputs": proof.outputs}
    equal = [(f"proof__{name}", count, "", "") for name, count in counts.items()]
    return named([*equal, ("proof__outputs__unequal", 0, "", "lower")])


def _simulate(job: Job) -> dict[str, Metric]:
    request = job.request
    models = job.folder / "models.v"
    write_models(request.platform, inventory(job).cells, models)
    testbench = tuple(job.source(name) for name in request.testbench)
    gates = Gates(job.made_by("synthesis", NETLIST_VERILOG), (models, *rtl(job).macros), testbench)
    data = [job.source(name) for name in request.data]
    result = simulate(gates, data, request.conditions, job.folder, request.simulation_timeout)
    return measured_metrics(read_plan(job.work_root), result)


def _time(job: Job) -> dict[str, Metric]:
    return time_corners(job, (design(job, corner) for corner in job.request.corners))


def _power(job: Job) -> dict[str, Metric]:
    return find_power(job)


def _sources(request: Request) -> tuple[str, ...]:
    return request.sources


def _of_the_simulation(request: Request) -> tuple[str, ...]:
    return (*request.sources, *request.testbench, *request.data)


_NETLIST_STEPS = (
    Step(
        "synthesis", "synth", "RTL to cells, by Yosys", (NETLIST_VERILOG, NETLIST_JSON, INVENTORY), _synthesize,
        tools=("yosys",), helpers=(TIMER,),
        options=("top", "sources", "clock_mhz", "adders", "carry_save", "flatten", "memory_bits"),
        inputs=_sources,
    ),
    Step(
        "proof", "proof", "the netlist equals the RTL for every input, by Yosys and ABC", (), _prove,
        needs=("synthesis",), tools=("yosys", "yosys-abc"), inputs=_sources,
        options=("top", "sources", "flatten", "memory_bits"),
    ),
    Step(
        "simulation", "gatesim", "real images on the netlist, by Verilator", (ACTIVITY,), _simulate,
        needs=("synthesis",), tools=("verilator",), inputs=_of_the_simulation,
        options=("top", "sources", "testbench", "data", "conditions", "simulation_timeout", "memory_bits"),
    ),
    Step(
        "timing", "timing", "setup and hold in each corner, by OpenSTA", (TIMING,), _time,
        needs=("synthesis",), tools=("sta",), options=("top", "clock_mhz", "corners"),
    ),
    Step(
        "power", "power", "power on the simulated images", (POWER,), _power,
        needs=("synthesis", "simulation"), options=("top", "clock_mhz"),
    ),
)  # fmt: skip
STEPS: Mapping[str, Step] = {step.name: step for step in (*_NETLIST_STEPS, *LAYOUT_STEPS)}
