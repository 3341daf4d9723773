# SPDX-License-Identifier: Apache-2.0
"""The steps of the layout in the flow, by a stand-in for OpenROAD: each in its folder, in order, and with its figures."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hsflow_asap7.area import inventory_of
from hsflow_asap7.chip import INVENTORY
from hsflow_asap7.layout_steps import LAYOUT_STEPS
from hsflow_asap7.netlist import Cell, Module, Netlist, Port, write_json
from hsflow_asap7.request import Request
from hsflow_asap7.runner import Job, Record, Status, figures_of, perform
from hsflow_asap7.steps import STEPS
from hsflow_asap7.structural import write_verilog
from hsflow_asap7.synthesis import NETLIST_JSON, NETLIST_VERILOG
from mini_platform import mini_platform

from hsflow import metrics
from hsflow.errors import ToolError

OPENROAD = tuple(step for step in LAYOUT_STEPS if step.tools == ("openroad",))
SPEF = """*SPEF "IEEE 1481-1998"
*DESIGN "top"
*DATE ""
*VENDOR ""
*PROGRAM ""
*VERSION ""
*DESIGN_FLOW ""
*DIVIDER /
*DELIMITER :
*BUS_DELIMITER []
*T_UNIT 1 PS
*C_UNIT 1 FF
*R_UNIT 1 OHM
*L_UNIT 1 HENRY
*D_NET n 2.0
*CONN
*I r0:QN O
*I i0:A I
*CAP
1 r0:QN 2.0
*END
"""


def netlist() -> Netlist:
    ports = {
        "clk_i": Port("input", (2,)), "rst_ni": Port("input", (3,)), "a_i": Port("input", (4,)),
        "y_o": Port("output", (5,)),
    }  # fmt: skip
    cells = {
        "r0": Cell("DFFHQNx1_ASAP7_75t_R", {"CLK": (2,), "D": (4,), "QN": (6,)}),
        "i0": Cell("INVx1_ASAP7_75t_R", {"A": (6,), "Y": (5,)}),
    }
    return Netlist("top", {"top": Module("top", ports, cells, {6: "n"})})


def synthesize(job: Job) -> metrics.Metrics:
    """Leave a netlist as synthesis does."""
    write_verilog(netlist(), job.folder / NETLIST_VERILOG)
    write_json(netlist(), job.folder / NETLIST_JSON)
    found = inventory_of(netlist(), job.request.platform)
    (job.folder / INVENTORY).write_text(found.model_dump_json())
    return {}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Record]:
    """Return a function that performs a step by name, after a synthesis; `openroad` is the stand-in."""
    program = tmp_path / "bin" / "openroad"
    program.parent.mkdir()
    stub = Path(__file__).with_name("openroad_stub.py")
    spef = tmp_path / "spef"
    spef.write_text(SPEF)
    program.write_text(
        f'#!/bin/sh\n"{sys.executable}" "{stub}" "$@" || exit 1\nif [ -f final.spef ]; then cp "{spef}" final.spef; fi\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    platform = mini_platform(tmp_path / "asap7")
    (platform.root / "rcx_patterns.rules").write_text("rules")
    work = tmp_path / "work"
    work.mkdir()
    request = Request(top="top", sources=("a.sv",), platform_folder=str(platform.root), clock_mhz=1000.0)
    (work / "a.sv").write_text("")
    perform(replace(STEPS["synthesis"], work=synthesize, tools=()), request, work)

    def one(name: str) -> Record:
        return perform(STEPS[name], request, work)

    return one


def test_each_step_has_its_folder_and_the_next_goes_on_from_it(
    run: Callable[[str], Record], tmp_path: Path
) -> None:
    for step in OPENROAD:
        record = run(step.name)
        assert record.status is Status.DONE and record.commands[-1][-1] == f"{step.name}.tcl"
        assert {f"{step.name}/{name}" for name in step.outputs} <= record.outputs.keys()
    work = tmp_path / "work"
    assert "read_db {../place/place.odb}" in (work / "clock_tree" / "setup.tcl").read_text()
    assert "../floorplan/constraints.sdc" in (work / "route" / "setup.tcl").read_text()
    assert figures_of(work / "route")["detailedroute__route__drc_errors"].value == 0
    figures = figures_of(work / "finish")
    assert figures["finish__design__instance__count"].value == 2
    area, core = (figures[f"finish__design__{name}__area"].value for name in ("instance", "core"))
    assert figures["finish__design__instance__utilization"].value == pytest.approx(100 * area / core)


@pytest.mark.skipif(shutil.which("sta") is None, reason="OpenSTA (sta) is not installed")
def test_the_wires_are_timed(run: Callable[[str], Record], tmp_path: Path) -> None:
    for step in OPENROAD:
        run(step.name)
    assert run("final_timing").status is Status.DONE
    work = tmp_path / "work"
    slow = figures_of(work / "final_timing")["finish__timing__setup__ws__corner:tt"].value
    run("timing")
    assert slow < figures_of(work / "timing")["timing__setup__ws__corner:tt"].value


def test_a_step_does_not_pass_over_one_that_was_not_done(run: Callable[[str], Record]) -> None:
    record = run("place")
    assert record.status is Status.SKIPPED and "floorplan, which was not done" in record.reason


def test_a_script_that_openroad_refuses_fails_its_step(
    run: Callable[[str], Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hsflow_asap7.facts.SITE", "")
    with pytest.raises(ToolError, match="the program failed"):
        run("floorplan")
    assert run("pins").status is Status.SKIPPED


def test_the_tools_of_edalize_run_every_step_once_in_order() -> None:
    from edalize.flows.asap7 import _TOOLS, Asap7
    from edalize.flows.edaflow import FlowGraph

    graph: FlowGraph = Asap7.configure_flow(Asap7.__new__(Asap7), {})
    tools = [graph.get_node(name) for name in _TOOLS]
    assert [name for tool in tools for name in tool.inst.STEPS] == list(STEPS)
    assert [[node.tool for node in tool.deps] for tool in tools] == [[], *([name] for name in _TOOLS[:-1])]
    assert {"adders", "corners", "utilization"} <= Asap7.get_tool_options({}).keys()
