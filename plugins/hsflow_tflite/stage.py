# SPDX-License-Identifier: Apache-2.0
"""The load stage: a TFLite file becomes a `Network`. The package `tflite` is imported when the stage runs."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hsflow.importing.completion import ACCURACY_FLOAT, fitted
from hsflow.ir.network import Network
from hsflow.stage import InputFile, StageContext, StageKind, StageOptions


class TfliteOptions(StageOptions):
    """Say which TFLite file to load."""

    model: InputFile = Field(
        description="The TFLite file: a plain convolutional network, of floats or of 8 bits."
    )
    mean: tuple[float, ...] | None = Field(
        default=None,
        min_length=1,
        description="What preprocessing subtracts from values 0..1, one a channel; an 8-bit input tells it itself.",
    )
    std: tuple[Annotated[float, Field(gt=0)], ...] | None = Field(
        default=None,
        min_length=1,
        description="What preprocessing then divides by, one a channel; an 8-bit input tells it itself.",
    )
    drop_background: bool = Field(
        default=False,
        description="Leave out the first class, the background of models with 1,001 classes.",
    )


class TfliteLoader:
    """Load a TFLite file: weights, structure, the scale of the image."""

    kind = StageKind.LOAD
    name = "tflite"
    version = "1"
    options_model = TfliteOptions
    builds_on = ("hsflow.importing", "hsflow_torch")

    def run(self, value: None, options: TfliteOptions, context: StageContext) -> Network:
        """Return the network and record its accuracy on the held-out images."""
        from hsflow_torch.module import record_accuracy

        from hsflow_tflite.lower import lower_file

        network = lower_file(options.model, name=context.settings.name, mean=options.mean, std=options.std)
        network = fitted(
            network, context.dataset, context.settings.geometry, drop_background=options.drop_background
        )
        record_accuracy(context, ACCURACY_FLOAT, network)
        return network
