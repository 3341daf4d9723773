# SPDX-License-Identifier: Apache-2.0
"""The Edalize tool `openroad`: place and route, from the netlist to GDS."""

from __future__ import annotations

from typing import ClassVar

from edalize.tools.asap7step import Asap7step


class Openroad(Asap7step):
    """Lay the netlist out."""

    description = "OpenROAD: from a netlist to a layout"

    STEPS: ClassVar[tuple[str, ...]] = ("layout",)
