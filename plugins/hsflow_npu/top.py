# SPDX-License-Identifier: Apache-2.0
"""The chip's top module: frame guard, hardened network, NPU, frame filter, behind flat AXI ports."""

from __future__ import annotations

from hsflow.beats import feature_stream, input_stream
from hsflow.design import Design, DesignFile, FileRole
from hsflow.ir.graph import LOGIT_WIDTH
from hsflow.templates import render
from hsflow_npu.configuration import NpuConfiguration

INPUT_REGISTER_LATENCY = 1
FIFO_LATENCY = 1
VERDICT_LATENCY = 1
"""Cycles from the guard's transfer of an image's last block until the filter has the verdict, less one."""
_USER_WIDTH = 16  # the winning class


def emit_top(design: Design, npu: NpuConfiguration | None, latency: int, interval: int) -> DesignFile:
    """Return the top module; `latency` and `interval` are the whole chip's, in cycles."""
    source, features = input_stream(design), feature_stream(design)
    logit_bits = LOGIT_WIDTH * npu.logit_lanes if npu else 0
    text = render(
        "hsflow_npu",
        "top.sv.j2",
        top=design.name,
        network=f"{design.name}__network",
        npu=npu,
        source=source,
        features=features,
        input_block=design.input_block,
        output_block=design.output_block,
        result_bits=logit_bits + _USER_WIDTH if npu else features.bits,
        output_bits=logit_bits or features.width,
        counter_bits=max(1, (features.beats - 1).bit_length()),
        verdicts=latency // interval + 3,
    )
    return DesignFile(f"rtl/{design.name}.sv", text, FileRole.RTL)
