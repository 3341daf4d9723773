# SPDX-License-Identifier: Apache-2.0
"""The load stage: a torch module becomes a `Network`. torch is imported when the stage runs, not before."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from hsflow.errors import ModelError
from hsflow.importing.completion import ACCURACY_FLOAT, completed
from hsflow.ir.network import Network
from hsflow.ir.tensor import Shape
from hsflow.stage import InputFile, StageContext, StageKind, StageOptions
from hsflow_torch.naming import code_digest, is_factory, is_torchvision


class TorchOptions(StageOptions):
    """Say which torch model to load."""

    model: str = Field(
        default="digits",
        description="The architecture: a built-in name (digits, mobilenet_v2, resnet20), torchvision:NAME, or "
        "package.module:factory (which runs code, so only with HSFLOW_ALLOW_CODE=1).",
    )
    width: float | None = Field(
        default=None,
        gt=0,
        le=16,
        description="A factor of the channels, for mobilenet_v2 (built in or torchvision's); by default 1.",
    )
    checkpoint: InputFile | None = Field(
        default=None, description="The weights: a safetensors file, or a torch file that holds tensors only."
    )
    by_order: bool = Field(
        default=False,
        description="Take the checkpoint's tensors in their order, whatever their names: for the same network by "
        "another author. Kinds and shapes must agree.",
    )
    mean: tuple[float, ...] = Field(
        default=(0.0,),
        min_length=1,
        description="What preprocessing subtracts from values 0..1, one a channel.",
    )
    std: tuple[Annotated[float, Field(gt=0)], ...] = Field(
        default=(1.0,), min_length=1, description="What preprocessing then divides by, one a channel."
    )
    classes: int | None = Field(
        default=None,
        ge=1,
        description="The outputs of the last layer; by default the data's classes, for torchvision 1000.",
    )
    pretrained: bool = Field(
        default=False, description="Download torchvision's own weights (needs a network; no checkpoint then)."
    )
    random_weights: bool = Field(
        default=False,
        description="Go on without trained weights, to try the flow or to measure a structure; the results mean nothing.",
    )

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> Self:
        if problem := self._contradiction():
            raise PydanticCustomError("contradiction", "{problem}", {"problem": problem})
        return self

    def _contradiction(self) -> str | None:
        if self.pretrained and not is_torchvision(self.model):
            return f"pretrained is for torchvision:NAME, and {self.model!r} is none; name a checkpoint"
        if self.pretrained and self.checkpoint is not None:
            return "pretrained and checkpoint contradict each other: the weights come from one of them"
        if self.pretrained and self.classes is not None:
            return (
                "pretrained and classes contradict each other: torchvision's weights bring their own classes"
            )
        if self.classes is not None and is_factory(self.model):
            return f"classes is not for a factory: {self.model!r} is called without arguments"
        if self.pretrained and self.width is not None:
            return "pretrained and width contradict each other: torchvision's weights are of width 1"
        if self.by_order and self.checkpoint is None:
            return "by_order is for a checkpoint, and there is none"
        if self.random_weights and (self.pretrained or self.checkpoint is not None):
            return "random_weights contradicts pretrained and checkpoint, which give trained weights"
        return None


class TorchLoader:
    """Load a torch model: architecture, checkpoint, preprocessing."""

    kind = StageKind.LOAD
    name = "torch"
    version = "1"
    options_model = TorchOptions
    builds_on = ("hsflow.importing",)

    def fingerprint(self, options: TorchOptions) -> str:
        """Return a digest of the code that makes the architecture, where it is not hsflow's own."""
        return code_digest(options.model)

    def run(self, value: None, options: TorchOptions, context: StageContext) -> Network:
        """Return the network and record its accuracy on the held-out images."""
        from hsflow_torch.module import record_accuracy

        module = _module(options, context)
        network = _lowered(module, options, context)
        record_accuracy(context, ACCURACY_FLOAT, network)
        return network


def _module(options: TorchOptions, context: StageContext) -> Any:
    from hsflow_torch.architectures import build, default_classes
    from hsflow_torch.checkpoint import load_checkpoint

    _require_weights(options)
    classes = options.classes or default_classes(options.model, len(context.dataset.classes))
    module = build(
        options.model,
        classes=classes,
        seed=context.settings.seed,
        pretrained=options.pretrained,
        width=options.width,
    )
    if options.checkpoint is not None:
        load_checkpoint(module, options.checkpoint, by_order=options.by_order)
    elif options.random_weights:
        context.log(f"no checkpoint: {options.model} keeps its random weights")
    return module


def _require_weights(options: TorchOptions) -> None:
    """Refuse to harden noise unnoticed; a factory returns its own weights."""
    given = options.pretrained or options.random_weights or options.checkpoint is not None
    if not given and not is_factory(options.model):
        raise ModelError(
            "the architecture has no trained weights",
            where="[load]",
            got=f"{options.model} without a checkpoint",
            expected="checkpoint = a safetensors file"
            + (", or pretrained = true" if is_torchvision(options.model) else ""),
            hint="name the weights; or, to try the flow without, set random_weights = true",
        )


def _lowered(module: Any, options: TorchOptions, context: StageContext) -> Network:
    from hsflow_torch.lower import lower

    dataset = context.dataset
    shape = Shape(*(int(size) for size in dataset.test_images.shape[1:]))
    network = lower(module, shape, name=context.settings.name, mean=options.mean, std=options.std)
    return completed(network, dataset, context.settings.geometry)
