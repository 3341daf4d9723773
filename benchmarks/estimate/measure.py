# SPDX-License-Identifier: Apache-2.0
"""What the optimizer makes of the samples: the figures that the estimate is compared with.

    python -m benchmarks.estimate.measure        # writes measured.json anew: some minutes

Nothing in it depends on the machine, so it is the same until the optimizer changes.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from hsflow_cmvm.optimizer import lower
from hsflow_harden.clocking import levels_to_expect

from benchmarks.estimate.samples import build, names
from hsflow.executor import ProcessExecutor
from hsflow.ir.matrix import adders_without_sharing
from hsflow.ir.pipeline import pipelined
from hsflow.lowering import Effort, LoweringGoal

MEASURED = Path(__file__).with_name("measured.json")


@dataclass(frozen=True)
class Measured:
    """Hold the figures of one optimized adder graph, in the units of `hsflow_harden.kernel.KernelFigures`."""

    adders_before_sharing: int
    adders: int
    full_adder_bits: int
    depth: int
    stages: int
    register_bits: int


def measure(task: tuple[str, Effort]) -> Measured:
    """Optimize one sample at an effort."""
    name, effort = task
    sample = build(name)
    goal = LoweringGoal(effort=effort, adder_levels_per_stage=levels_to_expect(sample.cut))
    graph = lower(sample.matrix, sample.inputs, goal, name)
    pipeline = pipelined(sample.cut.placement(graph, sample.ends))
    return Measured(
        adders_without_sharing(sample.matrix),
        len(graph.adders),
        graph.full_adder_bits,
        graph.depth,
        pipeline.stages,
        pipeline.register_bits,
    )


def measure_all(chosen: Sequence[str], effort: Effort, workers: int) -> dict[str, Measured]:
    """Return the figures of each sample."""
    results = ProcessExecutor(workers).map(measure, [(name, effort) for name in chosen])
    found = {}
    for name, figures in zip(chosen, results, strict=True):
        print(f"{name:24}{figures.adders:8} adders of {figures.adders_before_sharing:8}", flush=True)
        found[name] = figures
    return found


def read(path: Path = MEASURED) -> dict[str, Measured]:
    """Return the figures that were written by `write`."""
    return {name: Measured(**row) for name, row in json.loads(path.read_text(encoding="utf-8")).items()}


def write(figures: Mapping[str, Measured], path: Path = MEASURED) -> None:
    """Write figures, one sample a line."""
    lines = (f"{json.dumps(name)}: {json.dumps(asdict(row))}" for name, row in sorted(figures.items()))
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


def main() -> None:
    """Measure the samples that are named, by default all, and write the figures down; those of others stay."""
    parser = argparse.ArgumentParser(description="Optimize the samples and write down what they cost.")
    parser.add_argument("samples", nargs="*", help="by default all")
    parser.add_argument("--effort", type=Effort, default=Effort.NORMAL, choices=list(Effort))
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--output", type=Path, default=MEASURED)
    arguments = parser.parse_args()
    measured = measure_all(arguments.samples or names(), arguments.effort, arguments.workers)
    write(read(arguments.output) | measured if arguments.samples else measured, arguments.output)


if __name__ == "__main__":
    main()
