# SPDX-License-Identifier: Apache-2.0
"""The configuration of a flow: one typed file, flow.toml, checked whole before anything runs.

    [flow]              FlowSettings: name, data, seed, clock_mhz
    name = "digits"

    [quantize]          one table a stage: which implementation, and that implementation's options
    use = "po2"
    levels = 8

    [thresholds]        bounds of figures: see `hsflow.thresholds`

A missing table means the default implementation with its default options. All problems of a file are reported at once.
"""

from __future__ import annotations

import difflib
import json
import math
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from hsflow import thresholds
from hsflow.data import DIGITS
from hsflow.errors import ConfigurationError
from hsflow.images import is_image_source
from hsflow.keywords import SYSTEMVERILOG_KEYWORDS
from hsflow.plugins import PluginManager, RegisteredStage
from hsflow.stage import FlowSettings, InputFileMark, StageKind, StageOptions
from hsflow.thresholds import Thresholds

FILE_NAME = "flow.toml"
FLOW_TABLE = "flow"
USE = "use"
STAGES = tuple(kind for kind in StageKind if kind is not StageKind.TARGET)
"""The stages that a flow runs, in order."""

DEFAULTS: Mapping[StageKind, str] = {
    StageKind.LOAD: "torch",
    StageKind.PRUNE: "magnitude",
    StageKind.QUANTIZE: "po2",
    StageKind.HARDEN: "stream",
    StageKind.NPU: "mac",
    StageKind.PACKAGE: "fusesoc",
}
"""The implementation of each stage that flow.toml does not name."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_MAX_SEED = (1 << 32) - 1
_MAX_SIDE = 1 << 13

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True)
class StageChoice:
    """Hold the implementation of one stage and its checked options; its input files are absolute paths."""

    registered: RegisteredStage
    options: StageOptions

    @property
    def input_files(self) -> tuple[Path, ...]:
        """Return the files that the options name, in the order of the options."""
        return tuple(path for _, path in _marked_files(self.options))


@dataclass(frozen=True)
class Configuration:
    """Hold a checked configuration. `folder` is what relative paths refer to."""

    settings: FlowSettings
    stages: Mapping[StageKind, StageChoice]
    folder: Path
    thresholds: Thresholds

    @property
    def data_files(self) -> tuple[Path, ...]:
        """Return the files or folders of the data; built-in data has none."""
        named = (self.settings.data, self.settings.test_data)
        return tuple(self.folder / each for each in named if each is not None and each != DIGITS)


def read_configuration(path: Path, plugins: PluginManager) -> Configuration:
    """Return the configuration that a flow.toml holds.

    Raises:
        ConfigurationError: names the file, the table and the key of every problem.
    """
    try:
        tables = tomllib.loads(path.read_bytes().decode())
    except FileNotFoundError as error:
        hint = "make one with `hsflow new NAME`, or name another with --config"
        raise ConfigurationError("there is no such file", where=str(path), hint=hint) from error
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError("the file is not TOML", where=str(path), got=error) from error
    return configure(tables, plugins, path.parent.resolve(), where=str(path))


def configure(
    tables: Mapping[str, Any], plugins: PluginManager, folder: Path, *, where: str = FILE_NAME
) -> Configuration:
    """Return the configuration that `tables`, as in flow.toml, describe.

    Args:
        tables: the tables by name.
        plugins: what can be chosen.
        folder: what relative paths refer to.
        where: the name for messages.

    Raises:
        ConfigurationError: with every problem.
    """
    problems = list(_unknown_tables(tables))
    settings = _settings(_table(tables, FLOW_TABLE, problems), folder, problems)
    stages: dict[StageKind, StageChoice] = {}
    for kind in STAGES:
        choice = _choice(kind, _table(tables, kind, problems), plugins, folder, problems)
        if choice is not None:
            stages[kind] = choice
    limits = thresholds.parse(_table(tables, thresholds.TABLE, problems), problems)
    if problems or settings is None:
        raise _error(problems, where)
    return Configuration(settings, stages, folder, limits)


def flow_settings(table: Mapping[str, Any], folder: Path, *, where: str = FILE_NAME) -> FlowSettings:
    """Return the settings that the table [flow] describes; see `configure`.

    Raises:
        ConfigurationError: with every problem.
    """
    problems: list[str] = []
    settings = _settings(dict(table), folder, problems)
    if problems or settings is None:
        raise _error(problems, where)
    return settings


def nearest(word: str, known: Iterable[str]) -> str:
    """Return a clause for a message: the nearest spelling if there is one, and all the known ones."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1)
    guess = f"did you mean '{close[0]}'? " if close else ""
    return f"{guess}(known: {', '.join(names) or 'none'})"


def _error(problems: list[str], where: str) -> ConfigurationError:
    if len(problems) == 1:
        return ConfigurationError(problems[0], where=where)
    lines = "".join(f"\n  - {problem}" for problem in problems)
    return ConfigurationError(f"{len(problems)} problems{lines}", where=where)


def _unknown_tables(tables: Mapping[str, Any]) -> Iterator[str]:
    known = [FLOW_TABLE, *STAGES, thresholds.TABLE]
    for name in tables:
        if name not in known:
            yield f"[{name}]: an unknown table; {nearest(name, known)}"


def _table(tables: Mapping[str, Any], name: str, problems: list[str]) -> dict[str, Any]:
    table = tables.get(name, {})
    if not isinstance(table, Mapping):
        problems.append(f"{name}: must be a table, [{name}], not {table!r}")
        return {}
    problems.extend(f"[{name}] {key}: must be finite" for key in _not_finite(table, ""))
    return dict(table)


def _not_finite(value: Any, path: str) -> Iterator[str]:
    match value:
        case float() if not math.isfinite(value):
            yield path
        case Mapping():
            for key, entry in value.items():
                yield from _not_finite(entry, f"{path}.{key}".lstrip("."))
        case list() | tuple():
            for index, entry in enumerate(value):
                yield from _not_finite(entry, f"{path}[{index}]")


def _settings(table: dict[str, Any], folder: Path, problems: list[str]) -> FlowSettings | None:
    settings = _validated(FlowSettings, table, FLOW_TABLE, problems)
    if settings is not None:
        problems.extend(f"[{FLOW_TABLE}] {problem}" for problem in _settings_problems(settings, folder))
    return settings


def _settings_problems(settings: FlowSettings, folder: Path) -> Iterator[str]:
    if problem := name_problem(settings.name):
        yield f"name: {problem}"
    if not 0 <= settings.seed <= _MAX_SEED:
        yield f"seed: must be in 0..{_MAX_SEED}, not {settings.seed}"
    if not settings.clock_mhz > 0:
        yield f"clock_mhz: must be positive, not {settings.clock_mhz}"
    yield from _data_problems(settings, folder)


def _data_problems(settings: FlowSettings, folder: Path) -> Iterator[str]:
    arrays = settings.data == DIGITS or settings.data.endswith(".npz")
    if settings.data.endswith(".npz") and not (folder / settings.data).is_file():
        yield f"data: there is no file {folder / settings.data}"
    if not arrays:
        yield from _image_problems("data", settings.data, folder)
    if settings.test_data is not None and not arrays:
        yield from _image_problems("test_data", settings.test_data, folder)
    for key in ("test_data", "resize", "crop"):
        if arrays and getattr(settings, key) is not None:
            yield f"{key}: is for folders and .zip files of images, and data is {settings.data!r}"
    if not 0 < settings.held_out < 1:
        yield f"held_out: must be above 0 and below 1, not {settings.held_out}"
    sizes = (settings.resize, *(settings.geometry.crop or ()))
    if any(size is not None and not 1 <= size <= _MAX_SIDE for size in sizes):
        yield f"resize and crop: must be in 1..{_MAX_SIDE}, not {settings.resize} and {settings.crop}"


def _image_problems(key: str, source: str, folder: Path) -> Iterator[str]:
    path = folder / source
    if not is_image_source(path):
        others = f"'{DIGITS}' or the path of an .npz file, or " if key == "data" else "the path "
        yield f"{key}: must be {others}of a folder or .zip file of images, not {source!r}"
    elif not path.exists():
        yield f"{key}: there is no file {path}"


def name_problem(name: str) -> str | None:
    """Return why a design cannot be called `name` (it becomes a module, a core and a file name), or None."""
    if not _NAME.fullmatch(name):
        return f"must be a lower-case letter, then up to 62 of a-z, 0-9 and _, not {name!r}"
    if name in SYSTEMVERILOG_KEYWORDS:
        return f"'{name}' is a reserved word of SystemVerilog; choose another name"
    if name == "hsflow" or name.startswith("hsflow_"):
        return f"'{name}' is kept for hsflow's own RTL library; choose another name"
    return None


def _choice(
    kind: StageKind, table: dict[str, Any], plugins: PluginManager, folder: Path, problems: list[str]
) -> StageChoice | None:
    name = table.pop(USE, DEFAULTS[kind])
    registered = plugins.stages.get((kind, name)) if isinstance(name, str) else None
    if registered is None:
        problems.append(
            f"[{kind}] {USE}: an unknown implementation {name!r}; {nearest(str(name), plugins.stage_names(kind))}"
        )
        return None
    options = _validated(registered.stage.options_model, table, kind, problems, extra_known=(USE,))
    if options is None:
        return None
    return StageChoice(registered, _with_files(options, kind, folder, problems))


def _validated(
    model: type[M], table: dict[str, Any], name: str, problems: list[str], extra_known: tuple[str, ...] = ()
) -> M | None:
    known = (*_option_names(model), *extra_known)
    try:
        # Through JSON, so that strict means TOML's own types: no "8" for 8, but a list for a tuple.
        return model.model_validate_json(json.dumps(table, default=str), strict=True)
    except ValidationError as error:
        problems.extend(f"[{name}] {_explained(detail, known)}" for detail in error.errors())
    return None


def _option_names(model: type[BaseModel]) -> tuple[str, ...]:
    return tuple(field.alias or name for name, field in model.model_fields.items())


def _explained(detail: ErrorDetails, known: tuple[str, ...]) -> str:
    key = ".".join(map(str, detail["loc"]))
    if detail["type"] == "extra_forbidden" and len(detail["loc"]) == 1:
        return f"{key}: an unknown option; {nearest(key, known)}"
    if detail["type"] == "missing":
        return f"{key}: is missing"
    message = detail["msg"][:1].lower() + detail["msg"][1:]
    return f"{key}: {message}, not {detail['input']!r}" if key else message


# Options that name files.


def _marked_files(options: BaseModel) -> Iterator[tuple[str, Path]]:
    for name, field in type(options).model_fields.items():
        if _is_marked(field.annotation) or any(isinstance(item, InputFileMark) for item in field.metadata):
            yield from ((name, path) for path in _paths(getattr(options, name)))


def _is_marked(annotation: Any) -> bool:
    marks = getattr(annotation, "__metadata__", ())
    return any(isinstance(mark, InputFileMark) for mark in marks) or any(
        map(_is_marked, get_args(annotation))
    )


def _paths(value: Any) -> Iterator[Path]:
    if isinstance(value, Path):
        yield value
    elif isinstance(value, list | tuple):
        for entry in value:
            yield from _paths(entry)


def _resolved(value: Any, folder: Path) -> Any:
    if isinstance(value, Path):
        return folder / value.expanduser()
    return (
        type(value)(_resolved(entry, folder) for entry in value) if isinstance(value, list | tuple) else value
    )


def _with_files(options: StageOptions, kind: StageKind, folder: Path, problems: list[str]) -> StageOptions:
    """Return the options with absolute paths, after noting each file that does not exist."""
    marked = {name for name, _ in _marked_files(options)}
    update = {name: _resolved(getattr(options, name), folder) for name in marked}
    resolved = options.model_copy(update=update)
    problems.extend(
        f"[{kind}] {name}: there is no file {path}"
        for name, path in _marked_files(resolved)
        if not path.is_file()
    )
    return resolved
