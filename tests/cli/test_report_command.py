# SPDX-License-Identifier: Apache-2.0
"""`hsflow report` writes one file; `hsflow build` writes the same beside the cores."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from toy_flow import ToyPlugin, toy_plugins, toy_toml

from hsflow import plugins as plugins_module
from hsflow.cli import main


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    plugin = ToyPlugin()
    monkeypatch.setattr(plugins_module, "load_plugins", lambda: toy_plugins(plugin))
    monkeypatch.setattr("hsflow.project.load_plugins", lambda: toy_plugins(plugin))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "flow.toml").write_text(toy_toml())
    return tmp_path


def test_the_command_writes_one_file(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "layers": 0, "report": "report.html", "runs": [], "runs_of_other_builds": [],
    }  # fmt: skip
    text = (project / "report.html").read_text(encoding="utf-8")
    assert "<title>toy – hsflow report</title>" in text  # noqa: RUF001
    assert main(["report", "-q"]) == 0
    assert (project / "report.html").read_text(encoding="utf-8") == text


def test_a_build_has_the_same_report_beside_its_cores(project: Path) -> None:
    assert main(["build", "-q"]) == main(["report", "-q", "--output", "page/own.html"]) == 0
    assert (project / "build" / "report.html").read_bytes() == (project / "page" / "own.html").read_bytes()


def test_a_file_of_the_users_stays(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "report.html").write_text("mine")
    assert main(["report", "-q"]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert (project / "report.html").read_text() == "mine"
    assert main(["report", "-q", "--overwrite"]) == 0


def test_a_run_of_another_build_is_told(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = project / "elsewhere" / "sim"
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text("{}")
    assert main(["report", "--json", "--work", "elsewhere"]) == 0
    assert json.loads(capsys.readouterr().out)["runs_of_other_builds"] == ["elsewhere/sim"]
