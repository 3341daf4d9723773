# SPDX-License-Identifier: Apache-2.0
"""flow.toml: what it means, and that every problem of a file is told at once, with the way out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from toy_flow import CHOICES, ToyPlugin, toy_plugins, toy_tables, toy_toml

from hsflow import config
from hsflow.config import STAGES, Configuration, configure, read_configuration
from hsflow.errors import EXIT_USAGE, ConfigurationError
from hsflow.images import Geometry
from hsflow.plugins import PluginManager
from hsflow.stage import StageKind


@pytest.fixture
def plugins() -> PluginManager:
    return toy_plugins(ToyPlugin())


def _read(folder: Path, text: str, plugins: PluginManager) -> Configuration:
    path = folder / "flow.toml"
    path.write_text(text)
    return read_configuration(path, plugins)


def _refusal(folder: Path, text: str, plugins: PluginManager) -> str:
    with pytest.raises(ConfigurationError) as caught:
        _read(folder, text, plugins)
    assert caught.value.exit_code == EXIT_USAGE
    assert str(folder / "flow.toml") in str(caught.value)
    return str(caught.value)


def test_a_minimal_file_gives_every_stage(tmp_path: Path, plugins: PluginManager) -> None:
    configuration = _read(tmp_path, toy_toml(), plugins)
    assert tuple(configuration.stages) == STAGES
    assert configuration.settings.name == "toy" and configuration.settings.seed == 1
    assert configuration.folder == tmp_path and configuration.data_files == ()


def test_a_missing_table_means_the_default(
    tmp_path: Path, plugins: PluginManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert {"[" + kind + "]" for kind in CHOICES} == {
        line.split()[0].rstrip(":")
        for line in _refusal(tmp_path, '[flow]\nname = "x"', plugins).split("- ")[1:]
    }
    monkeypatch.setattr(config, "DEFAULTS", CHOICES)
    assert tuple(_read(tmp_path, '[flow]\nname = "x"', plugins).stages) == STAGES


def test_options_are_typed_and_files_resolved(tmp_path: Path, plugins: PluginManager) -> None:
    (tmp_path / "w.bin").write_text("")
    tables = toy_tables(load={"scale": 2, "weights": "w.bin", "more": ["w.bin"]})
    choice = configure(tables, plugins, tmp_path).stages[StageKind.LOAD]
    assert choice.options.model_dump() == {
        "scale": 2.0,
        "weights": tmp_path / "w.bin",
        "more": (tmp_path / "w.bin",),
    }
    assert choice.input_files == (tmp_path / "w.bin",) * 2


CASES: dict[str, tuple[str, list[str]]] = {
    "no TOML": ("[flow", ["not TOML"]),
    "not UTF-8": ("\udcff", ["not TOML"]),
    "no name": ("[flow]\n", ["[flow] name: is missing"]),
    "an unknown table": ("[quantise]\n", ["[quantise]: an unknown table; did you mean 'quantize'?", "known: flow, "]),
    "a key outside": ('name = "x"\n', ["[name]: an unknown table"]),
    "a stage that is no table": ('load = "toy"\n', ["load: must be a table, [load], not 'toy'"]),
    "an unknown setting": ('[flow]\nname = "x"\nsed = 1\n', ["[flow] sed: an unknown option; did you mean 'seed'?"]),
    "an unknown implementation": ('[npu]\nuse = "toi"\n', ["[npu] use", "'toi'", "did you mean 'toy'?", "known: toy"]),
    "an implementation of the wrong type": ("[npu]\nuse = 3\n", ["[npu] use", "3", "known: toy"]),
    "an unknown option": ('[quantize]\nuse = "toy"\nlevel = 3\n', ["[quantize] level: an unknown option; did you mean 'levels'?"]),
    "a text for a number": ('[quantize]\nuse = "toy"\nlevels = "8"\n', ["[quantize] levels", "valid integer", "'8'"]),
    "a number out of range": ('[quantize]\nuse = "toy"\nlevels = 9\n', ["[quantize] levels", "less than or equal to 8", "9"]),
    "a number that is not finite": ('[load]\nuse = "toy"\nscale = inf\n', ["[load] scale: must be finite"]),
    "a nested number that is not finite": ('[load]\nuse = "toy"\nscale = [{a = nan}]\n', ["[load] scale[0].a: must be finite"]),
    "a date": ('[load]\nuse = "toy"\nscale = 2020-01-01\n', ["[load] scale", "2020-01-01"]),
    "a missing file": ('[load]\nuse = "toy"\nweights = "none.bin"\n', ["[load] weights: there is no file", "none.bin"]),
    "a folder for a file": ('[load]\nuse = "toy"\nweights = "."\n', ["[load] weights: there is no file"]),
    "a negative seed": ('[flow]\nname = "x"\nseed = -1\n', ["[flow] seed: must be in 0..4294967295, not -1"]),
    "a stopped clock": ('[flow]\nname = "x"\nclock_mhz = 0.0\n', ["[flow] clock_mhz: must be positive"]),
    "a clock of NaN": ('[flow]\nname = "x"\nclock_mhz = nan\n', ["[flow] clock_mhz: must be finite"]),
    "an unknown data source": ('[flow]\nname = "x"\ndata = "digit"\n', ["[flow] data: must be 'digits' or", "'digit'"]),
    "a missing data file": ('[flow]\nname = "x"\ndata = "none.npz"\n', ["[flow] data: there is no file"]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_a_problem_is_told_with_file_table_and_way_out(
    case: str, tmp_path: Path, plugins: PluginManager
) -> None:
    text, expected = CASES[case]
    path = tmp_path / "flow.toml"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(ConfigurationError) as caught:
        read_configuration(path, plugins)
    for part in (str(path), *expected):
        assert part in str(caught.value)


def test_all_problems_come_in_one_message(tmp_path: Path, plugins: PluginManager) -> None:
    text = toy_toml(seed="-1", colour='"red"').replace('[npu]\nuse = "toy"', '[npu]\nuse = "x"') + "[extra]\n"
    message = _refusal(tmp_path, text, plugins)
    for part in ("3 problems", "[flow] colour", "[npu] use", "[extra]"):
        assert part in message


def test_a_missing_file_points_at_new(tmp_path: Path, plugins: PluginManager) -> None:
    with pytest.raises(ConfigurationError, match="hsflow new"):
        read_configuration(tmp_path / "flow.toml", plugins)


@pytest.mark.parametrize("name", ["a", "digits_8", "module1", "a" * 63])
def test_good_names(name: str) -> None:
    assert config.name_problem(name) is None


def test_nearest_never_guesses_what_is_far() -> None:
    assert config.nearest("zzz", ["load", "prune"]) == "(known: load, prune)"
    assert config.nearest("laod", ["load", "prune"]).startswith("did you mean 'load'?")


def test_folders_and_archives_of_images(tmp_path: Path, plugins: PluginManager) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "test.zip").write_bytes(b"")
    settings = {"data": "train", "test_data": "test.zip", "resize": 256, "crop": 224}
    tables = toy_tables()
    tables["flow"] = {**tables["flow"], **settings}
    configuration = configure(tables, plugins, tmp_path)
    assert configuration.data_files == (tmp_path / "train", tmp_path / "test.zip")
    assert configuration.settings.geometry == Geometry(256, (224, 224))
    tables["flow"]["crop"] = [224, 192]
    assert configure(tables, plugins, tmp_path).settings.geometry.crop == (224, 192)


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"data": "train", "test_data": "none.zip"}, "test_data: there is no file"),
        ({"data": "train", "test_data": "none"}, "test_data: must be"),
        ({"data": "train", "held_out": 1.0}, "held_out: must be"),
        ({"data": "train", "resize": 0}, "resize and crop"),
        ({"data": "train", "crop": [1, 100_000]}, "resize and crop"),
        ({"resize": 8}, "resize: is for folders"),
        ({"test_data": "train"}, "test_data: is for folders"),
    ],
)
def test_contradictory_data_is_refused(
    tmp_path: Path, plugins: PluginManager, settings: dict[str, Any], problem: str
) -> None:
    (tmp_path / "train").mkdir()
    tables = toy_tables()
    tables["flow"] = {**tables["flow"], **settings}
    with pytest.raises(ConfigurationError, match=problem):
        configure(tables, plugins, tmp_path)
