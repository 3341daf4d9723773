# SPDX-License-Identifier: Apache-2.0
"""The Edalize tool `libertyyosys`: Yosys on a cell library, for synthesis and for the proof of what it made."""

from __future__ import annotations

from typing import Any, ClassVar

from edalize.tools.asap7step import Asap7step


class Libertyyosys(Asap7step):
    """Make a netlist of the library's cells, and prove it equal to its source."""

    description = "Yosys on a library of standard cells"

    STEPS: ClassVar[tuple[str, ...]] = ("synthesis", "proof")
    TOOL_OPTIONS: ClassVar[dict[str, Any]] = {
        "adders": {
            "type": "str",
            "desc": "What sums become: 'full-adder' (cells of the library, the default) or 'abc' (gates)",
        },
        "carry_save": {
            "type": "bool",
            "desc": "Add three and more operands carry-save (default false: a graph of shared adders grows by it)",
        },
        "flatten": {"type": "bool", "desc": "Dissolve the hierarchy, which names the layers (default false)"},
        "memory_bits": {
            "type": "int",
            "desc": "From how many bits on a line buffer becomes SRAM macros (default: none does)",
        },
        "workers": {"type": "int", "desc": "Tiles that are synthesized at once (default 0: one a processor)"},
    }
