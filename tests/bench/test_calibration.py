# SPDX-License-Identifier: Apache-2.0
"""The model of area and clock against synthesized layers: within its bars, and with the accuracy that it states."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from hsflow_harden.cost import layer_cost
from mini_platform import real_platform

from benchmarks.asap7.calibrate import Row, accuracy, fit_areas, layer_of, main, read, rows, write
from benchmarks.asap7.samples import build, names
from benchmarks.asap7.tiles import Measured, measure
from hsflow.area import layer_area
from hsflow.technology import ASAP7, Areas

MEAN, WORST = 0.05, 0.10
SMALL = ("8x16-g8-z0-u8-p2-1000", "max8-s6-p2-1000")


@pytest.fixture(scope="module")
def measured() -> list[Row]:
    return rows(read())


@pytest.fixture(scope="module")
def held_out(measured: list[Row]) -> list[Row]:
    return [row for row in measured if row.sample.is_held_out]


def test_every_sample_was_measured_and_a_good_part_held_out(measured: list[Row], held_out: list[Row]) -> None:
    assert {row.sample.name for row in measured} == set(names())
    assert 0.2 < len(held_out) / len(measured) < 0.4
    kinds = {row.cost.kind.split()[0] for row in measured}
    assert kinds >= {"pointwise", "depthwise", "convolution", "max", "average", "residual"}


def test_areas_are_within_the_bar_on_layers_that_were_not_fitted_to(held_out: list[Row]) -> None:
    found = accuracy(held_out, lambda row: row.area_error)
    assert found.mean < MEAN and found.worst < WORST


def test_the_stated_accuracy_is_that_on_held_out_layers(held_out: list[Row]) -> None:
    found = accuracy(held_out, lambda row: row.area_error)
    assert ASAP7.area_accuracy.samples == found.samples
    assert ASAP7.area_accuracy.mean == pytest.approx(found.mean, abs=5e-4)
    assert ASAP7.area_accuracy.worst == pytest.approx(found.worst, abs=5e-4)
    timed = [row for row in held_out if row.is_timed]
    for corner, stated in ASAP7.path_accuracy.items():
        found = accuracy(timed, partial(Row.path_error, corner=corner))
        assert stated.samples == len(timed) < len(held_out)
        assert (stated.mean, stated.worst) == pytest.approx((found.mean, found.worst), abs=5e-4)


def test_a_model_of_full_adders_and_registers_alone_misses_the_bar(held_out: list[Row]) -> None:
    bare = dict.fromkeys(vars(ASAP7.areas), 0.0)
    kept = {"full_adders": 0.255, "half_adders": 0.255, "tile_registers": 0.2916, "former_registers": 0.2916}
    simple = replace(ASAP7, areas=Areas(**{**bare, **kept, "buffer_bit": 0.2916}))
    found = accuracy(held_out, lambda row: layer_area(row.cost, simple).total / row.measured.total - 1)
    assert found.mean > MEAN and found.worst > WORST


def test_the_constants_are_those_that_fit_the_other_layers(measured: list[Row]) -> None:
    found = fit_areas([row for row in measured if not row.sample.is_held_out])
    assert found == pytest.approx(vars(ASAP7.areas), rel=1e-3)


def test_what_was_measured_is_written_and_read(tmp_path: Path) -> None:
    made = {"a": Measured({"tiles": 1.5}, {"TT": 800.0})}
    write(made, tmp_path / "measured.json")
    assert read(tmp_path / "measured.json") == made


def test_errors_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    main([])
    assert "held out" in capsys.readouterr().out


def test_the_fit_prints_the_constants_that_the_technology_has(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--fit"])
    printed = capsys.readouterr().out
    assert f"full_adders={ASAP7.areas.full_adders:.4g}," in printed
    for corner, delays in ASAP7.typical.items():
        (line,) = [line for line in printed.splitlines() if line.startswith(repr(corner))]
        found = {name: float(ps) for name, ps in re.findall(r"(\w+)=([\w.]+)", line)}
        assert found == pytest.approx(vars(delays), rel=1e-2)


@pytest.mark.parametrize("name", ["16x32", "16x16-g8-z50-u8-1000", "16x16-g8-z50-u8-p2"])
def test_a_name_that_describes_no_sample_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="a sample's name must be like"):
        build(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_synthesis_still_makes_of_a_layer_what_the_model_says(name: str, tmp_path: Path) -> None:
    found = measure(build(name), real_platform(), tmp_path)
    estimated = layer_area(layer_cost(layer_of(name))).total
    assert estimated == pytest.approx(found.total, rel=WORST)
    assert 2 * estimated != pytest.approx(found.total, rel=WORST)
