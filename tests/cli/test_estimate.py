# SPDX-License-Identifier: Apache-2.0
"""`hsflow estimate`: area and clock of a flow's hardened layers, with the error of the estimate."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from toy_flow import ToyPlugin, toy_toml

from hsflow.cli import main
from hsflow.design import NOTHING
from hsflow.errors import EXIT_OK, EXIT_USAGE
from hsflow.plugins import load_plugins
from hsflow.technology import ASAP7


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder of a toy flow whose hardener is hsflow's own."""
    found = load_plugins({"toy": ToyPlugin()})
    monkeypatch.setattr("hsflow.project.load_plugins", lambda: found)
    monkeypatch.chdir(tmp_path)
    toys = toy_toml()
    text = toys.replace('[harden]\nuse = "toy"', '[harden]\nuse = "stream"\nworkers = 1')
    assert text != toys
    (tmp_path / "flow.toml").write_text(text)
    return tmp_path


def estimate(capsys: pytest.CaptureFixture[str], *words: str) -> dict[str, Any]:
    assert main(["estimate", "--json", *words]) == EXIT_OK
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_each_layer_has_an_area_and_a_clock(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = estimate(capsys)
    (layer,) = found["layers"]
    assert layer["name"] == "conv" and layer["area"]["total_um2"] > 0
    assert found["area"] == layer["area"] and found["fmax_mhz"] == layer["fmax_mhz"] > 0
    assert found["error"]["area"] == asdict(ASAP7.area_accuracy)
    assert (found["design"], found["technology"], found["corner"]) == ("toy", "asap7", "TT")


def test_the_slow_corner_is_slower(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    slow, fast = estimate(capsys, "--corner", "SS"), estimate(capsys, "flow.toml")
    assert slow["fmax_mhz"] < fast["fmax_mhz"] and slow["area"] == fast["area"]


def test_the_table_states_the_error(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", "--sram-bits", "4096"]) == EXIT_OK
    text = capsys.readouterr().out
    for words in ("conv", "all layers", "fmax", "4096 bits", f"{100 * ASAP7.area_accuracy.mean:.1f} %"):
        assert words in text


def test_wrong_options_are_refused(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["estimate", "--corner", "FF"]) == EXIT_USAGE
    assert "TT, SS" in capsys.readouterr().err
    assert main(["estimate", "--sram-bits", "0"]) == EXIT_USAGE
    assert main(["estimate", "elsewhere.toml"]) == EXIT_USAGE


def test_a_hardener_that_does_not_count_is_refused(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hsflow_harden.cost._stream_resources", lambda layer: NOTHING)
    monkeypatch.setattr("hsflow_harden.figures._tile_resources", lambda *_: NOTHING)
    monkeypatch.setattr("hsflow_harden.figures._requantizing", lambda _: NOTHING)
    assert main(["estimate"]) == EXIT_USAGE
    assert "did not count" in capsys.readouterr().err
