# SPDX-License-Identifier: Apache-2.0
"""Synthesis of RTL onto ASAP7's cells: Yosys up to gates, adders and registers, then the choice of cells and phases here."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hsflow.errors import ConfigurationError
from hsflow.launch import resolve
from hsflow.process import run
from hsflow.technology import longest_chain
from hsflow.templates import render
from hsflow_asap7 import facts
from hsflow_asap7.choices import Chooser
from hsflow_asap7.drive import driven
from hsflow_asap7.library import read_cells
from hsflow_asap7.logic import ADDERS, Reader
from hsflow_asap7.netlist import Netlist, read_netlist, total_area, write_json
from hsflow_asap7.platform import Corner, Platform, cell_areas, mapping_liberty
from hsflow_asap7.polarity import mapped
from hsflow_asap7.structural import write_verilog

SCRIPT, LOG, GATES = "synthesis.ys", "synthesis.log", "gates.json"
LIBERTY = "liberty"
NETLIST_VERILOG, NETLIST_JSON = "netlist.v", "netlist.json"
LEAST_GATED = 4
"""A clock gate costs as much as multiplexers before three registers or so."""

_WORD = re.compile(r"[\w./+-]+")
_TEMPLATES = "hsflow_targets"


@dataclass(frozen=True)
class SynthesisOptions:
    """Choose how to synthesize.

    `adders`: by the library's adder cells, or by ABC alone, to compare. `carry_save`: let Yosys merge sums that nothing else
    reads into carry-save trees. `clock_ps`: the clock's period. `flatten`: dissolve every module instead of keeping the
    generated ones.
    """

    adders: Literal["full-adder", "abc"] = "full-adder"
    carry_save: bool = False
    clock_ps: float = 1000.0
    flatten: bool = False


@dataclass(frozen=True)
class Synthesis:
    """Hold a netlist as Verilog and JSON, its area (um2), cells, and what it took: wall seconds, peak MiB of Yosys."""

    netlist_v: Path
    netlist_json: Path
    area_um2: float
    cells: Mapping[str, int]
    seconds: float
    peak_mib: float


def synthesize(
    sources: Sequence[Path],
    top: str,
    options: SynthesisOptions,
    platform: Platform,
    folder: Path,
    parameters: Mapping[str, int] | None = None,
    blackboxes: Sequence[Path] = (),
) -> Synthesis:
    """Synthesize `top` in `folder`, which gets the script, its log and the netlist.

    `blackboxes` are sources whose modules are instantiated but left out.

    Raises:
        ToolError: if Yosys is missing or fails.
        ConfigurationError: if a path cannot be a word of a script, or the platform lacks a file.
    """
    started = time.monotonic()
    liberty = mapping_liberty(platform, Corner.TT, folder.parent / LIBERTY)
    paths = Paths(folder, liberty, tuple(sources), tuple(blackboxes))
    netlist, peak_mib = map_to_cells(top, options, paths, platform, parameters or {})
    return finish(netlist, platform, folder, started, peak_mib)


def map_to_cells(
    top: str, options: SynthesisOptions, paths: Paths, platform: Platform, parameters: Mapping[str, int]
) -> tuple[Netlist, float]:
    """Return the netlist of `top`, on cells that need not be strong enough yet, and Yosys' peak MiB."""
    folder = paths.folder
    folder.mkdir(parents=True, exist_ok=True)
    (folder / SCRIPT).write_text(script(top, options, paths, parameters), encoding="utf-8")
    yosys = resolve("yosys")
    done = run([*yosys.argv, "-s", SCRIPT], cwd=folder, env=yosys.env, log=folder / LOG)
    gates = read_netlist(folder / GATES)
    (folder / GATES).unlink()
    return on_cells(gates, platform, options.adders == "full-adder"), done.rss_mb


def finish(netlist: Netlist, platform: Platform, folder: Path, started: float, peak_mib: float) -> Synthesis:
    """Give a netlist's drivers their strengths, and write it."""
    netlist = driven(netlist, read_cells(platform))
    return written(netlist, platform, folder, time.monotonic() - started, peak_mib)


def written(netlist: Netlist, platform: Platform, folder: Path, seconds: float, peak_mib: float) -> Synthesis:
    """Write a netlist, which took so long and so much, as Verilog and as JSON."""
    write_verilog(netlist, folder / NETLIST_VERILOG)
    write_json(netlist, folder / NETLIST_JSON)
    cells = netlist.cell_counts()
    return Synthesis(
        folder / NETLIST_VERILOG,
        folder / NETLIST_JSON,
        total_area(cells, cell_areas(platform)),
        cells,
        seconds,
        peak_mib,
    )


@dataclass(frozen=True)
class Paths:
    """Hold what a script reads: it runs in `folder` and names files relative to it."""

    folder: Path
    liberty: Path
    sources: tuple[Path, ...]
    blackboxes: tuple[Path, ...] = ()

    def word(self, path: Path) -> str:
        """Return a path as a word of a Yosys script.

        Raises:
            ConfigurationError: if it has a character that Yosys would take for something else.
        """
        text = os.path.relpath(path, self.folder)
        if not _WORD.fullmatch(text):
            raise ConfigurationError(
                "a path has a character that Yosys' scripts cannot take",
                got=text,
                expected="A-Z a-z 0-9 _ . / + -",
            )
        return text

    def words(self, paths: Iterable[Path]) -> list[str]:
        """Return paths as words."""
        return [self.word(path) for path in paths]


def script(top: str, options: SynthesisOptions, paths: Paths, parameters: Mapping[str, int]) -> str:
    """Return the Yosys script."""
    from hsflow_targets import FOLDER

    templates = Path(FOLDER) / "asap7"
    return render(
        _TEMPLATES,
        "synthesis.ys.j2",
        folder="asap7",
        top=top,
        parameters=sorted(parameters.items()),
        adders=options.adders,
        carry_save=options.carry_save,
        flatten=options.flatten,
        longest_chain=longest_chain(options.clock_ps),
        sources=paths.words(paths.sources),
        blackboxes=paths.words(paths.blackboxes),
        cells=paths.word(templates / "cells.v"),
        sums=paths.word(templates / "sums.v"),
        adder_map=paths.word(templates / "adders.v"),
        liberty=paths.word(paths.liberty),
        clock_gate=facts.CLOCK_GATE,
        least_gated=LEAST_GATED,
        result=GATES,
    )


def on_cells(netlist: Netlist, platform: Platform, with_adders: bool = True) -> Netlist:
    """Return a netlist of gates, adders and registers on the library's cells, module by module.

    Without adders no cell is taken that ABC would not take by itself.
    """
    reader = Reader(Chooser(platform, with_adders), read_cells(platform), netlist.known)
    modules = {name: mapped(module, reader) for name, module in netlist.modules.items()}
    blackboxes = {name: module for name, module in netlist.blackboxes.items() if name not in ADDERS}
    return Netlist(netlist.top, modules, blackboxes)
