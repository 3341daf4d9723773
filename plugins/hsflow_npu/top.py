# SPDX-License-Identifier: Apache-2.0
"""The chip's top module: frame guard, hardened network, NPU, frame filter, behind flat AXI ports."""

from __future__ import annotations

from hsflow.design import Design, DesignFile, FileRole
from hsflow.ir.graph import FeatureMap
from hsflow.templates import render
from hsflow_npu.configuration import NpuConfiguration

INPUT_REGISTER_LATENCY = 1
FIFO_LATENCY = 1
VERDICT_LATENCY = 1
"""Cycles from the guard's transfer of an image's last pixel until the filter has the verdict, less one."""
_RESULT_WIDTH_WITH_NPU = 48  # a logit and the winning class


def classifier_input(design: Design) -> FeatureMap:
    """Return the feature map that leaves the hardened layers."""
    classifier = design.graph.classifier
    return design.graph.output if classifier is None else design.graph.feature_maps[classifier.source]


def emit_top(design: Design, npu: NpuConfiguration | None, latency: int, interval: int) -> DesignFile:
    """Return the top module; `latency` and `interval` are the whole chip's, in cycles."""
    source, features = design.graph.input, classifier_input(design)
    width = features.pixel_width
    text = render(
        "hsflow_npu",
        "top.sv.j2",
        top=design.name,
        network=f"{design.name}__network",
        npu=npu,
        pixels=source.shape.pixels,
        input_bits=source.beat_width,
        input_width=source.pixel_width,
        features_width=width,
        result_width=_RESULT_WIDTH_WITH_NPU if npu else width,
        output_bits=32 if npu else features.beat_width,
        output_pixels=features.shape.pixels,
        counter_bits=max(1, (features.shape.pixels - 1).bit_length()),
        verdicts=latency // interval + 3,
    )
    return DesignFile(f"rtl/{design.name}.sv", text, FileRole.RTL)
