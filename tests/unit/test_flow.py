# SPDX-License-Identifier: Apache-2.0
"""The runner: what runs, what comes from the store, what is told, and what is refused."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_flow import CHOICES, ToyPlugin, toy_graph, toy_plugins, toy_tables

from hsflow import cachekey, hookimpl
from hsflow.artifact import VALUE
from hsflow.config import STAGES, Configuration, configure
from hsflow.design import Design
from hsflow.errors import HsflowError, ModelError, PluginError
from hsflow.flow import FlowResult, Selection, run_flow
from hsflow.ir.network import Network
from hsflow.plugins import Plugin, PluginManager
from hsflow.progress import Reporter
from hsflow.stage import StageKind
from hsflow.store import Store

LATE = STAGES[2:]
EVERYTHING = Selection()


class Listener(Reporter):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)


class Bench:
    """Run toy flows in one project folder and tell which stages each run computed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plugin = ToyPlugin()
        self.plugins: PluginManager = toy_plugins(self.plugin)
        self.listener = Listener()
        self.store = Store(folder / ".hsflow", self.listener)

    def configuration(self, **tables: Any) -> Configuration:
        return configure(toy_tables(**tables), self.plugins, self.folder)

    def run(self, selection: Selection = EVERYTHING, **tables: Any) -> FlowResult:
        self.plugin.runs.clear()
        return run_flow(
            self.configuration(**tables), self.store, self.plugins,
            to=selection.last, force=selection.again, reporter=self.listener,
        )  # fmt: skip

    @property
    def computed(self) -> tuple[StageKind, ...]:
        assert set(self.plugin.runs.values()) <= {1}
        return tuple(kind for kind in STAGES if self.plugin.runs[kind])


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def test_all_stages_run_in_order_and_then_none_again(bench: Bench) -> None:
    first = bench.run()
    assert bench.plugin.seen == [f"{what} {kind}" for kind in STAGES for what in ("started", "finished")]
    second = bench.run()
    assert bench.computed == ()
    assert second.design == first.design and isinstance(second.design, Design)
    assert isinstance(second.network, Network) and second.graph == first.graph
    assert second.metrics == first.metrics
    assert [event.cached for event in second.events] == [True] * len(STAGES)
    assert second.events[0].wall_seconds == first.events[0].wall_seconds


def test_metrics_carry_their_stage_and_every_stage_its_wall_time(bench: Bench) -> None:
    metrics = bench.run().metrics
    assert metrics["load.accuracy"].value == 0.875 and metrics["quantize.accuracy"].value == 0.75
    assert metrics["harden.adders"].unit == "adders"
    assert {f"{kind}.wall_seconds" for kind in CHOICES} <= set(metrics)


CHANGES: dict[str, tuple[dict[str, Any], tuple[StageKind, ...]]] = {
    "an early option": ({"load": {"scale": 2.0}}, STAGES),
    "a late option": ({"quantize": {"levels": 4}}, LATE),
    "the seed": ({"flow": {"seed": 2}}, STAGES),
    "the clock": ({"flow": {"clock_mhz": 500.0}}, STAGES[3:]),
    "an option's default, written out": ({"quantize": {"levels": 8}}, ()),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_runs_what_depends_on_it_and_nothing_else(bench: Bench, name: str) -> None:
    tables, expected = CHANGES[name]
    bench.run()
    bench.run(**tables)
    assert bench.computed == expected
    bench.run()
    assert bench.computed == ()


def test_an_input_file_counts_by_content_not_by_place(bench: Bench) -> None:
    (bench.folder / "a.bin").write_bytes(b"123")
    bench.run(load={"weights": "a.bin"})
    (bench.folder / "a.bin").rename(bench.folder / "b.bin")
    bench.run(load={"weights": "b.bin"})
    assert bench.computed == ()
    (bench.folder / "b.bin").write_bytes(b"1234")
    bench.run(load={"weights": "b.bin"})
    assert bench.computed == STAGES


def test_each_file_of_a_list_counts(bench: Bench) -> None:
    for name in ("a", "b"):
        (bench.folder / name).write_text(name)
    bench.run(load={"more": ["a", "b"]})
    bench.run(load={"more": ["b", "a"]})
    assert bench.computed == STAGES


def test_the_data_file_counts_by_content(bench: Bench) -> None:
    def write(value: int) -> None:
        images, labels = np.full((2, 1, 2, 2), value, np.uint8), np.arange(2)
        arrays = {
            "train_images": images,
            "train_labels": labels,
            "test_images": images,
            "test_labels": labels,
        }
        np.savez(bench.folder / "data.npz", **arrays)

    write(1)
    bench.run(flow={"data": "data.npz"})
    bench.run(flow={"data": "data.npz"})
    assert bench.computed == ()
    write(2)
    bench.run(flow={"data": "data.npz"})
    assert bench.computed == STAGES


@pytest.mark.parametrize("what", ["hsflow", "plugin", "stage", "library", "source", "fingerprint"])
def test_other_code_is_another_result(bench: Bench, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.run()
    match what:
        case "hsflow":
            monkeypatch.setattr(cachekey, "__version__", "99")
        case "plugin":
            bench.plugins = PluginManager()
            bench.plugins.register(bench.plugin, Plugin("toy", "this process", "99"))
        case "stage":
            bench.plugins.stages[StageKind.LOAD, "toy"].stage.version = "99"
        case "library":
            monkeypatch.setattr(cachekey, "distribution_version", lambda name: "99")
        case "source":
            monkeypatch.setattr(cachekey, "module_digest", lambda name: "edited")
        case "fingerprint":
            monkeypatch.setattr("toy_flow.ToyStage.fingerprint", lambda self, options: "new", raising=False)
    bench.run()
    assert bench.computed == STAGES


def test_the_source_digest_sees_an_edit_and_ignores_compiled_files(tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "module.py").write_text("a = 1\n")
    before = cachekey.source_digest.__wrapped__(package)
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "module.pyc").write_bytes(b"x")
    assert cachekey.source_digest.__wrapped__(package) == before
    (package / "module.py").write_text("a = 2\n")
    assert cachekey.source_digest.__wrapped__(package) != before


SELECTIONS: dict[str, tuple[dict[str, Any], tuple[StageKind, ...], StageKind]] = {
    "to": ({"last": StageKind.QUANTIZE}, (), StageKind.QUANTIZE),
    "from": ({"first": StageKind.HARDEN}, STAGES[3:], StageKind.PACKAGE),
    "only": ({"only": StageKind.QUANTIZE}, (StageKind.QUANTIZE,), StageKind.QUANTIZE),
    "force": ({"force": (StageKind.LOAD, StageKind.NPU)}, (StageKind.LOAD, StageKind.NPU), StageKind.PACKAGE),
    "from, to": ({"first": StageKind.PRUNE, "last": StageKind.HARDEN}, STAGES[1:4], StageKind.HARDEN),
}


@pytest.mark.parametrize("name", SELECTIONS)
def test_the_selection_runs_again_what_it_says(bench: Bench, name: str) -> None:
    options, expected, last = SELECTIONS[name]
    bench.run()
    result = bench.run(Selection.of_options(**options))
    assert bench.computed == expected
    assert list(result.artifacts)[-1] is last


def test_a_value_after_the_last_stage_is_refused(bench: Bench) -> None:
    result = bench.run(Selection(StageKind.LOAD))
    with pytest.raises(HsflowError, match="ended before"):
        _ = result.graph


def test_a_forced_stage_with_another_result_takes_the_later_stages_along(bench: Bench) -> None:
    bench.run()
    bench.plugin.behaviour[StageKind.QUANTIZE] = lambda value, *_: toy_graph(value.name, 7)
    bench.run(Selection.of_options(force=[StageKind.QUANTIZE]))
    assert bench.computed == LATE
    assert "another result" in bench.listener.warnings[0]


def test_a_damaged_artefact_is_computed_again_alone(bench: Bench) -> None:
    artifact = bench.run().artifacts[StageKind.QUANTIZE]
    (artifact.folder / VALUE).write_text("{}")
    bench.run()
    assert bench.computed == (StageKind.QUANTIZE,)
    assert "damaged" in bench.listener.warnings[0]


def test_a_failure_is_told_keeps_what_was_made_and_resumes(bench: Bench) -> None:
    def fail(*_: Any) -> None:
        raise ModelError("this layer is not for me", where="conv")

    bench.plugin.behaviour[StageKind.HARDEN] = fail
    with pytest.raises(ModelError, match="not for me"):
        bench.run()
    assert bench.plugin.seen[-1] == "failed harden ModelError"
    bench.plugin.behaviour.clear()
    bench.run()
    assert bench.computed == STAGES[3:]


def _crash(*_: Any) -> None:
    raise KeyError("oops")


BREACHES: dict[str, tuple[StageKind, Callable[..., Any], type[HsflowError], str]] = {
    "an exception of a stranger": (StageKind.HARDEN, _crash, PluginError, "KeyError.*oops"),
    "no value": (StageKind.LOAD, lambda *_: None, PluginError, "NoneType"),
    "another type": (StageKind.QUANTIZE, lambda value, *_: value, PluginError, "Network"),
    "a metric of NaN": (
        StageKind.LOAD, lambda value, options, context: context.record("x", float("nan")), HsflowError, "finite"
    ),
    "a metric's direction": (
        StageKind.LOAD, lambda value, options, context: context.record("x", 1, better="up"), HsflowError, "higher"
    ),
    "a metric's name": (
        StageKind.LOAD, lambda value, options, context: context.record("A b", 1), HsflowError, "name"
    ),
    "an illegal graph": (
        StageKind.QUANTIZE, lambda value, *_: replace(toy_graph("x", 8), layers=()), ModelError, "no layer"
    ),
    "a value of wrong content": (
        StageKind.HARDEN, lambda value, *_: Design("x", value, (), (), 1.5, 1), ModelError, r"\$.value.latency"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BREACHES)
def test_a_breach_of_the_contract_is_refused_and_not_stored(bench: Bench, name: str) -> None:
    kind, behaviour, error, message = BREACHES[name]
    bench.plugin.behaviour[kind] = behaviour
    with pytest.raises(error, match=message):
        bench.run()
    assert len(list((bench.store.root / "entries").iterdir())) == STAGES.index(kind)


def test_a_failure_of_our_own_stage_is_not_dressed_up(bench: Bench) -> None:
    bench.plugins = PluginManager()
    bench.plugins.register(bench.plugin, Plugin("toy", "hsflow", "1"))
    bench.plugin.behaviour[StageKind.LOAD] = _crash
    with pytest.raises(KeyError):
        bench.run()


class BadObserver:
    @hookimpl
    def hsflow_stage_started(self, event: Any) -> None:
        raise RuntimeError("I never work")

    @hookimpl
    def hsflow_stage_finished(self) -> None:
        raise RuntimeError("neither do I")


def test_an_observer_that_raises_is_reported_once_and_breaks_nothing(bench: Bench) -> None:
    bench.plugins.register(BadObserver(), Plugin("bad", "bad-dist", "3.1"))
    assert bench.run().design.name == "toy"
    assert len(bench.listener.warnings) == 1
    assert "bad-dist 3.1" in bench.listener.warnings[0] and "never work" in bench.listener.warnings[0]


def test_two_runs_at_once_compute_once_and_both_succeed(bench: Bench) -> None:
    results: list[FlowResult] = []

    def run() -> None:
        own = Store(bench.folder / ".hsflow")
        results.append(run_flow(bench.configuration(), own, bench.plugins))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.design.name for result in results] == ["toy"] * 3
    assert set(bench.plugin.runs.values()) == {1}


def test_the_stages_see_the_dataset_hooks_and_progress(bench: Bench) -> None:
    def look(value: Any, options: Any, context: Any) -> Any:
        assert len(context.dataset.test_labels) > 100
        assert context.hooks.hsflow_lower_layer(matrix=None, inputs=(), layer="x", goal=None) is None
        assert list(context.track([1, 2], "items")) == [1, 2]
        context.log("hello")
        return bench.plugins.stages[StageKind.LOAD, "toy"].stage.make(value, options, context)

    bench.plugin.behaviour[StageKind.LOAD] = look
    bench.run(Selection(StageKind.LOAD))


SCRIPT = """
import sys, time
from pathlib import Path
from toy_flow import ToyPlugin, toy_plugins, toy_tables
from hsflow.config import configure
from hsflow.flow import run_flow
from hsflow.store import Store
plugins = toy_plugins(ToyPlugin())
folder = Path(sys.argv[1])
started = time.perf_counter()
result = run_flow(configure(toy_tables(), plugins, folder), Store(folder / ".hsflow"), plugins)
assert all(event.cached for event in result.events)
assert time.perf_counter() - started < 1, time.perf_counter() - started
print(*sorted({"torch", "sklearn", "fusesoc", "edalize"} & set(sys.modules)))
"""


def test_a_cached_run_imports_nothing_heavy_and_is_quick(bench: Bench) -> None:
    bench.run()
    tests = Path(__file__).parents[1]
    command = [sys.executable, "-c", SCRIPT, str(bench.folder)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tests, check=False)
    assert (done.stdout, done.returncode) == ("\n", 0), done.stderr


def test_what_a_stage_builds_on_and_whom_it_asks_is_in_its_key(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = bench.plugins.stages[StageKind.HARDEN, "toy"].stage

    def key() -> str:
        return cachekey.stage_keys(bench.configuration(), bench.plugins)[StageKind.HARDEN].key

    plain = key()
    monkeypatch.setattr(stage, "builds_on", ("random_graphs",), raising=False)
    built = key()
    assert built != plain
    monkeypatch.setattr(stage, "asks", ("hsflow_lower_layer",), raising=False)
    assert key() == built, "nobody implements the hook yet"

    class Optimizer:
        @hookimpl
        def hsflow_lower_layer(self, matrix: Any, inputs: Any, layer: str) -> None:
            return None

    bench.plugins.register(Optimizer(), Plugin("optimizer", "another distribution", "1"))
    stage = bench.plugins.stages[StageKind.HARDEN, "toy"].stage
    monkeypatch.setattr(stage, "builds_on", ("random_graphs",), raising=False)
    monkeypatch.setattr(stage, "asks", ("hsflow_lower_layer",), raising=False)
    assert key() not in (plain, built)
    monkeypatch.setattr(stage, "builds_on", ("no_such_module",), raising=False)
    with pytest.raises(PluginError, match="not there"):
        key()
