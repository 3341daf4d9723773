# SPDX-License-Identifier: Apache-2.0
"""FuseSoC, Edalize and two simulators around a toy design, with every way to fail that a user could meet."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import toy_design as toy

from hsflow.design import DesignFile, FileRole
from hsflow.eda import TestbenchParameters, core_file, render_testbench, run_target
from hsflow.errors import ConfigurationError, MismatchError, ToolError
from hsflow.results import METRICS, RESULTS, Conditions
from hsflow.simulation import BUILD_STAMP, Simulation

needs_icarus = pytest.mark.skipif(shutil.which("iverilog") is None, reason="iverilog is not installed")


DROPS_VALID = """
  logic drop_q;
  always_ff @(posedge aclk) drop_q <= m_axis_tvalid && !m_axis_tready;
  assign m_axis_tvalid = busy_q && !drop_q;"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    folder = tmp_path / "tree"
    toy.write_toy_core(folder)
    return folder


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@needs_icarus
def test_icarus_passes_and_a_second_run_reuses_the_build(tree: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    assert run_target("icarus", tree, work) == 0
    figures = json.loads((work / METRICS).read_text())
    assert figures["simulate.latency"]["value"] == toy.LATENCY
    assert figures["simulate.initiation_interval"]["value"] == toy.INTERVAL
    built = (work / "hsflow_tests_toy_0.1.0").stat().st_mtime_ns
    assert run_target("icarus", tree, work) == 0
    assert (work / "hsflow_tests_toy_0.1.0").stat().st_mtime_ns == built


@needs_icarus
@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("rtl/toy.sv", "$signed(class_q + 32'd1)", "$signed(class_q)"),
        ("rtl/toy.sv", "16'hBEEF", "16'hBEEE"),
        (
            "rtl/toy.sv",
            "error_o <= take && (s_axis_tlast != last_column);",
            "error_o <= take && last_column;",
        ),
        ("rtl/toy.sv", "assign s_axis_tready = ", "assign s_axis_tready = images_q == 32'd9 ? 1'b0 : "),
        ("rtl/toy.sv", "assign m_axis_tvalid = busy_q;", DROPS_VALID),
        ("data/expected.txt", "0000", "0001"),
        ("data/npu.hex", "00000064", "00000065"),
        ("data/stimulus.hex", "\n", "\nzz\n"),
        ("data/simulation.json", f'"latency":{toy.LATENCY}', f'"latency":{toy.LATENCY + 1}'),
        ("data/simulation.json", f'"initiation_interval":{toy.INTERVAL}', '"initiation_interval":15'),
        ("data/simulation.json", f'"images":{toy.IMAGES}', f'"images":{toy.IMAGES + 1}'),
    ],
)
def test_whatever_is_wrong_fails(tree: Path, tmp_path: Path, file: str, old: str, new: str) -> None:
    edit(tree / file, old, new)
    if file.endswith(".sv"):
        edit(tree / "tb" / "hsflow_tb.sv", "WatchdogCycles = ", "WatchdogCycles = 2000 + 0 * ")
    arguments = ["--images=0", "--stall_percent=30" if new == DROPS_VALID else "--stall_percent=0"]
    work = tmp_path / "work"
    assert run_target("icarus", tree, work, arguments=arguments) != 0
    assert not (work / METRICS).exists()


@needs_icarus
def test_a_run_that_fails_leaves_no_old_success(tree: Path, tmp_path: Path) -> None:
    """A stale results file, with its metrics, must never pass for a new run's."""
    work = tmp_path / "work"
    assert run_target("icarus", tree, work) == 0
    edit(tree / "rtl" / "toy.sv", "assign s_axis_tready = ", "assign s_axis_tready = aresetn ? 1'b0 : ")
    edit(tree / "tb" / "hsflow_tb.sv", "WatchdogCycles = ", "WatchdogCycles = 2000 + 0 * ")
    assert run_target("icarus", tree, work) != 0
    assert not (work / METRICS).exists()
    assert "no progress for 2000 cycles" in (work / "simulate.log").read_text()


@needs_icarus
def test_an_interrupted_build_is_not_taken_for_a_finished_one(tree: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    assert run_target("icarus", tree, work) == 0
    program = work / "hsflow_tests_toy_0.1.0"
    program.write_text("#! /usr/bin/vvp\n")
    (work / BUILD_STAMP).unlink()
    assert run_target("icarus", tree, work) == 0
    assert program.stat().st_size > 1000


@needs_icarus
def test_older_sources_are_built_again(tree: Path, tmp_path: Path) -> None:
    """make looks at times alone: a source that changed and is older than the program would be left out."""
    work = tmp_path / "work"
    assert run_target("icarus", tree, work) == 0
    edit(tree / "rtl" / "toy.sv", "16'hBEEF", "16'hBEEE")
    os.utime(tree / "rtl" / "toy.sv", (0, 0))
    assert run_target("icarus", tree, work) != 0


def test_verilator_agrees_with_and_without_traffic(tree: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    assert run_target("sim", tree, work) == 0
    exact = (work / RESULTS).read_text()
    log = [json.loads(line) for line in (work / "launch.jsonl").read_text().splitlines()]
    assert [(entry["tool"], entry["rc"]) for entry in log] == [("verilator", 0)]
    assert run_target("stress", tree, work) == 0
    assert (work / RESULTS).read_text() != exact
    assert run_target("lint", tree, tmp_path / "lint") == 0
    edit(tree / "rtl" / "toy.sv", "logic        busy_q", "logic        spare_q;\n  logic        busy_q")
    assert run_target("lint", tree, tmp_path / "lint") != 0


@needs_icarus
def test_the_weights_are_changed_in_the_stream(tree: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    arguments = ["--switch_after=7", "--gap_percent=20"]
    assert run_target("icarus", tree, work, arguments=arguments) == 0
    switched = int((work / RESULTS).read_text().split("switched_images=")[1].split()[0])
    assert 7 <= switched < toy.IMAGES
    edit(tree / "data" / "npu2.hex", "000003E8", "000003E9")
    assert run_target("icarus", tree, work, arguments=arguments) != 0


def test_the_testbench_is_the_same_text_each_time() -> None:
    assert toy.testbench() == toy.testbench()
    assert "s_axil" in toy.testbench().text


@needs_icarus
def test_a_design_without_npu_has_no_bus() -> None:
    parameters = TestbenchParameters("top", 8, 32, 4, 1, latency=9, initiation_interval=4)
    assert "s_axil" not in render_testbench(parameters).text


@pytest.mark.parametrize(("top", "in_width"), [("top", 12), ("top", 0), ("bad name", 8), ("x;y", 8)])
def test_a_testbench_that_cannot_be_is_refused(top: str, in_width: int) -> None:
    with pytest.raises(ConfigurationError):
        render_testbench(TestbenchParameters(top, in_width, 32, 4, 1, latency=9, initiation_interval=4))


@pytest.mark.parametrize(
    "path", ["../x.sv", "/x.sv", "rtl/../x.sv", "a b.sv", "$(x).sv", "a;b.sv", "-x.sv", ".hidden", "a\nb", ""]
)
def test_a_hostile_path_never_reaches_a_core_file(path: str) -> None:
    with pytest.raises(ConfigurationError):
        core_file(toy.VLNV, "toy", [DesignFile(path, "", FileRole.RTL)])


@pytest.mark.parametrize("vlnv", ["toy", "a:b:c", "a:b:c:d e", "a:b:c:1\nx: y", "a:b:../c:1"])
def test_a_hostile_name_never_reaches_a_core_file(vlnv: str) -> None:
    with pytest.raises(ConfigurationError):
        core_file(vlnv, "toy", [])


def test_two_data_files_of_one_name_are_refused() -> None:
    files = [DesignFile(f"{folder}/x.hex", "", FileRole.DATA) for folder in "ab"]
    with pytest.raises(ConfigurationError, match="one name"):
        core_file(toy.VLNV, "toy", files)


def edam(**changes: object) -> dict[str, object]:
    return {"name": "toy", "toplevel": "hsflow_tb", "files": [], "parameters": {}, **changes}


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "toy; touch hacked"},
        {"toplevel": "$(shell touch hacked)"},
        {"files": [{"name": "a b.sv"}]},
        {"files": [{"name": "`x`.sv"}]},
        {"parameters": {"images": {"paramtype": "plusarg", "default": -1}}},
        {"parameters": {"gap_percent": {"paramtype": "plusarg", "default": "many"}}},
    ],
)
def test_a_hostile_edam_is_refused(tmp_path: Path, changes: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        Simulation.from_edam(edam(**changes), tmp_path, {"tool": "icarus"})


def test_an_unknown_simulator_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="verilator or icarus"):
        Simulation.from_edam(edam(), tmp_path, {"tool": "vcs"})


@pytest.fixture
def simulation(tmp_path: Path) -> Simulation:
    for name, text in toy.data_files().items():
        (tmp_path / name).write_text(text)
    (tmp_path / "a.sv").write_text("module a; endmodule\n")
    return Simulation("toy", "hsflow_tb", tmp_path, "verilator", ("a.sv",), Conditions(), timeout=2.0)


def test_a_build_without_a_program_fails(simulation: Simulation) -> None:
    with pytest.raises(ToolError, match="left no program"):
        simulation.build(("true", []))
    assert not (simulation.work_root / BUILD_STAMP).exists()


def test_a_failed_build_shows_its_log(simulation: Simulation) -> None:
    with pytest.raises(ToolError, match="the cause"):
        simulation.build(("sh", ["-c", "echo the cause; exit 1"]))


def test_a_source_copied_meanwhile_is_built_again(simulation: Simulation) -> None:
    """The first build sees a half-written source, as beside another FuseSoC that is copying it."""
    script = "if [ -e twice ]; then touch Vhsflow_tb; else touch twice; echo >> a.sv; exit 1; fi"
    simulation.build(("sh", ["-c", script]))
    assert (simulation.work_root / BUILD_STAMP).exists()


def test_sources_that_never_rest_are_an_error(simulation: Simulation) -> None:
    with pytest.raises(ToolError, match="change while"):
        simulation.build(("sh", ["-c", "touch Vhsflow_tb; echo >> a.sv"]))


def write_simulator(simulation: Simulation, script: str) -> None:
    program = simulation.work_root / "Vhsflow_tb"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)


def test_a_simulation_that_hangs_is_killed(simulation: Simulation) -> None:
    write_simulator(simulation, "exec sleep 600")
    with pytest.raises(ToolError, match="ran out of time"):
        simulation.run()


def test_a_simulation_that_writes_nothing_fails_though_it_exits_with_0(simulation: Simulation) -> None:
    (simulation.work_root / RESULTS).write_text("an old run's\n")
    write_simulator(simulation, "exit 0")
    with pytest.raises(MismatchError, match="no results"):
        simulation.run()


@needs_icarus
def test_a_missing_tool_is_said(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    for tool in ("make", "sh"):
        (folder / tool).symlink_to(str(shutil.which(tool)))
    monkeypatch.setenv("PATH", str(folder))
    assert run_target("icarus", tree, tmp_path / "work") != 0
    assert "iverilog" in capfd.readouterr().err


def test_a_folder_without_a_core_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="exactly one core"):
        run_target("sim", tmp_path, tmp_path / "work")
