# SPDX-License-Identifier: Apache-2.0
"""Hook implementations of the NPU generator."""

from __future__ import annotations

from hsflow import hookimpl
from hsflow.stage import Stage
from hsflow_npu.stage import NpuStage


@hookimpl
def hsflow_stages() -> list[Stage]:
    """Offer the `mac` NPU."""
    return [NpuStage()]
