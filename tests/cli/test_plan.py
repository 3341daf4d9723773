# SPDX-License-Identifier: Apache-2.0
"""`hsflow plan`: the whole network's table, from a name, a file or a flow.toml, and a reason for each refusal."""

from __future__ import annotations

import importlib.util
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from shared_data import shared_file

from hsflow import cli
from hsflow.errors import EXIT_FAILURE, EXIT_OK, EXIT_USAGE

SMALL = ("--model", "mobilenet_v2", "--width", "0.1", "--resolution", "32")
FULL = ("--model", "mobilenet_v2")

Run = Callable[..., tuple[int, str, str]]
Plan = Callable[..., dict[str, Any]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs the command line in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        status = cli.main(("plan", *words))
        return status, *capfd.readouterr()

    return run


@pytest.fixture
def plan(run: Run) -> Plan:
    """Return a function that plans and returns the JSON object."""

    def plan(*words: str) -> dict[str, Any]:
        status, out, err = run("--json", *words)
        assert status == EXIT_OK, err
        found: dict[str, Any] = json.loads(out)
        return found

    return plan


def test_a_plan_tells_each_layer_and_the_totals(plan: Plan) -> None:
    found = plan(*SMALL)
    assert [layer["name"] for layer in found["layers"]][:3] == [
        "features.0.0",
        "features.1.conv.0.0",
        "features.1.conv.1",
    ]
    for name, total in found["totals"].items():
        assert total == sum(layer[name] for layer in found["layers"]), name
    parts = ("adders_mm2", "registers_mm2", "memory_mm2", "other_mm2")
    assert found["area"]["total_mm2"] == pytest.approx(sum(found["area"][part] for part in parts))
    adders = ("full_adders", "half_adders", "split_adders", "accumulated")
    used = [
        (layer["resources"][name], found["area"]["um2"][name]) for layer in found["layers"] for name in adders
    ]
    assert found["area"]["adders_mm2"] == pytest.approx(1e-6 * sum(count * um2 for count, um2 in used))
    assert all(0 < layer["duty"] <= 1 for layer in found["layers"])
    assert found["random_weights"] is True
    assert found["npu"]["class_lanes"] >= 1
    joins = [layer["fifo_depths"] for layer in found["layers"] if layer["kind"] == "residual add"]
    assert len(joins) == 11
    assert all(depths[0] > 0 == depths[1] for depths in joins)


def test_a_shorter_interval_takes_more_copies(plan: Plan) -> None:
    slow, fast = plan(*SMALL, "--initiation-interval", "1024"), plan(*SMALL, "--initiation-interval", "64")
    assert fast["layers"][0]["copies"] > slow["layers"][0]["copies"] == 1
    assert fast["totals"]["adders"] > slow["totals"]["adders"]
    assert fast["layers"][0]["initiation_interval"] <= 64


def test_throughput_and_clock_come_to_an_interval(plan: Plan) -> None:
    by_rate = plan(*SMALL, "--clock-mhz", "500", "--target-throughput", "500000")
    by_interval = plan(*SMALL, "--clock-mhz", "500", "--initiation-interval", "1000")
    assert by_rate["layers"] == by_interval["layers"]
    assert by_rate["images_per_second"] == pytest.approx(500e6 / by_rate["initiation_interval"])


def test_zeros_save_adders(plan: Plan) -> None:
    dense, sparse = plan(*SMALL), plan(*SMALL, "--sparsity", "0.8")
    assert (
        sparse["totals"]["zero_weights"]
        >= 0.8 * sparse["totals"]["weights"]
        > dense["totals"]["zero_weights"]
    )
    assert sparse["totals"]["adders"] < 0.5 * dense["totals"]["adders"]


def test_the_same_plan_again(plan: Plan) -> None:
    assert plan(*SMALL) == plan(*SMALL) != plan(*SMALL, "--seed", "2")


def test_mobilenet_v2_is_planned_in_seconds(run: Run) -> None:
    start = time.process_time()
    status, out, _ = run(*FULL, "--initiation-interval", "250")
    assert status == EXIT_OK
    assert time.process_time() - start < 10
    assert "2,189,760" in out
    assert "The weights are random." in out
    assert "estimated" in out


def test_a_flow_is_planned_with_its_own_weights_and_rate(plan: Plan, run: Run, tmp_path: Path) -> None:
    cli.main(("-q", "new", "digits"))
    found = plan("--model", "digits")
    assert found["random_weights"] is False
    assert found["model"] == "digits"
    pruned, dense = (
        each["totals"]["zero_weights"] for each in (found, plan("--model", "digits", "--sparsity", "0"))
    )
    assert pruned >= 0.5 * found["totals"]["weights"] > dense
    toml = tmp_path / "digits" / "flow.toml"
    text = toml.read_text().replace("[harden]", "[harden]\ninitiation_interval = 16", 1)
    assert "initiation_interval" in text
    toml.write_text(text)
    assert plan("--model", str(toml))["layers"][0]["initiation_interval"] == 16
    assert plan("--model", str(toml), "--initiation-interval", "64")["layers"][0]["initiation_interval"] == 64
    status, _, err = run("--model", "digits", "--width", "0.5")
    assert status == EXIT_USAGE
    assert "--width" in err


def test_a_tflite_file_is_planned_with_its_weights(plan: Plan) -> None:
    pytest.importorskip("tflite")
    path = shared_file("models/mlperf_tiny/vww_96_int8.tflite")
    found = plan("--model", str(path))
    assert found["random_weights"] is False
    assert found["totals"]["adders"] > 10_000


@pytest.mark.skipif(importlib.util.find_spec("matplotlib") is None, reason="matplotlib is not installed")
def test_a_plot_is_drawn(run: Run, tmp_path: Path) -> None:
    status, _, err = run(*SMALL, "--plot", "a/plan.png")
    assert status == EXIT_OK, err
    assert (tmp_path / "a" / "plan.png").read_bytes().startswith(b"\x89PNG")


def test_a_plot_needs_matplotlib(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    status, _, err = run(*SMALL, "--plot", "plan.png")
    assert status == EXIT_FAILURE
    assert "hsflow[plot]" in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((*SMALL, "--initiation-interval", "4", "--target-throughput", "5"), "same rate"),
        ((*SMALL, "--target-throughput", "1e12"), "no cycle for each image"),
        (("--model", "digits", "--width", "0.5"), "cannot be scaled"),
        (("--model", "nothing.toml"), "no such file"),
        (("--model", "nothing.tflite"), "no such file"),
        (("--model", "a/nothing"), "no such file"),
        ((*SMALL, "--plot", "plan.svg"), "no PNG file"),
        ((*SMALL, "--sparsity", "1"), "--sparsity"),
    ],
)
def test_a_wrong_request_is_refused(run: Run, words: tuple[str, ...], message: str) -> None:
    status, _, err = run(*words)
    assert status == EXIT_USAGE
    assert message in err


def test_an_unknown_file_and_architecture_are_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(b"")
    for model, message in (("model.bin", "no plugin knows"), ("nothing_v9", "torchvision")):
        status, _, err = run("--model", model)
        assert status == EXIT_FAILURE
        assert message in err
