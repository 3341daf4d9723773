# SPDX-License-Identifier: Apache-2.0
"""The NPU stage: put a programmable classifier behind the hardened layers, and close the chip."""

from __future__ import annotations

from dataclasses import replace

from pydantic import Field

from hsflow.design import Design, DesignFile, FileRole, NpuPlan
from hsflow.ir.graph import Dense, Graph
from hsflow.results import NPU_IMAGE
from hsflow.stage import StageContext, StageKind, StageOptions
from hsflow_npu.assembler import assemble
from hsflow_npu.configuration import NpuConfiguration
from hsflow_npu.top import FIFO_LATENCY, INPUT_REGISTER_LATENCY, VERDICT_LATENCY, emit_top

MEMORY_IMAGE = f"data/{NPU_IMAGE}"
"""The file that holds the classifier's weights and biases as AXI4-Lite writes."""


class NpuOptions(StageOptions):
    """Hold the options of the `mac` NPU."""

    lanes: int | None = Field(
        None, ge=1, description="multipliers; by default as few as keep up with the hardened layers"
    )


class NpuStage:
    """Generate the NPU, its first memory image, and the chip's top module."""

    kind = StageKind.NPU
    name = "mac"
    version = "1"
    builds_on = ("hsflow.templates", "jinja2", "hsflow.results")
    options_model = NpuOptions

    def run(self, value: Design, options: NpuOptions, context: StageContext) -> Design:
        """Return the design with NPU and top module; a graph without a classifier gets the top module alone."""
        design = add_npu(value, options.lanes)
        _record(design, context)
        return design


def add_npu(design: Design, lanes: int | None = None) -> Design:
    """Return `design` with the NPU for its classifier, if it has one, and the top module."""
    classifier = design.graph.classifier
    if classifier is None:
        return _close(design, None, ())
    npu = configure(design.graph, classifier, lanes, design.initiation_interval)
    return _close(design, npu, (_memory_file(classifier, npu),))


def configure(graph: Graph, classifier: Dense, lanes: int | None, interval: int) -> NpuConfiguration:
    """Return the NPU for `classifier` with `lanes` multipliers, or the fewest that keep up with `interval`."""
    source = graph.feature_maps[classifier.source]

    def with_lanes(count: int) -> NpuConfiguration:
        return NpuConfiguration.from_lanes(
            count,
            tokens=source.shape.pixels,
            channels=source.shape.channels,
            classes=int(classifier.weight.array.shape[0]),
            activation_width=source.format.width,
            activation_signed=source.format.signed,
        )

    if lanes is not None:
        return with_lanes(lanes)
    most = classifier.weight.array.size
    fewest = max(1, most // max(interval, 1))
    candidates = (with_lanes(count) for count in range(fewest, most + 1))
    reachable = max(interval, with_lanes(most).initiation_interval)
    return next(npu for npu in candidates if npu.initiation_interval <= reachable)


def memory_file(design: Design, graph: Graph) -> DesignFile | None:
    """Return the memory image of `graph`'s classifier for the NPU of `design`; None where one of them is missing.

    Raises:
        ModelError: if the classifier has another shape than the NPU, or could overflow 32 bits.
    """
    built, classifier = design.graph.classifier, graph.classifier
    if design.npu is None or built is None or classifier is None:
        return None
    plan = design.npu
    any_lanes = configure(design.graph, built, 1, design.initiation_interval)
    npu = replace(any_lanes, class_lanes=plan.class_lanes, feature_lanes=plan.feature_lanes)
    return _memory_file(classifier, npu)


def _memory_file(classifier: Dense, npu: NpuConfiguration) -> DesignFile:
    image = assemble(classifier.weight.array, classifier.bias.array, npu)
    return DesignFile(MEMORY_IMAGE, image.to_hex(), FileRole.DATA)


def _close(design: Design, npu: NpuConfiguration | None, files: tuple[DesignFile, ...]) -> Design:
    latency = _latency(design, npu)
    interval = max(design.initiation_interval, npu.initiation_interval if npu else 0)
    top = emit_top(design, npu, latency, interval)
    return replace(
        design,
        files=(*design.files, top, *files),
        latency=latency,
        initiation_interval=interval,
        npu=_plan(npu) if npu else None,
    )


def _latency(design: Design, npu: NpuConfiguration | None) -> int:
    """Return the cycles from an image's first pixel at the pins to its last result there."""
    hardened = INPUT_REGISTER_LATENCY + design.latency
    if npu:
        return hardened + npu.last_logit_latency
    beats = design.graph.output.shape.pixels
    if beats == 1:
        return hardened
    # The image waits in a FIFO for the verdict on its length, then leaves pixel by pixel.
    verdict = INPUT_REGISTER_LATENCY + design.graph.input.shape.pixels + VERDICT_LATENCY
    return max(hardened + FIFO_LATENCY, verdict + beats - 1)


def _plan(npu: NpuConfiguration) -> NpuPlan:
    return NpuPlan(
        npu.class_lanes,
        npu.feature_lanes,
        npu.address_width,
        npu.memory_bits,
        npu.initiation_interval,
        npu.last_logit_latency,
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
        context.record("npu_memory_bits", design.npu.memory_bits, unit="bits", better="lower")
