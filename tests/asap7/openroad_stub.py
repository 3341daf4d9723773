# SPDX-License-Identifier: Apache-2.0
"""A stand-in for OpenROAD: it reads a script, checks each command against the documentation, and leaves small files.

`openroad_commands.json` has, for each command, its options and what they take (a flag, a number, numbers, a name, a list, a
layer, layers, a range of layers), the number of its other arguments, which of them names a file that must be there or one
that it writes, the page that says so, and which commands have to come before (the order that is known to work).

The parser knows Tcl's quoting, `[commands]`, `$variables`, comments, and the bodies of `if`; a word with a variable in it can
be anything. A database is a text file with the commands that were done.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

COMMANDS: dict[str, dict[str, Any]] = json.loads(
    Path(__file__).with_name("openroad_commands.json").read_text(encoding="utf-8")
)
TCL = {"set", "if", "llength", "expr", "list", "puts"}
_LAYER = re.compile(r"(?:M|V)\d")
_KINDS = {
    "number": re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"),
    "numbers": re.compile(r"\s*(?:[-+]?[\d.]+(?:[eE][-+]?\d+)?\s*)+"),
    "layer": _LAYER,
    "layers": re.compile(rf"\s*(?:{_LAYER.pattern}\s*)+"),
    "range": re.compile(rf"{_LAYER.pattern}-{_LAYER.pattern}"),
    "name": re.compile(r"(?s).+"),
    "list": re.compile(r"(?s).+"),
}
_DEF = """VERSION 5.8 ;
DESIGN top ;
UNITS DISTANCE MICRONS 1000 ;
DIEAREA ( 0 0 ) ( 18630 18630 ) ;
END DESIGN
"""


class ScriptError(Exception):
    """Tell what OpenROAD would not take."""


@dataclass(frozen=True)
class Word:
    """Hold a word of a command: its text, the commands in its brackets, and whether its value is known from the text."""

    text: str
    inner: tuple[str, ...] = ()
    known: bool = True


@dataclass
class Session:
    """Hold what was done, and where files are looked for."""

    folder: Path
    done: list[str] = field(default_factory=list)
    netlist: str = ""

    def run(self, script: str) -> None:
        """Check and do every command of a script file."""
        path = self.folder / script
        if not path.is_file():
            raise ScriptError(f"couldn't read file {script!r}: no such file")
        for words in parse(path.read_text(encoding="utf-8")):
            self._do(words)

    def _do(self, words: Sequence[Word]) -> None:
        for word in words:
            for text in word.inner:
                for inner in parse(text):
                    self._do(inner)
        name = words[0].text
        if name == "source":
            self.run(words[1].text)
        elif name == "if":
            for body in (word.text for word in words[2:] if word.text not in ("else", "elseif")):
                for inner in parse(body):
                    self._do(inner)
        elif name not in TCL:
            self._command(name, words[1:])

    def _command(self, name: str, words: Sequence[Word]) -> None:
        entry = COMMANDS.get(name)
        if entry is None:
            raise ScriptError(f"invalid command name {name!r}")
        named, positional = _split(name, entry, words)
        for missing in [other for other in entry.get("needs", ()) if other not in self.done]:
            raise ScriptError(f"{name} comes before {missing}")
        self._files(name, entry, named, positional)
        self.done.append(name)

    def _files(self, name: str, entry: dict[str, Any], named: dict[str, str], positional: list[Word]) -> None:
        def file(which: str) -> Path | None:
            text = positional[0].text if which == "positional" else named.get(which)
            return self.folder / text if text else None

        if (reads := entry.get("reads")) and (path := file(reads)):
            if not path.is_file():
                raise ScriptError(f"{name}: {path} does not exist")
            self._read(name, path)
        if (writes := entry.get("writes")) and (path := file(writes)):
            path.write_text(self._written(name), encoding="utf-8")

    def _read(self, name: str, path: Path) -> None:
        if name == "read_sdc":
            self.run(str(path.resolve()))
        elif name == "read_verilog":
            self.netlist = path.read_text(encoding="utf-8")
        elif name == "read_db":
            state = json.loads(path.read_text(encoding="utf-8"))
            self.done += state["done"]
            self.netlist = state["netlist"]

    def _written(self, name: str) -> str:
        if name == "write_db":
            return json.dumps({"done": self.done, "netlist": self.netlist})
        if name == "write_verilog":
            return self.netlist.replace("endmodule", "  TAPCELL_ASAP7_75t_R TAP_0 ();\nendmodule", 1)
        return _DEF if name == "write_def" else ""


def parse(text: str) -> Iterator[list[Word]]:
    """Yield each command of a script as its words."""
    position, words = 0, list[Word]()
    while position < len(text):
        sign = text[position]
        if sign == "#" and not words:
            position = _line_end(text, position)
        elif sign in "\n;":
            if words:
                yield words
            position, words = position + 1, []
        elif sign in " \t\r" or text.startswith("\\\n", position):
            position += 2 if sign == "\\" else 1
        else:
            word, position = _word(text, position)
            words.append(word)
    if words:
        yield words


def _word(text: str, start: int) -> tuple[Word, int]:
    if text[start] == "{":
        end = _closing(text, start, "{", "}")
        return Word(text[start + 1 : end]), end + 1
    quoted = text[start] == '"'
    position, inner, known = start + quoted, list[str](), True
    while position < len(text) and not (text[position] == '"' if quoted else text[position] in " \t\r\n;"):
        if text[position] == "[":
            end = _closing(text, position, "[", "]")
            inner.append(text[position + 1 : end])
            position, known = end, False
        known = known and text[position] != "$"
        position += 2 if text[position] == "\\" else 1
    return Word(text[start + quoted : position], tuple(inner), known), position + quoted


def _closing(text: str, start: int, opening: str, closing: str) -> int:
    depth, position = 0, start
    while position < len(text):
        depth += (text[position] == opening) - (text[position] == closing)
        if depth == 0:
            return position
        position += 2 if text[position] == "\\" else 1
    raise ScriptError(f"missing close-{closing}")


def _line_end(text: str, position: int) -> int:
    end = text.find("\n", position)
    return len(text) if end < 0 else end


def _split(name: str, entry: dict[str, Any], words: Sequence[Word]) -> tuple[dict[str, str], list[Word]]:
    """Return a command's options and its other arguments, all of them checked; a redirection is left out."""
    named: dict[str, str] = {}
    positional: list[Word] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word.text in (">", ">>"):
            rest.pop(0)
        elif word.known and re.match(r"-[A-Za-z]", word.text):
            named[word.text] = _option(name, entry, word.text, rest)
        else:
            positional.append(word)
    least, most = entry["positional"]
    if not least <= len(positional) <= most:
        raise ScriptError(f"{name} takes {least} to {most} arguments, not {len(positional)}")
    for missing in [option for option in entry.get("required", ()) if option not in named]:
        raise ScriptError(f"{name} lacks {missing}")
    return named, positional


def _option(name: str, entry: dict[str, Any], option: str, rest: list[Word]) -> str:
    kind = entry["options"].get(option)
    if kind is None:
        raise ScriptError(f"{name} has no option {option}")
    if kind == "flag":
        return ""
    if not rest:
        raise ScriptError(f"{name} {option} lacks its value")
    value = rest.pop(0)
    if value.known and not _KINDS[kind].fullmatch(value.text):
        raise ScriptError(f"{name} {option} takes a {kind}, not {value.text!r}")
    return value.text


def main() -> int:
    """Be OpenROAD's command line."""
    parser = argparse.ArgumentParser()
    for flag in ("-no_init", "-no_splash", "-exit", "-version"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("-threads")
    parser.add_argument("script", nargs="?")
    options = parser.parse_args()
    if options.version:
        print("v2.0-stub")
        return 0
    try:
        Session(Path.cwd()).run(options.script)
    except ScriptError as error:
        print(f"[ERROR STUB-0001] {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
