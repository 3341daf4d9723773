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
from hsflow_harden.clocking import cut_of, kernel_ends, levels_to_expect
from hsflow_harden.estimate import estimate_figures, estimate_matrix
from hsflow_harden.kernel import KernelFigures
from hsflow_harden.lower import HookLowering

from benchmarks.estimate.fit import fit
from benchmarks.estimate.measure import MEASURED, Measured, read
from benchmarks.estimate.samples import CLOCK_MHZ, CORNER, MARGIN, Sample, build, is_held_out
from hsflow.ir.pipeline import LevelCut
from hsflow.lowering import LoweringGoal

FIGURES = ("adders", "full_adder_bits", "register_bits", "depth")
DIGITS = Path(__file__).parents[2] / "cores" / "hashiflex" / "flow.toml"


def estimated(sample: Sample) -> Measured:
    """Return the estimate in the form of what is measured."""
    found = estimate_matrix(sample.matrix, sample.inputs)
    registers = found.registers(sample.cut, sample.ends)
    return Measured(
        found.statistics.adders_before_sharing,
        found.adders,
        found.full_adder_bits,
        found.depth(levels_to_expect(sample.cut)),
        registers.stages,
        registers.bits(registers.stages),
    )


def groups(measured: Mapping[str, Measured]) -> dict[str, dict[str, Measured]]:
    """Return the samples by whether constants are fitted to them, and by what cuts their adders."""
    found: dict[str, dict[str, Measured]] = {}
    for name, row in measured.items():
        title = "held out" if is_held_out(name) else "fitted"
        cut = "by levels" if isinstance(build(name).cut, LevelCut) else "by clock"
        found.setdefault(f"{title}, {cut}", {})[name] = row
    return dict(sorted(found.items()))


def errors(measured: Mapping[str, Measured], figure: str) -> dict[str, float]:
    """Return by sample how far the estimate of a figure is from the measured one, as a share of it."""
    found = {}
    for name, truth in measured.items():
        value = getattr(truth, figure)
        if value:  # a slow clock may need no register
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
    cut = cut_of(None, CLOCK_MHZ, MARGIN, CORNER)
    goal = LoweringGoal(adder_levels_per_stage=levels_to_expect(cut))
    structure = build_structure(graph, HookLowering(project.plugins.hook.hsflow_lower_layer, goal), cut)
    built = {layer.layer.name: layer.figures for layer in structure.layers}
    guessed = [
        estimate_figures(plan, cut, kernel_ends(plan.layer, plan.sources, 1, cut))
        for plan in plan_kernels(graph)
    ]
    return guessed, [built[plan.layer.name] for plan in plan_kernels(graph)]


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
    if chosen.fit:
        fitted = [(build(name), row) for name, row in measured.items() if not is_held_out(name)]
        for name, value in fit(fitted).items():
            print(f"{name} = {value:.3g}")
        return
    for figure in FIGURES:
        for title, rows in groups(measured).items():
            found = errors(rows, figure)
            print(f"{figure:16}{title:20}{len(rows):4} samples {summary(found)}")
            if chosen.verbose:
                print(*(f"    {name:24}{100 * error:+6.1f} %" for name, error in found.items()), sep="\n")
    if chosen.digits:
        _print_digits()


if __name__ == "__main__":
    main()
