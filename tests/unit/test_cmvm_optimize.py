# SPDX-License-Identifier: Apache-2.0
"""The optimizer's own function: what it takes, what it refuses, what its options do."""

from __future__ import annotations

from typing import Any

import hsflow_cmvm
import numpy as np
import pytest
from hsflow_cmvm import optimize

from hsflow.errors import ConfigurationError, ModelError
from hsflow.ir.matrix import fewest_levels
from hsflow.ir.pipeline import LevelCut, pipelined

MATRIX = np.random.default_rng(0).integers(-30, 31, (6, 5))


def test_any_array_of_integers_is_taken_as_inputs_by_outputs() -> None:
    graph = optimize([[1, 2], [2, -4]])
    assert (graph.evaluate(np.array([10, 1])) == [12, 16]).all()
    assert optimize(MATRIX) == optimize(np.asfortranarray(MATRIX.astype(">i2"))) == optimize(MATRIX.tolist())
    assert optimize(np.array([[True, False]])).adders == ()


@pytest.mark.parametrize(
    ("bits", "signed", "low", "high"), [(1, False, 0, 1), (4, True, -8, 7), (62, False, 0, 2**62 - 1)]
)
def test_inputs_have_the_range_that_was_said(bits: int, signed: bool, low: int, high: int) -> None:
    graph = optimize([[1]], input_bits=bits, signed=signed)
    assert [(i.low, i.high) for i in graph.inputs] == [(low, high)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"input_bits": 0}, "input_bits"),
        ({"input_bits": 63}, "input_bits"),
        ({"effort": "extreme"}, "effort"),
        ({"objective": "beauty"}, "objective"),
        ({"max_depth": 1}, "more adder levels"),
        ({"max_depth": -1}, "max_depth"),
        ({"max_depth": 9, "depth_slack": 1}, "two bounds"),
        ({"adder_levels_per_stage": 0}, "adder_levels_per_stage"),
    ],
)
def test_an_option_out_of_range_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        optimize(MATRIX, **options)


@pytest.mark.parametrize("matrix", [[[0.5]], [1, 2], [[]], np.zeros((0, 3), np.int64), [["a"]]])
def test_what_is_no_matrix_of_integers_is_refused(matrix: Any) -> None:
    with pytest.raises(ModelError):
        optimize(matrix)


def test_sums_that_no_integer_holds_are_refused() -> None:
    with pytest.raises(ModelError):
        optimize([[1 << 60], [1 << 60]], input_bits=8)


def test_each_objective_is_best_at_its_own() -> None:
    graphs = {
        name: optimize(MATRIX, objective=name) for name in ("area", "registers", "latency", "digit-serial")
    }

    def registers(name: str) -> int:
        return pipelined(LevelCut(2).placement(graphs[name])).register_bits

    assert registers("registers") == min(map(registers, graphs))
    assert graphs["latency"].depth == fewest_levels(MATRIX.T)
    assert len(graphs["digit-serial"].adders) == min(len(graph.adders) for graph in graphs.values())
    assert len(set(graphs.values())) > 1


def test_effort_gains_something() -> None:
    low, high = (optimize(MATRIX, effort=effort, adder_levels_per_stage=None) for effort in ("low", "high"))
    assert high.full_adder_bits < low.full_adder_bits


def test_the_package_has_nothing_but_the_optimizer() -> None:
    assert hsflow_cmvm.__all__ == ["optimize"]
    with pytest.raises(AttributeError, match="no attribute 'improve'"):
        _ = hsflow_cmvm.improve
