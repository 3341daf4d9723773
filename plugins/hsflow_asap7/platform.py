# SPDX-License-Identifier: Apache-2.0
"""The ASAP7 library as a user has it: OpenROAD-flow-scripts' folder `flow/platforms/asap7`.

Nothing of it ships with hsflow. The command line's `--platform`, else the variable HSFLOW_ASAP7, names the folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from functools import cache
from hashlib import sha256
from pathlib import Path
from types import MappingProxyType

from hsflow.durable import replace_file
from hsflow.errors import ConfigurationError
from hsflow_asap7 import facts, liberty

VARIABLE = "HSFLOW_ASAP7"
GROUPS = ("AO", "INVBUF", "OA", "SEQ", "SIMPLE")
"""The Liberty files of a corner, one a group of cells."""

_MERGE_VERSION = b"2"
_UNUSED_BY_MAPPING = frozenset({"internal_power", "leakage_power", "pg_pin"})
_SEQUENTIAL = frozenset({"ff", "latch", "statetable"})


class Corner(StrEnum):
    """Name a process corner: typical (0.70 V, 25 C), slow (0.63 V, 100 C), fast (0.77 V, 0 C)."""

    TT = "TT"
    SS = "SS"
    FF = "FF"


@dataclass(frozen=True)
class Platform:
    """Find the files below `root`; each is looked for when it is asked for.

    Raises (each method):
        ConfigurationError: if the file is not there; the message names it.
    """

    root: Path

    def liberties(self, corner: Corner) -> tuple[Path, ...]:
        """Return the corner's Liberty files, packed or not, in the order of GROUPS."""
        return tuple(
            self._newest(f"lib/NLDM/asap7sc7p5t_{group}_RVT_{corner}_nldm_*.lib") for group in GROUPS
        )

    @property
    def technology_lef(self) -> Path:
        """Return the technology's LEF: layers, vias, sites."""
        return self._newest("lef/asap7_tech_1x_*.lef")

    @property
    def cells_lef(self) -> Path:
        """Return the cells' LEF."""
        return self._newest("lef/asap7sc7p5t_28_R_1x_*.lef")

    @property
    def cells_gds(self) -> Path:
        """Return the cells' layout."""
        return self._newest("gds/asap7sc7p5t_28_R_*.gds")

    @property
    def extraction_rules(self) -> Path:
        """Return the rules of OpenROAD's parasitic extraction."""
        return self._newest("rcx_patterns.rules")

    @property
    def layer_properties(self) -> Path:
        """Return KLayout's layer properties."""
        return self._newest("KLayout/asap7.lyp")

    @property
    def klayout_technology(self) -> Path:
        """Return KLayout's technology file."""
        return self._newest("KLayout/asap7.lyt")

    def macros(self) -> Mapping[str, tuple[Path, Path]]:
        """Return the SRAM macros by name, each with its Liberty and its LEF file; there may be none."""
        found = {}
        for path in sorted(self.root.glob("lib/NLDM/fakeram7_*.lib")):
            found[path.stem] = (path, self._newest(f"lef/{path.stem}.lef"))
        return found

    def _newest(self, pattern: str) -> Path:
        """Return the last file by name that matches, preferring an unpacked one."""
        for suffix in ("", ".gz"):
            if found := sorted(self.root.glob(pattern + suffix)):
                return found[-1]
        raise ConfigurationError(
            "the ASAP7 platform lacks a file",
            where=str(self.root),
            expected=pattern,
            hint=f"let --platform or {VARIABLE} name OpenROAD-flow-scripts' folder flow/platforms/asap7",
        )


def find_platform(option: Path | None = None) -> Platform:
    """Return the platform that the option names, else the environment.

    Raises:
        ConfigurationError: if neither does, or what they name lacks a file that synthesis needs.
    """
    chosen = option or (Path(text) if (text := os.environ.get(VARIABLE)) else None)
    if chosen is None:
        raise ConfigurationError(
            "no ASAP7 platform is named",
            expected=f"--platform FOLDER or {VARIABLE}=FOLDER",
            hint="check OpenROAD-flow-scripts out and name its folder flow/platforms/asap7",
        )
    platform = Platform(chosen.expanduser().resolve())
    platform.liberties(Corner.TT)
    return platform


def merged_liberty(platform: Platform, corner: Corner, folder: Path) -> Path:
    """Return one unpacked Liberty file with every cell of a corner, made in `folder` unless it is there already.

    Its name states what it was made of: another release of the platform gives another file. The power of ground pins, which
    is that of the supply's pins once more, is left out.
    """
    paths = platform.liberties(corner)
    target = folder / f"asap7_{corner.lower()}_{_digest(paths)}.lib"
    if not target.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        libraries = (liberty.read_library(path) for path in paths)
        texts = map(liberty.without_ground_power, liberty.merged(libraries, f"asap7_{corner.lower()}"))
        replace_file(target, "".join(texts).encode())
    return target


def mapping_liberty(platform: Platform, corner: Corner, folder: Path) -> Path:
    """Return a Liberty file of the cells that ABC may choose, with their timing, without their power; made as above.

    That they are no others, needs no tool to know what must not be used; that they are few, makes it quick to read.
    """
    paths = platform.liberties(corner)
    target = folder / f"asap7_{corner.lower()}_mapping_{_digest(paths)}.lib"
    if not target.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        libraries = (_mapping_cells(liberty.read_library(path)) for path in paths)
        replace_file(target, "".join(liberty.merged(libraries, f"asap7_{corner.lower()}_mapping")).encode())
    return target


def _mapping_cells(library: liberty.Group) -> liberty.Group:
    kept = [group for group in library.groups() if group.kind != "cell" or _may_be_chosen(group)]
    texts = [liberty.without(group, _UNUSED_BY_MAPPING) for group in kept]
    return liberty.Group(library.kind, library.name, library.plain + "".join(texts))


def _may_be_chosen(cell: liberty.Group) -> bool:
    """Tell whether a cell is combinational, has one output that reads its inputs, and is none that must not be used."""
    if any(fnmatchcase(cell.name, pattern) for pattern in facts.DONT_USE):
        return False
    if any(True for group in cell.groups() if group.kind in _SEQUENTIAL):
        return False
    outputs = [pin for pin in cell.groups("pin") if pin.attributes().get("direction") == "output"]
    return len(outputs) == 1 and any(outputs[0].groups("timing"))


@cache
def cell_areas(platform: Platform) -> Mapping[str, float]:
    """Return the area (um2) of each standard cell; corners agree on it."""
    libraries = (liberty.read_library(path) for path in platform.liberties(Corner.TT))
    return MappingProxyType(liberty.cell_areas(libraries))


def _digest(paths: Iterable[Path]) -> str:
    total = sha256(_MERGE_VERSION)
    for path in paths:
        total.update(path.name.encode() + b"\0" + sha256(path.read_bytes()).digest())
    return total.hexdigest()[:16]
