# SPDX-License-Identifier: Apache-2.0
"""The NPU of a planned design: its lanes and timing, without its files."""

from __future__ import annotations

from hsflow.design import Design
from hsflow_npu.stage import configure, with_figures


def plan_classifier(design: Design) -> Design:
    """Return a design without files with the NPU that keeps up with it; one without a classifier has none."""
    return with_figures(design, configure(design))
