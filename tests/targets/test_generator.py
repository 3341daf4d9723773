# SPDX-License-Identifier: Apache-2.0
"""The generator core: found from any Python, safe for runs side by side, and unchanged when nothing changed."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import toy_design as toy
import yaml

from hsflow.errors import ConfigurationError
from hsflow.generate import main, publish, read_request

ROOT = Path(__file__).parents[2]
NAME = "hsflow:tests:top-network:0.1.0"
needs_icarus = pytest.mark.skipif(shutil.which("iverilog") is None, reason="iverilog is not installed")


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "generator_script", ROOT / "cores" / "hsflow" / "generator.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_request(folder: Path, **changes: object) -> Path:
    request = {
        "files_root": str(folder),
        "gapi": "1.0",
        "parameters": {"tree": "tree"},
        "vlnv": NAME,
        **changes,
    }
    path = folder / "input.yml"
    path.write_text(yaml.safe_dump(request))
    return path


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout of a toy with hashiflex's targets, whose network comes from a tree that is already built."""
    shutil.copy(ROOT / "fusesoc.conf", tmp_path)
    shutil.copytree(ROOT / "cores" / "hsflow", tmp_path / "cores" / "hsflow")
    folder = tmp_path / "cores" / "top"
    toy.write_toy_core(folder / "tree")
    (folder / "tree" / "FUSESOC_IGNORE").touch()
    lines = (ROOT / "cores" / "hashiflex" / "hashiflex.core").read_text().splitlines()
    text = "\n".join(line for line in lines if "hsflow:rtl" not in line)
    for old, new in (
        ("hsflow:designs:hashiflex", "hsflow:tests:top"),
        ("config: flow.toml", "tree: tree"),
        ("toplevel: hashiflex", "toplevel: toy"),
    ):
        assert old in text
        text = text.replace(old, new)
    (folder / "top.core").write_text(text)
    return tmp_path


def fusesoc(checkout: Path, *words: str) -> subprocess.Popen[str]:
    """Start fusesoc as a user does who has not activated the environment: its Python is not the one on PATH."""
    program = shutil.which("fusesoc", path=str(Path(sys.executable).parent))
    assert program is not None
    environment = {"PATH": "/usr/bin:/bin:/usr/local/bin", "HOME": str(checkout)}
    return subprocess.Popen(
        [program, "run", *words], cwd=checkout, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


@needs_icarus
def test_two_runs_at_once_both_succeed(checkout: Path) -> None:
    runs = [fusesoc(checkout, "--target=icarus", "top") for _ in range(2)]
    outputs = [run.communicate(timeout=120)[0] for run in runs]
    assert [run.returncode for run in runs] == [0, 0], outputs
    assert all("64 results of 16 images are bit-exact" in output for output in outputs)
    assert sum("building the simulation" in output for output in outputs) == 1


@needs_icarus
def test_a_changed_network_is_simulated_anew(checkout: Path) -> None:
    assert fusesoc(checkout, "--target=icarus", "top").wait(timeout=120) == 0
    expected = checkout / "cores" / "top" / "tree" / "data" / "expected.txt"
    expected.write_text(expected.read_text().replace("beef", "beee", 1))
    run = fusesoc(checkout, "--target=icarus", "top")
    assert "1 of 64 results are wrong" in run.communicate(timeout=120)[0]
    assert run.returncode != 0


def test_a_missing_hsflow_is_explained(checkout: Path) -> None:
    lonely = checkout / "lonely"
    lonely.write_text("#!/bin/sh\nexit 1\n")
    lonely.chmod(0o755)
    script = [sys.executable, str(ROOT / "cores" / "hsflow" / "generator.py"), "input.yml"]
    environment = {**os.environ, "HSFLOW_PYTHON": str(lonely)}
    result = subprocess.run(script, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "no Python with hsflow" in result.stderr
    assert str(lonely) in result.stderr


def test_the_named_python_is_the_only_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    script = load_script()
    monkeypatch.setenv("HSFLOW_PYTHON", "/a/python")
    assert list(script.candidates()) == ["/a/python"]
    monkeypatch.delenv("HSFLOW_PYTHON")
    monkeypatch.setenv("VIRTUAL_ENV", "/an/environment")
    assert "/an/environment/bin/python" in list(script.candidates())
    assert sys.executable in list(script.candidates())


def test_a_script_s_interpreter_is_read(tmp_path: Path) -> None:
    script = load_script()
    program = tmp_path / "fusesoc"
    for first, found in (("#!/x/bin/python3.11", "/x/bin/python3.11"), ("#!/bin/sh", ""), ("text", "")):
        program.write_text(first + "\nrest\n")
        assert script.python_of_script(str(program)) == found
    assert script.python_of_script(str(tmp_path / "none")) == ""
    assert script.python_of_script(None) == ""


def test_a_python_without_hsflow_is_told_from_one_with(tmp_path: Path) -> None:
    script = load_script()
    assert script.has_hsflow(sys.executable)
    assert not script.has_hsflow(str(tmp_path / "none"))
    assert not script.has_hsflow("/bin/false")


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a working folder whose modules would be imported by a careless Python; return the file they'd leave."""
    folder = tmp_path / "trap"
    folder.mkdir()
    code = f"open({str(tmp_path / 'caught')!r}, 'w')\n"
    (folder / "hsflow").mkdir()
    for name in ("hsflow/__init__.py", "hsflow/generate.py", "yaml.py", "typer.py", "filelock.py"):
        (folder / name).write_text(code)
    monkeypatch.chdir(folder)
    return tmp_path / "caught"


def test_the_trap_catches_a_careless_python(trap: Path) -> None:
    subprocess.run([sys.executable, "-m", "hsflow.generate"], check=False)
    assert trap.exists()


def test_the_generator_imports_nothing_from_the_working_folder(trap: Path, tmp_path: Path) -> None:
    script = [sys.executable, str(ROOT / "cores" / "hsflow" / "generator.py")]
    environment = {**os.environ, "HSFLOW_PYTHON": sys.executable}
    request = write_request(tmp_path, parameters={"config": "flow.toml"})
    (tmp_path / "flow.toml").write_text("not TOML")
    done = subprocess.run(
        [*script, str(request)], env=environment, capture_output=True, text=True, check=False
    )
    assert "the flow failed" in done.stderr and "flow.toml" in done.stderr
    assert not trap.exists()


def test_make_launches_tools_that_import_nothing_from_the_work_root(trap: Path) -> None:
    from edalize.build_runners.hsflow import launcher

    subprocess.run([*shlex.split(launcher()), "true"], check=True)
    assert not trap.exists()


def test_publication_is_the_same_bytes_and_touches_nothing_twice(tmp_path: Path) -> None:
    toy.write_toy_core(tmp_path / "tree")
    core = publish(tmp_path / "tree", tmp_path / "out", NAME)
    first = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert publish(tmp_path / "tree", tmp_path / "out", NAME) == core
    again = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert {path: time for path, time in again.items() if path.name != ".lock"} == {
        path: time for path, time in first.items() if path.name != ".lock"
    }
    publish(tmp_path / "tree", tmp_path / "other", NAME)
    assert (tmp_path / "other" / core.name).read_bytes() == core.read_bytes()
    names = [path.name for path in (tmp_path / "out").rglob("*.core")]
    assert names == ["top-network.core"], "FuseSoC takes every core file that it finds"


def test_a_published_design_never_changes(tmp_path: Path) -> None:
    toy.write_toy_core(tmp_path / "tree")
    old = publish(tmp_path / "tree", tmp_path / "out", NAME).read_text()
    rtl = tmp_path / "tree" / "rtl" / "toy.sv"
    rtl.write_text(rtl.read_text() + "// changed\n")
    new = publish(tmp_path / "tree", tmp_path / "out", NAME).read_text()
    for text, changed in ((old, False), (new, True)):
        (path,) = yaml.safe_load(text)["filesets"]["rtl"]["files"]
        assert ((tmp_path / "out" / path).read_text().endswith("// changed\n")) is changed


def test_publications_side_by_side_are_each_whole(tmp_path: Path) -> None:
    toy.write_toy_core(tmp_path / "tree")
    errors: list[BaseException] = []

    def work() -> None:
        try:
            core = publish(tmp_path / "tree", tmp_path / "out", NAME)
            for path in yaml.safe_load(core.read_text())["filesets"]["rtl"]["files"]:
                assert (core.parent / path).read_text()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert not [path for path in (tmp_path / "out").iterdir() if path.name.endswith(".tmp")]


def test_old_designs_are_discarded_and_young_ones_kept(tmp_path: Path) -> None:
    toy.write_toy_core(tmp_path / "tree")
    for name, age in (("old", 2 * 24 * 3600), ("young", 3600)):
        (tmp_path / "out" / name).mkdir(parents=True)
        moment = (tmp_path / "tree").stat().st_mtime - age
        os.utime(tmp_path / "out" / name, (moment, moment))
    publish(tmp_path / "tree", tmp_path / "out", NAME)
    assert not (tmp_path / "out" / "old").exists()
    assert (tmp_path / "out" / "young").exists()


def test_a_tree_without_one_core_is_refused(tmp_path: Path) -> None:
    toy.write_toy_core(tmp_path)
    (tmp_path / "second.core").write_text("CAPI=2:\n")
    with pytest.raises(ConfigurationError, match="one core file"):
        publish(tmp_path, tmp_path / "out", NAME)


def test_a_request_that_another_run_is_writing_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    path = write_request(tmp_path)
    whole = path.read_text()
    path.write_text(whole[:20])
    threading.Timer(0.3, lambda: path.write_text(whole)).start()
    assert read_request(path).vlnv == NAME


@pytest.mark.parametrize(
    "parameters",
    [{}, {"config": "a", "tree": "b"}, {"model": "x"}, {"tree": "missing"}, {"config": "missing"}],
)
def test_wrong_parameters_are_refused(
    tmp_path: Path, parameters: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(write_request(tmp_path, parameters=parameters))]) == 2
    assert "generator" in capsys.readouterr().err


def test_a_failing_flow_fails_the_generator(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "flow.toml").write_text("not TOML")
    monkeypatch.chdir(tmp_path)
    assert main([str(write_request(tmp_path, parameters={"config": "flow.toml"}))]) == 1
    assert not list(tmp_path.glob("*.core"))


def test_the_generator_needs_one_argument() -> None:
    assert main([]) == 2


@needs_icarus
def test_a_killed_fusesoc_leaves_no_simulator(checkout: Path) -> None:
    tree = checkout / "cores" / "top" / "tree"
    rtl = tree / "rtl" / "toy.sv"
    rtl.write_text(rtl.read_text().replace("endmodule", "  initial while (1) #1;\nendmodule"))
    bench = tree / "tb" / "hsflow_tb.sv"
    bench.write_text(bench.read_text().replace("    $finish;", "    wait (0);"))
    run = fusesoc(checkout, "--target=icarus", "top")
    assert run.stdout is not None
    assert any("simulating" in line for line in run.stdout)
    work = str(checkout / "build" / "hsflow_tests_top_0.1.0" / "icarus")
    assert wait_for(lambda: bool(processes_in(work)))
    run.terminate()
    assert run.wait(timeout=60) != 0
    assert wait_for(lambda: not processes_in(work))


def processes_in(folder: str) -> list[int]:
    """Return the simulators that run in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str((process / "cwd").readlink()) == folder and b"vvp" in (process / "cmdline").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return found


def wait_for(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False
