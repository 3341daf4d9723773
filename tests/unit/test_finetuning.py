# SPDX-License-Identifier: Apache-2.0
"""A new task for finished hardware: which data it means, and that nothing but the classifier may change."""

from __future__ import annotations

import sys
import types
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from toy_flow import CLASSES, toy_graph

from hsflow import finetuning, results
from hsflow.data import Dataset, Reading
from hsflow.design import Design, DesignFile, FileRole, NpuPlan
from hsflow.errors import ConfigurationError, HsflowError, MismatchError, ModelError
from hsflow.finetuning import load_task, retrain, task_reading
from hsflow.images import Geometry
from hsflow.ir.graph import Graph
from hsflow.ir.tensor import Constant, Shape
from hsflow.plugins import load_plugins
from hsflow.progress import Reporter
from hsflow.results import (
    EXPECTED_SWITCHED,
    METRICS,
    PLAN,
    STIMULUS,
    SimulationPlan,
    SimulationResult,
)
from hsflow.simulation import Simulation
from hsflow.stage import FlowSettings

IMAGES = np.arange(5 * 4, dtype=np.uint8).reshape(5, 1, 2, 2)
LABELS = np.arange(5)
HOOKS = load_plugins().hook
ANY = Reading()
BASE = Dataset("base", IMAGES, LABELS, IMAGES[:3], LABELS[:3], ("0", "1", "2", "3", "4"))


def _design(graph: Graph) -> Design:
    return Design("toy", graph, (), (), 1, 1, NpuPlan(1, 2, 12, 512, 4, 9))


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that sets what training does to the graph."""

    def use(change: Any) -> list[Any]:
        calls: list[Any] = []

        def finetune_classifier(
            graph: Graph, images: Any, labels: Any, classes: Any, seed: int, *, track: Any
        ) -> Graph:
            calls.append((len(images), labels.tolist(), classes, seed))
            return change(graph)

        module = types.SimpleNamespace(finetune_classifier=finetune_classifier)
        monkeypatch.setitem(sys.modules, "hsflow_po2.finetune", module)
        return calls

    return use


def _new_classifier(graph: Graph) -> Graph:
    classifier = graph.layers[-1]
    weight = Constant(-classifier.weight.array)
    return replace(graph, layers=(*graph.layers[:-1], replace(classifier, weight=weight)))


def test_odd_even_is_about_the_label() -> None:
    task = load_task("odd-even", BASE, Path(), ANY)
    assert task.train_labels.tolist() == [0, 1, 0, 1, 0] and task.classes == ("even", "odd")
    assert np.array_equal(task.train_images, IMAGES)


def test_rotate90_turns_every_image_and_keeps_the_labels() -> None:
    task = load_task("rotate90", BASE, Path(), ANY)
    assert task.train_images[0, 0].tolist() == [[1, 3], [0, 2]]
    assert task.test_labels.tolist() == [0, 1, 2] and task.classes == BASE.classes


def test_images_that_are_not_square_cannot_be_turned() -> None:
    flat = replace(BASE, train_images=IMAGES.reshape(5, 1, 1, 4))
    with pytest.raises(ConfigurationError, match="square"):
        load_task("rotate90", flat, Path(), ANY)


def test_a_file_is_a_task_and_an_unknown_word_is_not(tmp_path: Path) -> None:
    arrays = {"train_images": IMAGES, "train_labels": LABELS, "test_images": IMAGES, "test_labels": LABELS}
    np.savez(tmp_path / "task.npz", **arrays)
    assert load_task("task.npz", BASE, tmp_path, ANY).name == "task"
    with pytest.raises(ConfigurationError, match="did you mean 'odd-even'"):
        load_task("odd_even", BASE, tmp_path, ANY)


def put_images(folder: Path, shape: tuple[int, ...], classes: str = "ab") -> None:
    """Write a picture of each class and number, its pixels the number's."""
    picture = pytest.importorskip("PIL.Image", reason="Pillow is not installed")
    for label, name in enumerate(classes):
        (folder / name).mkdir(parents=True)
        for number in range(3):
            values = np.full(shape, 10 * label + number, dtype=np.uint8)
            picture.fromarray(values).save(folder / name / f"{number}.png")


def test_a_folder_of_images_is_a_task_that_fits_the_network(tmp_path: Path) -> None:
    put_images(tmp_path / "odd-even", (6, 9, 3))
    put_images(tmp_path / "held", (2, 2), classes="b")
    settings, shape = FlowSettings(name="toy"), Shape(1, 2, 2)
    task = load_task("./odd-even", BASE, tmp_path, task_reading(settings, shape))
    assert task.train_images.shape == (4, 1, 2, 2) and task.test_images.shape == (2, 1, 2, 2)
    assert task.classes == ("a", "b") and task.name not in finetuning.BUILT_IN_TASKS
    assert sorted({*task.train_images.flat, *task.test_images.flat}) == [0, 1, 2, 10, 11, 12]
    held = load_task("./odd-even", BASE, tmp_path, task_reading(settings, shape, "held"))
    assert held.train_labels.tolist() == [0, 0, 0, 1, 1, 1] and held.test_labels.tolist() == [1, 1, 1]
    assert held.test_images[:, 0, 0, 0].tolist() == [0, 1, 2]


def test_images_of_a_task_are_scaled_as_the_flows_are(tmp_path: Path) -> None:
    settings = FlowSettings(name="toy", resize=4, crop=(3, 2), held_out=0.5)
    reading = task_reading(settings, Shape(3, 3, 2))
    assert reading == Reading(Geometry(4, (3, 2)), None, 0.5, 3)
    put_images(tmp_path / "set", (8, 8))
    assert load_task("set", BASE, tmp_path, reading).train_images.shape == (3, 3, 3, 2)


@pytest.mark.parametrize("task", ["odd-even", "task.npz", "nowhere"])
def test_held_out_images_are_for_a_task_of_images(tmp_path: Path, task: str) -> None:
    with pytest.raises(ConfigurationError, match="--test-data"):
        load_task(task, BASE, tmp_path, Reading(test="held"))


def test_training_gives_a_new_image_for_the_same_hardware(trainer: Any) -> None:
    calls = trainer(_new_classifier)
    graph = toy_graph("toy", 8)
    task = load_task("odd-even", BASE, Path(), ANY)
    retrained = retrain(_design(graph), task, 7, HOOKS, Reporter())
    assert calls == [(5, [0, 1, 0, 1, 0], ("even", "odd"), 7)]
    assert retrained.graph.layers[:-1] == graph.layers[:-1]
    old_image, new_image = finetuning.memory_image(_design(graph), graph, HOOKS).text, retrained.image.text
    assert old_image != new_image and len(old_image.splitlines()) == len(new_image.splitlines()) > CLASSES


def _other_hardware(graph: Graph) -> Graph:
    return replace(graph, layers=(replace(graph.layers[0], weight_fractions=(1, 1)), graph.layers[1]))


def _other_shape(graph: Graph) -> Graph:
    classifier = graph.layers[-1]
    smaller = replace(
        classifier, weight=Constant(classifier.weight.array[:2]), bias=Constant(classifier.bias.array[:2])
    )
    return replace(graph, layers=(*graph.layers[:-1], smaller))


@pytest.mark.parametrize("change", [_other_hardware, _other_shape])
def test_training_that_changes_the_hardware_is_refused(trainer: Any, change: Any) -> None:
    trainer(change)
    with pytest.raises(MismatchError, match="training changed"):
        retrain(_design(toy_graph("toy", 8)), load_task("odd-even", BASE, Path(), ANY), 1, HOOKS, Reporter())


def test_a_task_with_too_many_classes_is_refused(trainer: Any) -> None:
    trainer(_new_classifier)
    with pytest.raises(ModelError, match="more classes"):
        retrain(_design(toy_graph("toy", 8)), BASE, 1, HOOKS, Reporter())


def test_a_design_without_a_programmable_layer_is_refused() -> None:
    graph = toy_graph("toy", 8)
    hardened = replace(graph, layers=graph.layers[:-1])
    with pytest.raises(ModelError, match="no programmable"):
        retrain(_design(hardened), BASE, 1, HOOKS, Reporter())
    with pytest.raises(ModelError, match="no NPU"):
        finetuning.memory_image(replace(_design(graph), npu=None), graph, HOOKS)


def test_a_simulation_that_was_not_built_is_refused(tmp_path: Path) -> None:
    graph = toy_graph("toy", 8)
    retrained = finetuning.Retrained(graph, BASE, DesignFile("npu.hex", "", FileRole.DATA))
    with pytest.raises(HsflowError, match="hsflow run sim"):
        finetuning.simulate(retrained, _design(graph), tmp_path, HOOKS)
    (tmp_path / "x.eda.yml").write_text("- 1")
    with pytest.raises(HsflowError, match="no EDAM"):
        finetuning.simulate(retrained, _design(graph), tmp_path, HOOKS)


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a work root in which a simulation of the toy seems to have been built, and let none run."""
    work = tmp_path / "work"
    work.mkdir()
    plan = {"top": "toy", "images": 5, "transfers_per_image": 4, "beats_per_image": 3, "latency": 1}
    plan |= {"initiation_interval": 1, "clock_mhz": 1.0}
    (work / PLAN).write_text(SimulationPlan.model_validate(plan).to_json())
    edam = {"name": "toy", "toplevel": "tb", "files": [], "flow_options": {"tool": "icarus"}}
    (work / "toy.eda.yml").write_text(yaml.safe_dump(edam))
    monkeypatch.setattr(Simulation, "_simulate", lambda *_: 0.0)

    def check(folder: Path, *_: Any) -> SimulationResult:
        (folder / METRICS).write_text("{}")
        return SimulationResult(3, 9, 1, 1, None)

    monkeypatch.setattr("hsflow.results.check_simulation", check)
    return work


def _simulate(work: Path, dataset: Dataset, **changes: Any) -> Path:
    """Run a task and return the folder of its files."""
    graph = toy_graph("toy", 8)
    retrained = finetuning.Retrained(graph, dataset, DesignFile("npu.hex", "0 0\n", FileRole.DATA))
    finetuning.simulate(retrained, replace(_design(graph), **changes), work, HOOKS)
    return finetuning.task_folder(work, dataset)


@pytest.mark.parametrize("name", ["..", ".", "...", "a/../../x", "\0", "a b", "", "toy.v1", "odd-even.npz"])
def test_a_task_of_any_name_stays_in_its_own_folder(built: Path, name: str) -> None:
    (built / "Makefile").write_text("precious")
    before = set(built.iterdir())
    folder = _simulate(built, replace(BASE, name=name))
    assert folder.parent == built / "finetune" and folder.name.strip("._-")
    assert set(built.iterdir()) == before | {built / "finetune", built / ".hsflow.lock"}
    assert (folder / STIMULUS).is_file() and (folder / results.LABELS).is_file()


def test_a_file_called_as_a_built_in_task_is_another_task(tmp_path: Path) -> None:
    arrays = {"train_images": IMAGES, "train_labels": LABELS, "test_images": IMAGES, "test_labels": LABELS}
    np.savez(tmp_path / "odd-even.npz", **arrays)
    own = load_task("odd-even.npz", BASE, tmp_path, ANY)
    folder = finetuning.task_folder(tmp_path, own)
    assert folder != finetuning.task_folder(tmp_path, load_task("odd-even", BASE, tmp_path, ANY))
    assert finetuning.task_folder(tmp_path, replace(own, test_labels=LABELS[::-1])) != folder
    assert finetuning.task_folder(tmp_path, load_task("odd-even.npz", BASE, tmp_path, ANY)) == folder


def test_old_data_is_replaced_and_strange_files_stay(built: Path) -> None:
    folder = finetuning.task_folder(built, BASE)
    folder.mkdir(parents=True)
    for name in (EXPECTED_SWITCHED, "notes.txt"):
        (folder / name).write_text("old")
    assert _simulate(built, BASE) == folder
    assert not (folder / EXPECTED_SWITCHED).exists() and (folder / "notes.txt").read_text() == "old"


def test_a_link_out_of_the_work_root_is_refused(built: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (built / "finetune").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(HsflowError, match="link"):
        _simulate(built, BASE)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "other"}, "got: top toy\n  expected: top other"),
        ({"latency": 2}, "latency 1"),
        ({"initiation_interval": 7}, "initiation_interval 7"),
    ],
)
def test_a_work_root_of_another_design_is_refused(built: Path, changes: Any, message: str) -> None:
    with pytest.raises(MismatchError, match=message):
        _simulate(built, BASE, **changes)
    assert not (built / "finetune").exists()


@pytest.mark.parametrize("name", ["transfers_per_image", "beats_per_image"])
def test_a_work_root_of_other_images_is_refused(built: Path, name: str) -> None:
    plan = SimulationPlan.model_validate_json((built / PLAN).read_text())
    (built / PLAN).write_text(plan.model_copy(update={name: 9}).to_json())
    with pytest.raises(MismatchError, match=name if name == "transfers_per_image" else "lines"):
        _simulate(built, BASE)
    assert not (built / "finetune").exists()


def test_data_is_written_and_simulated_under_one_lock(built: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    moments: list[str] = []

    @contextmanager
    def lock(_: Simulation) -> Iterator[None]:
        moments.append("locked")
        yield
        moments.append("released")

    written = finetuning._write_data
    monkeypatch.setattr(Simulation, "lock", lock)
    monkeypatch.setattr(finetuning, "_write_data", lambda *words: [moments.append("data"), written(*words)])
    monkeypatch.setattr(Simulation, "_simulate", lambda *_: moments.append("run") or 0.0)
    _simulate(built, BASE)
    assert moments == ["locked", "data", "run", "released"]
