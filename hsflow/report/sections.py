# SPDX-License-Identifier: Apache-2.0
"""hsflow's own sections: summary, layers, the programmable layer, verification, and how to read the figures."""

from __future__ import annotations

import numpy as np

from hsflow.area import network_area
from hsflow.design import Design, NpuPlan
from hsflow.ir.graph import Dense
from hsflow.layerwise import PREFIX
from hsflow.metrics import WALL_SECONDS, format_value, grouped
from hsflow.plan import NOT_IN_THE_AREA
from hsflow.report.cells import AreaUnit, percentage, time_text
from hsflow.report.content import Cell, Column, Fact, Facts, Paragraph, Section, Table, Tone
from hsflow.report.layers import layer_sections
from hsflow.report.proofs import proof_parts
from hsflow.report.result import Result, Run
from hsflow.technology import ASAP7

_PLAIN_COLUMNS = (Column("Figure", numeric=False), Column("Value"), Column("Unit", numeric=False))


def own_sections(result: Result) -> tuple[list[Section], list[Section]]:
    """Return hsflow's sections that come before those of plugins, and those that come after."""
    design = result.design
    before = [_summary(result), _verification(result), *layer_sections(design)]
    if design.npu is not None:
        before.append(_npu(design, design.npu))
    return before, [_figures(result), _method(result)]


def _summary(result: Result) -> Section:
    facts = (*_accuracy(result), *_speed(result), _area(result.design))
    statement = (
        "Cycles are exact: they follow from the schedule, and a simulation checks them. Images a second are cycles at the "
        f"stated clock of {result.clock_mhz:,g} MHz; that the logic reaches this clock is for synthesis and timing "
        "analysis to show. Area is an estimate from adders, registers and requantizers."
    )
    return Section("Summary", (Facts(facts), Paragraph(statement, Tone.NOTE), _totals(result.design)))


def _accuracy(result: Result) -> list[Fact]:
    floating, po2 = result.figure("load.accuracy_float"), result.figure("quantize.accuracy_po2")
    if po2 is None:
        known = [] if floating is None else [Fact("Accuracy, float", f"{floating:.2f}", "%")]
        return [*known, Fact("Accuracy, Po2", "not measured", note="there are no labelled images")]
    note = (
        "float not measured" if floating is None else f"float {floating:.2f} %, {po2 - floating:+.2f} points"
    )
    return [Fact("Accuracy, Po2", f"{po2:.2f}", "%", note)]


def _speed(result: Result) -> list[Fact]:
    design, clock = result.design, result.clock_mhz
    if not design.initiation_interval:
        return []
    rate = clock * 1e6 / design.initiation_interval
    interval = f"one image each {design.initiation_interval:,} cycles at {clock:,g} MHz"
    return [
        Fact("Throughput", f"{rate:,.0f}" if rate < 1e6 else f"{rate / 1e6:,.4g} M", "images/s", interval),
        Fact(
            "Latency",
            f"{design.latency:,}",
            "cycles",
            f"{time_text(design.latency / clock)} at {clock:,g} MHz",
        ),
    ]


def _area(design: Design) -> Fact:
    area = network_area(design.layers)
    unit, memory_unit = AreaUnit.of(area.logic), AreaUnit.of(area.memory)
    memory = f"{memory_unit.text(area.memory)} {memory_unit.name}"
    return Fact(
        "Area, estimated", unit.text(area.logic), unit.name, f"ASAP7 logic; buffers at most {memory} more"
    )


def _totals(design: Design) -> Table:
    def total(figure: str) -> int:
        return sum(int(getattr(cost, figure)) for cost in design.layers)

    adders, before = total("adders"), total("adders_before_sharing")
    weights, zeros = total("weights"), total("zero_weights")
    saved = (
        f"{percentage(before - adders, before)} fewer than the {before:,} before sharing" if before else ""
    )
    rows = [
        ("Hardened layers", f"{len(design.layers):,}", ""),
        ("Weights that are wires", f"{weights:,}", f"{percentage(zeros, weights)} are zero" if weights else ""),
        ("Adders", f"{adders:,}", saved),
        ("Full adders", f"{total('full_adder_bits'):,}", "bits of all adders"),
        ("Registers", f"{total('register_bits'):,}", "bits of pipelines, windows and streams"),
        ("Line buffers", f"{total('line_buffer_bits'):,}", "bits"),
        ("FIFOs on residual branches", f"{total('fifo_bits'):,}", "bits"),
        ("Initiation interval", f"{design.initiation_interval:,}", "cycles from one image to the next"),
        ("Latency", f"{design.latency:,}", "cycles from first pixel to last result"),
        ("Input and output", f"{design.input_block}, {design.output_block}", "pixels a transfer"),
        ("NPU lanes", _lanes(design.npu), "" if design.npu is None else "classes by features a cycle"),
    ]  # fmt: skip
    columns = (Column("Hardware", numeric=False), Column("Value"), Column("What it counts", numeric=False))
    return Table("The hardware in figures", columns, tuple(tuple(map(Cell, row)) for row in rows))


def _lanes(npu: NpuPlan | None) -> str:
    return "none" if npu is None else f"{npu.class_lanes} x {npu.feature_lanes}"


def _npu(design: Design, npu: NpuPlan) -> Section:
    rows = [
        ("Multipliers", f"{npu.class_lanes * npu.feature_lanes:,}", f"{_lanes(npu)} lanes, int8"),
        ("Logits", f"{npu.logit_lanes:,}", "a transfer of the output"),
        ("Memory", f"{npu.memory_bits:,}", "bits of weights and biases"),
        ("Interval", f"{npu.initiation_interval:,}", "cycles an image"),
        ("Latency", f"{npu.latency:,}", "cycles"),
        (
            "Duty",
            percentage(npu.initiation_interval, design.initiation_interval),
            "of the network's interval",
        ),
    ]
    classifier = design.graph.layers[-1] if design.graph.layers else None
    if isinstance(classifier, Dense):
        weight = classifier.weight.array
        classes, features = weight.shape
        zeros = percentage(int(np.count_nonzero(weight == 0)), weight.size)
        rows.insert(
            0, ("Weights", f"{weight.size:,}", f"{classes:,} classes of {features:,} features; {zeros} zero")
        )
    columns = (Column("Figure", numeric=False), Column("Value"), Column("Of what", numeric=False))
    return Section(
        "Programmable last layer",
        (
            Paragraph("The last layer stays programmable: its weights lie in the memory of a generated NPU."),
            Table("The NPU", columns, tuple(tuple(map(Cell, row)) for row in rows)),
        ),
    )


def _verification(result: Result) -> Section:
    simulated = [run for run in result.runs if "simulate.images" in run.metrics]
    verified = [run for run in result.runs if f"{PREFIX}layers" in run.metrics]
    content = [part for run in simulated for part in _simulation(run, result)]
    content += [part for run in verified for part in proof_parts(run)]
    if not content:
        text = 'No simulation of this build is known here. "hsflow run sim" makes one, and "hsflow report" then shows it.'
        content.append(Paragraph(text, Tone.NOTE))
    for place in result.foreign_runs:
        content.append(Paragraph(f"{place} holds a run of another build, which is not shown.", Tone.NOTE))
    return Section("Verification", tuple(content))


def _simulation(run: Run, result: Result) -> list[Paragraph | Table]:
    """Tell what one simulation showed, with each figure beside the one it is checked against."""
    design = result.design
    wrong, images = _shown(run, "mismatches"), _shown(run, "images")
    right = wrong == "0"
    text = f"{run.place}: {images} images simulated, {wrong} of {_shown(run, 'results')} results differ from the integer network."
    rows = [
        ("Images", images, ""),
        ("Results", _shown(run, "results"), ""),
        ("Results that differ", wrong, "0"),
        ("Latency, cycles", _shown(run, "latency"), f"{design.latency:,}"),
        (
            "Initiation interval, cycles",
            _shown(run, "initiation_interval"),
            f"{design.initiation_interval:,}",
        ),
        ("Accuracy of the hardware, %", _shown(run, "accuracy"), _text_of(result, "quantize.accuracy_po2")),
    ]
    columns = (Column("Figure", numeric=False), Column("Measured"), Column("Computed"))
    table = Table(f"Simulation in {run.place}", columns, tuple(tuple(map(Cell, row)) for row in rows))
    return [Paragraph(text, Tone.GOOD if right else Tone.WARNING), table]


def _shown(run: Run, name: str) -> str:
    metric = run.metrics.get(f"simulate.{name}")
    return "not measured" if metric is None else format_value(metric)


def _text_of(result: Result, name: str) -> str:
    metric = result.metrics.get(name)
    return "" if metric is None else format_value(metric)


def _figures(result: Result) -> Section:
    figures = {name: metric for name, metric in result.metrics.items() if not name.endswith(WALL_SECONDS)}
    tables = tuple(
        Table(
            group,
            _PLAIN_COLUMNS,
            tuple((Cell(name), Cell(format_value(metric)), Cell(metric.unit)) for name, metric in members),
        )
        for group, members in grouped(figures)
    )
    return Section("All figures of the stages", tables or (Paragraph("No stage recorded a figure."),))


def _method(result: Result) -> Section:
    accuracy = ASAP7.area_accuracy
    notes = (
        f"Area: that of the cells which synthesis takes ({ASAP7.library}), by a model fitted to synthesized layers: off by "
        f"{100 * accuracy.mean:.1f} % in the mean, {100 * accuracy.worst:.1f} % at worst, on {accuracy.samples} others. Line buffers "
        f"and FIFOs are stated apart, as flip-flops, which is the most they take. Left out: {NOT_IN_THE_AREA}.",
        "Adders before sharing: one adder for each nonzero term of a weight beyond an output's first.",
        "Block and copies: a layer makes the pixels of a block at once, by one copy of its kernel for each.",
        "Duty: the cycles in which a layer works on an image, by the cycles from one image to the next.",
        "Exponents: the terms of a weight before its channel's scale, which is a power of two as well and costs nothing.",
        f"Clock: {result.clock_mhz:,g} MHz as stated in flow.toml. Without a run of synthesis it is an assumption.",
    )
    return Section("How to read this report", tuple(map(Paragraph, notes)))
