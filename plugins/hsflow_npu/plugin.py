# SPDX-License-Identifier: Apache-2.0
"""Hook implementations of the NPU generator."""

from __future__ import annotations

from hsflow import hookimpl
from hsflow.design import Design, DesignFile
from hsflow.ir.graph import Graph
from hsflow.stage import Stage
from hsflow_npu.plan import plan_classifier
from hsflow_npu.stage import NpuStage, memory_file


@hookimpl
def hsflow_stages() -> list[Stage]:
    """Offer the `mac` NPU."""
    return [NpuStage()]


@hookimpl(trylast=True)
def hsflow_program_classifier(design: Design, graph: Graph) -> DesignFile | None:
    """Assemble the classifier's memory image; other plugins are asked first."""
    return memory_file(design, graph)


@hookimpl(trylast=True)
def hsflow_plan_classifier(design: Design) -> Design:
    """Plan the NPU; other plugins are asked first."""
    return plan_classifier(design)
