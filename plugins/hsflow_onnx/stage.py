# SPDX-License-Identifier: Apache-2.0
"""The load stage: an ONNX file becomes a `Network`. The package `onnx` is imported when the stage runs."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hsflow.importing.completion import ACCURACY_FLOAT, fitted
from hsflow.ir.network import Network
from hsflow.ir.tensor import Shape
from hsflow.stage import InputFile, StageContext, StageKind, StageOptions


class OnnxOptions(StageOptions):
    """Say which ONNX file to load."""

    model: InputFile = Field(
        description="The ONNX file: a plain convolutional network of floats, weights included."
    )
    mean: tuple[float, ...] = Field(
        default=(0.0,),
        min_length=1,
        description="What preprocessing subtracts from values 0..1, one a channel.",
    )
    std: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        default=(1.0,), min_length=1, description="What preprocessing then divides by, one a channel."
    )
    drop_background: bool = Field(
        default=False,
        description="Leave out the first class, the background of models with 1,001 classes.",
    )


class OnnxLoader:
    """Load an ONNX file: weights and structure."""

    kind = StageKind.LOAD
    name = "onnx"
    version = "1"
    options_model = OnnxOptions
    builds_on = ("hsflow.importing", "hsflow_torch")

    def run(self, value: None, options: OnnxOptions, context: StageContext) -> Network:
        """Return the network and record its accuracy on the held-out images."""
        from hsflow_torch.module import record_accuracy

        from hsflow_onnx.lower import lower_file

        sizes = tuple(int(size) for size in context.dataset.test_images.shape[1:])
        network = lower_file(
            options.model,
            image=Shape(*sizes),
            name=context.settings.name,
            mean=options.mean,
            std=options.std,
        )
        network = fitted(
            network, context.dataset, context.settings.geometry, drop_background=options.drop_background
        )
        record_accuracy(context, ACCURACY_FLOAT, network)
        return network
