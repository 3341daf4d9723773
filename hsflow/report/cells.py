# SPDX-License-Identifier: Apache-2.0
"""Figures as texts and table cells: thousands separated, so many decimals, parts in percent."""

from __future__ import annotations

from dataclasses import dataclass

from hsflow.report.content import Cell

NOTHING = Cell("–")  # noqa: RUF001  (an en dash: the layer has no such figure)


def count(number: int) -> Cell:
    """Return a whole number."""
    return Cell(f"{number:,}", float(number))


def decimal(number: float, digits: int = 1) -> Cell:
    """Return a number with so many decimals."""
    return Cell(f"{number:,.{digits}f}", number)


def percent(part: float, whole: float = 1.0, *, bar: bool = False) -> Cell:
    """Return a part of a whole in percent, with a bar where one is wanted; nothing of nothing is a dash."""
    if not whole:
        return NOTHING
    return Cell(percentage(part, whole), part / whole, part / whole if bar else None)


def percentage(part: float, whole: float = 1.0, digits: int = 1) -> str:
    """Return a part of a whole as a text in percent."""
    return f"{100 * part / whole if whole else 0.0:.{digits}f} %"


@dataclass(frozen=True)
class AreaUnit:
    """Hold a unit of area: its name, and how many um2 it is."""

    name: str
    um2: float

    @classmethod
    def of(cls, um2: float) -> AreaUnit:
        """Return the unit in which an area reads best."""
        return cls("µm²", 1.0) if um2 < 100_000 else cls("mm²", 1e6)

    def text(self, um2: float) -> str:
        """Return an area as a number of this unit: whole um2, or mm2 with three digits."""
        return f"{um2:,.0f}" if self.um2 == 1 else f"{um2 / self.um2:,.3g}"


def time_text(microseconds: float) -> str:
    """Return a time in the unit in which it reads best, with four digits."""
    if microseconds < 1:
        return f"{microseconds * 1e3:.4g} ns"
    return f"{microseconds:.4g} µs" if microseconds < 1e3 else f"{microseconds / 1e3:,.4g} ms"
