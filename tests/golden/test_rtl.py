# SPDX-License-Identifier: Apache-2.0
"""The generated RTL, byte for byte: as reviewed, and the same in every folder and process."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import Golden
from hsflow_npu.stage import add_npu
from network_bench import harden
from random_graphs import GraphBuilder, square

from hsflow.design import Design
from hsflow.ir.tensor import Shape


def design(seed: int = 1) -> Design:
    builder = GraphBuilder(Shape(1, 4, 4), seed).conv(2, square(3, 1, 1), name="stem.conv", zeros=0.5)
    builder.conv(2, name="left").add("stem.conv", "left").max_pool(square(2, 2)).global_pool().dense(2)
    return add_npu(harden(builder.build("tiny")))


FILES = [file.path for file in design().files]


@pytest.mark.parametrize("path", FILES)
def test_generated_files_are_as_reviewed(golden: Golden, path: str) -> None:
    golden(path, next(file.text for file in design().files if file.path == path))


@pytest.mark.parametrize("path", [path for path in FILES if path.startswith("rtl/tiny_")])
def test_no_vector_is_assigned_in_numbered_pieces(path: str) -> None:
    """Simulators take time that is quadratic in such pieces, and large layers have thousands."""
    text = next(file.text for file in design().files if file.path == path)
    assert not re.search(r"assign \w+\[\d|_o\s*\(\w+\[\d", text)


def test_another_network_is_another_text() -> None:
    assert [file.text for file in design(2).files] != [file.text for file in design().files]


def test_every_folder_and_hash_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    code = "import sys; from test_rtl import design; sys.stdout.write(repr(design()))"
    outputs = set()
    for folder, seed in (("one", "0"), ("two", "4711")):
        (tmp_path / folder).mkdir()
        path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
        result = subprocess.run(
            [sys.executable, "-c", code],
            cwd=tmp_path / folder,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": path},
            capture_output=True,
            check=True,
        )
        outputs.add(result.stdout)
    assert len(outputs) == 1
    assert str(tmp_path).encode() not in outputs.pop()
