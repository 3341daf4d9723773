# SPDX-License-Identifier: Apache-2.0
"""The tools: each one's runner, options and environment, and how it is run on a matrix."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.cmvm.exchange import graph_from_json, peer_graph
from benchmarks.cmvm.figures import OK, Result, input_intervals, measure
from benchmarks.cmvm.matrices import Matrix
from hsflow.ir.addergraph import AdderGraph

ROOT = Path(__file__).parents[2]
RUNNERS = Path(__file__).parent / "runners"
HSFLOW = "hsflow"
DA4ML = "da4ml"
ALKAID = "alkaid"
TIMEOUT = "timeout"
MEMORY = "memory"
FAILED = "failed"
TILE = 64
EFFORTS = ("low", "normal", "high")
_SEARCH_OFF = {"search_all_decompose_dc": False}
_SHALLOW = {"hard_dc": 0}


@dataclass(frozen=True)
class Tool:
    """Describe a tool as one column of the bench: a program and its options; `tile` 0 is untiled."""

    name: str
    program: str
    options: Mapping[str, Any] = field(default_factory=dict)
    tile: int = 0

    def command(self, peers_python: Path, matrix: Path, result: Path) -> list[str]:
        """Return the command that runs it on a matrix file and writes its result."""
        words = [str(matrix), str(result), "--options", json.dumps(dict(self.options))]
        if self.program == HSFLOW:
            return [sys.executable, "-m", "benchmarks.cmvm.run_hsflow", *words]
        runner = RUNNERS / f"run_{self.program}.py"
        return [str(peers_python), str(runner), *words, "--tile", str(self.tile)]


PEERS = (
    Tool("da4ml", DA4ML),
    Tool("da4ml-fast", DA4ML, _SEARCH_OFF),
    Tool("da4ml-shallow", DA4ML, _SHALLOW),
    Tool("da4ml-shallow-fast", DA4ML, _SHALLOW | _SEARCH_OFF),
    Tool("da4ml-tiled", DA4ML, tile=TILE),
    Tool("da4ml-tiled-fast", DA4ML, _SEARCH_OFF, TILE),
    Tool("alkaid", ALKAID),
    Tool("alkaid-fast", ALKAID, _SEARCH_OFF),
)
"""`fast` is without the search over all decompositions, `shallow` at the least depth, `tiled` in 64 x 64 blocks."""


def hsflow_tool(effort: str, max_depth: int | None = None, levels: int | None = None) -> Tool:
    """Return hsflow at an effort, its depth limited or not, for a register after so many adder levels or for none."""
    limit = "" if max_depth is None else f"-d{max_depth}"
    stages = "" if levels is None else f"-p{levels}"
    options = {"effort": effort, "max_depth": max_depth, "adder_levels_per_stage": levels}
    return Tool(f"hsflow-{effort}{limit}{stages}", HSFLOW, options)


@dataclass(frozen=True)
class Limits:
    """Hold how long (wall seconds) and how large (GiB of address space) a run may be."""

    seconds: float = 600.0
    memory_gib: float = 12.0


@dataclass(frozen=True)
class Bench:
    """Hold where the tools live and work: the peers' Python, the work folder, the limits of a run."""

    peers_python: Path
    work: Path
    limits: Limits = Limits()

    def run(self, tool: Tool, name: str, matrix: Matrix) -> Result:
        """Run a tool on a matrix in a process of its own, prove what it says and measure it."""
        return self.solve(tool, name, matrix)[0]

    def solve(self, tool: Tool, name: str, matrix: Matrix) -> tuple[Result, AdderGraph | None]:
        """Run a tool like `run`, and return its graph too; None unless the status is `ok`."""
        source, answer, log = self._paths(name, tool)
        np.save(source, np.ascontiguousarray(matrix))
        answer.unlink(missing_ok=True)
        status = _run(tool.command(self.peers_python, source, answer), log, self.limits)
        if status == OK and not answer.is_file():
            status = FAILED
        if status != OK:
            return Result(status), None
        return _read(json.loads(answer.read_text(encoding="utf-8")), matrix, f"{tool.name} on {name}")

    def _paths(self, name: str, tool: Tool) -> tuple[Path, Path, Path]:
        folder = self.work / "runs"
        folder.mkdir(parents=True, exist_ok=True)
        stem = f"{name}.{tool.name}"
        return folder / f"{name}.npy", folder / f"{stem}.json", folder / f"{stem}.log"


def _read(answer: Mapping[str, Any], matrix: Matrix, where: str) -> tuple[Result, AdderGraph]:
    inputs = input_intervals(matrix)
    if "parts" in answer:
        graph = peer_graph(answer["parts"], inputs, matrix.shape[1])
    else:
        graph = graph_from_json(answer, inputs)
    cost = measure(graph, matrix, where)
    return Result(OK, cost, answer["cpu_seconds"], answer["peak_mib"]), graph


def _run(command: Sequence[str], log: Path, limits: Limits) -> str:
    """Run a command with its output in `log` and return what became of it."""

    def limit_memory() -> None:
        size = int(limits.memory_gib * 2**30)
        resource.setrlimit(resource.RLIMIT_AS, (size, size))

    with log.open("w", encoding="utf-8") as output:
        try:
            done = subprocess.run(
                command,
                cwd=ROOT,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=limits.seconds,
                check=False,
                preexec_fn=limit_memory,
            )
        except subprocess.TimeoutExpired:
            return TIMEOUT
    if done.returncode == 0:
        return OK
    text = log.read_text(encoding="utf-8", errors="replace")
    return MEMORY if "bad_alloc" in text or "MemoryError" in text else FAILED
