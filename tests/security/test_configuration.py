# SPDX-License-Identifier: Apache-2.0
"""Hostile configuration: a name or path from flow.toml never reaches a module, a file system or a shell as it likes."""

from __future__ import annotations

from pathlib import Path

import pytest
from toy_flow import ToyPlugin, toy_plugins, toy_tables

from hsflow.config import configure, name_problem, read_configuration
from hsflow.errors import ConfigurationError
from hsflow.keywords import SYSTEMVERILOG_KEYWORDS

HOSTILE_NAMES = [
    "", "A", "1a", "_a", "a-b", "a b", "a/b", "../a", "..", "a.b", "a;b", "$(reboot)", "`id`", "a\nb", "a\n", "a\x00b",
    "ä", "a" * 64, "\N{FULLWIDTH LATIN SMALL LETTER A}", "a\u200bb", "--help",
]  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE_NAMES, ids=ascii)
def test_a_name_that_is_no_plain_identifier_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"\[flow\] name: must be a lower-case letter"):
        configure(toy_tables(flow={"name": name}), toy_plugins(ToyPlugin()), tmp_path)


@pytest.mark.parametrize(
    "name", ["module", "wire", "logic", "endmodule", "begin", "unique0", "s_until_with", "uwire"]
)
def test_a_reserved_word_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="reserved word"):
        configure(toy_tables(flow={"name": name}), toy_plugins(ToyPlugin()), tmp_path)


def test_the_list_of_reserved_words_is_whole() -> None:
    assert len(SYSTEMVERILOG_KEYWORDS) == 248  # IEEE 1800-2017, Annex B
    assert name_problem("modules") is None


@pytest.mark.parametrize(
    "text", ["a = " + "[" * 20_000, "[" * 20_000, "a." * 4_000 + "b = 1", "x = 1" + "0" * 10_000]
)
def test_a_file_that_tries_to_exhaust_the_reader_is_an_ordinary_error(text: str, tmp_path: Path) -> None:
    path = tmp_path / "flow.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError):
        read_configuration(path, toy_plugins(ToyPlugin()))


@pytest.mark.parametrize("key", ["__class__", "model_config", "__init__", "use.x", "model_fields"])
def test_an_option_cannot_reach_into_the_model(key: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="unknown option"):
        configure(toy_tables(quantize={key: 1}), toy_plugins(ToyPlugin()), tmp_path)
