# SPDX-License-Identifier: Apache-2.0
"""The NPU of a planned design: its lanes and timing, without its files."""

from __future__ import annotations

from dataclasses import replace

from hsflow.design import Design, NpuPlan
from hsflow_npu.choice import with_fewest_multipliers
from hsflow_npu.stage import configure
from hsflow_npu.top import INPUT_REGISTER_LATENCY


def plan_classifier(design: Design) -> Design:
    """Return a design without files with the NPU that keeps up with it; one without a classifier has none."""
    classifier = design.graph.classifier
    latency = INPUT_REGISTER_LATENCY + design.latency
    if classifier is None:
        return replace(design, latency=latency)
    layer = configure(design.graph, classifier, 1, design.initiation_interval)
    npu = with_fewest_multipliers(layer, design.initiation_interval)
    return replace(
        design,
        latency=latency + npu.last_logit_latency,
        initiation_interval=max(design.initiation_interval, npu.initiation_interval),
        npu=NpuPlan(
            npu.class_lanes,
            npu.feature_lanes,
            npu.address_width,
            npu.memory_bits,
            npu.initiation_interval,
            npu.last_logit_latency,
            npu.logit_lanes,
        ),
    )
