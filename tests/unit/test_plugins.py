# SPDX-License-Identifier: Apache-2.0
"""Plugins: found through entry points, listed with their distribution, and blamed by name when they are broken."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from toy_flow import NoOptions, ToyPlugin, ToyStage

from hsflow import hookimpl
from hsflow.errors import PluginError
from hsflow.plugins import Plugin, PluginManager, load_plugins
from hsflow.stage import StageKind
from hsflow.targets import Target

GOOD = """
from hsflow import hookimpl

@hookimpl
def hsflow_targets():
    from hsflow.targets import Target
    return [Target("moon", "a chip on the moon", "vivado")]

@hookimpl
def hsflow_stage_started(event):
    pass
"""


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that installs a distribution with one plugin module, as pip would."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def install(
        module: str, source: str, *, distribution: str = "toy-dist", version: str = "1.2.3"
    ) -> EntryPoint:
        (tmp_path / f"{module}.py").write_text(source)
        info = tmp_path / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[hsflow]\n{module} = {module}\n")
        sys.modules.pop(module, None)
        from importlib.metadata import distribution as find

        (entry_point,) = find(distribution).entry_points
        return entry_point

    return install


def _load(entry_point: EntryPoint) -> PluginManager:
    manager = PluginManager()
    manager.load(entry_point)
    return manager


def test_an_installed_plugin_is_found_and_listed(install: Any) -> None:
    manager = _load(install("good_plugin", GOOD))
    assert manager.plugins == (Plugin("good_plugin", "toy-dist", "1.2.3"),)
    assert [(item.hook, item.plugin.distribution) for item in manager.implementations()] == [
        ("hsflow_stage_started", "toy-dist"),
        ("hsflow_targets", "toy-dist"),
    ]
    assert manager.targets() == {"moon": (Target("moon", "a chip on the moon", "vivado"), manager.plugins[0])}


def test_load_plugins_reads_the_entry_points(install: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    point = install("good_plugin", GOOD)
    monkeypatch.setattr("hsflow.plugins.entry_points", lambda group: [point] if group == "hsflow" else [])
    manager = load_plugins({"own": ToyPlugin()})
    assert [plugin.name for plugin in manager.plugins] == ["good_plugin", "own"]
    assert manager.stage_names(StageKind.LOAD) == ["toy"]


BROKEN: dict[str, tuple[str, str]] = {
    "a syntax error": ("def", "SyntaxError"),
    "a missing import": ("import no_such_module_anywhere", "No module named 'no_such_module_anywhere'"),
    "an exception": ("raise RuntimeError('at import')", "RuntimeError: at import"),
    "an exit": ("raise SystemExit(0)", "SystemExit"),
    "an unknown hook": ("from hsflow import hookimpl\n@hookimpl\ndef hsflow_stagez(): ...", "hsflow_stagez"),
    "an unknown argument": (
        "from hsflow import hookimpl\n@hookimpl\ndef hsflow_stages(colour): ...",
        "colour",
    ),
    "no decorator": ("def hsflow_stages(): ...", "not decorated"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_plugin_is_blamed_with_its_distribution(case: str, install: Any) -> None:
    source, expected = BROKEN[case]
    with pytest.raises(PluginError) as caught:
        _load(install("broken_plugin", source, distribution="broken-dist", version="0.9"))
    for part in ("'broken_plugin' of broken-dist 0.9", expected):
        assert part in str(caught.value)


def test_the_first_hit_of_the_same_name_wins_nothing(install: Any) -> None:
    manager = _load(install("good_plugin", GOOD))
    with pytest.raises(PluginError, match=r"two plugins have one name[^$]*good_plugin"):
        manager.register(ToyPlugin(), Plugin("good_plugin", "other-dist", "2"))


def test_two_stages_of_one_kind_and_name_are_blamed_on_both() -> None:
    manager = PluginManager()
    manager.register(ToyPlugin(), Plugin("one", "dist-one", "1"))
    manager.register(ToyPlugin(), Plugin("two", "dist-two", "2"))
    with pytest.raises(PluginError) as caught:
        _ = manager.stages
    assert "dist-one 1" in str(caught.value) and "dist-two 2" in str(caught.value)


def _offering(stages: Any) -> PluginManager:
    class Offer:
        @hookimpl
        def hsflow_stages(self) -> Any:
            return stages() if callable(stages) else stages

        @hookimpl
        def hsflow_targets(self) -> Any:
            return stages() if callable(stages) else stages

    manager = PluginManager()
    manager.register(Offer(), Plugin("offer", "offer-dist", "7"))
    return manager


def _stage(**changes: Any) -> Any:
    good = {"kind": StageKind.LOAD, "name": "x", "version": "1", "options_model": NoOptions, "run": print}
    return SimpleNamespace(**{**good, **changes})


def test_a_plain_object_can_be_a_stage() -> None:
    assert list(_offering([_stage()]).stages) == [(StageKind.LOAD, "x")]


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("kind", "load"), ("kind", None), ("name", "No good"), ("name", ""), ("version", 1), ("version", ""),
        ("options_model", dict), ("options_model", NoOptions()), ("run", None),
    ],
)  # fmt: skip
def test_a_stage_that_breaks_the_contract_is_refused(attribute: str, value: object) -> None:
    with pytest.raises(PluginError, match=rf"offer-dist 7[^$]*{attribute}"):
        _ = _offering([_stage(**{attribute: value})]).stages


def _fail() -> Any:
    raise RuntimeError("no stages today")


@pytest.mark.parametrize("offer", [_fail, None, 3])
def test_a_hook_that_fails_is_blamed(offer: Any) -> None:
    with pytest.raises(PluginError, match=r"offer-dist 7: the hook hsflow_stages failed"):
        _ = _offering(offer).stages


@pytest.mark.parametrize(
    "target",
    [("x", "y"), None, Target("X Y", "y", "sim"), Target("../x", "", "sim"), Target("default", "", "sim")],
)
def test_a_target_that_breaks_the_contract_is_refused(target: Any) -> None:
    with pytest.raises(PluginError, match="offer-dist 7"):
        _offering([target]).targets()


def test_a_target_of_a_taken_name_is_refused() -> None:
    with pytest.raises(PluginError, match="two targets"):
        _offering([Target("x", "", "sim"), Target("x", "", "lint")]).targets()


def test_stages_come_in_the_order_of_the_flow() -> None:
    manager = _offering([ToyStage(kind, ToyPlugin()) for kind in reversed(StageKind)])
    assert [kind for kind, _ in manager.stages] == list(StageKind)
