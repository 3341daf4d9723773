# SPDX-License-Identifier: Apache-2.0
"""Loading of plugins: who they are, which hooks they implement, which stages they offer.

Every failure names the plugin and the distribution that installed it, so that the user knows what to update or remove.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from typing import Any

import pluggy

from hsflow import hookspecs
from hsflow.errors import PluginError
from hsflow.progress import Reporter
from hsflow.stage import Stage, StageKind, StageOptions
from hsflow.targets import Target

GROUP = hookspecs.PROJECT
_NAME = re.compile(r"[a-z][a-z0-9_-]*")


@dataclass(frozen=True)
class Plugin:
    """Hold a registered plugin's name, the distribution it came from and that distribution's version."""

    name: str
    distribution: str
    version: str

    def __str__(self) -> str:
        return f"plugin '{self.name}' of {self.distribution} {self.version}"


@dataclass(frozen=True)
class HookImplementation:
    """Tell that a plugin implements a hook."""

    hook: str
    plugin: Plugin


@dataclass(frozen=True)
class RegisteredStage:
    """Hold a stage with the plugin that offers it."""

    stage: Stage
    plugin: Plugin

    @property
    def kind(self) -> StageKind:
        """Return the stage's kind."""
        return self.stage.kind

    @property
    def name(self) -> str:
        """Return the stage's name."""
        return self.stage.name


@dataclass(frozen=True)
class PortableHook:
    """Call a hook of some entry points (name and value) in whatever process: one loads them at its first call."""

    name: str
    entry_points: tuple[tuple[str, str], ...]

    def __call__(self, **arguments: Any) -> Any:
        """Return what the hook returns."""
        return getattr(_loaded_hooks(self.entry_points), self.name)(**arguments)


@cache
def _loaded_hooks(values: tuple[tuple[str, str], ...]) -> Any:
    manager = PluginManager()
    for name, value in values:
        manager.load(EntryPoint(name, value, GROUP))
    return manager.hook


class PluginManager:
    """Hold the registered plugins; find their stages and targets, and call their observers."""

    def __init__(self) -> None:
        self._manager = pluggy.PluginManager(hookspecs.PROJECT)
        self._manager.add_hookspecs(hookspecs)
        self._plugins: dict[str, Plugin] = {}
        self._entry_points: dict[str, str] = {}
        self._failed_observers: set[str] = set()

    @property
    def hook(self) -> Any:
        """Return pluggy's hook relay."""
        return self._manager.hook

    @property
    def plugins(self) -> tuple[Plugin, ...]:
        """Return the plugins in the order of their registration."""
        return tuple(self._plugins.values())

    def register(self, implementation: object, plugin: Plugin) -> None:
        """Register a module or object with hook implementations.

        Raises:
            PluginError: if its name or itself is registered already, or if it breaks the contract of a hook.
        """
        if plugin.name in self._plugins:
            raise PluginError(
                "two plugins have one name", where=str(plugin), got=str(self._plugins[plugin.name]),
                hint="uninstall one of the two distributions",
            )  # fmt: skip
        self._check_decorated(implementation, plugin)
        try:
            self._manager.register(implementation, name=plugin.name)
            self._manager.check_pending()
        except (ValueError, pluggy.PluginValidationError) as error:
            raise PluginError("the plugin breaks a hook's contract", where=str(plugin), got=error) from error
        self._plugins[plugin.name] = plugin
        vars(self).pop("stages", None)

    def load(self, entry_point: EntryPoint) -> None:
        """Import and register what an entry point of the group `hsflow` names.

        Raises:
            PluginError: if it cannot be imported or registered.
        """
        plugin = _origin(entry_point)
        try:
            implementation = entry_point.load()
        except (Exception, SystemExit) as error:
            raise PluginError(
                "the plugin cannot be imported",
                where=str(plugin),
                got=f"{type(error).__name__}: {error}",
                expected=f"a module or object at {entry_point.value}",
                hint=f"update or uninstall {plugin.distribution}",
            ) from error
        self.register(implementation, plugin)
        self._entry_points[plugin.name] = entry_point.value

    def portable_hook(self, name: str) -> PortableHook | None:
        """Return a hook that other processes can call too; None if an implementation does not come by an entry point."""
        implementers = {implementation.plugin_name for implementation in self._hook(name).get_hookimpls()}
        if not implementers <= self._entry_points.keys():
            return None
        # In the order of registration, which decides who is asked first.
        chosen = (plugin for plugin in self._plugins if plugin in implementers)
        return PortableHook(name, tuple((plugin, self._entry_points[plugin]) for plugin in chosen))

    def implementers(self, hook: str) -> list[tuple[Plugin, str]]:
        """Return the plugins that implement a hook, and the module of each, in the order of their names."""
        found = [
            (implementation.plugin_name, implementation.plugin)
            for implementation in self._hook(hook).get_hookimpls()
        ]
        modules = {name: getattr(plugin, "__name__", type(plugin).__module__) for name, plugin in found}
        return [(self._plugins[name], modules[name].partition(".")[0]) for name in sorted(modules)]

    def _hook(self, name: str) -> Any:
        return getattr(self._manager.hook, name)

    @cached_property
    def stages(self) -> Mapping[tuple[StageKind, str], RegisteredStage]:
        """Return every stage by kind and name.

        Raises:
            PluginError: if a plugin's stages cannot be had, break their contract, or clash.
        """
        found: dict[tuple[StageKind, str], RegisteredStage] = {}
        for plugin, stages in self._collect("hsflow_stages"):
            for stage in stages:
                _check_stage(stage, plugin)
                other = found.setdefault((stage.kind, stage.name), RegisteredStage(stage, plugin))
                if other.stage is not stage:
                    raise PluginError(
                        f"two {stage.kind} stages are called '{stage.name}'", where=str(plugin), got=str(other.plugin)
                    )  # fmt: skip
        return dict(sorted(found.items(), key=lambda item: (list(StageKind).index(item[0][0]), item[0][1])))

    def stage_names(self, kind: StageKind) -> list[str]:
        """Return the names of all stages of a kind."""
        return [name for other, name in self.stages if other is kind]

    def targets(self) -> dict[str, tuple[Target, Plugin]]:
        """Return every target and the plugin that offers it, by name.

        Raises:
            PluginError: if two targets have one name or a plugin breaks the hook's contract.
        """
        found: dict[str, tuple[Target, Plugin]] = {}
        for plugin, targets in self._collect("hsflow_targets"):
            for target in targets:
                _check_target(target, plugin)
                if target.name in found:
                    raise PluginError(
                        f"two targets are called '{target.name}'",
                        where=str(plugin),
                        got=str(found[target.name][1]),
                    )
                found[target.name] = target, plugin
        return dict(sorted(found.items()))

    def implementations(self) -> list[HookImplementation]:
        """Return every hook implementation, by hook and then in the order in which pluggy calls them."""
        names = sorted(name for name in vars(hookspecs) if name.startswith("hsflow_"))
        return [
            HookImplementation(name, self._plugins[implementation.plugin_name])
            for name in names
            for implementation in reversed(getattr(self.hook, name).get_hookimpls())
        ]

    def notify(self, hook: str, reporter: Reporter, **arguments: Any) -> None:
        """Call the observers of a hook; one that raises is reported once and never breaks the run."""
        for implementation in reversed(getattr(self.hook, hook).get_hookimpls()):
            chosen = {name: arguments[name] for name in implementation.argnames}
            try:
                implementation.function(**chosen)
            except Exception as error:
                self._report_once(self._plugins[implementation.plugin_name], hook, error, reporter)

    def _report_once(self, plugin: Plugin, hook: str, error: Exception, reporter: Reporter) -> None:
        if plugin.name not in self._failed_observers:
            self._failed_observers.add(plugin.name)
            reporter.warn(
                f"{plugin}: its observer {hook} failed ({type(error).__name__}: {error}); the run goes on"
            )

    def _collect(self, hook: str) -> Iterable[tuple[Plugin, Iterable[Any]]]:
        for implementation in getattr(self.hook, hook).get_hookimpls():
            plugin = self._plugins[implementation.plugin_name]
            try:
                yield plugin, list(implementation.function())
            except Exception as error:
                raise PluginError(
                    f"the hook {hook} failed", where=str(plugin), got=f"{type(error).__name__}: {error}"
                ) from error

    def _check_decorated(self, implementation: object, plugin: Plugin) -> None:
        names = [name for name in vars(hookspecs) if name.startswith("hsflow_")]
        present = [name for name in names if callable(getattr(implementation, name, None))]
        for name in present:
            if not hasattr(getattr(implementation, name), f"{hookspecs.PROJECT}_impl"):
                raise PluginError(
                    f"{name} is not decorated", where=str(plugin), hint="put @hsflow.hookimpl above it"
                )


def load_plugins(extra: Mapping[str, object] | None = None, *, installed: bool = True) -> PluginManager:
    """Return a manager of all installed plugins and of `extra` ones, by name.

    Args:
        extra: modules or objects with hook implementations that no distribution installs.
        installed: whether to load the entry points of the group `hsflow`.

    Raises:
        PluginError: names the plugin and distribution that cannot be loaded.
    """
    manager = PluginManager()
    if installed:
        for entry_point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
            manager.load(entry_point)
    for name, implementation in (extra or {}).items():
        manager.register(implementation, Plugin(name, "this process", "0"))
    return manager


def distribution_version(name: str) -> str:
    """Return the version of an installed distribution, or `absent`."""
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _origin(entry_point: EntryPoint) -> Plugin:
    distribution = entry_point.dist
    if distribution is None:
        return Plugin(entry_point.name, "an unknown distribution", "0")
    return Plugin(entry_point.name, distribution.name, distribution.version)


def _is_name(value: object) -> bool:
    return isinstance(value, str) and _NAME.fullmatch(value) is not None


def _is_options_model(value: object) -> bool:
    return inspect.isclass(value) and issubclass(value, StageOptions)


_STAGE_RULES: tuple[tuple[str, Callable[[Any], bool], str], ...] = (
    ("kind", lambda value: isinstance(value, StageKind), "a StageKind"),
    ("name", _is_name, "a name of [a-z0-9_-]"),
    ("version", lambda value: isinstance(value, str) and value != "", "a version that is a string"),
    ("options_model", _is_options_model, "a subclass of StageOptions"),
    ("run", callable, "a method"),
)


def _check_stage(stage: Any, plugin: Plugin) -> None:
    for attribute, holds, expected in _STAGE_RULES:
        value = getattr(stage, attribute, None)
        if not holds(value):
            raise PluginError(
                f"a stage's {attribute} is not right",
                where=f"{plugin}, {type(stage).__name__}",
                got=repr(value),
                expected=expected,
            )


def _check_target(target: Any, plugin: Plugin) -> None:
    if not isinstance(target, Target) or not _is_name(target.name) or target.name == "default":
        raise PluginError(
            "a target is not right",
            where=str(plugin),
            got=repr(target),
            expected="an hsflow.targets.Target whose name is a-z, 0-9, _ and -, and not 'default'",
        )
