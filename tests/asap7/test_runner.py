# SPDX-License-Identifier: Apache-2.0
"""A step of the flow: its folder is new for each attempt, its record comes last, and nothing stale or missing passes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hsflow_asap7 import runner, summary
from hsflow_asap7.request import Request, read_request
from hsflow_asap7.runner import Job, Record, Status, Step, outcome, perform, read_record
from mini_platform import mini_platform

from hsflow import metrics, thresholds
from hsflow.durable import replace_file
from hsflow.errors import ConfigurationError, HsflowError, ToolError
from hsflow.metrics import Metric, make_metric
from hsflow.process import run
from hsflow.results import RECORD

Work = Callable[[Job], metrics.Metrics]
LINE = "from pathlib import Path; Path({target!r}).write_text(Path({source!r}).read_text() + 'more')"


def synthesize(job: Job) -> metrics.Metrics:
    """Be a step that runs a program."""
    target, source = str(job.folder / "netlist.v"), str(job.source("a.sv"))
    run([sys.executable, "-c", LINE.format(target=target, source=source)])
    return {"synth__area": make_metric("synth__area", 3.5, "um^2", "lower")}


def measure(job: Job) -> metrics.Metrics:
    """Be a step that reads what another has left."""
    text = job.made_by("synthesis", "netlist.v").read_text()
    (job.folder / "report.txt").write_text(text)
    return {"timing__length": make_metric("timing__length", len(text))}


def step(name: str, prefix: str, work: Work, output: str, needs: tuple[str, ...] = ()) -> Step:
    def inputs(request: Request) -> tuple[str, ...]:
        return () if needs else request.sources

    return Step(
        name, prefix, f"{name} of a toy", (output,), work, needs=needs, options=("top", "sources"), inputs=inputs
    )  # fmt: skip


SYNTHESIS = step("synthesis", "synth", synthesize, "netlist.v")
TIMING = step("timing", "timing", measure, "report.txt", ("synthesis",))


@pytest.fixture
def work_root(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "a.sv").write_text("module a; endmodule\n")
    mini_platform(tmp_path / "platform")
    return folder


@pytest.fixture
def request_(work_root: Path) -> Request:
    platform = str(work_root.parent / "platform")
    return Request(top="a", sources=("a.sv",), records=(RECORD,), platform_folder=platform, clock_mhz=1000.0)


def test_a_step_records_what_it_read_ran_and_wrote(work_root: Path, request_: Request) -> None:
    record = perform(SYNTHESIS, request_, work_root)
    assert record == read_record(work_root / "synthesis") and record.status is Status.DONE
    assert set(record.inputs) == {"a.sv"} and record.peak_mib > 1 and record.wall_seconds > 0
    assert set(record.outputs) == {"synthesis/netlist.v", "synthesis/metrics.json"}
    assert record.commands[0][:2] == (sys.executable, "-c") and len(record.commands) == 1


def test_a_step_runs_again_only_if_something_has_changed(
    work_root: Path, request_: Request, capsys: pytest.CaptureFixture[str]
) -> None:
    first = perform(SYNTHESIS, request_, work_root)
    assert perform(SYNTHESIS, request_.model_copy(update={"clock_mhz": 2.0}), work_root) == first
    assert "up to date" in capsys.readouterr().err
    assert perform(SYNTHESIS, request_.model_copy(update={"top": "b"}), work_root).key != first.key
    (work_root / "a.sv").write_text("module b; endmodule\n")
    assert perform(SYNTHESIS, request_, work_root).outputs != first.outputs
    assert "up to date" not in capsys.readouterr().err


def test_another_library_is_another_result(work_root: Path, request_: Request) -> None:
    first = perform(SYNTHESIS, request_, work_root)
    path = next((work_root.parent / "platform").rglob("*SIMPLE*_TT_*.lib"))
    path.write_text(path.read_text() + "\n")
    assert perform(SYNTHESIS, request_, work_root).key != first.key


@pytest.mark.parametrize("damage", ["netlist.v", "metrics.json", "step.json"])
def test_a_result_that_was_touched_is_made_anew(work_root: Path, request_: Request, damage: str) -> None:
    first = perform(SYNTHESIS, request_, work_root)
    (work_root / "synthesis" / "leftover").touch()
    path = work_root / "synthesis" / damage
    path.write_text(path.read_text() + " ")
    if damage == "step.json":
        path.unlink()
    else:
        with pytest.raises(HsflowError, match="has no result of these inputs"):
            outcome(SYNTHESIS, request_, work_root)
    assert perform(SYNTHESIS, request_, work_root).outputs == first.outputs
    assert not (work_root / "synthesis" / "leftover").exists()


def test_a_step_that_fails_leaves_no_old_result_and_says_why(work_root: Path, request_: Request) -> None:
    def fail(job: Job) -> metrics.Metrics:
        (job.folder / "netlist.v").write_text("half")
        run([sys.executable, "-c", "raise SystemExit(3)"])
        return {}

    perform(SYNTHESIS, request_, work_root)
    (work_root / "a.sv").write_text("module b; endmodule\n")
    with pytest.raises(ToolError, match="the program failed"):
        perform(replace(SYNTHESIS, work=fail), request_, work_root)
    record = read_record(work_root / "synthesis")
    assert record is not None and record.status is Status.FAILED and "the program failed" in record.reason
    assert not (work_root / "synthesis" / "metrics.json").exists()
    with pytest.raises(HsflowError, match="has no result of these inputs"):
        outcome(SYNTHESIS, request_, work_root)
    after = perform(TIMING, request_, work_root)
    assert (after.status, after.reason) == (Status.SKIPPED, "it needs synthesis, which was not done")


def test_a_step_that_leaves_nothing_fails(work_root: Path, request_: Request) -> None:
    def leave_empty(job: Job) -> metrics.Metrics:
        (job.folder / "netlist.v").touch()
        return {}

    for work in (leave_empty, lambda job: {}):
        with pytest.raises(ToolError, match=r"left no netlist\.v"):
            perform(replace(SYNTHESIS, work=work), request_, work_root)


def test_a_step_whose_tool_is_missing_is_skipped_and_so_are_those_after(
    work_root: Path, request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(work_root))
    perform(TIMING, request_, work_root)
    lacking = replace(SYNTHESIS, tools=("openroad",))
    record = perform(lacking, request_, work_root)
    assert record.status is Status.SKIPPED and not record.outputs
    assert record.reason.startswith("openroad: the tool is not installed; ") and "OpenROAD" in record.reason
    after = perform(TIMING, request_, work_root)
    assert (after.status, after.reason) == (Status.SKIPPED, record.reason)
    with pytest.raises(ToolError, match="no step could be run"):
        summary.conclude([lacking, TIMING], request_, work_root)
    assert not (work_root / "metrics.json").exists()


def test_a_helper_may_be_absent_and_makes_another_result_once_it_is_there(
    work_root: Path, request_: Request, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(work_root))
    helped = replace(SYNTHESIS, helpers=("openroad",))
    without = perform(helped, request_, work_root)
    assert (without.status, without.tools) == (Status.DONE, {})
    program = work_root / "openroad"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    with_it = perform(helped, request_, work_root)
    assert with_it.tools == {"openroad": str(program)} and with_it.key != without.key


def test_a_file_that_changes_between_two_steps_is_found(work_root: Path, request_: Request) -> None:
    perform(SYNTHESIS, request_, work_root)
    (work_root / "synthesis" / "netlist.v").write_text("module other; endmodule\n")
    with pytest.raises(HsflowError, match="not what the step before left"):
        perform(TIMING, request_, work_root)


def test_a_missing_source_is_named(work_root: Path, request_: Request) -> None:
    (work_root / "a.sv").unlink()
    with pytest.raises(HsflowError, match="lacks a file"):
        perform(SYNTHESIS, request_, work_root)


def run_all(work_root: Path, request_: Request, *steps: Step) -> metrics.Metrics:
    for each in steps:
        perform(each, request_, work_root)
    return summary.conclude(steps, request_, work_root)


def test_the_figures_of_all_steps_and_stages_become_one_file(work_root: Path, request_: Request) -> None:
    stage = {"harden.adders": Metric(value=7, unit="adders", better="lower")}
    (work_root / RECORD).write_text(metrics.to_json(stage))
    found = run_all(work_root, request_, SYNTHESIS, TIMING)
    assert found == metrics.from_json((work_root / "metrics.json").read_text())
    assert set(found) == {
        "harden.adders", "synth__area", "synth__status", "synth__runtime__total", "synth__mem__peak",
        "timing__length", "timing__status", "timing__runtime__total", "timing__mem__peak",
    }  # fmt: skip
    assert found["synth__status"].value == "done" and summary.statements([SYNTHESIS, TIMING], found) == []


def test_a_skipped_step_has_a_plain_statement_and_no_figure(work_root: Path, request_: Request) -> None:
    lacking = replace(TIMING, tools=("openroad",))
    found = run_all(work_root, request_, SYNTHESIS, lacking)
    assert str(found["timing__status"].value).startswith("skipped: openroad: the tool is not installed")
    assert [name for name in found if name.startswith("timing__")] == ["timing__status"]
    (line,) = summary.statements([SYNTHESIS, lacking], found)
    assert line.startswith("timing was skipped: openroad")


def test_one_reason_is_told_once_for_all_its_steps(work_root: Path, request_: Request) -> None:
    lacking = replace(TIMING, tools=("openroad",))
    after = replace(TIMING, name="power", prefix="power", needs=("timing",))
    found = run_all(work_root, request_, SYNTHESIS, lacking, after)
    (line,) = summary.statements([SYNTHESIS, lacking, after], found)
    assert line.startswith("timing, power were skipped: openroad: the tool is not installed")


def test_a_missing_python_module_is_named(work_root: Path, request_: Request) -> None:
    record = perform(replace(SYNTHESIS, modules=("no_such_module",)), request_, work_root)
    assert record.status is Status.SKIPPED and "pip install no_such_module" in record.reason


def test_a_run_that_goes_no_further_shows_no_figure_of_an_earlier_one(
    work_root: Path, request_: Request
) -> None:
    run_all(work_root, request_, SYNTHESIS, TIMING)
    assert not [name for name in run_all(work_root, request_, SYNTHESIS) if name.startswith("timing")]


@pytest.mark.parametrize(
    ("name", "bound", "message"),
    [
        ("synth__area", {"max": 3.0}, r"synth__area is 3\.5 um\^2; at most 3"),
        ("route__wirelength", {"max": 3.0}, "route__wirelength was not measured"),
        ("simulate.latency", {"max": 3.0}, None),
        ("synth__area", {"max": 4.0}, None),
    ],
)
def test_thresholds_fail_the_run_also_where_nothing_was_measured(
    work_root: Path, request_: Request, name: str, bound: dict[str, float], message: str | None
) -> None:
    limits = thresholds.parse({name: bound}, [])
    replace_file(work_root / thresholds.RECORD, thresholds.to_json(limits).encode())
    if message is None:
        run_all(work_root, request_, SYNTHESIS)
        return
    with pytest.raises(HsflowError, match=message):
        run_all(work_root, request_, SYNTHESIS)
    assert (work_root / "metrics.json").is_file(), "the figures are right, and can be looked at"


def test_a_request_comes_back_and_a_damaged_one_is_refused(work_root: Path, request_: Request) -> None:
    request_.write(work_root)
    assert read_request(work_root) == request_
    (work_root / "asap7.json").write_text("{}")
    with pytest.raises(ConfigurationError, match="request cannot be read"):
        read_request(work_root)
    with pytest.raises(ConfigurationError, match="adders"):
        Request.of({**request_.model_dump(), "adders": "wallace"})


def test_a_record_of_another_kind_is_none(tmp_path: Path) -> None:
    (tmp_path / runner.RECORD).write_text('{"step": "timing", "status": "perfect"}')
    assert read_record(tmp_path) is None
    assert Record(step="a", status=Status.DONE).outputs == {}
