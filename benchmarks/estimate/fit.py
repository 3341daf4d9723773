# SPDX-License-Identifier: Apache-2.0
"""Fit the constants of `hsflow_harden.estimate`: least squares of the relative error."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from hsflow_harden.estimate import MatrixStatistics, statistics
from numpy.typing import NDArray

from benchmarks.estimate.measure import Measured
from benchmarks.estimate.samples import Sample

FloatArray = NDArray[np.float64]

_SHARED = 0.01
"""Matrices whose patterns occur less often share nothing, and tell nothing of the share that is left."""


def fit(samples: Sequence[tuple[Sample, Measured]]) -> dict[str, float]:
    """Return each constant by its name."""
    found = [(sample, figures, statistics(sample.matrix)) for sample, figures in samples]
    return {**_left(found), **_widths(found), **_registers(found)}


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


def _registers(rows: Iterable[Row]) -> dict[str, float]:
    columns, targets = [], []
    for sample, figures, found in rows:
        stages = -(-figures.depth // sample.levels)
        values = sum(
            float(np.maximum(1, found.digits / 2.0 ** (k * sample.levels)).sum())
            for k in range(1, stages + 1)
        )
        width = figures.full_adder_bits / figures.adders
        columns.append((1.0, np.log(sample.levels), np.log(figures.adders / figures.adders_before_sharing)))
        targets.append(np.log(figures.register_bits / (values * width)))
    factor, levels, left = _solved(columns, targets, [1.0] * len(targets))
    return {
        "REGISTERS": float(np.exp(factor)),
        "REGISTERS_PER_LEVELS": levels,
        "REGISTERS_PER_LEFT": left,
    }


def _solved(
    columns: Sequence[Sequence[float]], targets: Sequence[float], scales: Sequence[float]
) -> list[float]:
    """Return the coefficients with the least squared errors, each error over its scale."""
    scale = np.array(scales)
    matrix = np.array(columns) / scale[:, np.newaxis]
    coefficients, *_ = np.linalg.lstsq(matrix, np.array(targets) / scale, rcond=None)
    return [float(value) for value in coefficients]
