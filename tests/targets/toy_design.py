# SPDX-License-Identifier: Apache-2.0
"""A hand-written design with a generated design's ports and files: toy.sv, its data, and its core."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

from hsflow_asap7.plugin import TARGET
from hsflow_fusesoc.targets import TARGETS

from hsflow.design import DesignFile, FileRole
from hsflow.eda import TestbenchParameters, core_file, render_testbench
from hsflow.output import write_output
from hsflow.results import SimulationPlan

PIXELS = 16
CLASSES = 4
LATENCY = PIXELS + CLASSES - 1
INTERVAL = PIXELS
IMAGES = 16
VLNV = "hsflow:tests:toy:0.1.0"
BIASES = (100, 1000)


def stimulus(images: int = IMAGES) -> list[list[int]]:
    generator = random.Random(7)
    return [[generator.randrange(256) for _ in range(PIXELS)] for _ in range(images)]


def logits(pixels: list[int], bias: int) -> list[int]:
    total = sum(pixel - 256 if pixel > 127 else pixel for pixel in pixels)
    return [bias * c + (c + 1) * total for c in range(CLASSES)]


def expected(images: list[list[int]], bias: int) -> str:
    lines = []
    for pixels in images:
        for c, logit in enumerate(logits(pixels, bias)):
            last = c == CLASSES - 1
            lines.append(f"{logit & 0xFFFFFFFF:08x} {0xBEEF if last else 0:04x} {int(last)}\n")
    return "".join(lines)


def data_files(images: int = IMAGES, latency: int = LATENCY, interval: int = INTERVAL) -> dict[str, str]:
    """Return each data file's text by its name in the work root."""
    pixels = stimulus(images)
    plan = SimulationPlan(
        top="toy",
        images=images,
        transfers_per_image=PIXELS,
        beats_per_image=CLASSES,
        latency=latency,
        initiation_interval=interval,
        clock_mhz=1000.0,
    )
    memories = {
        name: "".join(f"{0x1000 + 4 * c:08X} {bias * c:08X}\n" for c in range(CLASSES))
        for name, bias in zip(("npu.hex", "npu2.hex"), BIASES, strict=True)
    }
    return {
        "simulation.json": plan.to_json(),
        "stimulus.hex": "".join(f"{pixel:02x}\n" for image in pixels for pixel in image),
        "expected.txt": expected(pixels, BIASES[0]),
        "expected2.txt": expected(pixels, BIASES[1]),
        "labels.txt": "".join(f"{0xBEEF if i % 2 else 0}\n" for i in range(images)),
        **memories,
    }


def testbench() -> DesignFile:
    return render_testbench(
        TestbenchParameters(
            top="toy",
            in_width=8,
            out_width=32,
            transfers_per_image=PIXELS,
            beats_per_image=CLASSES,
            latency=LATENCY,
            initiation_interval=INTERVAL,
            axil_address_width=13,
        )
    )


testbench.__test__ = False  # type: ignore[attr-defined]


def design_files() -> tuple[DesignFile, ...]:
    rtl = (Path(__file__).parent / "toy" / "toy.sv").read_text(encoding="utf-8")
    data = tuple(DesignFile(f"data/{name}", text, FileRole.DATA) for name, text in data_files().items())
    return (DesignFile("rtl/toy.sv", rtl, FileRole.RTL), testbench(), *data)


def write_toy_chip(folder: Path) -> None:
    """Write the toy with the target `asap7`; its product is a sum of shifts, which is quickly proved."""
    rtl, *others = design_files()
    product = "held_q * $signed(class_q + 32'd1)"
    if product not in rtl.text:
        raise ValueError(f"toy.sv has no {product}")
    shifts = "(class_q[1] ? held_q <<< 1 : '0) + (class_q[0] ? held_q <<< 1 : held_q)"
    files = (replace(rtl, text=rtl.text.replace(product, shifts)), *others)
    write_output(folder, (*files, core_file(VLNV, "toy", files, targets=[TARGET], library=())))


def write_toy_core(folder: Path, vlnv: str = VLNV) -> None:
    """Write the toy as `hsflow build` writes a design."""
    files = design_files()
    write_output(folder, (*files, core_file(vlnv, "toy", files, targets=TARGETS, library=())))
