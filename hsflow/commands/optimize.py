# SPDX-License-Identifier: Apache-2.0
"""`optimize`: an adder graph for one integer matrix, without the rest of hsflow."""

from __future__ import annotations

import re
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hsflow.commands.session import Session, session_of
from hsflow.errors import ConfigurationError, MismatchError, PluginError
from hsflow.lowering import COMBINATIONAL, Effort, LoweringGoal, Objective

if TYPE_CHECKING:
    from hsflow.fixedpoint import IntArray, Interval
    from hsflow.ir.addergraph import AdderGraph

SUFFIXES = (".sv", ".v")
MAX_INPUT_BITS = 16

_WARM_UP = ((1, 1, 0), (1, 1, 4), (-3, 5, 45))
_MODULE = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}")


@dataclass(frozen=True)
class Figures:
    """Hold what an adder graph costs and what it took to find it.

    `register_bits` and `latency` (cycles) are of the pipelining that was asked for; `cpu_seconds` is user and system time
    of this process and its finished children while the matrix was lowered, after a warm-up that loads or compiles code;
    `peak_mib` is the most resident memory that this process has had so far, Python and all libraries included.
    """

    adders: int
    adders_without_sharing: int
    full_adder_bits: int
    register_bits: int
    depth: int
    latency: int
    cpu_seconds: float
    peak_mib: float
    proved: bool


def optimize(
    context: typer.Context,
    matrix: Annotated[Path, typer.Argument(help="Integers of shape (inputs, outputs), an .npy file.")],
    input_bits: Annotated[int, typer.Option(min=1, max=MAX_INPUT_BITS, help="The width of every input.")] = 8,
    signed: Annotated[bool, typer.Option("--signed", help="Inputs are signed.")] = False,
    effort: Annotated[Effort, typer.Option(help="How long to search.")] = Effort.NORMAL,
    objective: Annotated[Objective, typer.Option(help="What to have little of.")] = Objective.AREA,
    max_depth: Annotated[int | None, typer.Option(min=0, help="Adder levels that any path may have.")] = None,
    depth_slack: Annotated[
        int | None, typer.Option(min=0, help="The same, above the fewest that the matrix needs.")
    ] = None,
    levels_per_stage: Annotated[
        int, typer.Option(min=0, help="Adder levels between two registers; 0 for no registers.")
    ] = 2,
    verilog: Annotated[Path | None, typer.Option(help="Write SystemVerilog here (.sv or .v).")] = None,
) -> None:
    """Turn a constant matrix into adders: the sums of a vector times the matrix, with everything shared that can be."""
    from hsflow.fixedpoint import Interval
    from hsflow.ir.matrix import check_accumulators

    if max_depth is not None and depth_slack is not None:
        raise typer.BadParameter("--max-depth and --depth-slack bound the same depth: leave one of them out")
    goal = LoweringGoal(objective, effort, max_depth, depth_slack, levels_per_stage or COMBINATIONAL)
    module = None if verilog is None else module_name(verilog)
    weights = read_matrix(matrix)
    inputs = (Interval.of_format(input_bits, signed),) * weights.shape[1]
    check_accumulators(weights, inputs, str(matrix))
    session = session_of(context)
    summary = _optimized(weights, inputs, goal, levels_per_stage, module, verilog, session, str(matrix))
    session.show(summary, lambda: _table(summary, weights))


def _optimized(
    weights: IntArray,
    inputs: tuple[Interval, ...],
    goal: LoweringGoal,
    levels: int,
    module: str | None,
    verilog: Path | None,
    session: Session,
    name: str,
) -> dict[str, Any]:
    from hsflow.plugins import load_plugins

    hooks = load_plugins().hook
    with _waiting(session):
        graph, seconds = lower_timed(weights, inputs, goal, hooks, name)
        figures = measure(graph, weights, levels, seconds, name)
        if module is not None and verilog is not None:
            write_verilog(verilog, _emitted(graph, module, levels, hooks))
    return {**asdict(figures), "verilog": None if verilog is None else str(verilog)}


def _waiting(session: Session) -> AbstractContextManager[None]:
    from hsflow.progress import waiting

    return nullcontext() if session.as_json or session.verbosity < 0 else waiting("optimize")


def read_matrix(path: Path) -> IntArray:
    """Return the matrix of an `.npy` file, turned around to shape (outputs, inputs).

    Raises:
        ConfigurationError: if the file cannot be read, or holds several arrays, or no integers.
        ModelError: if the array is no matrix.
    """
    import numpy as np

    from hsflow.data import read_npy
    from hsflow.ir.matrix import check_matrix

    if path.suffix == ".npz":
        raise ConfigurationError(
            "an .npz file holds several arrays",
            where=str(path),
            expected="an .npy file",
            hint="take one out: `np.save('matrix.npy', np.load(path)['name'])`",
        )
    return np.ascontiguousarray(check_matrix(read_npy(path, kinds="biu"), str(path)).T)


def lower_timed(
    weights: IntArray, inputs: tuple[Interval, ...], goal: LoweringGoal, hooks: Any, name: str
) -> tuple[AdderGraph, float]:
    """Lower a matrix, shape (outputs, inputs), and return the graph and the CPU seconds that it took.

    A small matrix is lowered first, at any depth, so that code which is compiled or loaded late is there.
    """
    import numpy as np

    small = np.array(_WARM_UP, dtype=np.int64)
    easy = replace(goal, max_depth=None, depth_slack=None)
    lower_matrix(small, inputs[:1] * small.shape[1], easy, hooks, "warm-up")
    start = _cpu_seconds()
    graph = lower_matrix(weights, inputs, goal, hooks, name)
    return graph, _cpu_seconds() - start


def lower_matrix(
    weights: IntArray, inputs: tuple[Interval, ...], goal: LoweringGoal, hooks: Any, name: str
) -> AdderGraph:
    """Return what the plugins make of a matrix, shape (outputs, inputs).

    Raises:
        PluginError: if no plugin makes an adder graph of it, or if it is deeper than the goal allows.
        MismatchError: if the graph is for other inputs.
    """
    from hsflow.ir.addergraph import AdderGraph

    graph = hooks.hsflow_lower_layer(matrix=weights, inputs=inputs, layer=name, goal=goal)
    if not isinstance(graph, AdderGraph):
        raise PluginError("no plugin lowered a matrix", where=name, got=graph, expected="an AdderGraph")
    if graph.inputs != inputs:
        raise MismatchError(
            "the adder graph assumes other input ranges, so its widths prove nothing", where=name
        )
    if (levels := _allowed_levels(weights, goal)) is not None and graph.depth > levels:
        raise PluginError(
            "the adder graph is deeper than asked for",
            where=name,
            got=f"{graph.depth} adder levels",
            expected=f"at most {levels}",
            hint="allow more levels",
        )
    return graph


def _allowed_levels(weights: IntArray, goal: LoweringGoal) -> int | None:
    from hsflow.ir.matrix import fewest_levels

    return goal.max_depth if goal.depth_slack is None else fewest_levels(weights) + goal.depth_slack


def measure(graph: AdderGraph, weights: IntArray, levels: int, seconds: float, name: str) -> Figures:
    """Prove a graph against its matrix and return its figures; `levels` 0 is without registers.

    Raises:
        MismatchError: if the graph computes anything else.
    """
    from hsflow.ir.matrix import adders_without_sharing
    from hsflow.ir.pipeline import LevelCut, combinational, pipelined

    graph.prove(weights, name)
    pipeline = pipelined(LevelCut(levels).placement(graph)) if levels else combinational(graph)
    return Figures(
        adders=len(graph.adders),
        adders_without_sharing=adders_without_sharing(weights),
        full_adder_bits=graph.full_adder_bits,
        register_bits=pipeline.register_bits,
        depth=graph.depth,
        latency=pipeline.stages,
        cpu_seconds=round(seconds, 6),
        peak_mib=round(_peak_mib(), 1),
        proved=True,
    )


def _cpu_seconds() -> float:
    import resource

    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def _peak_mib() -> float:
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def module_name(path: Path) -> str:
    """Return the name of the module in a file: the file's.

    Raises:
        ConfigurationError: if no file may be written there, or no module can be called so.
    """
    from hsflow.keywords import SYSTEMVERILOG_KEYWORDS

    if path.suffix not in SUFFIXES or (path.exists() and not path.is_file()):
        raise ConfigurationError(
            "the output is no SystemVerilog file", where=str(path), expected="a file that ends in .sv or .v"
        )
    if not _MODULE.fullmatch(path.stem) or path.stem in SYSTEMVERILOG_KEYWORDS:
        raise ConfigurationError(
            "the file's name is the module's, and no module can be called so",
            where=str(path),
            got=repr(path.stem),
            expected="a letter, then up to 62 letters, digits and _, and no reserved word of SystemVerilog",
        )
    return path.stem


def _emitted(graph: AdderGraph, module: str, levels: int, hooks: Any) -> str:
    text = hooks.hsflow_emit_adder_graph(graph=graph, module=module, adder_levels_per_stage=levels)
    if not isinstance(text, str):
        raise PluginError("no plugin emitted an adder graph", where=module, got=text, expected="RTL text")
    return text


def write_verilog(path: Path, text: str) -> None:
    """Write a module at once, in a folder that is made if need be."""
    from hsflow.durable import replace_file

    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, text.encode())


def _table(summary: dict[str, Any], weights: IntArray) -> str:
    outputs, inputs = weights.shape
    rows = {
        "matrix": f"{inputs:,} inputs, {outputs:,} outputs",
        "adders": f"{summary['adders']:,} ({summary['adders_without_sharing']:,} without sharing)",
        "full-adder bits": f"{summary['full_adder_bits']:,}",
        "register bits": f"{summary['register_bits']:,}",
        "depth": f"{summary['depth']} adder levels",
        "latency": f"{summary['latency']} cycles",
        "CPU time": f"{summary['cpu_seconds']:.2f} s",
        "peak memory": f"{summary['peak_mib']:,.0f} MiB",
        "proved": "every coefficient",
    }
    if summary["verilog"] is not None:
        rows["SystemVerilog"] = summary["verilog"]
    return "\n".join(f"{name:<16} {value}" for name, value in rows.items())
