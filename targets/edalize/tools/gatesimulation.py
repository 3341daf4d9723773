# SPDX-License-Identifier: Apache-2.0
"""The Edalize tool `gatesimulation`: Verilator on the netlist, with functional models of the library's cells."""

from __future__ import annotations

from typing import ClassVar

from edalize.tools.asap7step import Asap7step


class Gatesimulation(Asap7step):
    """Simulate the netlist on real images, compare every result, and record how often each net switches."""

    description = "Simulation of a netlist"

    STEPS: ClassVar[tuple[str, ...]] = ("simulation",)
