# SPDX-License-Identifier: Apache-2.0
"""The cell libraries of the synthesis bench: how Yosys maps to them, and the areas of their cells."""

from __future__ import annotations

import gzip
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

_CELL = re.compile(r"\bcell\s*\(\s*\"?(\w+)\"?\s*\)\s*\{")
_AREA = re.compile(r"\barea\s*:\s*([0-9.eE+-]+)")
_ASAP7_GROUPS = ("AO", "INVBUF", "OA", "SEQ", "SIMPLE")
_GENERIC_AREAS = {
    "$_NOT_": 0.67, "$_NAND_": 1.0, "$_NOR_": 1.0, "$_AND_": 1.33, "$_OR_": 1.33, "$_XOR_": 2.0, "$_XNOR_": 2.0,
    "$_ANDNOT_": 1.33, "$_ORNOT_": 1.33, "$_MUX_": 2.33, "$_AOI3_": 1.33, "$_OAI3_": 1.33, "$_DFF_P_": 5.67,
    "FULL_ADDER": 5.33, "HALF_ADDER": 3.33,
}  # fmt: skip
"""Areas in NAND2 gates, rounded from a common open 45 nm library."""


@dataclass(frozen=True)
class Library:
    """Hold the Yosys commands that map to a library, those that name its full adders, and the areas of its cells."""

    name: str
    map_commands: tuple[str, ...]
    full_adder_commands: tuple[str, ...]
    areas: Mapping[str, float]

    def area(self, cells: Mapping[str, int]) -> float:
        """Return the area of so many cells of each type.

        Raises:
            ValueError: if a cell is none of the library's.
        """
        unknown = sorted(cells.keys() - self.areas.keys())
        if unknown:
            raise ValueError(f"cells must be of the library {self.name}, not {', '.join(unknown)}")
        return sum(count * self.areas[cell] for cell, count in cells.items())


def generic() -> Library:
    """Return Yosys' generic gates."""
    return Library("gates", ("abc -g simple,AOI3,OAI3",), (), _GENERIC_AREAS)


def asap7(folder: Path, work: Path) -> Library:
    """Return ASAP7's RVT cells at TT from the folder of its NLDM files; unpacked ones go to `work`.

    Raises:
        FileNotFoundError: if a group of cells is missing.
    """
    work.mkdir(parents=True, exist_ok=True)
    files = {group: _unpacked(_asap7_file(folder, group), work) for group in _ASAP7_GROUPS}
    liberties = " ".join(f'-liberty "{file}"' for file in files.values())
    areas: dict[str, float] = {}
    for file in files.values():
        areas.update(cell_areas(file.read_text(encoding="utf-8")))
    techmap = Path(__file__).parent / "synthesis" / "asap7_full_adders.v"
    return Library(
        "asap7",
        (f'dfflibmap -liberty "{files["SEQ"]}"', f"abc {liberties}"),
        (f'techmap -map "{techmap}"',),
        areas,
    )


def _asap7_file(folder: Path, group: str) -> Path:
    found = sorted(folder.glob(f"asap7sc7p5t_{group}_RVT_TT_nldm_*.lib*"))
    if not found:
        raise FileNotFoundError(f"{folder} must have asap7sc7p5t_{group}_RVT_TT_nldm_*.lib or .lib.gz")
    return found[-1]


def _unpacked(file: Path, work: Path) -> Path:
    """Return a library file that every tool reads: ABC takes no compressed ones."""
    if file.suffix != ".gz":
        return file
    target = work / file.stem
    target.write_bytes(gzip.decompress(file.read_bytes()))
    return target


def cell_areas(text: str) -> dict[str, float]:
    """Return the area of each cell of a Liberty file."""
    return dict(_cells(text))


def _cells(text: str) -> Iterator[tuple[str, float]]:
    starts = list(_CELL.finditer(text))
    ends = [start.start() for start in starts[1:]] + [len(text)]
    for start, end in zip(starts, ends, strict=True):
        area = _AREA.search(text, start.end(), end)
        if area:
            yield start[1], float(area[1])
