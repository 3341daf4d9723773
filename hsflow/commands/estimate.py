# SPDX-License-Identifier: Apache-2.0
"""`estimate`: the area and the clock of a hardened network on a cell library, without synthesis."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hsflow.commands.session import DEFAULT_CONFIG, session_of

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from hsflow.estimate import Estimate, LayerEstimate
    from hsflow.technology import Accuracy

_COLUMNS = (
    "layer", "full-adder bits", "half-adder bits", "register bits", "line bits", "area um2", "area %", "fmax MHz",
)  # fmt: skip


def estimate(
    context: typer.Context,
    config: Annotated[
        Path, typer.Argument(metavar="[FLOW.toml]", help="The flow's configuration.")
    ] = DEFAULT_CONFIG,
    corner: Annotated[
        str, typer.Option(help="The process corner of the clock: TT (typical) or SS (slow).")
    ] = "TT",
    sram_bits: Annotated[
        int | None,
        typer.Option(min=1, help="Line buffers of so many bits and more are SRAM macros; without it, none."),
    ] = None,
) -> None:
    """Estimate area and clock of each hardened layer from its adder graph, with the estimate's error; no synthesis."""
    from hsflow.estimate import estimate_design

    session = session_of(context)
    design = session.project(config).hardened().design
    found = estimate_design(design, corner, sram_bits)
    session.show(summarize(found), lambda: _tables(found))


def summarize(found: Estimate) -> dict[str, Any]:
    """Return an estimate as one JSON object."""
    from hsflow.plan import NOT_IN_THE_AREA

    technology = found.technology
    return {
        "design": found.design,
        "technology": technology.name,
        "corner": found.corner,
        "sram_bits": found.sram_bits,
        "area": _area(found),
        "fmax_mhz": found.fmax_mhz,
        "error": {
            "area": asdict(technology.area_accuracy),
            "fmax": asdict(technology.path_accuracy[found.corner]),
        },
        "left_out": NOT_IN_THE_AREA,
        "layers": [{**_layer(layer), "area": _area(layer)} for layer in found.layers],
    }


def _area(found: Estimate | LayerEstimate) -> dict[str, float]:
    parts = {**asdict(found.area), "total": found.area.total}
    return {f"{name}_um2": um2 for name, um2 in parts.items()}


def _layer(layer: LayerEstimate) -> dict[str, Any]:
    cost = layer.cost
    return {
        "name": cost.name,
        "kind": cost.kind,
        "copies": cost.copies,
        "register_bits": cost.register_bits,
        "line_buffers": [asdict(line) for line in cost.line_buffers],
        "line_buffer_bits": cost.line_buffer_bits,
        "fifo_bits": cost.fifo_bits,
        "resources": asdict(cost.resources),
        "fmax_mhz": layer.fmax_mhz,
    }


def _tables(found: Estimate) -> Group:
    from rich.console import Group

    return Group(_table(found), "", *_notes(found))


def _table(found: Estimate) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for number, heading in enumerate(_COLUMNS):
        # Headings wrap on a narrow terminal, so that figures need not be cut.
        table.add_column(heading, header_style="dim", justify="right" if number else "left", overflow="fold")
    whole = found.area.total
    for layer in found.layers:
        table.add_row(layer.cost.name, *_cells([layer], layer.area.total, whole, layer.fmax_mhz))
    table.add_row("all layers", *_cells(found.layers, whole, whole, found.fmax_mhz), style="bold")
    return table


def _cells(
    layers: list[LayerEstimate] | tuple[LayerEstimate, ...], um2: float, whole: float, fmax: float | None
) -> list[str]:
    counts = (
        sum(layer.cost.resources.full_adders for layer in layers),
        sum(layer.cost.resources.half_adders for layer in layers),
        sum(layer.cost.register_bits for layer in layers),
        sum(layer.cost.line_buffer_bits for layer in layers),
    )
    share = 100 * um2 / whole if whole else 0.0
    clock = "" if fmax is None else f"{fmax:,.0f}"
    return [*(f"{count:,}" for count in counts), f"{um2:,.0f}", f"{share:.1f}", clock]


def _notes(found: Estimate) -> list[str]:
    from hsflow.plan import NOT_IN_THE_AREA

    technology = found.technology
    memory = (
        f"line buffers from {found.sram_bits} bits on in SRAM macros"
        if found.sram_bits
        else "line buffers of flip-flops"
    )
    return [
        f"Area: cells of {technology.library}; {memory}; without {NOT_IN_THE_AREA}. "
        f"Error on {_error(technology.area_accuracy)}.",
        f"Clock: by the longest path at {found.corner}, without wires. "
        f"Error on {_error(technology.path_accuracy[found.corner])}.",
    ]


def _error(accuracy: Accuracy) -> str:
    percent = f"{100 * accuracy.mean:.1f} % in the mean, {100 * accuracy.worst:.1f} % at worst"
    return f"{accuracy.samples} synthesized layers that the model was not fitted to: {percent}"
