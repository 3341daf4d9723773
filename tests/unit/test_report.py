# SPDX-License-Identifier: Apache-2.0
"""The report is whole, deterministic, well-formed HTML that no name and no plugin can break."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy_report
from toy_report import METRICS, design, result, weight

from hsflow import hookimpl
from hsflow.area import Area, network_area
from hsflow.design import Design, DesignFile, FileRole
from hsflow.errors import HsflowError, PluginError
from hsflow.ir.tensor import Block
from hsflow.metrics import Metric, to_json
from hsflow.plan import RooflinePoint
from hsflow.plugins import PluginManager, load_plugins
from hsflow.report.axes import Scale, short
from hsflow.report.content import (
    Axis,
    Bar,
    BarChart,
    BarRow,
    Cell,
    Column,
    Content,
    Fact,
    Facts,
    Histogram,
    Panel,
    Paragraph,
    Picture,
    Plot,
    Point,
    Region,
    RegionGroup,
    Section,
    Series,
    Table,
    Tone,
    Treemap,
    check,
)
from hsflow.report.page import render_page, render_report, write_report
from hsflow.report.result import Result, Run
from hsflow.report.roofline import built_point, roofline_section
from hsflow.report.runs import find_runs
from hsflow.report.weights import weight_facts

HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=y>&amp;"
VOID = {"meta", "img", "wbr", "rect", "line", "circle", "link"}
PNG = b"\x89PNG\r\n\x1a\n rest"


@dataclass
class Page(HTMLParser):
    """Hold a page's structure; `feed` raises where tags do not close in order."""

    text_of: list[tuple[str, str]] = field(default_factory=list)
    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    stack: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert tag not in VOID and self.stack.pop() == tag, f"</{tag}> within {self.stack}"

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.text_of.append((self.stack[-1] if self.stack else "", data.strip()))

    def texts(self, tag: str) -> list[str]:
        return [text for inside, text in self.text_of if inside == tag]

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)


def parse(text: str) -> Page:
    page = Page()
    page.feed(text)
    page.close()
    assert page.stack == []
    return page


def plain(text: str) -> str:
    """Return the page's words."""
    return " ".join(words for tag, words in parse(text).text_of if tag not in ("style", "script"))


def test_the_page_has_its_sections_in_order() -> None:
    page = parse(render_report(result()))
    assert page.texts("h1") == ["toy"]
    assert page.texts("h2") == [
        "Summary", "Verification", "Layers", "Hardware by layer", "Weights", "Programmable last layer",
        "All figures of the stages", "How to read this report",
    ]  # fmt: skip


def test_every_table_is_accessible() -> None:
    page = parse(render_report(result()))
    assert page.count("table") == page.count("caption") == 8
    assert all("scope" in attributes for tag, attributes in page.elements if tag == "th")
    pictures = [attributes for tag, attributes in page.elements if tag == "svg"]
    assert pictures and all("aria-hidden" in entry or "aria-label" in entry for entry in pictures)


def test_the_page_needs_nothing_from_outside() -> None:
    text = render_report(result())
    assert not re.search(r"https?:|//[a-z]|@import|url\(", text.replace("'sha256-", ""))
    page = parse(text)
    assert page.count("script") == page.count("style") == 1
    policy = next(a["content"] for t, a in page.elements if t == "meta" and "http-equiv" in a)
    assert policy is not None and policy.startswith("default-src 'none'") and "script-src 'sha256-" in policy


def test_the_summary_tells_the_figures() -> None:
    words = plain(render_report(result()))
    for expected in (
        "90.25",
        "float 91.50 %, -1.25 points",
        "31.25 M",
        "one image each 16 cycles at 500 MHz",
        "80 ns",
    ):
        assert expected in words
    assert f"{network_area(design().layers).logic:,.0f}" in words and "3 x 1" in words


def test_the_statement_about_cycles_is_there() -> None:
    assert "that the logic reaches this clock is for synthesis and timing analysis to show" in plain(
        render_report(result())
    )


def test_the_bytes_are_the_same_each_time_and_in_each_process() -> None:
    text = render_report(result())
    assert render_report(result()) == text
    script = "from toy_report import result; from hsflow.report.page import render_report; print(render_report(result()), end='')"
    environment = {**os.environ, "PYTHONPATH": str(Path(toy_report.__file__).parent), "PYTHONHASHSEED": "7"}
    environment["PYTHONIOENCODING"] = "utf-8"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, env=environment)
    assert done.stdout.decode() == text


def test_wall_times_are_not_shown() -> None:
    slower = {**METRICS, "harden.wall_seconds": Metric(value=99.9, unit="s", better="lower")}
    assert render_report(replace(result(), metrics=slower)) == render_report(result())


@pytest.mark.parametrize("name", [HOSTILE, "</style></script><b>", "\u202eleft", "\x00", "\ud800", "a" * 500])
def test_a_name_is_never_markup(name: str) -> None:
    text = render_report(result(design((name, "second"), name)))
    text.encode()
    harmless = parse(render_report(result(design(("first", "second")))))
    hostile = parse(text)
    without_breaks = [entry for entry in hostile.elements if entry[0] != "wbr"]
    assert [tag for tag, _ in without_breaks] == [tag for tag, _ in harmless.elements if tag != "wbr"]
    assert not [attributes for _, attributes in hostile.elements if {"onerror", "onload"} & set(attributes)]
    if name == HOSTILE:
        assert HOSTILE in hostile.texts("h1") and "<script>alert" not in text


def test_metrics_are_escaped() -> None:
    named = {**METRICS, "load.note": Metric(value=HOSTILE, unit=HOSTILE)}
    assert "<script>alert" not in render_report(replace(result(), metrics=named))


@pytest.mark.parametrize("npu", [True, False])
def test_a_design_without_layers_has_a_report(npu: bool) -> None:
    words = plain(render_report(Result(design((), npu=npu))))
    assert "No layer of this design is hardened." in words and "not measured" in words


def test_a_design_without_cost_has_a_report() -> None:
    empty = replace(
        toy_report.cost("a", 0), weights=0, zero_weights=0, adders_before_sharing=0, adders=0, full_adder_bits=0,
        register_bits=0, line_buffer_bits=0, fifo_bits=0,
    )  # fmt: skip
    parse(render_report(Result(replace(design(("a",)), layers=(empty,), initiation_interval=0, latency=0))))


def test_sixty_layers_have_sixty_rows_in_each_table() -> None:
    names = [f"features.{number}.conv" for number in range(60)]
    page = parse(render_report(result(design(names))))
    last = "59."
    assert page.texts("th").count(last) == 3
    assert len(render_report(result(design(names)))) < 300_000


def test_the_weights_are_counted() -> None:
    [facts, _] = weight_facts(design().graph)
    assert (facts.weights, facts.zeros, facts.distinct) == (4, 1, 3)
    assert (facts.second_terms, facts.negative, facts.terms) == (1, 1, 4)
    assert facts.exponents == (1, 1, 1, 1, 0)
    single = weight(second_term=False)
    assert int(np.abs(single.integers).sum()) == 13


def test_shares_are_parts_of_the_whole_and_duty_of_the_interval() -> None:
    words = plain(render_report(result()))
    assert "The largest layer holds 50 % of the estimated area" in words
    assert "busy 62.5 % of the time" in words


def simulated(design_: Design, folder: Path, **changed: Any) -> None:
    """Leave what a simulation of a design leaves."""
    folder.mkdir(parents=True)
    for file in design_.files:
        (folder / Path(file.path).name).write_text(file.text)
    measured = {"images": 5, "results": 15, "mismatches": 0, "latency": 40, "initiation_interval": 16}
    figures = {**METRICS, **{f"simulate.{name}": Metric(value=value) for name, value in measured.items()}}
    (folder / "metrics.json").write_text(to_json({**figures, **changed}))


@pytest.fixture
def packaged() -> Design:
    names = ("simulation.json", "stimulus.hex", "expected.txt")
    return replace(design(), files=tuple(DesignFile(f"data/{name}", name, FileRole.DATA) for name in names))


def test_a_simulation_of_the_design_is_shown(tmp_path: Path, packaged: Design) -> None:
    simulated(packaged, tmp_path / "work" / "sim")
    runs, foreign = find_runs(tmp_path / "work", packaged, METRICS)
    assert foreign == () and list(runs[0].metrics) == [
        f"simulate.{name}" for name in ("images", "initiation_interval", "latency", "mismatches", "results")
    ]
    words = plain(render_report(Result(packaged, METRICS, 500.0, runs)))
    assert "5 images simulated, 0 of 15 results differ from the integer network" in words


def test_a_run_of_another_build_is_named_and_not_shown(tmp_path: Path, packaged: Design) -> None:
    work = tmp_path / "work"
    simulated(packaged, work / "figures", **{"harden.adders": Metric(value=5, unit="adders", better="lower")})
    simulated(packaged, work / "vectors")
    (work / "vectors" / "expected.txt").write_text("others")
    simulated(packaged, work / "gone")
    (work / "gone" / "stimulus.hex").unlink()
    (work / "broken").mkdir()
    (work / "broken" / "metrics.json").write_text("{")
    (work / "chip").mkdir()
    (work / "chip" / "metrics.json").write_text(to_json({**METRICS, "synth__status": Metric(value="done")}))
    runs, foreign = find_runs(work, packaged, METRICS)
    names = ["broken", "chip", "figures", "gone", "vectors"]
    assert runs == () and [Path(place).name for place in foreign] == names
    words = plain(render_report(Result(packaged, METRICS, 500.0, runs, foreign)))
    assert "vectors holds a run of another build" in words and "images simulated" not in words


def test_a_simulation_with_wrong_results_is_a_warning() -> None:
    wrong = {"simulate.images": Metric(value=1), "simulate.mismatches": Metric(value=2)}
    text = render_report(replace(result(), runs=(Run("work/sim", wrong),)))
    assert '<p class="warning">work/sim: 1 images simulated, 2 of' in text


@dataclass
class Given:
    """Be a plugin that gives sections, or raises."""

    sections: Any

    @hookimpl
    def hsflow_report_sections(self, result: Result) -> Sequence[Section]:
        if isinstance(self.sections, Exception):
            raise self.sections
        return self.sections  # type: ignore[no-any-return]


def plugins(**given: Any) -> PluginManager:
    return load_plugins({name: Given(sections) for name, sections in given.items()}, installed=False)


ALL_CONTENT: tuple[Content, ...] = (
    Paragraph(HOSTILE, Tone.NOTE),
    Facts((Fact(HOSTILE, HOSTILE, HOSTILE, HOSTILE),)),
    Table(HOSTILE, (Column(HOSTILE, HOSTILE), Column("b")), ((Cell(HOSTILE, 1.0, 0.5, (1, 2)), Cell("")),), (Cell(""), Cell(""))),
    BarChart(HOSTILE, HOSTILE, (Panel(HOSTILE, (HOSTILE, "b")),), (BarRow(HOSTILE, (Bar((1.0, 2.0), HOSTILE),)),)),
    Plot(HOSTILE, HOSTILE, Axis(HOSTILE, HOSTILE, True), Axis("y"), (Series(HOSTILE, (Point(1, 2, HOSTILE), Point(9, 3))),)),
    Histogram(HOSTILE, HOSTILE, Axis(HOSTILE, HOSTILE), (-2.0, 0.0, 2.0), (1, 3), 0.0),
    Treemap(HOSTILE, HOSTILE, HOSTILE, (HOSTILE,), (RegionGroup(HOSTILE, (Region(0, 2.0),)), RegionGroup("b", ()))),
    Picture(HOSTILE, HOSTILE, PNG),
)  # fmt: skip


def test_a_plugin_adds_sections_with_every_content() -> None:
    text = render_report(result(), plugins(b=[Section("Second", ())], a=[Section("First", ALL_CONTENT)]))
    page = parse(text)
    titles = page.texts("h2")
    assert titles.index("First") + 1 == titles.index("Second") < titles.index("All figures of the stages")
    assert "<script>alert" not in text and page.count("script") == 1
    assert [attributes["src"] for tag, attributes in page.elements if tag == "img"] == [
        "data:image/png;base64,iVBORw0KGgogcmVzdA=="
    ]


class Markup(str):
    """Claim to be safe, as a template engine's own type does."""

    def __html__(self) -> str:
        return self


BAD_SECTIONS = {
    "raises": ValueError("no <b>plan</b>"),
    "refuses": HsflowError("no plan", where="there"),
    "none": None,
    "text": ["a section"],
    "markup": [Section(Markup("<b>"), ())],
    "markup within": [Section("a", (Paragraph(Markup("<b>")),))],
    "list": [Section("a", [Paragraph("b")])],  # type: ignore[arg-type]
    "infinite": [Section("a", (Table("t", (Column("c"),), ((Cell("x", float("nan")),),)),))],
    "a row too long": [Section("a", (Table("t", (Column("c"),), ((Cell("x"), Cell("y")),)),))],
    "no column": [Section("a", (Table("t", (), ()),))],
    "a bar too few": [Section("a", (BarChart("c", "h", (Panel("p", ("s",)),), (BarRow("r", ()),)),))],
    "a bar below 0": [Section("a", (BarChart("c", "h", (Panel("p", ("s",)),), (BarRow("r", (Bar((-1.0,), ""),)),)),))],
    "a logarithm of 0": [Section("a", (Plot("c", "d", Axis("x", "", True), Axis("y"), (Series("s", (Point(0, 1),)),)),))],
    "a count too few": [Section("a", (Histogram("c", "d", Axis("x"), (0.0, 1.0), ()),))],
    "edges that fall": [Section("a", (Histogram("c", "d", Axis("x"), (0.0, 1.0, 1.0), (1, 1)),))],
    "a region below 0": [Section("a", (Treemap("c", "d", "u", ("k",), (RegionGroup("g", (Region(0, -1.0),)),)),))],
    "a region of no kind": [Section("a", (Treemap("c", "d", "u", ("k",), (RegionGroup("g", (Region(1, 1.0),)),)),))],
    "no picture": [Section("a", (Picture("c", "d", b"<svg>"),))],
    "another content": [Section("a", (Fact("a", "b"),))],  # type: ignore[arg-type]
    "a number for a text": [Section("a", (BarChart("c", "h", (Panel("p", ("s",)),), (BarRow("r", (Bar((1.0,), 3),)),)),))],  # type: ignore[arg-type]
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_SECTIONS)
def test_a_plugin_that_fails_is_named_and_breaks_nothing(case: str) -> None:
    text = render_report(result(), plugins(broken=BAD_SECTIONS[case], fine=[Section("Fine", ())]))
    titles = parse(text).texts("h2")
    assert titles.index("Missing: broken") + 1 == titles.index("Fine")
    assert "The plugin &#39;broken&#39; of this process 0 failed to give its sections" in text
    assert "<b>" not in text


def test_content_that_is_right_passes_the_check() -> None:
    section = Section("a", ALL_CONTENT)
    assert check(section) is section
    with pytest.raises(PluginError, match=r"Section.content\[0\].text"):
        check(Section("a", (Paragraph(b"".join),)))  # type: ignore[arg-type]


def test_bars_are_parts_of_the_widest() -> None:
    panels = (
        Panel("over", ("a", "b")),
        Panel("after", ("a", "b"), stacked=True),
        Panel("of 8", ("a",), maximum=8),
    )
    rows = (
        BarRow("r", (Bar((4.0, 2.0), ""), Bar((3.0, 1.0), ""), Bar((2.0,), ""))),
        BarRow("s", (Bar((1.0, 1.0), ""), Bar((2.0, 0.0), ""), Bar((0.0,), ""))),
    )
    text = render_page("t", [Section("s", (BarChart("c", "h", panels, rows),))])
    bars = [
        (entry["x"], entry["width"]) for tag, entry in parse(text).elements if tag == "rect" and "x" in entry
    ]
    assert bars[:5] == [("0%", "100%"), ("0%", "50%"), ("0%", "75%"), ("75%", "25%"), ("0%", "25%")]


def test_a_histogram_s_bars_are_as_high_as_their_counts_and_stand_out_below_the_bound() -> None:
    histogram = Histogram("c", "d", Axis("slack", "ps"), (-10.0, 0.0, 10.0, 20.0), (1, 0, 4), 0.0)
    page = parse(render_page("t", [Section("s", (histogram,))]))
    bars = [entry for tag, entry in page.elements if tag == "rect"]
    assert [(bar["class"], bar["height"]) for bar in bars] == [("beyond", "25%"), ("single", "100%")]
    assert "slack (ps)" in page.texts("p")


def test_a_treemap_s_boxes_are_as_large_as_their_values() -> None:
    groups = (
        RegionGroup("small", (Region(0, 10.0),)),
        RegionGroup("large", (Region(0, 20.0), Region(1, 10.0))),
    )
    page = parse(
        render_page("t", [Section("s", (Treemap("c", "d", "um²", ("adders", "registers"), groups),))])
    )
    boxes = [entry for tag, entry in page.elements if tag == "svg" and "x" in entry]
    areas = [float(box["width"][:-1]) * float(box["height"][:-1]) / 100 for box in boxes]
    assert areas == pytest.approx([75.0, 25.0])
    assert page.texts("title")[1:] == ["large: 30 um²", "small: 10 um²"]
    assert page.texts("text") == ["large", "small"]


@pytest.mark.parametrize("intervals", [(), (4,), (4, 16, 64)])
def test_points_of_a_plan_are_drawn_as_a_roofline(intervals: tuple[int, ...]) -> None:
    points = tuple(
        RooflinePoint(Block(), interval, 9, Area(4e6 / interval, 1e6, 0.0)) for interval in intervals
    )
    section = check(roofline_section(points, result()))
    page = parse(render_report(result(), plugins(plan=[section])))
    assert "Area at other speeds" in page.texts("h2") and "this build" in page.texts("text")
    shown = [attributes for tag, attributes in page.elements if tag == "circle"]
    assert len(shown) == 3 * len(intervals) + 1  # no line buffers, which have no place on a logarithmic axis
    rows = table_of(section).rows
    assert [row[1].number for row in rows] == sorted([*map(float, intervals), 16.0])
    assert [row[0].text for row in rows if "this build" in row[0].text] == ["1x1 (this build)"]
    if intervals == (4, 16, 64):
        assert (
            "from 2,000,000 µm² at 4 cycles an image to 1,062,500 µm² at 64" in section.content[1].description
        )  # type: ignore[union-attr]


def test_what_was_built_is_one_of_a_plans_points() -> None:
    own = built_point(design())
    rows = table_of(roofline_section([own], result())).rows
    assert [row[0].text for row in rows] == ["1x1 (this build)"]
    assert own.area.memory == pytest.approx(
        network_area(replace(cost, fifo_bits=0) for cost in design().layers).memory
    )  # the line buffers, and no FIFO


def table_of(section: Section) -> Table:
    return next(part for part in section.content if isinstance(part, Table))


def test_a_scale_has_round_ticks() -> None:
    assert Scale.of([3, 47]).ticks == (0, 10, 20, 30, 40, 50)
    wide = Scale.of([49, 12_544], logarithmic=True)
    assert (wide.low, wide.high, len(wide.ticks)) == (20, 20_000, 10)
    assert Scale.of([15, 22_000], logarithmic=True).ticks == (10, 100, 1000, 10_000)
    assert wide.part(20) == 0 and wide.part(632.4555) == pytest.approx(0.5) and wide.part(20_000) == 1
    assert Scale.of([6.7, 17.6], logarithmic=True).ticks == (5, 10, 20)
    assert Scale.of([100.0], logarithmic=True).ticks == (100, 200)
    assert Scale.of([]).ticks[0] == 0 and Scale.of([0.0]).part(0.0) == 0
    assert len(Scale.of([1e-9, 1e9], logarithmic=True).ticks) <= 10
    assert [short(value) for value in (0.02, 17.6, 50_176, 4e6)] == ["0.02", "17.6", "50.2 k", "4 M"]


def test_a_report_replaces_reports_only(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    write_report(path, render_report(result()))
    write_report(path, render_report(result(design(("other",)))))
    assert "other" in path.read_text(encoding="utf-8")
    path.write_text("mine")
    with pytest.raises(HsflowError, match="no report"):
        write_report(path, render_report(result()))
    assert path.read_text() == "mine"
    write_report(path, render_report(result()), overwrite=True)
    with pytest.raises(HsflowError, match="cannot be written"):
        write_report(tmp_path, "", overwrite=True)
