# SPDX-License-Identifier: Apache-2.0
"""Areas: hsflow's Verilog, da4ml's own, and da4ml's graph through hsflow's emitter, by one Yosys script each.

    python -m benchmarks.cmvm.synthesis [--asap7 FOLDER] [MATRIX ...]

Every design is synthesized combinational and with a register after every second adder level, its outputs registered
and its inputs not. Libraries:

* `gates`: Yosys' generic gates; areas in NAND2 equivalents, as a common open 45 nm library has them;
* `asap7`, with a folder of ASAP7's NLDM files (or `ASAP7_NLDM` naming it): its RVT cells at TT, areas in square
  micrometres as the files state them.

Each maps additions twice: by gates alone (`abc`), and by full- and half-adder cells (`fa`).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cmvm.compare import geometric_mean
from benchmarks.cmvm.environment import prepare
from benchmarks.cmvm.liberty import Library, asap7, generic
from benchmarks.cmvm.matrices import Matrix, parse
from benchmarks.cmvm.tools import DA4ML, EFFORTS, PEERS, ROOT, RUNNERS, Bench, Limits, Tool, hsflow_tool
from hsflow.ir.addergraph import AdderGraph
from hsflow.plugins import load_plugins

OUTPUT = ROOT / "build" / "benchmarks" / "cmvm"
MATRICES = ("16x96-g8-z0", "16x96-g8-z50", "16x96-g8-z80", "24x144-g8-z50", "32x192-g8-z80")
LEVELS = (0, 2)
"""Adder levels between registers; 0 is combinational."""

TOP = "cmvm"
LIMIT = 0.90
OURS, THEIRS, MIXED = "hsflow", "da4ml", "da4ml graph, hsflow Verilog"
_CELLS = Path(__file__).parent / "synthesis"


@dataclass(frozen=True)
class Column:
    """Describe a column of the table: a library, with additions mapped to full-adder cells or not."""

    library: Library
    full_adders: bool

    @property
    def name(self) -> str:
        """Return the column's name."""
        return f"{self.library.name} {'fa' if self.full_adders else 'abc'}"


def script(verilog: Path, report: Path, column: Column) -> list[str]:
    """Return the Yosys script that synthesizes a file's top module and writes its cells to `report`."""
    library = column.library
    adders = [f"techmap -map {quoted(_CELLS / 'full_adders.v')}", *library.full_adder_commands]
    return [
        f"read_verilog -sv {quoted(verilog)}",
        f"read_verilog -lib {quoted(_CELLS / 'full_adder_cells.v')}",
        f"synth -flatten -top {TOP} -run begin:fine",
        *(["maccmap", *adders] if column.full_adders else []),
        "opt",
        "techmap",
        "opt",
        *library.map_commands,
        "opt_clean -purge",
        f"tee -q -o {quoted(report)} stat -json",
    ]


def quoted(path: Path) -> str:
    """Return a path as a word of a Yosys script.

    Raises:
        ValueError: if it has a character that no quoting keeps.
    """
    text = str(path)
    if set(text) & set('"\n;'):
        raise ValueError(f"a path must have no quote, semicolon or newline, not {text!r}")
    return f'"{text}"'


@dataclass(frozen=True)
class Synthesizer:
    """Hold where designs are written and synthesized, and by which Python."""

    bench: Bench
    effort: str
    columns: Sequence[Column]

    def areas(self, name: str, levels: int) -> dict[str, dict[str, float]]:
        """Return the area of each design of a matrix in each column."""
        found = {}
        for design, verilog in self._designs(name, parse(name).build(), levels):
            found[design] = {column.name: self._area(verilog, column) for column in self.columns}
        return found

    def _designs(self, name: str, matrix: Matrix, levels: int) -> Iterator[tuple[str, Path]]:
        _, theirs = self.bench.solve(_da4ml(), name, matrix)
        if theirs is None:
            raise RuntimeError(f"da4ml must solve {name}; its log lies in {self.bench.work / 'runs'}")
        _, ours = self.bench.solve(hsflow_tool(self.effort, theirs.depth, levels or None), name, matrix)
        if ours is None:
            raise RuntimeError(f"hsflow must solve {name}; its log lies in {self.bench.work / 'runs'}")
        yield THEIRS, self._da4ml_verilog(name, levels)
        yield MIXED, self._write(f"{name}.l{levels}.mixed.sv", theirs, levels)
        yield OURS, self._write(f"{name}.l{levels}.hsflow.sv", ours, levels)

    def _write(self, file: str, graph: AdderGraph, levels: int) -> Path:
        hooks = load_plugins({}).hook
        text = hooks.hsflow_emit_adder_graph(graph=graph, module=TOP, adder_levels_per_stage=levels)
        path = self._folder / file
        path.write_text(text, encoding="utf-8")
        return path

    def _da4ml_verilog(self, name: str, levels: int) -> Path:
        target = self._folder / f"{name}.l{levels}.da4ml.v"
        matrix = self.bench.work / "runs" / f"{name}.npy"
        words = [str(matrix), str(target), "--module", TOP, "--levels", str(levels)]
        options = ["--options", json.dumps(dict(_da4ml().options))]
        command = [str(self.bench.peers_python), str(RUNNERS / "emit_da4ml.py"), *words, *options]
        subprocess.run(command, check=True)
        return target

    def _area(self, verilog: Path, column: Column) -> float:
        stem = verilog.with_suffix(f".{column.name.replace(' ', '_')}")
        report, commands = Path(f"{stem}.json"), Path(f"{stem}.ys")
        report.unlink(missing_ok=True)
        commands.write_text("\n".join(script(verilog, report, column)) + "\n", encoding="utf-8")
        with Path(f"{stem}.log").open("w", encoding="utf-8") as log:
            run = [str(self.bench.peers_python), str(RUNNERS / "run_yosys.py"), str(commands)]
            subprocess.run(run, check=True, stdout=log, stderr=subprocess.STDOUT)
        cells = json.loads(report.read_text(encoding="utf-8"))["design"]["num_cells_by_type"]
        return column.library.area(cells)

    @property
    def _folder(self) -> Path:
        folder = self.bench.work / "synthesis"
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def _da4ml() -> Tool:
    return next(tool for tool in PEERS if tool.name == DA4ML)


def table(found: Mapping[tuple[str, int], Mapping[str, Mapping[str, float]]]) -> Iterator[str]:
    """Yield areas and their ratios to da4ml's own Verilog, a line a design, and the geometric means."""
    columns = list(next(iter(next(iter(found.values())).values())))
    yield f"{'matrix':16}{'registers':>10}  {'design':30}" + "".join(f"{column:>20}" for column in columns)
    for (name, levels), designs in found.items():
        for design, areas in designs.items():
            cells = (f"{areas[c]:12.1f} ({areas[c] / designs[THEIRS][c]:.3f})" for c in columns)
            yield f"{name:16}{levels or '-':>10}  {design:30}" + "".join(f"{cell:>20}" for cell in cells)
    yield ""
    for levels in LEVELS:
        for design in (MIXED, OURS):
            means = [mean(found, levels, design, column) for column in columns]
            words = "".join(f"{value:20.3f}" for value in means)
            yield f"{'mean ratio':16}{levels or '-':>10}  {design:30}{words}"


def mean(
    found: Mapping[tuple[str, int], Mapping[str, Mapping[str, float]]], levels: int, design: str, column: str
) -> float:
    """Return the geometric mean of a design's areas over da4ml's own, at a pipelining."""
    chosen = [designs for (_, depth), designs in found.items() if depth == levels]
    return geometric_mean(designs[design][column] / designs[THEIRS][column] for designs in chosen)


def main(words: Sequence[str] | None = None) -> int:
    """Synthesize and print the table; 1 if hsflow's mean ratio is above the limit anywhere."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("matrices", nargs="*", default=MATRICES, metavar="MATRIX")
    add("--asap7", type=Path, default=os.environ.get("ASAP7_NLDM"), help="the folder of ASAP7's NLDM files")
    add("--effort", choices=EFFORTS, default="normal")
    add("--venv", type=Path, default=OUTPUT / "venv")
    add("--output", type=Path, default=OUTPUT)
    arguments = parser.parse_args(words)
    output: Path = arguments.output.absolute()
    bench = Bench(prepare(arguments.venv.absolute()), output, Limits())
    libraries = [generic()]
    if arguments.asap7:
        libraries.append(asap7(Path(arguments.asap7).absolute(), output / "synthesis" / "asap7"))
    columns = [Column(library, adders) for library in libraries for adders in (False, True)]
    work = Synthesizer(bench, arguments.effort, columns)
    found = {}
    for name in arguments.matrices:
        for levels in LEVELS:
            found[name, levels] = work.areas(name, levels)
            print(f"{name} {levels}: {found[name, levels]}", file=sys.stderr, flush=True)
    print(*table(found), sep="\n")
    return int(any(mean(found, levels, OURS, c.name) > LIMIT for levels in LEVELS for c in columns))


if __name__ == "__main__":
    sys.exit(main())
