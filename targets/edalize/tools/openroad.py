# SPDX-License-Identifier: Apache-2.0
"""The Edalize tool `openroad`: place and route, from the netlist to GDS, timing and power with the real wires."""

from __future__ import annotations

from typing import Any, ClassVar

from edalize.tools.asap7step import Asap7step
from hsflow_asap7.layout_steps import LAYOUT_STEPS


class Openroad(Asap7step):
    """Lay the netlist out."""

    description = "OpenROAD: from a netlist to a layout"

    STEPS: ClassVar[tuple[str, ...]] = tuple(step.name for step in LAYOUT_STEPS)
    TOOL_OPTIONS: ClassVar[dict[str, Any]] = {
        "utilization": {"type": "real", "desc": "How full of cells the core is made (default 0.55)"},
    }
