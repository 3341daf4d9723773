# SPDX-License-Identifier: Apache-2.0
"""The Python API: the same runner, the same store, the same errors as the command line."""

from __future__ import annotations

import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toy_flow import CHOICES, SHAPE, ToyPlugin, toy_graph, toy_network

import hsflow
from hsflow import api, config
from hsflow.errors import ConfigurationError, HsflowError, MismatchError, ToolError
from hsflow.hookspecs import hookimpl
from hsflow.ir.interp import interpret
from hsflow.ir.network import Network
from hsflow.plugins import load_plugins
from hsflow.stage import StageKind
from hsflow.targets import Target


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ToyPlugin:
    plugin = ToyPlugin()
    monkeypatch.setattr(
        api,
        "load_plugins",
        lambda extra: load_plugins({"toy": plugin, "targets": _Targets(), **extra}, installed=False),
    )
    monkeypatch.setattr(config, "DEFAULTS", CHOICES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HSFLOW_STORE", raising=False)
    return plugin


def _start(**options: Any) -> api.Flow:
    flow = hsflow.load("unused", name="toy")
    return flow.stage(StageKind.LOAD, **options)


def test_a_chain_changes_nothing_that_it_came_from_and_computes_nothing(plugin: ToyPlugin) -> None:
    start = _start()
    tuned = start.prune().quantize(levels=4).harden().npu().package()
    assert start.tables != tuned.tables and not plugin.runs
    assert tuned.graph.layers[0].weight.levels == 4
    assert plugin.runs == {StageKind.LOAD: 1, StageKind.PRUNE: 1, StageKind.QUANTIZE: 1}
    assert tuned.design.name == "toy" and tuned.metrics["harden.adders"].value == 7
    assert set(plugin.runs.values()) == {1}


def test_it_emulates_builds_and_runs(
    plugin: ToyPlugin, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    images = np.arange(12, dtype=np.uint8).reshape(3, 1, SHAPE.height, SHAPE.width)
    assert np.array_equal(_start().emulate(images), interpret(toy_graph("toy", 8), images))
    assert (_start().build("out") / "toy.core").is_file()
    seen = _run_targets(monkeypatch, 0)
    assert _start().run("sim", "out", arguments=["--images=2"])["simulate.images"].value == 2
    assert seen == [("sim", Path("out"), Path("work/sim"), ["--images=2"])]


def test_it_reports_with_what_was_measured(plugin: ToyPlugin, tmp_path: Path) -> None:
    flow = hsflow.load("unused", name="toy", folder=tmp_path / "project").stage(StageKind.LOAD)
    (tmp_path / "project" / "elsewhere" / "sim").mkdir(parents=True)
    (tmp_path / "project" / "elsewhere" / "sim" / "metrics.json").write_text("{}")
    page = flow.report(work="elsewhere")
    assert page == tmp_path / "project" / "report.html"
    assert "toy" in page.read_text() and "holds a run of another build" in page.read_text()
    page.write_text("mine")
    with pytest.raises(HsflowError, match="no report"):
        flow.report()
    assert flow.report(overwrite=True).read_text() != "mine"


def test_a_verification_without_layers_or_images_is_refused(plugin: ToyPlugin) -> None:
    images, labels = np.zeros((4, 1, SHAPE.height, SHAPE.width), dtype=np.uint8), np.arange(4)
    np.savez("toy.npz", train_images=images, train_labels=labels, test_images=images, test_labels=labels)
    flow = hsflow.load("unused", name="toy", data="toy.npz").stage(StageKind.LOAD)
    with pytest.raises(MismatchError, match="no layer was simulated"):
        flow.verify()
    with pytest.raises(ConfigurationError, match="no image"):
        flow.verify(images=0)
    with pytest.raises(ConfigurationError, match="simulator is unknown"):
        flow.verify(simulator="modelsim")


class _Targets:
    @hookimpl
    def hsflow_targets(self) -> list[Target]:
        return [Target("sim", "a simulation", "hsflow")]


def _run_targets(monkeypatch: pytest.MonkeyPatch, status: int) -> list[tuple[Any, ...]]:
    """Let every target measure one figure and end with `status`; return the list of calls."""
    seen: list[tuple[Any, ...]] = []

    def run_target(name: str, output: Path, work_root: Path, *, arguments: Any, reporter: Any) -> int:
        seen.append((name, output, work_root, arguments))
        work_root.mkdir(parents=True, exist_ok=True)
        (work_root / "metrics.json").write_text('{"simulate.images": {"value": 2}}')
        return status

    monkeypatch.setitem(sys.modules, "hsflow.eda", types.SimpleNamespace(run_target=run_target))
    return seen


def test_a_target_that_fails_or_is_unknown_is_an_error(
    plugin: ToyPlugin, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = _run_targets(monkeypatch, 3)
    with pytest.raises(ToolError, match="exit status 3"):
        _start().run("sim")
    with pytest.raises(ConfigurationError, match="did you mean 'sim'"):
        _start().run("sin")
    assert len(seen) == 1


def test_relative_paths_start_at_the_flows_folder(
    plugin: ToyPlugin, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "project"
    folder.mkdir()
    seen = _run_targets(monkeypatch, 0)
    flow = hsflow.load("unused", name="toy", folder=folder).stage(StageKind.LOAD)
    assert flow.build() == folder / "build" and (folder / "build" / "toy.core").is_file()
    flow.run("sim", "out")
    flow.run("sim", tmp_path / "far", "near")
    assert [words[1:3] for words in seen] == [
        (folder / "out", folder / "work" / "sim"), (tmp_path / "far", folder / "near"),
    ]  # fmt: skip
    assert sorted(path.name for path in tmp_path.iterdir()) == ["far", "project"]


def test_a_module_is_lowered_by_a_plugin_that_is_handed_over(plugin: ToyPlugin) -> None:
    class Module:
        state_dict = named_modules = None

    class Importer:
        @hookimpl
        def hsflow_import_model(self, model: Any, name: str) -> Network | None:
            return toy_network(name, 1.0) if isinstance(model, Module) else None

    assert hsflow.load(Module(), name="m", plugins={"importer": Importer()}).network.name == "m"


def test_a_network_can_be_handed_over_and_counts_by_content(plugin: ToyPlugin) -> None:
    network = toy_network("handed", 2.0)
    first = hsflow.load(network, name="own").result(StageKind.LOAD)
    assert first.value(StageKind.LOAD) == Network("own", network.input_shape, network.layers, network.classes)
    again = hsflow.load(toy_network("handed", 2.0), name="own").result(StageKind.LOAD)
    assert again.events[0].cached
    other = hsflow.load(toy_network("handed", 3.0), name="own").result(StageKind.LOAD)
    assert not other.events[0].cached
    assert not plugin.runs


def test_names_and_paths_become_the_loaders_options() -> None:
    assert hsflow.load("digits", pretrained=True).tables["load"] == {"model": "digits", "pretrained": True}
    assert hsflow.load(Path("w.pt"), use="x").tables["load"] == {"use": "x", "checkpoint": "w.pt"}


def test_a_module_is_lowered(plugin: ToyPlugin, monkeypatch: pytest.MonkeyPatch) -> None:
    class Module:
        state_dict = named_modules = None

    class Importer:
        @hookimpl
        def hsflow_import_model(
            self, model: Any, input_shape: Any, name: str, mean: Any, std: Any
        ) -> Network | None:
            assert (str(input_shape), mean, std) == ("1x8x8", (0.5,), (1.0,))
            return toy_network(name, 1.0) if isinstance(model, Module) else None

    with pytest.raises(ConfigurationError, match="no plugin imports"):
        hsflow.load(Module(), mean=[0.5])
    plugins = {"toy": plugin, "importer": Importer()}
    monkeypatch.setattr(
        api, "load_plugins", lambda extra: load_plugins({**plugins, **extra}, installed=False)
    )
    assert hsflow.load(Module(), name="m", mean=[0.5]).network.name == "m"
    with pytest.raises(ConfigurationError, match="unknown option"):
        hsflow.load(Module(), mena=[0.5])


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="no model"):
        hsflow.load(3)


def test_a_wrong_option_is_told_as_in_the_file(plugin: ToyPlugin) -> None:
    with pytest.raises(
        ConfigurationError, match=r"\[quantize\] levls: an unknown option; did you mean 'levels'"
    ):
        _ = _start().quantize(levls=4).graph
