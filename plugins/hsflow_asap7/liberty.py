# SPDX-License-Identifier: Apache-2.0
"""Read Liberty files: split them into groups, merge several into one, and find cells' areas.

The files of a corner hold tens of megabytes, so that groups are found by their braces and taken apart only where asked for.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hsflow.errors import ConfigurationError

_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_BRACE = re.compile(r"[{}]")
_HEAD = re.compile(r"(\w+)\s*\(([^()]*)\)\s*\Z")
_CONDITIONS = re.compile(r"default_operating_conditions\s*:[^;\n]*;?")
_GROUND_POWER = re.compile(
    r"\s*(?:internal|leakage)_power\s*\(\s*\)\s*\{(?=[^{}]*\brelated_pg_pin\s*:\s*\"?VSS\b)(?:[^{}]|\{[^{}]*\})*\}"
)
_ATTRIBUTE = re.compile(
    r"(?:\A|[\s;{}])(\w+)[ \t]*:[ \t]*(\"[^\"]*\"|[^;\"{}\n]+?)[ \t]*(?:;|$)", re.MULTILINE
)


_NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?")


@dataclass(frozen=True)
class Group:
    """Hold `kind (name) { ... }`: `body` is the text between its braces, `plain` that text outside of inner groups."""

    kind: str
    name: str
    body: str

    def groups(self, kind: str | None = None) -> Iterator[Group]:
        """Yield the groups directly inside, in order, or those of one kind."""
        for part in _parts(self.body, self.name):
            if isinstance(part, Group) and kind in (None, part.kind):
                yield part

    @property
    def plain(self) -> str:
        """Return the statements directly inside."""
        return "".join(part for part in _parts(self.body, self.name) if isinstance(part, str))

    def attributes(self) -> dict[str, str]:
        """Return the simple attributes directly inside, unquoted."""
        return {name: value.strip('"').strip() for name, value in _ATTRIBUTE.findall(self.plain)}

    @property
    def text(self) -> str:
        """Return the group as Liberty."""
        return f"{self.kind} ({self.name}) {{{self.body}}}\n"


def read_library(path: Path) -> Group:
    """Return the library of a Liberty file, packed by gzip or not.

    Raises:
        ConfigurationError: if the file has no library or its braces do not match.
    """
    content = path.read_bytes()
    text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8", errors="replace")
    for part in _parts(_COMMENT.sub("", text), str(path)):
        if isinstance(part, Group) and part.kind == "library":
            return part
    raise ConfigurationError("this Liberty file has no library", where=str(path), expected="library (name) {")


def merged(libraries: Iterable[Group], name: str) -> Iterator[str]:
    """Yield the text of one library with the cells of several of the same corner.

    Attributes are the first library's. Of groups with the same kind and name (templates, of which tables use no more than
    the axes' names) the first is kept.
    """
    seen: set[tuple[str, str]] = set()
    conditions: list[str] = []
    for library in libraries:
        if not seen:
            conditions = _CONDITIONS.findall(library.plain)
            yield f"library ({name}) {{\n{_CONDITIONS.sub('', library.plain)}\n"
        for group in library.groups():
            if (group.kind, group.name) not in seen:
                seen.add((group.kind, group.name))
                yield group.text
    # A reader wants the conditions before their name.
    yield "\n".join([*conditions, "}\n"])


def without_ground_power(text: str) -> str:
    """Return Liberty without the power of ground pins.

    What flows out of the supply flows into ground: the tables of both tell the same energy, and tools that add them up, as
    OpenSTA does, report twice the power inside of cells.
    """
    return _GROUND_POWER.sub("", text)


def without(group: Group, kinds: Container[str]) -> str:
    """Return a group as Liberty without the inner groups of some kinds, however deep they lie."""
    parts = _parts(group.body, group.name)
    kept = (
        part if isinstance(part, str) else without(part, kinds) for part in parts if _kind(part) not in kinds
    )
    return f"{group.kind} ({group.name}) {{{''.join(kept)}}}\n"


def _kind(part: Group | str) -> str:
    return part.kind if isinstance(part, Group) else ""


def numbers(body: str, name: str) -> list[float]:
    """Return the numbers of `name ( ... )` in a group's body: an axis or the values of a table; none if it is not there."""
    found = re.search(rf"\b{name}\s*\(([^)]*)\)", body)
    return [float(number) for number in _NUMBER.findall(found[1])] if found else []


def cell_areas(libraries: Iterable[Group]) -> Mapping[str, float]:
    """Return the area (um2) of each cell that states one."""
    found = {}
    for library in libraries:
        for cell in library.groups("cell"):
            if area := cell.attributes().get("area"):
                found[cell.name] = float(area)
    return found


def _parts(text: str, where: str) -> Iterator[Group | str]:
    """Yield the top-level groups of a text and the statements between them."""
    depth, start, opened, head = 0, 0, 0, None
    for brace in _BRACE.finditer(text):
        if brace[0] == "{":
            if depth == 0:
                head = _HEAD.search(text, start, brace.start())
                opened = brace.end()
            depth += 1
        elif depth == 1 and head is not None:
            yield text[start : head.start()]
            yield Group(head[1], head[2].strip().strip('"'), text[opened : brace.start()])
            depth, start = 0, brace.end()
        else:
            depth -= 1
    if depth != 0 or (head is None and opened):
        raise ConfigurationError("the groups of a Liberty text do not match", where=where)
    yield text[start:]
