# SPDX-License-Identifier: Apache-2.0
"""Logic functions as Liberty writes them: `(!A * B) + C`, `A'`, `A ^ B`, `A & (B | C)`, `1`.

A truth table is an integer: its bit number i is the value where input k is bit k of i.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from hsflow.errors import ConfigurationError

_WORD = re.compile(r"\s*(?:([A-Za-z_]\w*)|([01])|([!'*&+|^()]))")
_STARTS = frozenset("!(")


def truth_table(function: str, inputs: Sequence[str]) -> int:
    """Return the truth table of a function of the named inputs.

    Raises:
        ConfigurationError: if it is ill-formed or reads anything else.
    """
    return _Parser(function, variables(inputs), (1 << (1 << len(inputs))) - 1).table()


def variables(inputs: Sequence[str]) -> Mapping[str, int]:
    """Return each input's own truth table."""
    rows = 1 << len(inputs)
    return {
        name: sum(1 << row for row in range(rows) if row >> index & 1) for index, name in enumerate(inputs)
    }


def as_verilog(function: str) -> str:
    """Return a function as a Verilog expression."""
    words = []
    for match in _WORD.finditer(function):
        name, constant, sign = match.groups()
        words.append(name or (f"1'b{constant}" if constant else _VERILOG[sign]))
        if sign == "'":
            raise ConfigurationError("a function with a postfix inversion has no Verilog here", got=function)
    return "".join(words)


_VERILOG = {"!": "~", "'": "", "*": " & ", "&": " & ", "+": " | ", "|": " | ", "^": " ^ ", "(": "(", ")": ")"}


class _Parser:
    """Evaluate a function over whole truth tables, by recursive descent: or, exclusive or, and, inversion."""

    def __init__(self, text: str, values: Mapping[str, int], ones: int) -> None:
        self._text, self._values, self._ones = text, values, ones
        self._words = [match.group().strip() for match in _WORD.finditer(text)]
        if "".join(self._words) != "".join(text.split()):
            raise self._error()

    def table(self) -> int:
        value = self._sum()
        if self._words:
            raise self._error()
        return value

    def _sum(self) -> int:
        value = self._difference()
        while self._take("+", "|"):
            value |= self._difference()
        return value

    def _difference(self) -> int:
        value = self._product()
        while self._take("^"):
            value ^= self._product()
        return value

    def _product(self) -> int:
        value = self._factor()
        while self._take("*", "&") or (
            self._words and (self._words[0] in _STARTS or self._words[0][0].isalnum())
        ):
            value &= self._factor()
        return value

    def _factor(self) -> int:
        if self._take("!"):
            return self._ones ^ self._factor()
        if not self._words:
            raise self._error()
        word = self._words.pop(0)
        if word == "(":
            value = self._sum()
            if not self._take(")"):
                raise self._error()
        elif word in ("0", "1"):
            value = self._ones if word == "1" else 0
        elif word in self._values:
            value = self._values[word]
        else:
            raise self._error()
        while self._take("'"):
            value ^= self._ones
        return value

    def _take(self, *signs: str) -> bool:
        if self._words and self._words[0] in signs:
            self._words.pop(0)
            return True
        return False

    def _error(self) -> ConfigurationError:
        return ConfigurationError(
            "a cell's function cannot be read",
            got=self._text,
            expected=f"a function of {', '.join(self._values)}",
        )
