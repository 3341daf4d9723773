# SPDX-License-Identifier: Apache-2.0
"""A new task for finished hardware: train only the programmable layer, and give the NPU its new memory image.

The hardened layers are wires and stay as they are; that they did is checked. A task with fewer classes than the hardware
was built for leaves the others with the lowest possible score.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from hsflow.config import nearest
from hsflow.data import Dataset, load_dataset
from hsflow.design import Design
from hsflow.durable import replace_file
from hsflow.errors import ConfigurationError, HsflowError, MismatchError, ModelError
from hsflow.ir.graph import Dense, Graph
from hsflow.progress import Reporter
from hsflow.results import EXPECTED, LABELS, NPU_IMAGE, PLAN, STIMULUS, SimulationResult, read_plan

ODD_EVEN = "odd-even"
ROTATE_90 = "rotate90"
BUILT_IN_TASKS = (ODD_EVEN, ROTATE_90)


@dataclass(frozen=True, eq=False)
class Retrained:
    """Hold a graph whose classifier solves a new task, that task's data, and the NPU's memory image."""

    graph: Graph
    dataset: Dataset
    image: str


def load_task(task: str, base: Dataset, folder: Path) -> Dataset:
    """Return the data of a task.

    Args:
        task: `odd-even` (is the label odd?), `rotate90` (the same labels, images turned by 90 degrees), or the path of
            an .npz file as `hsflow.data.load_dataset` reads it, relative to `folder`.
        base: the images that the network was made for.
        folder: what a path is relative to.

    Raises:
        ConfigurationError: if the task is unknown or does not fit the images.
    """
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
    if task.endswith(".npz"):
        return load_dataset(task, folder)
    raise ConfigurationError(
        "an unknown task", where="--task", got=task, expected="a built-in task or an .npz file",
        hint=nearest(task, BUILT_IN_TASKS),
    )  # fmt: skip


def retrain(design: Design, dataset: Dataset, seed: int, reporter: Reporter) -> Retrained:
    """Train the classifier of a finished design for the task of `dataset`, and assemble the NPU's new memory image.

    Raises:
        ModelError: if the design has no programmable layer, or the task has more classes than it.
    """
    classifier = _classifier(design.graph)
    built, wanted = int(classifier.weight.array.shape[0]), len(dataset.classes)
    if wanted > built:
        raise ModelError(
            "the task has more classes than the hardware",
            where=design.name,
            got=wanted,
            expected=f"at most {built}",
        )
    trainer = importlib.import_module("hsflow_po2.finetune")
    graph: Graph = trainer.finetune_classifier(
        design.graph, dataset.train_images, dataset.train_labels, dataset.classes, seed, track=reporter.track
    )
    check_hardware_unchanged(design.graph, graph)
    return Retrained(graph, dataset, memory_image(design, graph))


def check_hardware_unchanged(built: Graph, graph: Graph) -> None:
    """Check that only weights and bias of the classifier differ.

    Raises:
        MismatchError: if another layer, or a format or shape, does.
    """
    if built.input != graph.input or built.layers[:-1] != graph.layers[:-1]:
        raise MismatchError("training changed what is hardware already", where=graph.name)
    if _classifier(built).weight.array.shape != _classifier(graph).weight.array.shape:
        raise MismatchError("training changed the classifier's shape", where=graph.name)


def memory_image(design: Design, graph: Graph) -> str:
    """Return the text of npu.hex that programs the classifier of `graph` into the NPU of `design`."""
    if design.npu is None:
        raise ModelError("the design has no NPU", where=design.name, hint="build it with an npu stage")
    classifier = _classifier(graph)
    source = graph.feature_maps[classifier.source]
    configuration = importlib.import_module("hsflow_npu.configuration").NpuConfiguration(
        tokens=source.shape.pixels,
        channels=source.shape.channels,
        classes=int(classifier.weight.array.shape[0]),
        class_lanes=design.npu.class_lanes,
        feature_lanes=design.npu.feature_lanes,
        activation_width=source.format.width,
        activation_signed=source.format.signed,
    )
    assembler: Any = importlib.import_module("hsflow_npu.assembler")
    return str(assembler.assemble(classifier.weight.array, classifier.bias.array, configuration).to_hex())


def simulation_files(retrained: Retrained, plan_text: str, images: int) -> Mapping[str, str]:
    """Return what a built simulation needs for the new task, by base name.

    Args:
        retrained: the new task.
        plan_text: simulation.json with the number of images set.
        images: how many held-out images.
    """
    vectors = importlib.import_module("hsflow_fusesoc.vectors").Vectors(
        retrained.graph, retrained.dataset.test_images[:images], retrained.dataset.test_labels[:images]
    )
    return {
        PLAN: plan_text,
        STIMULUS: vectors.stimulus(),
        EXPECTED: vectors.expected(),
        LABELS: vectors.label_lines(),
        NPU_IMAGE: retrained.image,
    }


def simulate(retrained: Retrained, work_root: Path) -> SimulationResult:
    """Run the simulation that was built in `work_root` on the new task; nothing is compiled.

    Raises:
        HsflowError: if no simulation was built there.
        MismatchError: if a result differs from the integer network's.
    """
    from hsflow.simulation import Simulation

    edam = _edam(work_root)
    plan = read_plan(work_root)
    images = min(plan.images, len(retrained.dataset.test_images))
    files = simulation_files(retrained, plan.model_copy(update={"images": images}).to_json(), images)
    simulation = Simulation.from_edam(edam, work_root, edam.get("flow_options", {}))
    with simulation.lock():
        for name, text in files.items():
            replace_file(work_root / name, text.encode())
    return simulation.run()


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
