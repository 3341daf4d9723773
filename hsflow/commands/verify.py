# SPDX-License-Identifier: Apache-2.0
"""`verify`: prove each layer's RTL against the integer network, with the feature maps of real images."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hsflow.commands.session import DEFAULT_CONFIG, DEFAULT_OUTPUT, Config, Output, Overwrite, session_of

if TYPE_CHECKING:
    from rich.table import Table

    from hsflow.verification import Verification

WORK = Path("work/verify")


def verify(
    context: typer.Context,
    config: Config = DEFAULT_CONFIG,
    output: Output = DEFAULT_OUTPUT,
    layers: Annotated[
        list[str] | None, typer.Option(help="Prove this layer; may be given several times. By default all.")
    ] = None,
    images: Annotated[int, typer.Option(min=1, help="Held-out images, one after the other.")] = 4,
    words: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Words of each layer's output, one a cycle; by default three rows, or 256 if that is more.",
        ),
    ] = None,
    whole: Annotated[bool, typer.Option("--whole", help="All words of all images.")] = False,
    simulator: Annotated[str, typer.Option(help="verilator or icarus.")] = "verilator",
    stalls: Annotated[
        bool, typer.Option("--stalls", help="Pause both ends of each layer at random.")
    ] = False,
    workers: Annotated[int, typer.Option(min=0, help="Layers at once; 0 is one a processor.")] = 0,
    work_root: Annotated[
        Path, typer.Option(help="Where results lie; a layer that is proved stays so.")
    ] = WORK,
    overwrite: Overwrite = False,
) -> None:
    """Build what has changed, then simulate each hardened layer alone, and compare it with the integer network."""
    from hsflow.layerwise import STRIP, Conditions, require_proved

    if whole and words is not None:
        raise typer.BadParameter("--whole and --words exclude each other")
    session = session_of(context)
    conditions = Conditions(simulator, None if whole else words or STRIP, stalls)
    result = session.project(config).verify(
        output,
        work_root,
        conditions,
        images=images,
        names=layers or (),
        workers=workers,
        overwrite=overwrite,
    )
    session.show(_summary(result), lambda: _table(result))
    require_proved(result.proofs)
    session.reporter.done(f"{result.proved} of {result.layers} layers are proved on {result.images} images")


def _summary(result: Verification) -> dict[str, Any]:
    return {
        "images": result.images,
        "layers": result.layers,
        "layers_proved": result.proved,
        "proofs": [{**asdict(proof), "proved": proof.proved} for proof in result.proofs],
    }


def _table(result: Verification) -> Table:
    from rich.table import Table
    from rich.text import Text

    from hsflow.verification import seconds_of

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("Layer")
    for column in ("Words", "Wrong", "Cycles", "Seconds", "MiB"):
        table.add_column(column, justify="right")
    table.add_column("")
    for proof in result.proofs:
        figures = (proof.words, proof.wrong, proof.cycles)
        seconds, memory = f"{seconds_of(proof):,.1f}", f"{proof.peak_mib:,.0f}"
        verdict = ("proved before" if proof.reused else "proved") if proof.proved else "WRONG"
        cells = (proof.name, *(f"{figure:,}" for figure in figures), seconds, memory, verdict)
        table.add_row(*map(Text, cells), style=None if proof.proved else "red")  # a layer's name is no markup
    return table
