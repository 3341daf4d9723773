# SPDX-License-Identifier: Apache-2.0
"""Hook implementations of the packager, and the targets that hsflow brings."""

from __future__ import annotations

from typing import Any

from hsflow import hookimpl
from hsflow.design import Design, DesignFile
from hsflow.ir.graph import Graph
from hsflow.stage import Stage
from hsflow.targets import Target
from hsflow_fusesoc.stage import PackageStage
from hsflow_fusesoc.targets import TARGETS
from hsflow_fusesoc.vectors import Vectors


@hookimpl
def hsflow_stages() -> list[Stage]:
    """Offer the `fusesoc` packager."""
    return [PackageStage()]


@hookimpl
def hsflow_targets() -> tuple[Target, ...]:
    """Offer the simulations and lint."""
    return TARGETS


@hookimpl(trylast=True)
def hsflow_simulation_data(design: Design, graph: Graph, images: Any, labels: Any) -> tuple[DesignFile, ...]:
    """Compute what a simulation reads, by the reference interpreter; other plugins are asked first."""
    return Vectors(design, graph, images, labels).files()
