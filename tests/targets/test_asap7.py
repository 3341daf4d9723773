# SPDX-License-Identifier: Apache-2.0
"""The target `asap7` by FuseSoC and Edalize: a toy design on a toy library, through every step whose tool is here."""

from __future__ import annotations

import html
import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import toy_design as toy
import toy_report
from hsflow_asap7.report import chip_sections
from hsflow_asap7.runner import Record, Status, read_record
from hsflow_asap7.steps import STEPS
from mini_platform import mini_platform

from hsflow import metrics, thresholds
from hsflow.eda import run_target
from hsflow.metrics import Metric
from hsflow.process import output_into
from hsflow.report.content import Histogram, Section, Treemap, check
from hsflow.report.page import render_page
from hsflow.report.result import Result, Run

pytest.importorskip("pyosys")
needs_opensta = pytest.mark.skipif(shutil.which("sta") is None, reason="OpenSTA (sta) is not installed")


@dataclass(frozen=True)
class Chip:
    """Hold a toy design, the work root of its target, and the library."""

    tree: Path
    work: Path
    platform: Path

    def run(self, *words: str) -> tuple[int, str]:
        """Run the target; return its exit status and what it said."""
        log = self.work.parent / "said.log"
        with output_into(log):
            status = run_target(
                "asap7", self.tree, self.work, arguments=[f"--platform={self.platform}", *words]
            )
        return status, log.read_text()

    def figures(self) -> dict[str, Metric]:
        return metrics.from_json((self.work / "metrics.json").read_bytes())

    def record(self, step: str) -> Record:
        found = read_record(self.work / step)
        assert found is not None
        return found


@pytest.fixture(scope="module")
def chip(tmp_path_factory: pytest.TempPathFactory) -> Chip:
    """Return a chip after a whole run; tests that change it put it back."""
    folder = tmp_path_factory.mktemp("chip")
    made = Chip(folder / "tree", folder / "work", mini_platform(folder / "platform").root)
    toy.write_toy_chip(made.tree)
    status, said = made.run()
    assert status == 0, said
    return made


@pytest.fixture
def changed(chip: Chip) -> Sequence[Callable[[str, str, str], None]]:
    """Return a function that replaces a text in a file of the design, until the test ends."""
    originals: dict[Path, str] = {}

    def change(file: str, old: str, new: str) -> None:
        path = chip.tree / file
        originals.setdefault(path, path.read_text())
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new, 1))

    yield change  # type: ignore[misc]
    for path, text in originals.items():
        path.write_text(text)


def test_every_step_is_done_or_says_why_not(chip: Chip) -> None:
    found = chip.figures()
    for step in STEPS.values():
        record, status = chip.record(step.name), str(found[f"{step.prefix}__status"].value)
        if record.status is Status.DONE:
            assert status == "done" and record.wall_seconds > 0 and record.peak_mib > 1
            assert all((chip.work / name).is_file() for name in record.outputs)
        else:
            assert record.status is Status.SKIPPED and status == f"skipped: {record.reason}"
            assert [name for name in found if name.startswith(f"{step.prefix}__")] == [
                f"{step.prefix}__status"
            ]
    for name in ("synthesis", "proof", "simulation", "power"):
        assert chip.record(name).status is Status.DONE


def test_the_figures_have_units_and_directions(chip: Chip) -> None:
    found = chip.figures()
    area, cells = found["synth__design__instance__area"], found["synth__design__instance__count"]
    assert (area.unit, area.better, cells.better) == ("um^2", "lower", "lower")
    assert area.value > 100 and cells.value > 300
    assert found["proof__outputs__unequal"].value == 0 and found["proof__registers"].value > 200
    assert found["simulate.mismatches"].value == 0 and found["simulate.images"].value == toy.IMAGES
    parts = [found[f"power__{part}__total"].value for part in ("clock", "register", "logic", "memory")]
    assert found["power__total"].value == pytest.approx(sum(parts)) and found["power__total"].unit == "W"
    assert found["power__energy_per_image"].value > 0 and found["power__annotated"].value > 99


@needs_opensta
def test_a_slower_corner_has_less_slack(chip: Chip) -> None:
    found = chip.figures()
    slacks = [found[f"timing__setup__ws__corner:{corner}"] for corner in ("ss", "tt", "ff")]
    assert [slack.value for slack in slacks] == sorted(slack.value for slack in slacks)
    assert {(slack.unit, slack.better) for slack in slacks} == {("ps", "higher")}
    clock = 1e6 / (1000.0 - float(slacks[1].value))
    assert found["timing__fmax__corner:tt"].value == pytest.approx(clock)


def test_a_second_run_does_nothing_again_and_measures_the_same(chip: Chip) -> None:
    before = (chip.work / "metrics.json").read_bytes()
    status, said = chip.run()
    assert status == 0
    done = [step for step in STEPS if chip.record(step).status is Status.DONE]
    assert [step for step in STEPS if f"{step}: up to date" in said] == done
    assert (chip.work / "metrics.json").read_bytes() == before


def sections(chip: Chip) -> list[Section]:
    design = toy_report.design(("first",))
    return chip_sections(Result(design, runs=(Run(str(chip.work), chip.figures()),)))


def test_the_report_shows_area_timing_and_power(chip: Chip) -> None:
    (section,) = [check(section) for section in sections(chip)]
    kinds = [type(part) for part in section.content]
    assert Treemap in kinds and (Histogram in kinds) == (shutil.which("sta") is not None)
    (treemap,) = [part for part in section.content if isinstance(part, Treemap)]
    area = chip.figures()["synth__design__instance__area"].value
    assert sum(group.value for group in treemap.groups) == pytest.approx(area)
    text = render_page("toy", [section])
    assert "Power at 1,000 MHz, from the switching of 16 real images" in text
    for step in STEPS.values():
        if chip.record(step.name).status is Status.SKIPPED:
            assert f"{chip.record(step.name).reason}." in html.unescape(text)


def test_a_wrong_result_at_gate_level_fails_and_leaves_no_figures(
    chip: Chip, changed: Callable[[str, str, str], None]
) -> None:
    changed("data/expected.txt", "0000012d", "0000012c")
    status, said = chip.run()
    assert status != 0 and "results are wrong" in said
    assert chip.record("simulation").status is Status.FAILED
    assert not (chip.work / "metrics.json").exists()
    assert chip.run("--until=synthesis")[0] == 0, "and what has no part in it goes on"


def test_another_clock_is_another_timing(chip: Chip) -> None:
    status, said = chip.run("--until=synthesis", "--clock_mhz=500")
    assert status == 0, said
    assert "clock_mhz" in (chip.work / "asap7.json").read_text()
    assert json.loads((chip.work / "asap7.json").read_text())["clock_mhz"] == 500
    assert "synthesis: RTL to cells" in said and "proof" not in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--until=routing",), "an unknown step"),
        (("--adders=wallace", "--until=synthesis"), "an option of the flow is not right"),
    ],
)
def test_a_wrong_option_is_named(chip: Chip, words: Sequence[str], message: str) -> None:
    status, said = chip.run(*words)
    assert status != 0 and message in said


def test_a_missing_platform_is_explained(chip: Chip, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HSFLOW_ASAP7", raising=False)
    log = chip.work.parent / "said.log"
    with output_into(log):
        assert run_target("asap7", chip.tree, chip.work.parent / "other") != 0
    assert "--platform FOLDER or HSFLOW_ASAP7=FOLDER" in log.read_text()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("synth__design__instance__area", "at most 1"),
        ("finish__design__instance__area", "was not measured"),
    ],
)
def test_a_threshold_beside_the_core_fails_the_run(chip: Chip, name: str, message: str) -> None:
    record = chip.tree / thresholds.RECORD
    record.write_text(thresholds.to_json(thresholds.parse({name: {"max": 1.0}}, [])))
    try:
        status, said = chip.run("--until=synthesis")
    finally:
        record.unlink()
    assert status != 0 and name in said and message in said
    assert chip.run("--until=synthesis")[0] == 0


def test_a_step_that_was_not_asked_for_has_no_figure_in_the_report(chip: Chip) -> None:
    status, said = chip.run("--until=synthesis")
    assert status == 0, said
    (section,) = sections(chip)
    text = render_page("toy", [section])
    assert "Not asked for: proof, simulation, timing, power" in text
    assert "Power at" not in text and "not measured" in text
    assert chip_sections(replace(Result(toy_report.design()), runs=())) == []
