# SPDX-License-Identifier: Apache-2.0
"""The prune stages: `magnitude` and `none`. torch is imported when fine-tuning asks for it."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from hsflow.errors import ModelError
from hsflow.ir.network import Conv, Network
from hsflow.stage import StageContext, StageKind, StageOptions
from hsflow_prune.magnitude import prune, zero_fraction

ACCURACY_PRUNED = "accuracy_pruned"
ZERO_FRACTION = "zero_fraction"


class MagnitudeOptions(StageOptions):
    """Say how much to prune, what counts as one piece, and how to recover."""

    sparsity: float = Field(
        default=0.5, ge=0, lt=1, description="The share of the convolutions' weights that become zero."
    )
    granularity: Literal["unstructured", "channel"] = Field(
        default="unstructured", description="Prune single weights, or the whole filters of output channels."
    )
    scope: Literal["global", "layer"] = Field(
        default="global", description="Compare weights over the whole network, or in each layer by itself."
    )
    schedule: Literal["one-shot", "gradual"] = Field(
        default="gradual", description="Prune at once, or in steps with fine-tuning after each."
    )
    steps: int = Field(default=3, ge=1, description="The steps of the gradual schedule.")
    epochs: int = Field(default=12, ge=0, description="Epochs of fine-tuning after each step; 0 is none.")
    learning_rate: float = Field(default=3e-3, gt=0, description="The highest learning rate of fine-tuning.")
    distillation: float = Field(
        default=0.9, ge=0, le=1, description="The share of the loss that follows the network before pruning."
    )
    augmentation: float = Field(
        default=1.0, ge=0, le=2, description="Strength of random distortions of the training images."
    )
    skip: tuple[str, ...] = Field(default=(), description="Names of layers that stay as they are.")

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> Self:
        if self.schedule == "one-shot" and "steps" in self.model_fields_set and self.steps > 1:
            raise PydanticCustomError(
                "contradiction",
                'steps is for schedule = "gradual"; one-shot prunes in one: leave steps out, or set it to 1',
            )
        return self


class MagnitudePruner:
    """Set the smallest weights to zero, and let the others recover."""

    kind = StageKind.PRUNE
    name = "magnitude"
    version = "1"
    builds_on = ("hsflow_torch",)
    options_model = MagnitudeOptions

    def run(self, value: Network, options: MagnitudeOptions, context: StageContext) -> Network:
        """Return the thinned network; record its accuracy and its share of zeros."""
        _check_skipped(value, options.skip)
        network = value
        for step, sparsity in enumerate(sparsities(options)):
            network = prune(network, sparsity, options.granularity, options.scope, options.skip)
            network = _fine_tuned(network, value, options, context, step)
        _record(network, context)
        return network


class NoPruner:
    """Leave the network as it is."""

    kind = StageKind.PRUNE
    name = "none"
    version = "1"
    builds_on = ("hsflow_torch",)
    options_model = StageOptions

    def run(self, value: Network, options: StageOptions, context: StageContext) -> Network:
        """Return the network; record its accuracy and its share of zeros."""
        _record(value, context)
        return value


def sparsities(options: MagnitudeOptions) -> tuple[float, ...]:
    """Return the sparsity after each step; gradual steps shrink (Zhu and Gupta, "To prune, or not to prune", eq. 1)."""
    steps = options.steps if options.schedule == "gradual" else 1
    return tuple(options.sparsity * (1 - (1 - (step + 1) / steps) ** 3) for step in range(steps))


def _fine_tuned(
    network: Network, teacher: Network, options: MagnitudeOptions, context: StageContext, step: int
) -> Network:
    if options.epochs == 0 or options.sparsity == 0:
        return network
    from hsflow_torch.module import NetworkModule
    from hsflow_torch.training import Recipe, fit

    recipe = Recipe(
        options.epochs,
        options.learning_rate,
        augmentation=options.augmentation,
        distillation=options.distillation,
    )
    module, dataset = NetworkModule(network), context.dataset
    fit(
        module,
        dataset.train_images,
        dataset.train_labels,
        recipe,
        context.settings.seed + step,
        teacher=NetworkModule(teacher),
        track=context.track,
        description=f"fine-tuning {step + 1}",
    )
    return module.to_network()


def _record(network: Network, context: StageContext) -> None:
    from hsflow_torch.module import record_accuracy

    record_accuracy(context, ACCURACY_PRUNED, network)
    context.record(ZERO_FRACTION, zero_fraction(network), better="higher")


def _check_skipped(network: Network, skip: tuple[str, ...]) -> None:
    known = [layer.name for layer in network.layers if isinstance(layer, Conv)]
    unknown = [name for name in skip if name not in known]
    if unknown:
        raise ModelError(
            "layers to skip do not exist",
            where="[prune] skip",
            got=", ".join(unknown),
            expected=f"some of {', '.join(known)}",
        )
    if known and set(known) <= set(skip):
        raise ModelError(
            "no layer is left to prune",
            where="[prune] skip",
            got=", ".join(known),
            hint='skip fewer layers, or set use = "none"',
        )
