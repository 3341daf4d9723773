# SPDX-License-Identifier: Apache-2.0
"""The cache key of a stage: everything that can change its result.

That is the stage (kind, name, version), its options, the content of the files that they name, the flow's settings and
data, the key of the stage before, and the code: the versions of hsflow, of the plugin's distribution and of the numeric
libraries, with a digest of the source files of the stage, of what it builds on, and of the plugins that it asks by hooks,
so that an edited or newly installed plugin is not taken for the one that ran.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hsflow import __version__
from hsflow.artifact import canonical_json, digest, file_digest
from hsflow.config import STAGES, Configuration, StageChoice
from hsflow.errors import PluginError
from hsflow.plugins import PluginManager, RegisteredStage, distribution_version
from hsflow.stage import FlowSettings, ResourceMark, StageKind

LIBRARIES = ("numpy", "pillow", "scikit-learn", "torch")
"""The libraries whose version can change a number."""

_KERNEL_SOURCES = ("fixedpoint.py", "data.py", "images.py", "design.py", "stage.py", "ir")


@dataclass(frozen=True)
class StageKey:
    """Hold the cache key of a stage and the versions that went into it."""

    key: str
    versions: dict[str, str]


def stage_keys(configuration: Configuration, plugins: PluginManager) -> dict[StageKind, StageKey]:
    """Return the key of every stage of the flow; no stage is run for it."""
    keys: dict[StageKind, StageKey] = {}
    before = ""
    for kind in STAGES:
        keys[kind] = _stage_key(configuration, configuration.stages[kind], plugins, before)
        before = keys[kind].key
    return keys


def settings_for(kind: StageKind, settings: FlowSettings) -> FlowSettings:
    """Return the settings that a stage sees: the clock only from `harden` on, so that it never costs a training."""
    if STAGES.index(kind) >= STAGES.index(StageKind.HARDEN):
        return settings
    return settings.model_copy(update={"clock_mhz": FlowSettings.model_fields["clock_mhz"].default})


def _stage_key(
    configuration: Configuration, choice: StageChoice, plugins: PluginManager, before: str
) -> StageKey:
    stage = choice.registered.stage
    versions = _versions(choice.registered)
    contents = {
        "stage": [stage.kind, stage.name, stage.version],
        "options": _options(choice),
        "settings": settings_for(stage.kind, configuration.settings).model_dump(mode="json"),
        "data": _data_digests(configuration),
        "before": before,
        "versions": versions,
        "sources": [source_digest(Path(__file__).parent, _KERNEL_SOURCES), *_sources(stage, plugins)],
        "fingerprint": _fingerprint(stage, choice.options),
    }
    return StageKey(digest(canonical_json(contents)), versions)


def _versions(registered: RegisteredStage) -> dict[str, str]:
    plugin = registered.plugin
    libraries = {name: distribution_version(name) for name in LIBRARIES}
    return {"hsflow": __version__, f"plugin {plugin.distribution}": plugin.version, **libraries}


def _options(choice: StageChoice) -> Any:
    """Return the options that can change the result; for an input file stand its digest and suffix, not its place."""
    digests = {str(path): f"sha256:{file_digest(path)}{path.suffix}" for path in choice.input_files}
    resources = {
        name for name, field in type(choice.options).model_fields.items() if _is_resource(field.metadata)
    }
    return _replaced(choice.options.model_dump(mode="json", exclude=resources), digests)


def _is_resource(metadata: Iterable[Any]) -> bool:
    return any(isinstance(mark, ResourceMark) for mark in metadata)


def _replaced(value: Any, names: dict[str, str]) -> Any:
    match value:
        case str():
            return names.get(value, value)
        case list():
            return [_replaced(entry, names) for entry in value]
        case dict():
            return {key: _replaced(entry, names) for key, entry in value.items()}
    return value


def _data_digests(configuration: Configuration) -> list[Any]:
    """Return the digest of each data file; of a folder, the paths in it and their digests."""
    return [
        [[file.relative_to(path).as_posix(), file_digest(file)] for file in sorted(_source_files(path))]
        if path.is_dir()
        else file_digest(path)
        for path in configuration.data_files
    ]


def _fingerprint(stage: Any, options: Any) -> str | None:
    """Return what a stage adds to its key: `fingerprint(options)`, if it reads what nobody else can know of."""
    fingerprint = getattr(stage, "fingerprint", None)
    return str(fingerprint(options)) if callable(fingerprint) else None


def _sources(stage: Any, plugins: PluginManager) -> list[str]:
    """Return digests of the code that a stage consists of, says that it builds on, and asks by hooks."""
    own = _sources_of(type(stage).__module__.partition(".")[0], type(stage).__module__)
    others = [module_digest(name) for name in getattr(stage, "builds_on", ())]
    asked = [plugins.implementers(hook) for hook in getattr(stage, "asks", ())]
    return [own, *others, *(f"{plugin} {module_digest(module)}" for hook in asked for plugin, module in hook)]


def _sources_of(package: str, module: str) -> str:
    """Return the digest of a package, or of a module outside of any."""
    return module_digest(package if getattr(sys.modules.get(package), "__path__", None) else module)


@cache
def module_digest(name: str) -> str:
    """Return a digest of a package's files, or of a module's; nothing but its parents is imported.

    Raises:
        PluginError: if there is no such module.
    """
    if not has_module(name):
        raise PluginError("a stage builds on a module that is not there", got=name)
    found = sys.modules.get(name)
    spec = importlib.util.find_spec(name) if found is None else None
    path = Path(getattr(found, "__file__", None) or getattr(spec, "origin", None) or "")
    if not path.is_file():
        return "no source"
    return source_digest(path.parent) if path.name == "__init__.py" else file_digest(path)


def has_module(name: str) -> bool:
    """Tell whether a module can be found; nothing but its parents is imported."""
    try:
        return name in sys.modules or importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


@cache
def source_digest(folder: Path, names: tuple[str, ...] = (".",)) -> str:
    """Return a digest of the files below `folder`, or of those `names` in it: their relative paths and contents."""
    files = sorted({file for name in names for file in _source_files(folder / name)})
    return digest(
        canonical_json([[file.relative_to(folder).as_posix(), file_digest(file)] for file in files])
    )


def _source_files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for file in path.rglob("*"):
        if file.is_file() and "__pycache__" not in file.parts:
            yield file
