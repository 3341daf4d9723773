# SPDX-License-Identifier: Apache-2.0
"""The emulator's benchmark runs, compares like with like, and fails when an integer is wrong."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks.emulator import __main__ as benchmark
from benchmarks.emulator.measure import Speed
from benchmarks.emulator.networks import RandomMobileNet, float_mobilenet
from hsflow.ir.graph import Add, Conv

SMALL = ("--size", "32", "--images", "2", "--rounds", "1", "--batch", "1", "--threads", "1")


def test_it_reports_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert benchmark.main([*SMALL, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["equals_the_interpreter"] is True
    speeds = report["images_per_second"]
    assert set(speeds) == {
        "hsflow emulator",
        "torch float32, channels first",
        "torch float32, channels last",
    }
    assert all(speed > 0 for speed in speeds.values())
    assert report["threads"] == 1 and report["batch"] == 1


def test_it_prints_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    before = torch.get_num_threads()
    try:
        assert benchmark.main([*SMALL[:-1], "2"]) == 0
    finally:
        torch.set_num_threads(before)
    table = capsys.readouterr().out
    assert "32x32" in table and "2 threads" in table and "images shared" in table


def test_a_wrong_integer_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def wrong(graph: Any, images: Any) -> Any:
        return np.zeros((len(images), 1000), dtype=np.int64)

    monkeypatch.setattr(benchmark, "interpret", wrong)
    monkeypatch.setattr(benchmark, "measure", lambda programs, *_: dict.fromkeys(programs, Speed(1.0, 1.0)))
    assert benchmark.main(SMALL) == 1
    assert "NO" in capsys.readouterr().out


@pytest.mark.parametrize("terms", [1, 2])
def test_the_integer_network_is_mobilenet_v2(terms: int) -> None:
    """As many weights as torch's, on 52 convolutions and 10 additions; the second term is used where it is allowed."""
    graph = RandomMobileNet(terms=terms).graph()
    convolutions = [layer for layer in graph.layers if isinstance(layer, Conv)]
    assert len(convolutions) == 52
    assert sum(isinstance(layer, Add) for layer in graph.layers) == 10
    weights = sum(layer.weight.integers.size for layer in convolutions)
    floats = [p for name, p in float_mobilenet().named_parameters() if p.dim() == 4]
    assert weights == sum(parameter.numel() for parameter in floats)
    distinct = {int(v) for layer in convolutions for v in np.unique(np.abs(layer.weight.integers))}
    powers = {0} | {1 << e for e in range(8)}
    assert (distinct <= powers) == (terms == 1)
    assert all(len(set(layer.output.fractions)) == 2 for layer in convolutions)
