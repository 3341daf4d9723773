# SPDX-License-Identifier: Apache-2.0
"""MobileNetV2, small, from a checkpoint to a chip that takes sixteen pixels a cycle: simulated whole, every logit equal.

The images are scikit-learn's digits in three colours, 32x32; the network is trained on them for some epochs, so that no
feature map is constant and the classes differ. All layers, residuals and the NPU are there; it takes some minutes.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from hsflow import cli
from hsflow.design import Design
from hsflow.emulation import feature_maps
from hsflow.errors import EXIT_OK, MismatchError
from hsflow.ir.tensor import Block
from hsflow.project import Project
from hsflow.results import EXPECTED, LABELS, METRICS, PLAN, RESULTS, STIMULUS, check_simulation
from hsflow.stage import StageKind

pytestmark = pytest.mark.slow

IMAGES = 12
EPOCHS = 6
EXACT = "exact"
"""Where the files of the run without gaps are kept."""
FLOW = f"""\
[flow]
name = "mobile"
data = "images.npz"

[load]
model = "torchvision:mobilenet_v2"
width = 0.1
classes = 10
checkpoint = "mobile.safetensors"

[prune]
schedule = "one-shot"
sparsity = 0.3
epochs = 0

[quantize]
mode = "ptq"

[harden]
effort = "low"
initiation_interval = 64

[package]
images = {IMAGES}
"""


def write_images(path: Path) -> None:
    """Write digits as 32x32 images: as they are, inverted, and shifted."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    gray = np.kron(digits.images * 15.9375, np.ones((4, 4))).astype(np.uint8)[:, None]
    images = np.concatenate([gray, 255 - gray, np.roll(gray, 4, axis=3)], axis=1)
    held = np.arange(len(images)) % 3 == 2
    np.savez(
        path,
        train_images=images[~held],
        train_labels=digits.target[~held],
        test_images=images[held],
        test_labels=digits.target[held],
    )


def write_checkpoint(path: Path, images: Path) -> None:
    """Train the float network for a moment: the statistics of its batch normalization matter most."""
    import torch
    from hsflow_torch.architectures import build
    from safetensors.torch import save_file

    arrays = np.load(images)
    pixels = torch.tensor(arrays["train_images"]).float() / 255
    labels = torch.tensor(arrays["train_labels"])
    torch.set_num_threads(1)
    model = build("torchvision:mobilenet_v2", classes=10, seed=1, width=0.1).train()
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    generator = torch.Generator().manual_seed(1)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(pixels), generator=generator).split(64):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(pixels[batch]), labels[batch]).backward()
            optimizer.step()
    save_file(model.state_dict(), path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a project's folder in which the chip has been simulated."""
    folder = tmp_path_factory.mktemp("mobilenet")
    write_images(folder / "images.npz")
    write_checkpoint(folder / "mobile.safetensors", folder / "images.npz")
    (folder / "flow.toml").write_text(FLOW)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.delenv("HSFLOW_STORE", raising=False)
        assert cli.main(["run", "sim"]) == EXIT_OK
    (folder / EXACT).mkdir()
    for name in (PLAN, STIMULUS, EXPECTED, LABELS, RESULTS, METRICS):
        shutil.copyfile(folder / "work" / "sim" / name, folder / EXACT / name)
    return folder


def design_of(folder: Path) -> tuple[Project, Design]:
    project = Project.open(folder / "flow.toml")
    design: Design = project.run().value(StageKind.PACKAGE)
    return project, design


def test_the_network_is_whole_and_carries_blocks(folder: Path) -> None:
    project, design = design_of(folder)
    blocks = {cost.block for cost in design.layers}
    assert design.input_block == Block(4, 4) and {Block(2, 2), Block(1, 1)} <= blocks
    # One residual more than at width 1: here the first bottleneck, too, has as many outputs as inputs.
    assert sum(cost.kind.endswith("add") for cost in design.layers) == 11
    assert sum("convolution" in cost.kind for cost in design.layers) == 52
    assert design.npu is not None and design.initiation_interval == 64
    images = project.dataset.test_images[:IMAGES]
    maps = feature_maps(design.graph, images, project.plugins.hook)
    assert all(np.ptp(values, axis=0).any() for values in maps.values())
    assert len(set(maps[design.graph.layers[-1].name].argmax(axis=1).ravel().tolist())) > 2


def test_every_logit_the_latency_and_the_interval_are_exact(folder: Path) -> None:
    _, design = design_of(folder)
    figures = json.loads((folder / EXACT / METRICS).read_text())
    wanted = {
        "images": IMAGES,
        "results": 10 * IMAGES,
        "mismatches": 0,
        "latency": design.latency,
        "initiation_interval": design.initiation_interval,
    }
    assert {name: figures[f"simulate.{name}"]["value"] for name in wanted} == wanted


def test_gaps_and_backpressure_change_no_logit(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    assert cli.main(["run", "sim", "--", "--gap_percent", "30", "--stall_percent", "30"]) == EXIT_OK


def test_one_wrong_logit_is_found(folder: Path, tmp_path: Path) -> None:
    work = shutil.copytree(folder / EXACT, tmp_path / EXACT)
    assert check_simulation(work).logits == 10 * IMAGES
    lines = (work / EXPECTED).read_text().splitlines()
    data, *rest = lines[57].split()
    lines[57] = " ".join([f"{int(data, 16) ^ 1:x}", *rest])
    (work / EXPECTED).write_text("\n".join(lines) + "\n")
    with pytest.raises(MismatchError, match="image 5, beat 7"):
        check_simulation(work)
