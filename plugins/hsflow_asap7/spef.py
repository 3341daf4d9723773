# SPDX-License-Identifier: Apache-2.0
"""Read what power needs of a SPEF file (IEEE 1481): the capacitance of each net's wires."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from hsflow.errors import ConfigurationError

_UNIT = re.compile(r"^\*C_UNIT\s+([\d.]+)\s+([FPN])F", re.MULTILINE)
_FEMTOFARADS = {"F": 1.0, "P": 1e3, "N": 1e6}
_OUTPUTS = ("O", "B")


def wire_loads(path: Path) -> Mapping[str, float]:
    """Return the capacitance (fF) of the wires of each net, by the pin that drives it: `instance/pin`, or a port's name.

    Backslashes are left out of the names.

    Raises:
        ConfigurationError: if the file has no unit or no net.
    """
    text = path.read_text(encoding="utf-8", errors="replace")
    unit = _UNIT.search(text)
    if unit is None:
        raise ConfigurationError(
            "a SPEF file has no unit of capacitance", where=str(path), expected="*C_UNIT 1 FF"
        )
    scale = float(unit[1]) * _FEMTOFARADS[unit[2]]
    found = {driver: load * scale for driver, load in _drivers(text.splitlines())}
    if not found:
        raise ConfigurationError(
            "a SPEF file has no driven net", where=str(path), expected="*D_NET with *CONN"
        )
    return found


def _drivers(lines: list[str]) -> Iterator[tuple[str, float]]:
    """Yield each net's driving pin and the total of its wires."""
    names: dict[str, str] = {}
    mapping, total = False, 0.0
    for line in lines:
        words = line.split()
        if not words:
            continue
        if mapping and words[0][1:].isdigit():
            names[words[0]] = words[1]
            continue
        mapping = words[0] == "*NAME_MAP"
        if words[0] == "*D_NET":
            total = float(words[2])
        elif words[0] == "*I" and words[2] in _OUTPUTS:
            yield _plain(words[1], names).replace(":", "/"), total
        elif words[0] == "*P" and words[2] == "I":
            yield _plain(words[1], names), total


def _plain(name: str, names: Mapping[str, str]) -> str:
    """Return a name as the netlist has it: `*12:Y` stands for what the map calls `*12`."""
    head, colon, pin = name.partition(":")
    return (names.get(head, head) + colon + pin).replace("\\", "")
