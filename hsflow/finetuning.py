# SPDX-License-Identifier: Apache-2.0
"""A new task for finished hardware: train only the programmable layer, and give the NPU its new memory image.

The hardened layers are wires and stay as they are; that they did is checked. A task with fewer classes than the hardware
was built for leaves the others with the lowest possible score.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from hsflow.artifact import canonical_json, digest
from hsflow.beats import input_stream
from hsflow.config import nearest
from hsflow.data import Dataset, Reading, load_dataset
from hsflow.design import Design, DesignFile
from hsflow.durable import replace_file
from hsflow.errors import ConfigurationError, HsflowError, MismatchError, ModelError, PluginError
from hsflow.images import Geometry, is_image_source
from hsflow.ir.graph import Dense, Graph
from hsflow.ir.tensor import Shape
from hsflow.progress import Reporter, waiting
from hsflow.results import (
    EXPECTED,
    EXPECTED_SWITCHED,
    LABELS,
    NPU_IMAGE,
    NPU_IMAGE_SWITCHED,
    PLAN,
    STIMULUS,
    SimulationPlan,
    SimulationResult,
    read_plan,
)
from hsflow.stage import FlowSettings

ODD_EVEN = "odd-even"
ROTATE_90 = "rotate90"
BUILT_IN_TASKS = (ODD_EVEN, ROTATE_90)
FOLDER = "finetune"

_DATA_FILES = (PLAN, STIMULUS, EXPECTED, EXPECTED_SWITCHED, NPU_IMAGE, NPU_IMAGE_SWITCHED, LABELS)
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]")
_DIGEST_CHARACTERS = 12


@dataclass(frozen=True, eq=False)
class Retrained:
    """Hold a graph whose classifier solves a new task, that task's data, and the file that programs the NPU."""

    graph: Graph
    dataset: Dataset
    image: DesignFile


def task_reading(settings: FlowSettings, shape: Shape, test: str | None = None) -> Reading:
    """Return how files of images become a task for a network whose input has `shape`: as many channels as it has.

    Images are scaled and cut as the flow's own are; where the flow does neither, so that they just cover the network's
    input. `test` names the held-out ones; without it, a share of the others is held out, as large as the flow's.
    """
    covering = Geometry(max(shape.height, shape.width), (shape.height, shape.width))
    geometry = covering if settings.geometry == Geometry() else settings.geometry
    return Reading(geometry, test, settings.held_out, shape.channels)


def load_task(task: str, base: Dataset, folder: Path, reading: Reading) -> Dataset:
    """Return the data of a task.

    Args:
        task: `odd-even` (is the label odd?), `rotate90` (the same labels, images turned by 90 degrees), or the path of
            an .npz file, or of a folder or .zip file of images, as `hsflow.data.load_dataset` reads it, relative to
            `folder`.
        base: the images that the network was made for.
        folder: what a path is relative to.
        reading: for folders and zip files of images; see `task_reading`.

    Raises:
        ConfigurationError: if the task is unknown or does not fit the images, or held-out images are named for what is
            no folder or .zip file of images.
    """
    is_images = task not in BUILT_IN_TASKS and is_image_source(folder / task)
    if reading.test is not None and not is_images:
        raise ConfigurationError(
            "held-out images are for a task of images", where="--test-data", got=f"--task {task}",
            expected="a task that is a folder or .zip file of images", hint="leave --test-data out",
        )  # fmt: skip
    match task:
        case "odd-even":
            return replace(
                base, name=task, classes=("even", "odd"),
                train_labels=base.train_labels % 2, test_labels=base.test_labels % 2,
            )  # fmt: skip
        case "rotate90":
            return replace(
                base,
                name=task,
                train_images=_turned(base.train_images),
                test_images=_turned(base.test_images),
            )
    if is_images or task.endswith(".npz"):
        dataset = load_dataset(task, folder, reading)
        # A file called as a built-in task is another task.
        return replace(dataset, name=f"{dataset.name}-data") if dataset.name in BUILT_IN_TASKS else dataset
    raise ConfigurationError(
        "an unknown task", where="--task", got=task,
        expected="a built-in task, or the path of an .npz file, or of a folder or .zip file of images",
        hint=nearest(task, BUILT_IN_TASKS),
    )  # fmt: skip


def retrain(design: Design, dataset: Dataset, seed: int, hooks: Any, reporter: Reporter) -> Retrained:
    """Train the classifier of a finished design for the task of `dataset`, and assemble the NPU's new memory image.

    Args:
        design: with its NPU.
        dataset: the new task.
        seed: fixes the training.
        hooks: pluggy's relay, for the trainer and the NPU's assembler.
        reporter: who shows progress.

    Raises:
        ModelError: if the design has no programmable layer, or the task has more classes than it.
        PluginError: if no plugin trains classifiers or knows the NPU.
        MismatchError: if the trainer changed more than the classifier.
    """
    built, wanted = int(_classifier(design.graph).weight.array.shape[0]), len(dataset.classes)
    if wanted > built:
        raise ModelError(
            "the task has more classes than the hardware",
            where=design.name,
            got=wanted,
            expected=f"at most {built}",
        )
    graph = hooks.hsflow_train_classifier(
        graph=design.graph, dataset=dataset, seed=seed, track=reporter.track
    )
    if graph is None:
        raise PluginError("no plugin trains classifiers", where=design.name, hint="see `hsflow plugins`")
    check_hardware_unchanged(design.graph, graph)
    return Retrained(graph, dataset, memory_image(design, graph, hooks))


def check_hardware_unchanged(built: Graph, graph: Graph) -> None:
    """Check that only weights and bias of the classifier differ.

    Raises:
        MismatchError: if another layer, or a format or shape, does.
    """
    if built.input != graph.input or built.layers[:-1] != graph.layers[:-1]:
        raise MismatchError("training changed what is hardware already", where=graph.name)
    if _classifier(built).weight.array.shape != _classifier(graph).weight.array.shape:
        raise MismatchError("training changed the classifier's shape", where=graph.name)


def memory_image(design: Design, graph: Graph, hooks: Any) -> DesignFile:
    """Return the file that programs the classifier of `graph` into the NPU of `design`."""
    if design.npu is None:
        raise ModelError("the design has no NPU", where=design.name, hint="build it with an npu stage")
    image: DesignFile | None = hooks.hsflow_program_classifier(design=design, graph=graph)
    if image is None:
        raise PluginError("no plugin knows the NPU of the design", where=design.name)
    return image


def simulate(
    retrained: Retrained, design: Design, work_root: Path, hooks: Any, *, switch_after: int = 0
) -> SimulationResult:
    """Run the simulation that was built in `work_root` on the new task; nothing is compiled.

    The new task's files lie in `work_root/finetune/TASK` (with a digest of the data, where that is a file's), and so do
    its results; the build's own stay as they are.

    Args:
        retrained: the new task.
        design: what was built, with the weights that it was built with.
        work_root: of a target that has been run.
        hooks: pluggy's relay, for the data of the simulation.
        switch_after: 0 to write the new weights before the first image; else start with the design's own weights, and
            write the new ones into the running stream when so many results have left.

    Raises:
        HsflowError: if no simulation was built there.
        MismatchError: if it is another design's, or a result differs from the integer network's.
    """
    from hsflow.simulation import Simulation

    edam = _edam(work_root)
    folder = task_folder(work_root, retrained.dataset)
    simulation = Simulation.from_edam(edam, work_root, edam.get("flow_options", {}))
    conditions = simulation.conditions.model_copy(update={"switch_after": switch_after})

    def prepare() -> None:
        plan = read_plan(work_root)
        check_same_design(plan, design, work_root)
        with waiting("computing the expected results"):
            texts = _simulation_files(retrained, design, plan, hooks, switch_after)
        _write_data(folder, texts)

    # The stages' figures are those of the task that the hardware was built for.
    run = replace(simulation, data_folder=folder, conditions=conditions, records=())
    return run.run(table=False, prepare=prepare)


def task_folder(work_root: Path, dataset: Dataset) -> Path:
    """Return the folder of a task's files: right below `work_root/finetune`, whatever the task is called.

    Raises:
        HsflowError: if a link leads out of the work root.
    """
    name = _UNSAFE.sub("_", dataset.name) or "task"
    if dataset.name not in BUILT_IN_TASKS:
        name = f"{name}-{_data_digest(dataset)}"
    folder = work_root / FOLDER / name
    if folder.resolve() != work_root.resolve() / FOLDER / name:
        raise HsflowError("a link leads out of the work root", where=str(folder), got=str(folder.resolve()))
    return folder


def _data_digest(dataset: Dataset) -> str:
    arrays = (dataset.train_images, dataset.train_labels, dataset.test_images, dataset.test_labels)
    whole = [digest(np.ascontiguousarray(array).tobytes()) for array in arrays]
    return digest(canonical_json([whole, [list(array.shape) for array in arrays]]))[:_DIGEST_CHARACTERS]


def check_same_design(plan: SimulationPlan, design: Design, work_root: Path) -> None:
    """Check that the simulation in `work_root` is of `design`, as far as its description tells.

    Raises:
        MismatchError: if top module, image size or timing differ.
    """
    wanted = {
        "top": design.name,
        "transfers_per_image": input_stream(design).beats,
        "latency": design.latency,
        "initiation_interval": design.initiation_interval,
    }
    found = {name: getattr(plan, name) for name in wanted}
    different = [name for name in wanted if found[name] != wanted[name]]
    if different:
        raise MismatchError(
            "the simulation there is another design's",
            where=str(work_root / PLAN),
            got=", ".join(f"{name} {found[name]}" for name in different),
            expected=", ".join(f"{name} {wanted[name]}" for name in different),
            hint="run `hsflow run sim` again, or give the work root of this design",
        )


def _write_data(folder: Path, texts: Mapping[str, str]) -> None:
    """Write the files of a run, and remove those of an earlier one that it has not; nobody else's are touched."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in _DATA_FILES:
        if name not in texts:
            (folder / name).unlink(missing_ok=True)
    for name, text in texts.items():
        replace_file(folder / name, text.encode())


def _simulation_files(
    retrained: Retrained, design: Design, plan: SimulationPlan, hooks: Any, switch_after: int
) -> Mapping[str, str]:
    """Return what a built simulation needs for the new task, by base name."""
    count = min(plan.images, len(retrained.dataset.test_images))
    images, labels = retrained.dataset.test_images[:count], retrained.dataset.test_labels[:count]

    def data(graph: Graph) -> dict[str, str]:
        files = hooks.hsflow_simulation_data(design=design, graph=graph, images=images, labels=labels) or ()
        return {Path(file.path).name: file.text for file in files if Path(file.path).name in _DATA_FILES}

    texts = {**data(retrained.graph), NPU_IMAGE: retrained.image.text}
    texts[PLAN] = plan.model_copy(update={"images": count}).to_json()
    _check_lengths(
        texts, {STIMULUS: count * plan.transfers_per_image, EXPECTED: count * plan.beats_per_image}
    )
    if not switch_after:
        return texts
    # Some images belong to the old task and some to the new one: no list of labels fits both.
    texts.pop(LABELS, None)
    switched = {EXPECTED_SWITCHED: texts[EXPECTED], NPU_IMAGE_SWITCHED: texts[NPU_IMAGE]}
    before = {
        EXPECTED: data(design.graph)[EXPECTED],
        NPU_IMAGE: memory_image(design, design.graph, hooks).text,
    }
    return {**texts, **before, **switched}


def _check_lengths(texts: Mapping[str, str], wanted: Mapping[str, int]) -> None:
    """Check that the data has as many lines as the built testbench will read."""
    for name, lines in wanted.items():
        found = len(texts[name].splitlines()) if name in texts else 0
        if found != lines:
            raise MismatchError(
                "the data does not fit the simulation", where=name, got=f"{found} lines", expected=lines,
                hint="run `hsflow run sim` again, or give the work root of this design",
            )  # fmt: skip


def _edam(work_root: Path) -> dict[str, Any]:
    found = sorted(work_root.glob("*.eda.yml"))
    if len(found) != 1:
        raise HsflowError(
            "no simulation was built there", where=str(work_root), got=f"{len(found)} .eda.yml files",
            expected="one", hint="run `hsflow run sim` first, and give its work root",
        )  # fmt: skip
    try:
        edam = yaml.safe_load(found[0].read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise HsflowError(
            "the simulation's description cannot be read", where=str(found[0]), got=error
        ) from error
    if not isinstance(edam, dict):
        raise HsflowError("the simulation's description is no EDAM", where=str(found[0]))
    return edam


def _classifier(graph: Graph) -> Dense:
    if graph.classifier is None:
        raise ModelError("the network has no programmable last layer", where=graph.name)
    return graph.classifier


def _turned(images: Any) -> Any:
    if images.shape[2] != images.shape[3]:
        raise ConfigurationError(
            "only square images can be turned", where="--task rotate90", got=images.shape[2:]
        )
    return np.ascontiguousarray(np.rot90(images, axes=(2, 3)))
