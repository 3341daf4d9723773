# SPDX-License-Identifier: Apache-2.0
"""What a target is: how FuseSoC and Edalize take a packaged core somewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Target:
    """Hold one target of every packaged core; it becomes a section `targets: NAME:` of the core file.

    Args:
        name: what `hsflow run` and `fusesoc run --target` call it.
        description: one line.
        flow: the Edalize flow, `hsflow` for a simulation that is checked.
        flow_options: the flow's and its tools' options, as Edalize documents them.
        simulation: whether testbench and data are part of it; the testbench is then the top module, and takes its
            plusargs as parameters. Otherwise the design's RTL alone is, with its own top module.
        plusargs: values of testbench plusargs that differ from their defaults.
        design_on_top: the design is the top module all the same: what tools make of it is what is simulated.
        takes_platform: whether the flow has an option `platform`: the folder of a cell library.
    """

    name: str
    description: str
    flow: str
    flow_options: Mapping[str, Any] = field(default_factory=dict)
    simulation: bool = True
    plusargs: Mapping[str, int] = field(default_factory=dict)
    design_on_top: bool = False
    takes_platform: bool = False
