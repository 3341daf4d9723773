# SPDX-License-Identifier: Apache-2.0
"""The sections that go through the network layer by layer: adders, area and duty; hardware; weights."""

from __future__ import annotations

from hsflow.area import Area, layer_area, network_area
from hsflow.design import Design, LayerCost
from hsflow.report.cells import NOTHING, count, decimal, percent, percentage
from hsflow.report.content import Bar, BarChart, BarRow, Cell, Column, Panel, Paragraph, Section, Table
from hsflow.report.weights import WeightFacts, weight_facts

_TEXT = False
_SUPERSCRIPT = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_HARDWARE_COLUMNS = (
    Column("Layer", numeric=_TEXT),
    Column("Kind", numeric=_TEXT),
    Column("Copies", "block"),
    Column("Adders before sharing"),
    Column("Adders"),
    Column("Depth", "levels"),
    Column("Full adders", "bits"),
    Column("Registers", "bits"),
    Column("Line buffers", "bits"),
    Column("FIFOs", "bits"),
    Column("Latency", "cycles"),
    Column("Interval", "cycles"),
    Column("Duty", "%"),
    Column("Area", "µm²"),
    Column("Share", "%"),
)
_WEIGHT_COLUMNS = (
    Column("Layer", numeric=_TEXT),
    Column("Weights"),
    Column("Zeros"),
    Column("Zeros", "%"),
    Column("Distinct nonzero values"),
    Column("With a second term"),
    Column("Second term", "%"),
    Column("Terms"),
    Column("Negative", "%"),
    Column("Exponents used", numeric=_TEXT),
)


def layer_sections(design: Design) -> list[Section]:
    """Return the sections on the layers; a design without hardened layers has one that says so."""
    if not design.layers:
        return [Section("Layers", (Paragraph("No layer of this design is hardened."),))]
    return [_overview(design), _hardware(design), _weights(design)]


def duty(cost: LayerCost, design: Design) -> float:
    """Return the part of the time in which a layer works: its interval by the network's."""
    return cost.initiation_interval / design.initiation_interval if design.initiation_interval else 0.0


def _overview(design: Design) -> Section:
    whole = network_area(design.layers)
    panels = (
        Panel("Adders", ("before sharing", "built")),
        Panel("Share of the area", ("adders", "registers", "other"), stacked=True),
        Panel("Duty", ("busy",), maximum=1.0),
    )
    rows = tuple(_overview_row(cost, design, whole) for cost in design.layers)
    chart = BarChart("Adders, area and duty of each layer, from input to output", "Layer", panels, rows)
    return Section("Layers", (Paragraph(_largest(design, whole)), chart))


def _overview_row(cost: LayerCost, design: Design, whole: Area) -> BarRow:
    area = layer_area(cost)
    busy = duty(cost, design)
    parts = [part / whole.logic if whole.logic else 0.0 for part in (area.adders, area.registers, area.other)]
    return BarRow(
        cost.name,
        (
            Bar(
                (float(max(cost.adders_before_sharing, cost.adders)), float(cost.adders)), f"{cost.adders:,}"
            ),
            Bar(tuple(parts), percentage(sum(parts))),
            Bar((busy,), percentage(busy, digits=0 if busy in (0, 1) else 1)),
        ),
    )


def _largest(design: Design, whole: Area) -> str:
    """Say where the area is: the layers that, from the largest on, make up half of it; and how busy it is."""
    ordered = sorted(design.layers, key=lambda cost: layer_area(cost).logic, reverse=True)
    reached, chosen = 0.0, 0
    while chosen < len(ordered) and reached < whole.logic / 2:
        reached += layer_area(ordered[chosen]).logic
        chosen += 1
    busy = sum(layer_area(cost).logic * duty(cost, design) for cost in design.layers)
    largest = "The largest layer holds" if chosen == 1 else f"The {chosen} largest layers hold"
    return (
        f"{largest} {percentage(reached, whole.logic, 0)} of the estimated area. "
        f"Weighted by area, the hardware is busy {percentage(busy, whole.logic)} of the time."
    )


def _hardware(design: Design) -> Section:
    whole = network_area(design.layers)
    rows = tuple(_hardware_row(cost, design, whole) for cost in design.layers)
    table = Table(
        "Hardware of each layer, all copies together", _HARDWARE_COLUMNS, rows, _hardware_total(design)
    )
    return Section("Hardware by layer", (table,))


def _hardware_row(cost: LayerCost, design: Design, whole: Area) -> tuple[Cell, ...]:
    area = layer_area(cost).logic
    return (
        Cell(cost.name),
        Cell(cost.kind),
        Cell(f"{cost.copies:,} ({cost.block})", float(cost.copies)),
        count(cost.adders_before_sharing),
        count(cost.adders),
        count(cost.adder_depth),
        count(cost.full_adder_bits),
        count(cost.register_bits),
        count(cost.line_buffer_bits),
        count(cost.fifo_bits),
        count(cost.kernel_latency),
        count(cost.initiation_interval),
        percent(duty(cost, design), bar=True),
        decimal(area, 0),
        percent(area, whole.logic, bar=True),
    )


def _hardware_total(design: Design) -> tuple[Cell, ...]:
    def total(figure: str) -> int:
        return sum(int(getattr(cost, figure)) for cost in design.layers)

    empty = Cell("")
    return (
        Cell("All layers"),
        *(empty, empty),
        count(total("adders_before_sharing")),
        count(total("adders")),
        count(max(cost.adder_depth for cost in design.layers)),
        *(
            count(total(bits))
            for bits in ("full_adder_bits", "register_bits", "line_buffer_bits", "fifo_bits")
        ),
        *(empty, empty, empty),
        decimal(network_area(design.layers).logic, 0),
        percent(1.0),
    )


def _weights(design: Design) -> Section:
    facts = weight_facts(design.graph)
    if not facts:
        return Section("Weights", (Paragraph("No hardened layer has weights."),))
    rows = tuple(_weight_row(fact.name, fact) for fact in facts)
    whole = _sum_of(facts)
    total = (*_weight_row("All layers", whole)[:4], NOTHING, *_weight_row("All layers", whole)[5:])
    table = Table("Weights of each hardened layer", _WEIGHT_COLUMNS, rows, total)
    return Section("Weights", (Paragraph(_weights_text(whole)), _exponents(whole), table))


def _weight_row(name: str, fact: WeightFacts) -> tuple[Cell, ...]:
    return (
        Cell(name),
        count(fact.weights),
        count(fact.zeros),
        percent(fact.zeros, fact.weights, bar=True),
        count(fact.distinct),
        count(fact.second_terms),
        percent(fact.second_terms, fact.weights),
        count(fact.terms),
        percent(fact.negative, fact.terms),
        Cell(_range_text(fact.exponents), histogram=tuple(map(float, fact.exponents))),
    )


def _range_text(exponents: tuple[int, ...]) -> str:
    used = [exponent for exponent, number in enumerate(exponents) if number]
    return f"{used[0]} to {used[-1]}" if used else "none"


def _weights_text(whole: WeightFacts) -> str:
    return (
        f"{whole.weights:,} weights in hardened layers: {percentage(whole.zeros, whole.weights)} are zero and cost nothing, "
        f"{percentage(whole.second_terms, whole.weights)} have a second term. A term is a signed power of two: a wire, and "
        "an adder where it joins another."
    )


def _sum_of(facts: tuple[WeightFacts, ...]) -> WeightFacts:
    levels = max(len(fact.exponents) for fact in facts)
    return WeightFacts(
        name="",
        weights=sum(fact.weights for fact in facts),
        zeros=sum(fact.zeros for fact in facts),
        distinct=0,
        second_terms=sum(fact.second_terms for fact in facts),
        negative=sum(fact.negative for fact in facts),
        exponents=tuple(sum(fact.exponents[level : level + 1][0] if level < len(fact.exponents) else 0 for fact in facts) for level in range(levels)),
    )  # fmt: skip


def _exponents(whole: WeightFacts) -> BarChart:
    rows = tuple(
        BarRow(
            f"± 2{str(exponent).translate(_SUPERSCRIPT)}",
            (Bar((float(number),), f"{number:,} ({percentage(number, whole.terms)})"),),
        )
        for exponent, number in enumerate(whole.exponents)
    )
    return BarChart(
        "How often each power of two is used, before the channels' scales",
        "Term",
        (Panel("Terms", ("terms",)),),
        rows,
    )
