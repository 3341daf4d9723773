# SPDX-License-Identifier: Apache-2.0
"""Prove that a netlist computes what its RTL does, for every input: module by module, cut at registers and instances.

Yosys turns the RTL into simple gates, with no adder cell, clock gate or phase; ABC then proves every output and every
register's next value equal (SAT sweeping). A netlist's register stands for the RTL's register of the same name, inverted or
not, with the same clock and reset; a clock gate is taken for an enable. A register that only one side has is proved to keep
its value after reset, or is a free input on which nothing equal depends.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hsflow.errors import MismatchError, ToolError
from hsflow.launch import resolve
from hsflow.process import run
from hsflow.templates import render
from hsflow_asap7.comparison import Comparison, compared, write_blif
from hsflow_asap7.cut import cut_netlist, cut_rtl
from hsflow_asap7.library import read_cells
from hsflow_asap7.netlist import Netlist, read_netlist
from hsflow_asap7.platform import Platform
from hsflow_asap7.synthesis import Paths

SCRIPT, LOG, REFERENCE = "reference.ys", "reference.log", "reference.json"
_CONFLICTS = 1_000_000
"""SAT conflicts at a node after which ABC gives up."""

_EQUAL, _DIFFERENT = "Networks are equivalent", "NOT EQUIVALENT"
_FAILED_OUTPUT = re.compile(r"(?:zero-based number|Output) (\d+)")


@dataclass(frozen=True)
class Proof:
    """Hold what was proved equal: modules, registers, outputs (registers' next values among them); and wall seconds."""

    modules: int
    registers: int
    outputs: int
    seconds: float


def prove(
    sources: Sequence[Path],
    netlist: Netlist,
    platform: Platform,
    folder: Path,
    parameters: Mapping[str, int] | None = None,
    blackboxes: Sequence[Path] = (),
    flatten: bool = False,
) -> Proof:
    """Prove a netlist against the RTL that it was made of, working in `folder`.

    Raises:
        MismatchError: if they differ; the message names the module and an output that differs.
        ToolError: if Yosys or ABC is missing or fails, or gives up.
    """
    started = time.monotonic()
    folder.mkdir(parents=True, exist_ok=True)
    paths = Paths(folder, folder, tuple(sources), tuple(blackboxes))
    reference = _reference(paths, netlist.top, parameters or {}, flatten)
    if different := sorted(reference.modules.keys() ^ netlist.modules.keys()):
        raise MismatchError("RTL and netlist have other modules", where=netlist.top, got=", ".join(different))
    registers = outputs = 0
    for name, module in netlist.modules.items():
        given = cut_netlist(module, netlist.known, read_cells(platform))
        wanted = cut_rtl(reference.modules[name], reference.known)
        comparison = compared(wanted, given, name)
        _prove_module(name, comparison, folder)
        registers += comparison.registers
        outputs += len(comparison.names)
    return Proof(len(netlist.modules), registers, outputs, time.monotonic() - started)


def _reference(paths: Paths, top: str, parameters: Mapping[str, int], flatten: bool) -> Netlist:
    """Return the RTL as simple gates."""
    text = render(
        "hsflow_targets",
        "reference.ys.j2",
        folder="asap7",
        top=top,
        parameters=sorted(parameters.items()),
        flatten=flatten,
        sources=paths.words(paths.sources),
        blackboxes=paths.words(paths.blackboxes),
        result=REFERENCE,
    )
    (paths.folder / SCRIPT).write_text(text, encoding="utf-8")
    yosys = resolve("yosys")
    run([*yosys.argv, "-s", SCRIPT], cwd=paths.folder, env=yosys.env, log=paths.folder / LOG)
    return read_netlist(paths.folder / REFERENCE)


def _prove_module(name: str, comparison: Comparison, folder: Path) -> None:
    sides = [f"{name}.rtl", f"{name}.netlist"]
    for number, side in enumerate(sides):
        write_blif(comparison, number, folder / f"{side}.blif")
    steps = [f"read_blif {side}.blif; strash; write_aiger {side}.aig" for side in sides]
    check = f"&r {sides[0]}.aig; &cec -C {_CONFLICTS} {sides[1]}.aig"
    abc, log = resolve("yosys-abc"), folder / f"{name}.log"
    run([*abc.argv, "-c", "; ".join([*steps, check])], cwd=folder, env=abc.env, log=log)
    text = log.read_text(encoding="utf-8", errors="replace")
    if _EQUAL in text:
        return
    if _DIFFERENT not in text:
        raise ToolError(
            "ABC could not decide whether netlist and RTL are equal", where=name, hint=f"see {log}"
        )
    failed = _FAILED_OUTPUT.search(text)
    which = comparison.names[int(failed[1])] if failed else None
    raise MismatchError("the netlist differs from the RTL", where=name, got=which, hint=f"see {log}")
