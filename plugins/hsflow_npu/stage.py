# SPDX-License-Identifier: Apache-2.0
"""The NPU stage: put a programmable classifier behind the hardened layers, and close the chip."""

from __future__ import annotations

from dataclasses import replace

from pydantic import Field

from hsflow.beats import feature_map, feature_stream, input_stream
from hsflow.design import Design, DesignFile, FileRole, NpuPlan
from hsflow.ir.graph import Dense, Graph
from hsflow.results import NPU_IMAGE
from hsflow.stage import StageContext, StageKind, StageOptions
from hsflow_npu.assembler import assemble, feature_order
from hsflow_npu.choice import with_fewest_multipliers, with_multipliers
from hsflow_npu.configuration import MAX_LANES, NpuConfiguration
from hsflow_npu.top import FIFO_LATENCY, INPUT_REGISTER_LATENCY, VERDICT_LATENCY, emit_top

MEMORY_IMAGE = f"data/{NPU_IMAGE}"
"""The file that holds the classifier's weights and biases as AXI4-Lite writes."""


class NpuOptions(StageOptions):
    """Hold the options of the `mac` NPU."""

    lanes: int | None = Field(
        None, ge=1, description="multipliers; by default as few as keep up with the hardened layers"
    )
    logit_lanes: int | None = Field(
        None, ge=1, le=MAX_LANES, description="logits that leave at once; by default as few as keep up"
    )


class NpuStage:
    """Generate the NPU, its first memory image, and the chip's top module."""

    kind = StageKind.NPU
    name = "mac"
    version = "1"
    builds_on = ("hsflow.beats", "hsflow.templates", "jinja2", "hsflow.results")
    options_model = NpuOptions

    def run(self, value: Design, options: NpuOptions, context: StageContext) -> Design:
        """Return the design with NPU and top module; a graph without a classifier gets the top module alone."""
        npu = configure(value, options.lanes, options.logit_lanes)
        if npu and npu.initiation_interval > value.initiation_interval:
            context.log(why_slow(npu, value.initiation_interval))
        design = close(value, npu)
        _record(design, context)
        return design


def add_npu(design: Design, lanes: int | None = None, logit_lanes: int | None = None) -> Design:
    """Return `design` with the NPU for its classifier, if it has one, and the top module."""
    return close(design, configure(design, lanes, logit_lanes))


def configure(
    design: Design, lanes: int | None = None, logit_lanes: int | None = None
) -> NpuConfiguration | None:
    """Return the NPU for the classifier of `design`, None if there is none.

    It has at most `lanes` multipliers, and `logit_lanes`; what is not given is the least that keeps up with the
    hardened layers.
    """
    layer = _layer(design)
    if layer is None:
        return None
    if lanes is not None:
        return with_multipliers(layer, lanes, design.initiation_interval, logit_lanes)
    return with_fewest_multipliers(layer, design.initiation_interval, logit_lanes)


def _layer(design: Design) -> NpuConfiguration | None:
    """Return what the classifier asks of an NPU, with the least lanes: a vector is what one transfer carries."""
    classifier = design.graph.classifier
    if classifier is None:
        return None
    source = design.graph.feature_maps[classifier.source]
    return NpuConfiguration(
        tokens=design.output_block.beats(source.shape),
        channels=design.output_block.pixels * source.shape.channels,
        classes=int(classifier.weight.array.shape[0]),
        class_lanes=1,
        feature_lanes=1,
        activation_width=source.format.width,
        activation_signed=source.format.signed,
    )


def why_slow(npu: NpuConfiguration, interval: int) -> str:
    """Say in numbers why an image takes the NPU longer than `interval` cycles."""
    return (
        f"the NPU takes {npu.initiation_interval} cycles an image, the hardened layers {interval}: it takes "
        f"{npu.tokens} transfers in, {npu.compute_cycles} cycles for {npu.features} features and {npu.classes} classes "
        f"on {npu.multipliers} multipliers, and sends {npu.beats} transfers of {npu.logit_lanes} logits"
    )


def memory_file(design: Design, graph: Graph) -> DesignFile | None:
    """Return the memory image of `graph`'s classifier for the NPU of `design`; None where one of them is missing.

    Raises:
        ModelError: if the classifier has another shape than the NPU, or could overflow 32 bits.
    """
    layer, classifier, plan = _layer(design), graph.classifier, design.npu
    if layer is None or classifier is None or plan is None:
        return None
    npu = replace(
        layer,
        class_lanes=plan.class_lanes,
        feature_lanes=plan.feature_lanes,
        logit_lanes=plan.logit_lanes,
    )
    return _memory_file(design, classifier, npu)


def _memory_file(design: Design, classifier: Dense, npu: NpuConfiguration) -> DesignFile:
    """Assemble the classifier: its weights are in stream order of pixels, and blocks bring these in another one."""
    order = feature_order(feature_map(design).shape, design.output_block)
    weights = classifier.weight.array
    arriving = weights[:, order] if weights.shape[1:] == order.shape else weights
    image = assemble(arriving, classifier.bias.array, npu)
    return DesignFile(MEMORY_IMAGE, image.to_hex(), FileRole.DATA)


def close(design: Design, npu: NpuConfiguration | None) -> Design:
    """Return `design` as a chip: with the NPU, the NPU's first memory image, and the top module."""
    chip = with_figures(design, npu)
    files = [emit_top(design, npu, chip.latency, chip.initiation_interval)]
    if npu and design.graph.classifier:
        files.append(_memory_file(design, design.graph.classifier, npu))
    return replace(chip, files=(*design.files, *files))


def with_figures(design: Design, npu: NpuConfiguration | None) -> Design:
    """Return `design` with latency, interval and NPU of the whole chip, and no further files."""
    return replace(
        design,
        latency=_latency(design, npu),
        initiation_interval=max(design.initiation_interval, npu.initiation_interval if npu else 0),
        npu=_plan(npu) if npu else None,
    )


def _latency(design: Design, npu: NpuConfiguration | None) -> int:
    """Return the cycles from an image's first transfer at the pins to its last result there."""
    hardened = INPUT_REGISTER_LATENCY + design.latency
    if npu:
        return hardened + npu.last_logit_latency
    beats = feature_stream(design).beats
    if beats == 1:
        return hardened
    # The image waits in a FIFO for the verdict on its length, then leaves beat by beat.
    verdict = INPUT_REGISTER_LATENCY + input_stream(design).beats + VERDICT_LATENCY
    return max(hardened + FIFO_LATENCY, verdict + beats - 1)


def _plan(npu: NpuConfiguration) -> NpuPlan:
    return NpuPlan(
        npu.class_lanes,
        npu.feature_lanes,
        npu.address_width,
        npu.memory_bits,
        npu.initiation_interval,
        npu.last_logit_latency,
        npu.logit_lanes,
    )


def _record(design: Design, context: StageContext) -> None:
    clock_hz = context.settings.clock_mhz * 1e6
    context.record("latency_cycles", design.latency, unit="cycles", better="lower")
    context.record("initiation_interval", design.initiation_interval, unit="cycles", better="lower")
    context.record(
        "images_per_second", clock_hz / design.initiation_interval, unit="images/s", better="higher"
    )
    context.record("clock_mhz", context.settings.clock_mhz, unit="MHz")
    if design.npu:
        context.record(
            "npu_multipliers", design.npu.class_lanes * design.npu.feature_lanes, unit="multipliers"
        )
        context.record("npu_logit_lanes", design.npu.logit_lanes, unit="logits")
        context.record("npu_memory_bits", design.npu.memory_bits, unit="bits", better="lower")
