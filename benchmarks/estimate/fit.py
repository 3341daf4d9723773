# SPDX-License-Identifier: Apache-2.0
"""Fit the constants of `hsflow_harden.estimate` and `hsflow_harden.registers`: least squares of the relative error."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from hsflow_harden.estimate import MatrixStatistics, estimate_matrix, statistics
from hsflow_harden.registers import ClockRegisters, LevelRegisters
from numpy.typing import NDArray

from benchmarks.estimate.measure import Measured
from benchmarks.estimate.samples import Sample

FloatArray = NDArray[np.float64]

_SHARED = 0.01
"""Matrices whose patterns occur less often share nothing, and tell nothing of the share that is left."""

_GRIDS, _STEPS = 6, 9
"""How often, and with how many values of each, constants are searched for that no linear system gives."""


def fit(samples: Sequence[tuple[Sample, Measured]]) -> dict[str, float]:
    """Return each constant by its name."""
    found = [(sample, figures, statistics(sample.matrix)) for sample, figures in samples]
    return {**_left(found), **_widths(found), **_level_registers(found), **_clock_registers(found)}


Row = tuple[Sample, Measured, MatrixStatistics]


def _left(rows: Iterable[Row]) -> dict[str, float]:
    shared = [(figures, found) for _, figures, found in rows if found.occurrences > _SHARED]
    share = [(figures.adders - found.multiples) / (found.terms - 1).sum() for figures, found in shared]
    columns = [(1.0, -np.log2(found.occurrences), np.log2(found.side)) for _, found in shared]
    names = ("LEFT_AT_ONE", "LEFT_PER_DOUBLING", "LEFT_PER_SIDE")
    return dict(zip(names, _solved(columns, share, share), strict=True))


def _widths(rows: Iterable[Row]) -> dict[str, float]:
    columns, targets, widths = [], [], []
    for sample, figures, found in rows:
        inputs = float(np.mean([interval.width for interval in sample.inputs]))
        width = figures.full_adder_bits / figures.adders
        columns.append((1.0, -np.log2(found.collision), -figures.adders / figures.adders_before_sharing))
        targets.append(width - inputs)
        widths.append(width)
    names = ("WIDTH_BASE", "WIDTH_PER_SPREAD", "WIDTH_PER_LEFT")
    return dict(zip(names, _solved(columns, targets, widths), strict=True))


def _level_registers(rows: Iterable[Row]) -> dict[str, float]:
    columns, targets = [], []
    for sample, figures, _ in rows:
        registers = _of_measured(sample, figures)
        if isinstance(registers, LevelRegisters):
            values = registers.values(figures.stages) * registers.trees.adder_bits
            columns.append((1.0, np.log(registers.levels), np.log(registers.trees.left)))
            targets.append(np.log(figures.register_bits / values))
    factor, levels, left = _solved(columns, targets, [1.0] * len(targets))
    return {
        "REGISTERS": float(np.exp(factor)),
        "REGISTERS_PER_LEVELS": levels,
        "REGISTERS_PER_LEFT": left,
    }


def _clock_registers(rows: Iterable[Row]) -> dict[str, float]:
    """Return the constants with the least squared logarithms of errors, by ever finer grids around the best so far."""
    found = [(_of_measured(sample, figures), figures) for sample, figures, _ in rows if figures.register_bits]
    places = [
        (_places(registers), registers.trees.left, figures)
        for registers, figures in found
        if isinstance(registers, ClockRegisters)
    ]
    best, width = np.zeros(2), 1.0
    for _ in range(_GRIDS):
        steps = np.linspace(-width, width, _STEPS)
        grid = [best + np.array(step) for step in product(steps, steps)]
        best = min(grid, key=lambda constants: _error(places, constants))
        width *= 2 / _STEPS
    return {"PARTIAL": float(np.exp(best[0])), "PARTIAL_PER_LEFT": float(best[1])}


def _of_measured(sample: Sample, figures: Measured) -> LevelRegisters | ClockRegisters:
    """Return the estimate of the registers, but of adders that were measured."""
    found = estimate_matrix(sample.matrix, sample.inputs)
    known = replace(found, adders=figures.adders, full_adder_bits=figures.full_adder_bits)
    return known.registers(sample.cut, sample.ends)


def _places(registers: ClockRegisters) -> list[FloatArray]:
    """Return what crosses each register at each place that it can have."""
    stages = range(1, registers.stages + 1)
    return [np.array(list(registers.places(register, registers.stages))) for register in stages]


def _error(rows: Iterable[tuple[list[FloatArray], float, Measured]], constants: FloatArray) -> float:
    logarithms = []
    for places, left, figures in rows:
        partial = float(np.exp(constants[0]) * left ** constants[1])
        bits = sum(float((each @ (1.0, partial)).min()) for each in places)
        logarithms.append(np.log(max(1.0, bits) / figures.register_bits))
    return float(np.square(logarithms).sum())


def _solved(
    columns: Sequence[Sequence[float]], targets: Sequence[float], scales: Sequence[float]
) -> list[float]:
    """Return the coefficients with the least squared errors, each error over its scale."""
    scale = np.array(scales)
    matrix = np.array(columns) / scale[:, np.newaxis]
    coefficients, *_ = np.linalg.lstsq(matrix, np.array(targets) / scale, rcond=None)
    return [float(value) for value in coefficients]
