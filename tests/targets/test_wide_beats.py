# SPDX-License-Identifier: Apache-2.0
"""The testbench on wide beats: 24,576 bits, a block of 32x32 pixels of three channels, in both simulators."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from chip_bench import pass_through
from hsflow_fusesoc.stage import package
from hsflow_fusesoc.vectors import Vectors
from hsflow_npu.stage import add_npu
from random_graphs import GraphBuilder, random_images, square

from hsflow.eda import run_target
from hsflow.ir.tensor import Block, Shape
from hsflow.output import write_output
from hsflow.results import METRICS
from hsflow.stage import FlowSettings

IMAGES = 8


@pytest.fixture
def core(tmp_path: Path) -> Path:
    """Write the core of a chip that sends the image out as it came."""
    graph = GraphBuilder(Shape(3, 64, 32), 1).max_pool(square(1)).build("wide")
    design = add_npu(pass_through(graph, Block(32, 32)))
    vectors = Vectors(design, graph, random_images(graph, IMAGES), np.zeros(IMAGES, np.int64))
    folder = tmp_path / "core"
    write_output(folder, package(design, vectors, FlowSettings(name="wide"), "tests").files)
    return folder


@pytest.mark.parametrize("target", ["icarus", "sim"])
def test_wide_beats_go_through_and_a_wrong_bit_is_seen(core: Path, tmp_path: Path, target: str) -> None:
    if target == "icarus" and shutil.which("iverilog") is None:
        pytest.skip("iverilog is not installed")
    work = tmp_path / "work"
    assert run_target(target, core, work) == 0
    figures = json.loads((work / METRICS).read_text())
    assert figures["simulate.results"]["value"] == 2 * IMAGES
    assert figures["simulate.initiation_interval"]["value"] == 2
    expected = core / "data" / "expected.txt"
    lines = expected.read_text().splitlines()
    assert len(lines[5].split()[0]) > 6000
    lines[5] = f"{int(lines[5][0], 16) ^ 1:x}{lines[5][1:]}"
    expected.write_text("".join(f"{line}\n" for line in lines))
    assert run_target(target, core, work) != 0
