# SPDX-License-Identifier: Apache-2.0
"""Read switching activity from a SAIF file (IEEE 1801's Switching Activity Interchange Format, backward form)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hsflow.errors import ConfigurationError

_TOKEN = re.compile(r'//[^\n]*|"[^"]*"|[()]|(?:\\.|[^\s()"])+')
_COUNTS = ("T0", "T1", "TX", "TZ", "TC")


@dataclass(frozen=True, slots=True)
class Activity:
    """Hold what a net did: its number of transitions, and the share of the time that it was one."""

    transitions: int
    high: float


@dataclass(frozen=True)
class Saif:
    """Hold the activity of every net below one instance, by its path from there, with `/` between instances.

    Backslashes, which tools write before brackets or not, are left out of the names.
    """

    nets: Mapping[str, Activity]

    def cycles(self, clock: str) -> float:
        """Return how many cycles a clock has made.

        Raises:
            ConfigurationError: if it is not there or stood still.
        """
        seen = self.nets.get(clock)
        if seen is None or seen.transitions == 0:
            raise ConfigurationError(
                "the clock does not toggle in the simulation's activity",
                where=clock,
                got="no such net" if seen is None else "no transition",
                expected="a trace of the whole run, with the clock in its scope",
            )
        return seen.transitions / 2


def read_saif(path: Path, scope: str) -> Saif:
    """Return the activity below the instance `scope`, such as `testbench/u_dut`.

    Raises:
        ConfigurationError: if the file is no SAIF, or has nothing in that scope.
    """
    try:
        tokens = _tokens(path.read_text(encoding="utf-8"))
        if [_take(tokens), _take(tokens)] != ["(", "SAIFILE"]:
            raise ValueError("it does not begin with (SAIFILE")
        prefix = f"{scope}/"
        nets = {name[len(prefix) :]: seen for name, seen in _file(tokens) if name.startswith(prefix)}
    except (OSError, ValueError) as error:
        raise ConfigurationError("a SAIF file cannot be read", where=str(path), got=error) from error
    if not nets:
        raise ConfigurationError("a SAIF file has nothing in the scope", where=str(path), expected=scope)
    return Saif(nets)


def _tokens(text: str) -> Iterator[str]:
    for match in _TOKEN.finditer(text):
        if not match[0].startswith("//"):
            yield match[0]


def _file(tokens: Iterator[str]) -> Iterator[tuple[str, Activity]]:
    """Yield each net with its path; what else a group may hold is passed over."""
    path: list[str] = []
    depth = 1
    levels: list[int] = []
    for sign in tokens:
        if sign == ")":
            depth -= 1
            if levels and levels[-1] == depth:
                levels.pop()
                path.pop()
            continue
        if sign != "(":
            continue
        word = _take(tokens)
        if word == "NET":
            yield from _nets(tokens, "/".join(path))
            continue
        if word == "INSTANCE":
            levels.append(depth)
            path.append(_plain(_take(tokens)))
        depth += 1
    if depth != 0:
        raise ValueError("its parentheses do not match")


def _nets(tokens: Iterator[str], path: str) -> Iterator[tuple[str, Activity]]:
    """Yield the nets of one instance, up to the parenthesis that ends them."""
    while _take(tokens) == "(":
        name = _plain(_take(tokens))
        yield f"{path}/{name}", _activity(tokens)


def _activity(tokens: Iterator[str]) -> Activity:
    counts = dict.fromkeys(_COUNTS, 0)
    while _take(tokens) == "(":
        kind = _take(tokens)
        counts[kind] = int(_take(tokens))
        if _take(tokens) != ")":
            raise ValueError("a count has no single number")
    total = sum(counts[name] for name in ("T0", "T1", "TX", "TZ"))
    return Activity(counts["TC"], counts["T1"] / total if total else 0.0)


def _take(tokens: Iterator[str]) -> str:
    token = next(tokens, None)
    if token is None:
        raise ValueError("it ends too early")
    return token


def _plain(name: str) -> str:
    return name.replace("\\", "")
