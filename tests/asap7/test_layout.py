# SPDX-License-Identifier: Apache-2.0
"""OpenROAD's scripts: every argument is a documented one, the order is the one that works, and nothing half-done passes."""

from __future__ import annotations

import re
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hsflow_asap7 import facts, layout
from hsflow_asap7.constraints import Constraints
from hsflow_asap7.layout import DEF, DRC, NETLIST, SPEF, STEPS, Layout, LayoutOptions, Memory, perform
from hsflow_asap7.platform import Corner, Platform, merged_liberty
from mini_platform import mini_platform, real_platform
from openroad_stub import COMMANDS, ScriptError, Session, parse

from hsflow.errors import ConfigurationError, ToolError

MODULE = """
module top (input clk_i, input rst_ni, input a_i, output y_o);
  wire n;
  DFFHQNx1_ASAP7_75t_R r0 (.CLK(clk_i), .D(a_i), .QN(n));
  INVx1_ASAP7_75t_R i0 (.A(n), .Y(y_o));
endmodule
"""
KNOWN_TO_WORK = """
    read_liberty read_lef read_verilog link_design create_clock set_dont_use initialize_floorplan make_tracks place_pins
    tapcell define_pdn_grid pdngen set_layer_rc set_wire_rc set_routing_layers set_global_routing_layer_adjustment
    global_placement estimate_parasitics repair_design repair_tie_fanout detailed_placement repair_clock_inverters
    clock_tree_synthesis set_propagated_clock repair_timing detailed_placement check_placement pin_access global_route
    detailed_route filler_placement global_connect extract_parasitics write_spef read_spef
"""
"""The order of commands by which OpenROAD 26Q1 took a design from its netlist to GDS."""


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    platform = mini_platform(tmp_path / "asap7")
    (platform.root / "rcx_patterns.rules").write_text("rules")
    return platform


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the stand-in on PATH as `openroad`."""
    program = tmp_path / "bin" / "openroad"
    program.parent.mkdir()
    script = Path(__file__).with_name("openroad_stub.py")
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    return program


def made(platform: Platform, folder: Path, memories: tuple[Memory, ...] = ()) -> Layout:
    (folder / "netlist.v").write_text(MODULE)
    (folder / "constraints.sdc").write_text(Constraints(1000.0).sdc())
    liberty = merged_liberty(platform, Corner.TT, folder / "liberty")
    return Layout(
        "top", folder / "netlist.v", liberty, folder / "constraints.sdc", platform, 3.3, 4, memories
    )


def performed(layout: Layout, folder: Path) -> dict[str, Path]:
    done: dict[str, Path] = {}
    for step in STEPS:
        perform(step, layout, folder / step.name, done)
        done[step.name] = folder / step.name
    return done


def commands(folders: dict[str, Path]) -> list[str]:
    """Return the commands of all steps in order, those of setup.tcl and of the constraints where they are read."""
    names: list[str] = []

    def read(path: Path) -> None:
        for words in parse(path.read_text()):
            if words[0].text in ("source", "read_sdc"):
                read(path.parent / words[1].text)
            else:
                names.append(words[0].text)

    for name, folder in folders.items():
        read(folder / f"{name}.tcl")
    return names


def test_every_step_is_taken_and_leaves_its_files(platform: Platform, tmp_path: Path, stub: Path) -> None:
    folders = performed(made(platform, tmp_path), tmp_path / "run")
    for step in STEPS:
        assert all((folders[step.name] / name).is_file() for name in step.outputs)
    assert layout.violations(folders["route"] / DRC) == 0
    final = (folders["finish"] / NETLIST).read_text()
    assert "TAPCELL" in (folders["finish"] / "routed.v").read_text() and "TAPCELL" not in final
    assert final == MODULE
    assert (folders["extract"] / SPEF).is_file() and (folders["finish"] / DEF).is_file()


def test_the_order_is_the_one_that_is_known_to_work(platform: Platform, tmp_path: Path, stub: Path) -> None:
    done = commands(performed(made(platform, tmp_path), tmp_path / "run"))
    position = 0
    for name in KNOWN_TO_WORK.split():
        # What setup.tcl repeats may come sooner than where the whole flow in one script has it.
        if name in (
            "set_layer_rc",
            "set_wire_rc",
            "set_routing_layers",
            "set_global_routing_layer_adjustment",
        ):
            assert name in done
            continue
        position = done.index(name, position)


def test_memories_get_their_place_and_supply(platform: Platform, tmp_path: Path, stub: Path) -> None:
    lef, lib = tmp_path / "ram.lef", tmp_path / "ram.lib"
    lef.write_text("lef")
    lib.write_text("lib")
    layout = made(platform, tmp_path, (Memory("ram", lib, lef, count=3, width=8.36, height=42.0),))
    done = commands(performed(layout, tmp_path / "run"))
    assert "rtl_macro_placer" in done and done.count("define_pdn_grid") == 2
    assert layout.core_side > 42 and layout.core_side**2 > 3 * 8.36 * 42


def test_each_script_says_what_it_does(platform: Platform, tmp_path: Path, stub: Path) -> None:
    for name, folder in performed(made(platform, tmp_path), tmp_path / "run").items():
        script = (folder / f"{name}.tcl").read_text()
        assert re.match(r"# top: [^\n]+\.\nsource setup\.tcl\n", script)
        assert str(tmp_path) not in script + (folder / "setup.tcl").read_text()


@pytest.mark.parametrize(
    ("step", "old", "new", "message"),
    [
        ("floorplan", "-die_area", "-die", "no option -die"),
        ("floorplan", "-site asap7sc7p5t ", "", "lacks -site"),
        ("floorplan", "0.036", "pitch", "takes a number"),
        ("pins", "-hor_layers M4", "-hor_layers left", "takes a layers"),
        ("power_grid", "pdngen\n", "pdn_gen\n", "invalid command name"),
        ("power_grid", "tapcell ", "# ", "comes before tapcell"),
        ("place", "source setup.tcl", "", "comes before"),
        ("place", "/H}]", "/H}", "missing close"),
        ("place", "get_lib_pins", "get_lib_pin", "invalid command name 'get_lib_pin'"),
        ("route", "global_connect", "global_connect now", "takes 0 to 0 arguments"),
        ("extract", "rcx_patterns", "patterns", "does not exist"),
    ],
)
def test_the_stand_in_refuses_what_is_not_documented(
    platform: Platform, tmp_path: Path, stub: Path, step: str, old: str, new: str, message: str
) -> None:
    folders = performed(made(platform, tmp_path), tmp_path / "run")
    script = folders[step] / f"{step}.tcl"
    assert old in script.read_text()
    script.write_text(script.read_text().replace(old, new))
    with pytest.raises(ScriptError, match=message):
        Session(script.parent).run(script.name)


def test_every_entry_names_its_source() -> None:
    assert all(entry["source"].startswith("https://") for entry in COMMANDS.values())
    assert {name for entry in COMMANDS.values() for name in entry.get("needs", ())} <= COMMANDS.keys()


def test_a_tool_that_leaves_nothing_fails(
    platform: Platform, tmp_path: Path, stub: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = made(platform, tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "floorplan.odb").write_text("of an earlier run")
    stub.write_text("#!/bin/sh\nexit 0\n")
    with pytest.raises(ToolError, match=r"no floorplan\.odb"):
        perform(STEPS[0], layout, tmp_path / "run", {})


def test_a_tool_that_fails_is_told_with_its_log(platform: Platform, tmp_path: Path, stub: Path) -> None:
    layout = replace(made(platform, tmp_path), netlist=tmp_path / "none.v")
    with pytest.raises(ToolError, match=r"none\.v does not exist"):
        perform(STEPS[0], layout, tmp_path / "run", {})


def test_without_openroad_it_is_told_how_to_get_it(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    with pytest.raises(ToolError, match="openroad"):
        perform(STEPS[0], made(platform, tmp_path), tmp_path / "run", {})


@pytest.mark.parametrize(("area", "ports", "least"), [(1.0, 4, 16.2), (4000.0, 4, 85.2), (1.0, 4000, 120.0)])
def test_the_core_has_room(platform: Platform, tmp_path: Path, area: float, ports: int, least: float) -> None:
    layout = replace(made(platform, tmp_path), cell_area=area, ports=ports)
    assert least <= layout.core_side < least + 1
    assert layout.core_side / 0.27 == pytest.approx(round(layout.core_side / 0.27))


@pytest.mark.parametrize("wrong", [(0.0, 0.6), (0.7, 0.6), (0.6, 1.1)])
def test_options_are_checked(wrong: tuple[float, float]) -> None:
    with pytest.raises(ConfigurationError, match="out of range"):
        LayoutOptions(*wrong)


def test_violations_are_counted(tmp_path: Path) -> None:
    drc = tmp_path / DRC
    drc.write_text("  violation type: Short\n\tsrcs: net:a net:b\n  violation type: Metal Spacing\n")
    assert layout.violations(drc) == 2


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("openroad") is None, reason="OpenROAD is not installed")
def test_openroad_itself_lays_a_register_out(tmp_path: Path) -> None:
    folders = performed(made(real_platform(), tmp_path), tmp_path / "run")
    assert layout.violations(folders["route"] / DRC) == 0
    assert facts.TAP_CELL in (folders["finish"] / DEF).read_text()
