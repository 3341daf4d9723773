# SPDX-License-Identifier: Apache-2.0
"""The main job, as a user runs it: `fusesoc run --target=sim hashiflex` in a checkout, twice at once, and again.

One fresh run trains, hardens, builds and simulates; every test reads from it or goes on from it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from hsflow import metrics

ROOT = Path(__file__).parents[2]
IMAGES, CLASSES = 599, 10
FUSESOC = [sys.executable, "-m", "fusesoc.main", "run"]


@dataclass(frozen=True)
class Checkout:
    """A copy of the project's cores, and what two runs started at once left behind."""

    folder: Path
    statuses: tuple[int, ...]
    outputs: tuple[str, ...]

    @property
    def work_root(self) -> Path:
        return self.folder / "build" / "hsflow_designs_hashiflex_0.1.0" / "sim"

    def figures(self, folder: Path | None = None) -> Mapping[str, float]:
        text = ((folder or self.work_root) / "metrics.json").read_bytes()
        return {name: metric.value for name, metric in metrics.from_json(text).items()}  # type: ignore[misc]

    def fusesoc(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*FUSESOC, *words],
            cwd=self.folder,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )

    def hsflow(self, *words: str) -> subprocess.CompletedProcess[str]:
        return run_hsflow([*words, "--config", "cores/hashiflex/flow.toml"], self.folder)


def environment(**changes: str) -> dict[str, str]:
    plain = {name: value for name, value in os.environ.items() if name != "HSFLOW_STORE"}
    return {**plain, "HSFLOW_PYTHON": sys.executable, **changes}


def run_hsflow(words: Sequence[str], folder: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hsflow.cli", *words],
        cwd=folder, env=environment(**changes), capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    folder = tmp_path_factory.mktemp("checkout")
    shutil.copy(ROOT / "fusesoc.conf", folder)
    shutil.copytree(ROOT / "cores", folder / "cores", ignore=shutil.ignore_patterns(".hsflow", "__pycache__"))
    words = [*FUSESOC, "--target=sim", "hashiflex"]
    runs = []
    for number in range(2):
        log = (folder / f"run{number}.log").open("w+")
        runs.append(
            (
                log,
                subprocess.Popen(words, cwd=folder, env=environment(), stdout=log, stderr=subprocess.STDOUT),
            )
        )
        time.sleep(0.5)
    statuses = tuple(process.wait() for _, process in runs)
    for log, _ in runs:
        log.close()
    outputs = tuple((folder / f"run{number}.log").read_text() for number in range(2))
    return Checkout(folder, statuses, outputs)


def test_two_runs_at_once_both_succeed(checkout: Checkout) -> None:
    assert checkout.statuses == (0, 0), checkout.outputs
    assert sum("building the simulation" in output for output in checkout.outputs) == 1
    for output in checkout.outputs:
        assert f"all {IMAGES * CLASSES} results of {IMAGES} images are bit-exact" in output
        assert "latency and initiation interval exactly as computed" in output


def test_the_figures_meet_the_bars(checkout: Checkout) -> None:
    figures = checkout.figures()
    assert figures["load.accuracy_float"] >= 98
    assert figures["quantize.accuracy_po2"] >= figures["load.accuracy_float"] - 1
    assert figures["simulate.accuracy"] == pytest.approx(figures["quantize.accuracy_po2"], abs=1e-9)
    assert figures["quantize.zero_fraction"] >= 0.5
    assert figures["simulate.results"] == IMAGES * CLASSES
    assert figures["simulate.mismatches"] == 0
    assert figures["harden.adders"] < figures["harden.adders_before_sharing"]
    assert figures["simulate.latency"] == figures["npu.latency_cycles"]
    assert figures["simulate.initiation_interval"] == figures["npu.initiation_interval"] == 64


def test_every_figure_of_the_table_is_in_the_metrics(checkout: Checkout) -> None:
    figures = checkout.figures()
    for name in ("register_bits", "line_buffer_bits", "full_adder_bits"):
        assert figures[f"harden.{name}"] > 0
    for stage in ("load", "prune", "quantize", "harden", "npu", "package"):
        assert figures[f"{stage}.wall_seconds"] >= 0
    printed = checkout.outputs[0]
    assert all(name in printed for name in figures)


def test_a_second_run_reuses_everything(checkout: Checkout) -> None:
    program = checkout.work_root / "Vhsflow_tb"
    before, started = program.stat().st_mtime_ns, time.monotonic()
    again = checkout.fusesoc("--target=sim", "hashiflex")
    assert again.returncode == 0, again.stderr
    assert time.monotonic() - started < 30
    assert "the simulation is up to date" in again.stdout + again.stderr
    assert program.stat().st_mtime_ns == before


@pytest.mark.parametrize(("task", "least"), [("odd-even", 98.0), ("rotate90", 60.0)])
def test_the_built_simulation_takes_a_new_task(checkout: Checkout, task: str, least: float) -> None:
    program = checkout.work_root / "Vhsflow_tb"
    before = program.stat().st_mtime_ns
    done = checkout.hsflow(
        "--json", "finetune", "--task", task, "--simulate", str(checkout.work_root), "-o", task
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert summary["simulated_images"] == IMAGES
    assert summary["hardware_accuracy_percent"] == pytest.approx(summary["accuracy_percent"], abs=1e-9)
    assert summary["accuracy_percent"] >= least
    assert program.stat().st_mtime_ns == before
    assert checkout.figures(checkout.work_root / "finetune" / task)["simulate.mismatches"] == 0


def test_weights_switch_in_mid_stream_and_no_image_is_lost(checkout: Checkout) -> None:
    words = (
        "--task",
        "odd-even",
        "--simulate",
        str(checkout.work_root),
        "--switch-after",
        "200",
        "-o",
        "switched",
    )
    done = checkout.hsflow("finetune", *words)
    assert done.returncode == 0, done.stderr
    folder = checkout.work_root / "finetune" / "odd-even"
    switched = int(re.findall(r"switched_images=(\d+)", (folder / "results.txt").read_text())[0])
    assert 200 <= switched < IMAGES
    old, new = ((folder / name).read_text().splitlines() for name in ("expected.txt", "expected2.txt"))
    boundary = switched * CLASSES
    assert old[boundary:] != new[boundary:]
    assert old[:boundary] != new[:boundary]
    stream = [
        line.split() for line in (folder / "results.txt").read_text().splitlines() if line.endswith("stream")
    ]
    seen = [tuple(int(word, 16) for word in beat[:3]) for beat in stream]
    assert seen == [tuple(int(word, 16) for word in line.split()) for line in old[:boundary] + new[boundary:]]


def test_a_wrong_weight_in_the_memory_image_is_caught(checkout: Checkout) -> None:
    image = checkout.work_root / "npu.hex"
    text = image.read_text()
    lines = text.splitlines()
    address, data = lines[-1].split()
    image.write_text("\n".join([*lines[:-1], f"{address} {int(data, 16) ^ 0x40:08X}"]) + "\n")
    try:
        # The copy in the work root is what the testbench loads; FuseSoC would renew it, so the flow runs alone.
        failed = subprocess.run(
            [sys.executable, "-c", _RUN_AGAIN, str(checkout.work_root)],
            env=environment(), capture_output=True, text=True, check=False,
        )  # fmt: skip
    finally:
        image.write_text(text)
    assert failed.returncode != 0
    assert "results are wrong" in failed.stderr


_RUN_AGAIN = """
import sys
from pathlib import Path
import yaml
from hsflow.simulation import Simulation
root = Path(sys.argv[1])
edam = yaml.safe_load(next(root.glob("*.eda.yml")).read_text())
Simulation.from_edam(edam, root, edam["flow_options"]).run()
"""


@pytest.mark.skipif(shutil.which("iverilog") is None, reason="iverilog is not installed")
def test_a_flipped_sign_in_the_rtl_is_caught(checkout: Checkout) -> None:
    right = checkout.fusesoc("--target=icarus", "hashiflex", "--images", "2")
    assert right.returncode == 0, right.stdout + right.stderr
    tile = _tile(checkout)
    text = tile.read_text()
    tile.write_text(re.sub(r" \+ ", " - ", text, count=1))
    try:
        wrong = checkout.fusesoc("--target=icarus", "hashiflex", "--images", "2")
    finally:
        tile.write_text(text)
    assert wrong.returncode != 0
    assert "results are wrong" in wrong.stdout + wrong.stderr


def _tile(checkout: Checkout) -> Path:
    """Return the first layer's adders, in the copy that the simulations are built from."""
    (tile,) = (checkout.folder / "build" / "cache").rglob("rtl/hashiflex_features_0_0__tile0.sv")
    return tile


QUICK = """
[flow]
name = "quick"

[load]
use = "torch"
model = "digits"
checkpoint = "digits.safetensors"

[prune]
epochs = 0
schedule = "one-shot"

[quantize]
mode = "ptq"

[package]
images = 20
"""


@pytest.mark.slow
def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    trees = []
    for number, seed in enumerate(("1", "2")):
        folder = tmp_path / ("a" * (number + 1)) / "project"
        folder.mkdir(parents=True)
        shutil.copy(ROOT / "cores" / "hashiflex" / "model" / "digits.safetensors", folder)
        (folder / "flow.toml").write_text(QUICK)
        done = run_hsflow(["build"], folder, PYTHONHASHSEED=seed)
        assert done.returncode == 0, done.stderr
        files = [path for path in (folder / "build").rglob("*") if path.is_file()]
        trees.append(
            {
                path.relative_to(folder).as_posix(): path.read_bytes()
                for path in files
                if not path.name.startswith(".hsflow")
            }
        )
    assert trees[0] == trees[1]
    assert len([name for name in trees[0] if name.endswith(".sv")]) > 20
    text = b"".join(trees[0].values())
    assert str(tmp_path).encode() not in text
