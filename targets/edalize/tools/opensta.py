# SPDX-License-Identifier: Apache-2.0
"""The Edalize tool `opensta`: static timing analysis and power."""

from __future__ import annotations

from typing import Any, ClassVar

from edalize.tools.asap7step import Asap7step


class Opensta(Asap7step):
    """Time the netlist in each corner, and find its power from the switching of the simulation."""

    description = "OpenSTA: timing and power of a netlist"

    STEPS: ClassVar[tuple[str, ...]] = ("timing", "power")
    TOOL_OPTIONS: ClassVar[dict[str, Any]] = {
        "corners": {"type": "str", "desc": "Corners to time: TT, SS, FF (default all)", "list": True},
    }
