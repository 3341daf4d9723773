# SPDX-License-Identifier: Apache-2.0
"""A stranger's package: installed by pip in a fresh environment, it quantizes, and its hardware computes the same."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hsflow.errors import EXIT_FAILURE, EXIT_OK, EXIT_USAGE, MismatchError
from hsflow.flow import read_value
from hsflow.ir.graph import Conv, Graph
from hsflow.results import METRICS, RESULTS, Conditions, check_simulation
from hsflow.stage import StageKind
from hsflow.store import Store, store_root

SOURCE = Path(__file__).parents[2] / "plugins" / "examples" / "hsflow_apot"
DISTRIBUTION = {"plugin": "apot", "distribution": "hsflow-apot", "version": "0.1.0"}
TARGET = "icarus" if shutil.which("iverilog") else "sim"
LOG = "HSFLOW_APOT_LOG"
CLASSES = 3

FLOW = """\
[flow]
name = "tiny"
data = "tiny.npz"

[load]
model = "tiny_model:tiny"

[prune]
sparsity = 0.3
epochs = 0

[quantize]
use = "{use}"
epochs = 2
augmentation = 0.0
calibration_images = 32
"""

MODEL = """\
from torch import nn

def tiny():
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(4, 4, 1), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3),
    )
"""


@dataclass(frozen=True)
class Environment:
    """Hold a virtual environment; its commands see no PYTHONPATH but the one given."""

    python: Path

    def run(self, *words: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run Python in `cwd`, where a model's module lies."""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "HSFLOW_"))}
        environment = {
            **inherited, "PYTHONPATH": str(cwd), "PYTHONDONTWRITEBYTECODE": "1", "COLUMNS": "200",
            "HSFLOW_ALLOW_CODE": "1", **variables,
        }  # fmt: skip
        return subprocess.run(
            [self.python, *words], cwd=cwd, env=environment, capture_output=True, text=True, check=False
        )

    def hsflow(self, *words: str, cwd: Path, **variables: str) -> subprocess.CompletedProcess[str]:
        """Run the command line in `cwd`."""
        return self.run("-m", "hsflow.cli", *words, cwd=cwd, **variables)


def new_environment(folder: Path) -> Environment:
    """Return a new virtual environment that sees what is installed in the running one, editable packages too."""
    venv.create(folder)
    python = folder / "bin" / "python"
    sites = {sysconfig.get_path(name) for name in ("purelib", "platlib")}
    sites.add(str(Path(str(importlib.metadata.distribution("hsflow").locate_file(""))).resolve()))
    own = sysconfig.get_path("purelib", vars={"base": str(folder), "platbase": str(folder)})
    # addsitedir, unlike a plain path, also processes the .pth files there, by which editable packages are found.
    lines = [f"import site; site.addsitedir({site!r})\n" for site in sorted(sites)]
    Path(own, "zz-libraries.pth").write_text("".join(lines))
    return Environment(python)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """Return an environment without the package."""
    if any(d.name == DISTRIBUTION["distribution"] for d in importlib.metadata.distributions()):
        pytest.skip("hsflow-apot is installed beside hsflow, so no environment is without it")
    return new_environment(tmp_path_factory.mktemp("bare"))


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of the package, since building it writes beside its sources."""
    folder = tmp_path_factory.mktemp("source") / SOURCE.name
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", ".*_cache")
    shutil.copytree(SOURCE, folder, ignore=ignored)
    return folder


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory, package: Path) -> Environment:
    """Return an environment in which pip has built and installed the package, without a network."""
    for tool in ("pip", "setuptools"):
        if importlib.util.find_spec(tool) is None:
            pytest.skip(f"{tool}, which builds the package without a network, is not installed")
    made = new_environment(tmp_path_factory.mktemp("installed"))
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet")
    # The running environment's pip works on the new one, whose own would bring its own, older setuptools.
    pip = [sys.executable, "-m", "pip", "--python", str(made.python)]
    done = subprocess.run(
        [*pip, "install", *options, str(package)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return made


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a flow, its model and its data."""
    folder = tmp_path_factory.mktemp("project")
    write_project(folder, "apot")
    return folder


def write_project(folder: Path, use: str) -> None:
    rng = np.random.default_rng(7)
    arrays: dict[str, Any] = {}
    for part, count in (("train", 96), ("test", 20)):
        labels = rng.integers(0, CLASSES, count)
        images = rng.integers(0, 120, (count, 1, 6, 6))
        for image, label in zip(images, labels, strict=True):
            image[0, 2 * label : 2 * label + 2] += 120
        arrays |= {f"{part}_images": images.astype(np.uint8), f"{part}_labels": labels}
    np.savez(folder / "tiny.npz", **arrays)
    (folder / "tiny_model.py").write_text(MODEL)
    (folder / "flow.toml").write_text(FLOW.format(use=use))


@dataclass(frozen=True)
class Built:
    """Hold a finished build: its folder, the JSON that the command printed, the observer's log."""

    folder: Path
    summary: dict[str, Any]
    log: list[str]

    @property
    def graph(self) -> Graph:
        """Return the integer graph from the store."""
        key = next(stage["key"] for stage in self.summary["stages"] if stage["stage"] == "quantize")
        artifact = Store(store_root(self.folder)).get(key)
        assert artifact is not None
        graph: Graph = read_value(artifact, StageKind.QUANTIZE)
        return graph


@pytest.fixture(scope="module")
def built(environment: Environment, project: Path) -> Built:
    """Return the result of `hsflow build` up to package."""
    log = project / "stages.log"
    done = environment.hsflow("build", "--json", cwd=project, **{LOG: str(log)})
    assert done.returncode == EXIT_OK, done.stderr
    return Built(project, json.loads(done.stdout), log.read_text().splitlines())


def test_the_command_lists_the_package(environment: Environment, tmp_path: Path) -> None:
    done = environment.hsflow("plugins", "--json", cwd=tmp_path)
    assert done.returncode == EXIT_OK, done.stderr
    listed = json.loads(done.stdout)
    assert {"kind": "quantize", "name": "apot", "stage_version": "1", **DISTRIBUTION} in listed["stages"]
    assert {"hook": "hsflow_stage_finished", **DISTRIBUTION} in listed["hooks"]
    assert {row["distribution"] for row in listed["stages"]} == {"hsflow", "hsflow-apot"}


def test_the_package_s_own_tests_pass(environment: Environment, package: Path) -> None:
    done = environment.run("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=package)
    assert done.returncode == 0 and " passed" in done.stdout, done.stdout + done.stderr


def test_a_flow_runs_up_to_package(built: Built) -> None:
    assert [stage["stage"] for stage in built.summary["stages"]][-1] == "package"
    assert (built.folder / "build" / METRICS).is_file()
    assert list((built.folder / "build").rglob("*.core"))


def test_the_graph_holds_sums_of_interleaved_powers_of_two(built: Built) -> None:
    """A common power of two may be taken out of a channel, so that its terms' parities may change, but not be equal."""
    convolutions = [layer for layer in built.graph.layers if isinstance(layer, Conv)]
    both = 0
    for layer in convolutions:
        sign, exponent = layer.weight.sign.array, layer.weight.exponent.array
        assert sign.shape[0] == 2 and layer.weight.levels == 8
        used = (sign != 0).all(axis=0)
        assert ((exponent[0] - exponent[1]) % 2 == 1)[used].all()
        assert (sign[0] == sign[1])[used].all()
        both += int(used.sum())
    assert len(convolutions) == 2 and both > 0


def test_pruned_weights_stay_zero(built: Built) -> None:
    figures = built.summary["metrics"]
    weights = [layer.weight.integers for layer in built.graph.layers if isinstance(layer, Conv)]
    zeros = sum(int((weight == 0).sum()) for weight in weights)
    assert zeros >= 0.3 * sum(weight.size for weight in weights) - 1
    assert figures["quantize.zero_fraction"]["value"] >= figures["prune.zero_fraction"]["value"] > 0


def test_the_observer_saw_every_stage(built: Built) -> None:
    seen = [line.partition(":")[0] for line in built.log]
    assert seen == [f"{stage['stage']} {stage['name']}" for stage in built.summary["stages"]]
    assert "quantize apot" in seen


def test_the_hardware_computes_every_integer_of_the_graph(environment: Environment, built: Built) -> None:
    """`hsflow run` compares every logit, the latency and the interval; what it measured must be there, and new."""
    figures = built.folder / "work" / TARGET / METRICS
    assert not figures.exists()
    done = environment.hsflow("run", TARGET, cwd=built.folder)
    assert done.returncode == EXIT_OK, done.stdout + done.stderr
    measured = json.loads(figures.read_text())
    images = measured["simulate.images"]["value"]
    assert images > 0 and measured["simulate.latency"]["value"] > 0
    check_that_a_wrong_integer_is_found(figures.parent, images)


def check_that_a_wrong_integer_is_found(work_root: Path, images: int) -> None:
    """Be the twin that must fail: the same results with one digit of the last logit changed."""
    results = work_root / RESULTS
    lines = results.read_text().splitlines()
    assert check_simulation(work_root, Conditions(images=images)).errors == 0
    lines[-3] = ("1" if lines[-3][0] == "0" else "0") + lines[-3][1:]
    results.write_text("\n".join(lines) + "\n")
    with pytest.raises(MismatchError, match=f"image {images - 1}"):
        check_simulation(work_root, Conditions(images=images))


def test_an_observer_that_fails_is_named_and_breaks_nothing(environment: Environment, built: Built) -> None:
    done = environment.hsflow("build", cwd=built.folder, **{LOG: str(built.folder / "absent" / "x.log")})
    assert done.returncode == EXIT_OK, done.stderr
    message = " ".join(done.stderr.split())
    assert message.count("plugin 'apot' of hsflow-apot 0.1.0: its observer hsflow_stage_finished failed") == 1


def test_without_the_package_the_name_is_refused(bare: Environment, tmp_path: Path) -> None:
    write_project(tmp_path, "apot")
    done = bare.hsflow("build", cwd=tmp_path)
    assert done.returncode == EXIT_USAGE
    assert "[quantize] use: an unknown implementation 'apot'; (known: po2)" in done.stderr


def test_a_misspelt_name_gets_the_nearest_one(environment: Environment, tmp_path: Path) -> None:
    write_project(tmp_path, "apto")
    done = environment.hsflow("build", cwd=tmp_path)
    assert done.returncode == EXIT_USAGE
    assert "unknown implementation 'apto'; did you mean 'apot'? (known: apot, po2)" in done.stderr


@pytest.mark.parametrize(
    ("code", "reason"), [(None, "ModuleNotFoundError"), ("raise RuntimeError('not today')", "not today")]
)
def test_a_broken_entry_point_names_its_distribution(
    bare: Environment, tmp_path: Path, code: str | None, reason: str
) -> None:
    metadata = tmp_path / "hsflow_broken-0.3.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: hsflow-broken\nVersion: 0.3\n")
    (metadata / "entry_points.txt").write_text("[hsflow]\nbroken = hsflow_broken.plugin\n")
    if code is not None:
        (tmp_path / "hsflow_broken").mkdir()
        (tmp_path / "hsflow_broken" / "__init__.py").touch()
        (tmp_path / "hsflow_broken" / "plugin.py").write_text(code + "\n")
    done = bare.hsflow("plugins", cwd=tmp_path)
    assert done.returncode == EXIT_FAILURE
    assert "plugin 'broken' of hsflow-broken 0.3: the plugin cannot be imported" in done.stderr
    assert reason in done.stderr and "update or uninstall hsflow-broken" in done.stderr


def test_the_bare_environment_works(bare: Environment, tmp_path: Path) -> None:
    """The refusals above are not those of an environment that refuses everything."""
    done = bare.hsflow("plugins", "--json", cwd=tmp_path)
    assert done.returncode == EXIT_OK, done.stderr
    assert "apot" not in done.stdout
