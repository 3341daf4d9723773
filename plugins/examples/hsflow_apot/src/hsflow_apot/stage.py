# SPDX-License-Identifier: Apache-2.0
"""The quantize stage `apot`. torch is imported when the stage runs, so that listing plugins stays quick."""

from __future__ import annotations

from hsflow.ir.graph import Graph
from hsflow.ir.network import Network
from hsflow.stage import StageContext, StageKind
from hsflow_po2.stage import QuantizerOptions, quantize_with
from pydantic import Field


class ApotOptions(QuantizerOptions):
    """Say how weights and activations become integers: po2's options, with levels that two terms share."""

    levels: int = Field(
        default=8,
        ge=2,
        le=16,
        description="Exponents that a channel's weights may take, dealt out in turn to two terms.",
    )


class ApotQuantizer:
    """Round weights to sums of two powers of two from interleaved sets, and activations to integers."""

    kind = StageKind.QUANTIZE
    name = "apot"
    version = "1"
    # An edit there changes the result as an edit here does: see `hsflow.stage.Stage`.
    builds_on = ("hsflow_po2", "hsflow_torch")
    options_model = ApotOptions

    def run(self, value: Network, options: ApotOptions, context: StageContext) -> Graph:
        """Return the integer graph; its metrics are those of `po2`, so that both can be compared."""
        from hsflow_apot.rounding import ApotRounding

        return quantize_with(ApotRounding(options.levels), value, options, context)
