# SPDX-License-Identifier: Apache-2.0
"""The targets that hsflow brings: three simulations and lint."""

from __future__ import annotations

from hsflow.targets import Target

ICARUS_IMAGES = 16
"""Icarus Verilog takes a second or more for an image of a small network."""

_VERILATOR = {
    "tool": "verilator",
    "mode": "binary",
    # Split files keep the C++ compiler's time in proportion to the design's size.
    "verilator_options": [
        "--timing",
        "-Wno-fatal",
        "--output-split",
        "5000",
        "--output-split-cfuncs",
        "500",
        "-j",
        "0",
    ],
}

TARGETS = (
    Target("sim", "Verilator: every result, the latency and the interval", "hsflow", _VERILATOR),
    Target(
        "stress",
        "Verilator with random gaps and backpressure",
        "hsflow",
        _VERILATOR,
        plusargs={"gap_percent": 30, "stall_percent": 30},
    ),
    Target(
        "icarus",
        "Icarus Verilog, a few images",
        "hsflow",
        {"tool": "icarus", "iverilog_options": ["-g2012"]},
        plusargs={"images": ICARUS_IMAGES},
    ),
    Target(
        "lint",
        "Verilator's lint, all warnings",
        "lint",
        {"tool": "verilator", "build_runner": "hsflow", "verilator_options": ["-Wall"]},
        simulation=False,
    ),
)
