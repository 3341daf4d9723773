# SPDX-License-Identifier: Apache-2.0
"""Register the power-of-two quantizer."""

from __future__ import annotations

from collections.abc import Sequence

from hsflow import hookimpl
from hsflow.stage import Stage
from hsflow_po2.stage import Po2Quantizer


@hookimpl
def hsflow_stages() -> Sequence[Stage]:
    """Offer `quantize = "po2"`."""
    return (Po2Quantizer(),)
