# SPDX-License-Identifier: Apache-2.0
"""Hostile layer names: they become safe paths and identifiers, and no text of theirs is ever code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hsflow_harden.names import comment, identifiers
from hypothesis import given, settings
from hypothesis import strategies as st
from network_bench import LIBRARY, Case, harden, simulate
from random_graphs import GraphBuilder, random_images, square
from simulator import lint

from hsflow.errors import ModelError
from hsflow.ir.graph import Add, Graph
from hsflow.ir.tensor import Shape
from hsflow.keywords import SYSTEMVERILOG_KEYWORDS

EVIL = (
    "../../etc/passwd",
    "a; $finish;",
    "`include `define x",
    "line\nmodule evil; endmodule",
    "*/ module evil; /*",
    "\"quoted' name\\",
    "// verilator lint_off",
    "$finish",
    "always",
    "endmodule",
    " ",
    ".",
    "äöü名前",
    "\ud800",
    "x" * 10_000,
    "Case",
    "case",
    "a.b",
    "a-b",
    "a_b",
    "add_fifo0",
    "add",
    "image_fork1",
)
SAFE = re.compile(r"rtl/[A-Za-z][A-Za-z0-9_]*\.sv")
IDENTIFIER = re.compile(r"[A-Za-z](?:_?[A-Za-z0-9])*")


def evil_graph() -> Graph:
    """Return a chain of layers with hostile names, the first and the last of which a hostile `add` joins."""
    builder = GraphBuilder(Shape(2, 3, 3), 1)
    for number, name in enumerate(name for name in EVIL if name != "add"):
        builder.conv(2, square(3, 1, 1) if number % 8 == 3 else None, name=name, zeros=0.2)
    builder.layers.append(Add("add", ("add_fifo0", builder.last), builder.format(2)))
    return builder.build("dut")


def code_of(text: str) -> str:
    """Return what is left of a file without its line comments."""
    return "\n".join(line.split("//")[0] for line in text.splitlines())


def injected(texts: list[str]) -> list[str]:
    """Return suspicious pieces outside of comments: system tasks, directives, strings, block comments, modules."""
    found = []
    for text in texts:
        code = code_of(text)
        found += re.findall(r"\$\w+|`\w*|\"|/\*|\*/|[^\x20-\x7e\n]|\bevil\b", code)
        found += ["module"] * (len(re.findall(r"^\s*module\b", code, re.M)) - 1)
    return found


def test_files_are_unique_and_safe() -> None:
    paths = [file.path for file in harden(evil_graph()).files]
    assert all(SAFE.fullmatch(path) and len(path) < 200 for path in paths)
    assert len({path.lower() for path in paths}) == len(paths)


def test_no_name_is_code() -> None:
    assert injected([file.text for file in harden(evil_graph()).files]) == []


def test_a_name_without_escapes_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hsflow_harden.emit_layer.comment", lambda name: name)
    assert injected([file.text for file in harden(evil_graph()).files])


def test_a_hostile_network_simulates_exactly(tmp_path: Path) -> None:
    graph = evil_graph()
    case = Case(graph, random_images(graph, 2))
    log, _ = simulate([case], tmp_path)
    assert log.words("out0") == case.expected


def test_a_hostile_network_is_lint_clean(tmp_path: Path) -> None:
    sources = list(LIBRARY)
    for file in harden(evil_graph()).files:
        path = tmp_path / Path(file.path).name
        path.write_text(file.text, encoding="utf-8")
        sources.append(path)
    assert lint(sources, "dut__network") == []


@settings(deadline=None)
@given(st.lists(st.one_of(st.text(max_size=60), st.sampled_from(EVIL)), unique=True, max_size=12))
def test_the_map_is_injective(names: list[str]) -> None:
    found = identifiers(names)
    assert list(found) == names
    assert len({identifier.lower() for identifier in found.values()}) == len(names)
    assert all(IDENTIFIER.fullmatch(identifier) and len(identifier) <= 57 for identifier in found.values())


def test_a_name_that_guesses_the_digest_of_another_stays_apart() -> None:
    guess = identifiers(["a", "A"])["A"]
    found = identifiers(["a", guess, "A"])
    assert len({identifier.lower() for identifier in found.values()}) == 3


@given(st.text())
def test_a_comment_is_one_short_printable_line(name: str) -> None:
    assert re.fullmatch(r"'[\x20-\x7e]{0,80}'(\.\.\.)?", comment(name))


def test_no_module_is_a_keyword() -> None:
    builder = GraphBuilder(Shape(1, 2, 2)).conv(1, name="until").conv(1, name="always")
    modules = {Path(file.path).stem for file in harden(builder.build("s")).files}
    assert {"s_until", "s_always"} <= SYSTEMVERILOG_KEYWORDS
    assert not modules & SYSTEMVERILOG_KEYWORDS


@pytest.mark.parametrize(
    "name", ["hsflow", "hsflow_npu", "HSFLOW_x", "module", "a b", "../x", "1a", "", "a;b"]
)
def test_a_design_cannot_take_the_librarys_or_an_illegal_name(name: str) -> None:
    with pytest.raises(ModelError, match="cannot have this name"):
        harden(GraphBuilder(Shape(1, 2, 2)).conv(1, name="window").build(name))
