# SPDX-License-Identifier: Apache-2.0
"""The quantize stage `po2`. torch is imported when the stage runs, not before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator
from pydantic_core import PydanticCustomError

from hsflow.ir.graph import Graph
from hsflow.ir.network import Network
from hsflow.stage import StageContext, StageKind, StageOptions

if TYPE_CHECKING:
    from hsflow_po2.quantize import QuantizeOptions
    from hsflow_po2.rounding import WeightRounding

ACCURACY_PO2 = "accuracy_po2"
ZERO_FRACTION = "zero_fraction"
WEIGHTS = "weights"
SECOND_TERM_FRACTION = "second_term_fraction"

DISTILLATION_EPOCHS = 4
DISTILLATION_LEARNING_RATE = 0.012


class QuantizerOptions(StageOptions):
    """Say how activations become integers and how training follows; a quantizer adds what its weights become."""

    mode: Literal["ptq", "qat"] = Field(
        default="qat",
        description="Round after training with corrected biases (ptq), or train with rounding (qat).",
    )
    activation_bits: int = Field(default=8, ge=1, le=16, description="The width of feature maps.")
    percentile: float = Field(
        default=99.9,
        gt=50,
        le=100,
        description="The least share of a channel's values that must not saturate, in percent, in each 64 images.",
    )
    calibration_images: int = Field(default=512, ge=1, description="Training images that set the ranges.")
    epochs: int = Field(default=40, ge=0, description="Epochs of quantization-aware training.")
    learning_rate: float = Field(
        default=2e-3, gt=0, description="The highest learning rate of that training."
    )
    distillation: float = Field(
        default=0.5, ge=0, le=1, description="The share of the loss that follows the float network."
    )
    augmentation: float = Field(
        default=1.0, ge=0, le=2, description="Strength of random distortions of the training images."
    )

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> Self:
        if self.mode == "ptq" and "epochs" in self.model_fields_set and self.epochs:
            raise PydanticCustomError(
                "contradiction",
                'epochs is for mode = "qat"; ptq does not train: leave epochs out, or set it to 0',
            )
        return self


class Po2Options(QuantizerOptions):
    """Say how weights and activations become integers."""

    levels: int = Field(default=8, ge=1, le=32, description="Exponents that a channel's weights may take.")
    terms: int = Field(default=1, ge=1, le=2, description="Powers of two that add up to one weight.")
    scale: Literal["po2", "csd"] = Field(
        default="po2",
        description="In ptq: what a channel's weights are multiplied by, a power of two (po2) or the best factor of two "
        "signed digits, an adder a channel (csd).",
    )
    reconstruction: bool = Field(
        default=True,
        description="In ptq: fit each layer to the float layer's outputs; else round to the nearest.",
    )
    second_term_budget: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="The largest share of weights with a second power of two, where terms = 1 (ptq).",
    )
    distillation_epochs: int = Field(
        default=DISTILLATION_EPOCHS,
        ge=0,
        description="In ptq with reconstruction: epochs in which biases learn the float network's logits.",
    )
    distillation_learning_rate: float = Field(
        default=DISTILLATION_LEARNING_RATE,
        gt=0,
        description="The highest learning rate of that, in units of each layer's integers.",
    )

    @model_validator(mode="after")
    def _refuse_unused(self) -> Self:
        if self.second_term_budget and (self.mode != "ptq" or not self.reconstruction or self.terms == 2):
            raise PydanticCustomError(
                "contradiction",
                'second_term_budget is for mode = "ptq" with reconstruction and terms = 1: leave it out',
            )
        if self.scale == "csd" and (self.mode != "ptq" or not self.reconstruction):
            raise PydanticCustomError(
                "contradiction",
                'scale = "csd" is for mode = "ptq" with reconstruction: leave it out, or set mode = "ptq"',
            )
        asked = "distillation_epochs" in self.model_fields_set and self.distillation_epochs
        if asked and (self.mode != "ptq" or not self.reconstruction):
            raise PydanticCustomError(
                "contradiction",
                'distillation_epochs is for mode = "ptq" with reconstruction: leave it out, or set it to 0',
            )
        return self


class Po2Quantizer:
    """Round weights to powers of two and activations to integers."""

    kind = StageKind.QUANTIZE
    name = "po2"
    version = "2"
    builds_on = ("hsflow_torch",)
    options_model = Po2Options

    def run(self, value: Network, options: Po2Options, context: StageContext) -> Graph:
        """Return the integer graph; record its accuracy on the held-out images, its zeros and its size."""
        from hsflow_po2.rounding import Po2Rounding

        if options.mode == "ptq" and options.reconstruction:
            return _reconstructed(value, options, context)
        return quantize_with(Po2Rounding(options.levels, options.terms), value, options, context)


def _reconstructed(network: Network, options: Po2Options, context: StageContext) -> Graph:
    from hsflow_po2.distill import distill, distillation_recipe
    from hsflow_po2.phases import SCALES
    from hsflow_po2.quantize import calibration_images
    from hsflow_po2.reconstruct import ReconstructOptions, reconstruct

    seed = context.settings.seed
    budget = 1.0 if options.terms == 2 else options.second_term_budget
    phases = SCALES[options.scale]
    chosen = ReconstructOptions(options.activation_bits, options.levels, budget, phases=phases)
    images = calibration_images(context.dataset.train_images, options.calibration_images, seed)
    graph = reconstruct(network, images, chosen, seed, track=context.track)
    if graph.classifier is not None and options.distillation_epochs:
        recipe = distillation_recipe(options.distillation_epochs, options.distillation_learning_rate)
        graph = distill(graph, network, images, recipe, seed, track=context.track)
    elif options.distillation_epochs:
        context.log("not distilled: the network does not end in logits")
    record_graph(graph, context)
    return graph


def quantize_with(
    rounding: WeightRounding, network: Network, options: QuantizerOptions, context: StageContext
) -> Graph:
    """Return the integer graph of `network` with weights that `rounding` makes, and record its metrics.

    This is all that a quantize stage with another number system for weights needs to call.
    """
    from hsflow_po2.quantize import quantize

    dataset = context.dataset
    graph = quantize(
        network,
        dataset.train_images,
        dataset.train_labels,
        quantize_options(options),
        context.settings.seed,
        rounding=rounding,
        track=context.track,
    )
    record_graph(graph, context)
    return graph


def quantize_options(options: QuantizerOptions) -> QuantizeOptions:
    """Return what `hsflow_po2.quantize` takes."""
    from hsflow_torch.training import Recipe

    from hsflow_po2.formats import FormatOptions
    from hsflow_po2.quantize import QuantizeOptions

    recipe = Recipe(
        options.epochs,
        options.learning_rate,
        augmentation=options.augmentation,
        distillation=options.distillation,
    )
    return QuantizeOptions(
        FormatOptions(options.activation_bits, options.percentile),
        options.calibration_images,
        recipe if options.mode == "qat" else None,
    )


def record_graph(graph: Graph, context: StageContext) -> None:
    """Record the metrics of an integer graph: accuracy by the emulator, exact share of zeros, weights."""
    from hsflow_po2.emulator import emulate
    from hsflow_po2.quantize import second_term_fraction, weight_count, zero_fraction

    dataset = context.dataset
    outputs = emulate(graph, dataset.test_images).reshape(len(dataset.test_images), -1)
    if outputs.shape[1] == len(dataset.classes):
        percent = float((outputs.argmax(axis=1) == dataset.test_labels).mean() * 100)
        context.record(ACCURACY_PO2, percent, unit="%", better="higher")
    context.record(ZERO_FRACTION, zero_fraction(graph), better="higher")
    context.record(SECOND_TERM_FRACTION, second_term_fraction(graph))
    context.record(WEIGHTS, weight_count(graph))
