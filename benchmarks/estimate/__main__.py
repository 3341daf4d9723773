# SPDX-License-Identifier: Apache-2.0
"""The estimate's error: what the optimizer made of the samples, and of the trained digits network, against the estimate.

python -m benchmarks.estimate            # the error on samples that were fitted to, and on those that were not
python -m benchmarks.estimate --digits   # the trained network, too: optimizes its layers
python -m benchmarks.estimate --fit      # the constants for hsflow_harden/estimate.py
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from hsflow_harden.build import build_structure, plan_kernels
from hsflow_harden.estimate import estimate_figures, estimate_matrix
from hsflow_harden.kernel import KernelFigures
from hsflow_harden.lower import HookLowering

from benchmarks.estimate.fit import fit
from benchmarks.estimate.measure import MEASURED, Measured, read
from benchmarks.estimate.samples import Sample, build, is_held_out
from hsflow.ir.pipeline import LevelCut
from hsflow.lowering import LoweringGoal

FIGURES = ("adders", "full_adder_bits", "register_bits", "depth")
DIGITS = Path(__file__).parents[2] / "cores" / "hashiflex" / "flow.toml"


def estimated(sample: Sample) -> Measured:
    """Return the estimate in the form of what is measured."""
    found = estimate_matrix(sample.matrix, sample.inputs)
    return Measured(
        found.statistics.adders_before_sharing,
        found.adders,
        found.full_adder_bits,
        found.depth(sample.levels),
        found.register_bits(sample.levels, found.stages(sample.levels)),
    )


def errors(measured: Mapping[str, Measured], figure: str) -> dict[str, float]:
    """Return by sample how far the estimate of a figure is from the measured one, as a share of it."""
    found = {}
    for name, truth in measured.items():
        value = getattr(truth, figure)
        found[name] = (getattr(estimated(build(name)), figure) - value) / value
    return found


def summary(found: Mapping[str, float]) -> str:
    """Return mean magnitude, mean and worst of errors."""
    values = np.array(list(found.values()))
    worst = max(found, key=lambda name: abs(found[name]))
    mean = f"{100 * np.abs(values).mean():5.1f} % mean error, {100 * values.mean():+5.1f} % bias"
    return f"{mean}, worst {100 * found[worst]:+5.1f} % ({worst})"


def digits() -> tuple[list[KernelFigures], list[KernelFigures]]:
    """Return the estimated and the built figures of each layer of the trained digits network."""
    from hsflow.flow import Selection
    from hsflow.project import Project
    from hsflow.stage import StageKind

    project = Project.open(DIGITS)
    graph = project.run(Selection(StageKind.QUANTIZE)).graph
    lower = HookLowering(project.plugins.hook.hsflow_lower_layer, LoweringGoal())
    structure = build_structure(graph, lower, LevelCut(2))
    built = {layer.layer.name: layer.figures for layer in structure.layers}
    plans = plan_kernels(graph)
    return [estimate_figures(plan, 2) for plan in plans], [built[plan.layer.name] for plan in plans]


def _print_digits() -> None:
    guessed, built = digits()
    print("the trained digits network, all layers:")
    for figure in FIGURES:
        guess, truth = (sum(getattr(each, figure) for each in side) for side in (guessed, built))
        print(f"  {figure:16}{guess:10,} estimated, {truth:10,} built, {100 * (guess / truth - 1):+5.1f} %")


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the estimate's error, or fit its constants."""
    parser = argparse.ArgumentParser(description="The error of hsflow plan's estimates.")
    parser.add_argument("--fit", action="store_true", help="print the constants that fit best")
    parser.add_argument("--digits", action="store_true", help="compare with the trained digits network, too")
    parser.add_argument("--measured", type=Path, default=MEASURED)
    parser.add_argument("--verbose", action="store_true", help="print the error of each sample")
    chosen = parser.parse_args(arguments)
    measured = read(chosen.measured)
    held_out = {name: row for name, row in measured.items() if is_held_out(name)}
    fitted = {name: row for name, row in measured.items() if name not in held_out}
    if chosen.fit:
        for name, value in fit([(build(name), row) for name, row in fitted.items()]).items():
            print(f"{name} = {value:.3g}")
        return
    for figure in FIGURES:
        for title, rows in (("fitted", fitted), ("held out", held_out)):
            found = errors(rows, figure)
            print(f"{figure:16}{title:9}{len(rows):4} samples {summary(found)}")
            if chosen.verbose:
                print(*(f"    {name:24}{100 * error:+6.1f} %" for name, error in found.items()), sep="\n")
    if chosen.digits:
        _print_digits()


if __name__ == "__main__":
    main()
