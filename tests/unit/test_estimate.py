# SPDX-License-Identifier: Apache-2.0
"""Estimated costs: what they read off a matrix, and how far they are from what the optimizer made."""

from __future__ import annotations

import numpy as np
import pytest
from hsflow_cmvm import optimize
from hsflow_harden import estimate, registers
from hsflow_harden.estimate import MatrixEstimate, estimate_matrix, left_share, statistics

from benchmarks.cmvm.matrices import block_diagonal, weights
from benchmarks.estimate.__main__ import errors, groups, main
from benchmarks.estimate.fit import fit
from benchmarks.estimate.measure import Measured, read
from benchmarks.estimate.samples import build, is_held_out, names
from hsflow.fixedpoint import IntArray, Interval
from hsflow.ir.matrix import adders_without_sharing
from hsflow.ir.pipeline import ClockCut, Cut, LevelCut
from hsflow.ir.placement import Ends
from hsflow.technology import ASAP7

BYTE = Interval(0, 255)
QUICK = 40_000
"""Nonzeros of the largest matrix that tests estimate."""

BOUNDS = {
    "adders": (0.04, 0.10),
    "full_adder_bits": (0.05, 0.16),
    "depth": (0.10, 0.35),
}
REGISTER_BOUNDS = {"levels": (0.18, 0.75), "clock": (0.40, 1.2)}
"""The largest mean and single error on matrices that were not fitted to: of each figure, and of register bits by the cut."""


def _matrix(shape: tuple[int, int], family: str = "g8", zeros: int = 0) -> IntArray:
    return np.ascontiguousarray(weights(shape, family, zeros).T)


def _adders(matrix: IntArray) -> int:
    return estimate_matrix(matrix, [BYTE] * matrix.shape[1]).adders


def test_statistics_of_a_small_matrix() -> None:
    found = statistics(np.array([[1, 2, 0], [2, 4, 0], [0, 0, 0], [3, -8, 1]]))
    assert found.digits.tolist() == [2, 2, 4]
    assert found.terms.tolist() == [2, 2, 3]
    assert found.adders_before_sharing == 5
    assert found.multiples == 1  # 3 = 4 - 1
    assert found.fewest_levels == 2


def test_factors_of_rows_are_multiplied_once() -> None:
    """The estimate is that of the rows without them and an adder for each, and near what the optimizer finds."""
    generator = np.random.default_rng(1)
    powers = generator.choice([-1, 1], (64, 24)) << generator.integers(0, 8, (64, 24))
    multiples = powers * np.array([1, 5, 3, 7] * 16)[:, np.newaxis]
    one, other = statistics(powers), statistics(multiples)
    assert other.multiplications == 48 and one.multiplications == 0
    assert other.adders_before_sharing == one.adders_before_sharing + 48 == adders_without_sharing(multiples)
    assert other.fewest_levels == one.fewest_levels + 1
    assert _adders(multiples) == _adders(powers) + 48
    assert _adders(multiples) == pytest.approx(len(optimize(multiples.T, effort="low").adders), rel=0.1)


def test_occurrences_are_those_of_random_rows() -> None:
    """Every pair of nonzeros lies in every row, and one in two has the same relative sign."""
    found = statistics(_matrix((16, 97), "t"))
    assert found.collision == pytest.approx(0.5)
    assert found.occurrences == pytest.approx(96 / 2)
    assert found.side == 16


def test_a_tall_matrix_and_its_transpose_have_the_same_occurrences() -> None:
    tall = _matrix((24, 144), zeros=50)
    assert statistics(tall).occurrences == pytest.approx(statistics(tall.T.copy()).occurrences, rel=0.05)


def test_what_columns_are_shifted_by_does_not_matter() -> None:
    matrix = _matrix((24, 144), zeros=50)
    shifted = matrix << np.random.default_rng(1).integers(0, 4, 24)
    assert _adders(shifted) == pytest.approx(_adders(matrix), rel=0.02)


def test_what_shares_nothing_keeps_its_adders() -> None:
    depthwise = np.ascontiguousarray(block_diagonal(weights((16, 9), "g8", 0)).T)
    found = estimate_matrix(depthwise, [BYTE] * depthwise.shape[1])
    assert found.adders == found.statistics.adders_before_sharing == 16 * 8
    assert left_share(found.statistics) == 1


@pytest.mark.parametrize("matrix", [np.zeros((3, 4), np.int64), np.eye(4, dtype=np.int64), np.array([[5]])])
def test_matrices_of_hardly_any_adder(matrix: IntArray) -> None:
    found = estimate_matrix(matrix, [BYTE] * matrix.shape[1])
    assert found.adders == found.statistics.adders_before_sharing == int(matrix.max() == 5)
    assert _registers(found, LevelCut(2)) >= 0


def test_wider_inputs_and_more_stages_cost_bits() -> None:
    matrix = _matrix((24, 144))
    narrow, wide = (estimate_matrix(matrix, [Interval(0, high)] * 24) for high in (15, 255))
    assert wide.adders == narrow.adders
    assert wide.full_adder_bits == pytest.approx(narrow.full_adder_bits + 4 * wide.adders, abs=1)
    often, seldom = (_registers(wide, LevelCut(levels)) for levels in (1, 4))
    assert often > 2 * seldom > 0
    found = wide.registers(LevelCut(2), Ends())
    assert found.bits(found.stages + 2) > found.bits(found.stages)


def test_a_faster_clock_costs_registers() -> None:
    found = estimate_matrix(_matrix((24, 144)), [BYTE] * 24)
    delays = ASAP7.delays_at("TT")
    slow, fast = (_registers(found, ClockCut(clock, 0.1, delays)) for clock in (400.0, 1000.0))
    assert fast > 1.5 * slow


def _registers(found: MatrixEstimate, cut: Cut) -> int:
    cut_up = found.registers(cut, Ends())
    return cut_up.bits(cut_up.stages)


@pytest.fixture(scope="module")
def measured() -> dict[str, Measured]:
    return read()


@pytest.fixture(scope="module")
def quick(measured: dict[str, Measured]) -> dict[str, Measured]:
    return {
        name: row for name, row in measured.items() if is_held_out(name) and row.adders_before_sharing < QUICK
    }


def _exceeds(rows: dict[str, Measured], figure: str, bounds: tuple[float, float]) -> bool:
    found = np.abs(list(errors(rows, figure).values()))
    mean, worst = bounds
    return bool(found.mean() > mean or found.max() > worst)


@pytest.mark.parametrize("figure", BOUNDS)
def test_the_estimate_holds_for_matrices_that_were_not_fitted_to(
    quick: dict[str, Measured], figure: str
) -> None:
    assert len(quick) > 20
    assert not _exceeds(quick, figure, BOUNDS[figure])


@pytest.mark.parametrize("cut", REGISTER_BOUNDS)
def test_registers_are_estimated_by_what_cuts_the_adders(quick: dict[str, Measured], cut: str) -> None:
    rows = groups(quick)[f"held out, by {cut}"]
    assert len(rows) > 5
    assert not _exceeds(rows, "register_bits", REGISTER_BOUNDS[cut])


@pytest.mark.parametrize(
    ("constant", "figure"), [("LEFT_AT_ONE", "adders"), ("WIDTH_BASE", "full_adder_bits")]
)
def test_another_constant_exceeds_the_bounds(
    quick: dict[str, Measured], constant: str, figure: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, constant, getattr(estimate, constant) * 1.3)
    assert _exceeds(quick, figure, BOUNDS[figure])


@pytest.mark.parametrize(("constant", "cut"), [("REGISTERS", "levels"), ("PARTIAL", "clock")])
def test_another_constant_of_registers_exceeds_the_bounds(
    quick: dict[str, Measured], constant: str, cut: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registers, constant, getattr(registers, constant) * 1.5)
    assert _exceeds(groups(quick)[f"held out, by {cut}"], "register_bits", REGISTER_BOUNDS[cut])


def test_the_constants_are_the_fitted_ones(measured: dict[str, Measured]) -> None:
    fitted = fit([(build(name), row) for name, row in measured.items() if not is_held_out(name)])
    used = {name: vars(estimate).get(name, vars(registers).get(name)) for name in fitted}
    assert used == pytest.approx(fitted, rel=0.01)


def test_all_samples_are_measured_and_printed(
    measured: dict[str, Measured], capsys: pytest.CaptureFixture[str]
) -> None:
    assert sorted(measured) == sorted(names())
    main(["--fit"])
    assert "LEFT_AT_ONE = " in capsys.readouterr().out


def test_a_sample_without_meaning_is_refused() -> None:
    with pytest.raises(ValueError, match="must be like"):
        build("16x96-g8-z50-x")
