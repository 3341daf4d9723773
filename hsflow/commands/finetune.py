# SPDX-License-Identifier: Apache-2.0
"""`finetune`: a new task for finished hardware."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hsflow.commands.session import DEFAULT_CONFIG, Config, session_of

if TYPE_CHECKING:
    from hsflow.finetuning import Retrained
    from hsflow.progress import Reporter

IMAGE_FILE = "npu.hex"
GRAPH_FILE = "graph.json"


def finetune(
    context: typer.Context,
    task: Annotated[
        str,
        typer.Option(
            help="odd-even, rotate90, or the new task's images: an .npz file, or a folder or .zip file of images."
        ),
    ],
    config: Config = DEFAULT_CONFIG,
    test_data: Annotated[
        str | None,
        typer.Option(
            help="The task's held-out images, if it is a folder or .zip file; by default a share of those."
        ),
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Where the new memory image and graph go.")
    ] = Path("finetuned"),
    simulate: Annotated[
        Path | None, typer.Option(help="The work root of a built simulation: run the new task on it.")
    ] = None,
    switch_after: Annotated[
        int,
        typer.Option(min=0, help="Start with the old weights; switch in mid-stream after so many results."),
    ] = 0,
    seed: Annotated[
        int | None, typer.Option(min=0, help="The seed of training; by default the flow's.")
    ] = None,
) -> None:
    """Train only the programmable layer on a new task; the hardened layers stay as they were built."""
    if switch_after and simulate is None:
        raise typer.BadParameter("--switch-after needs --simulate: the switch is simulated")
    from hsflow import finetuning
    from hsflow.flow import Selection
    from hsflow.stage import StageKind

    session = session_of(context)
    project = session.project(config)
    design = project.run(Selection(StageKind.NPU)).design
    settings = project.configuration.settings
    reading = finetuning.task_reading(settings, design.graph.input.shape, test_data)
    dataset = finetuning.load_task(task, project.dataset, Path.cwd(), reading)
    chosen = settings.seed if seed is None else seed
    retrained = finetuning.retrain(design, dataset, chosen, project.plugins.hook, session.reporter)
    summary = _written(retrained, output, project.plugins.hook, session.reporter)
    if simulate is not None:
        result = finetuning.simulate(
            retrained, design, simulate, project.plugins.hook, switch_after=switch_after
        )
        summary |= {
            "simulated_images": result.images,
            "hardware_accuracy_percent": None if result.accuracy is None else 100 * result.accuracy,
        }
    session.show(summary, lambda: _sentence(summary))


def _written(retrained: Retrained, output: Path, hooks: Any, reporter: Reporter) -> dict[str, Any]:
    from hsflow.durable import replace_file
    from hsflow.emulation import accuracy, emulate
    from hsflow.ir.serial import to_json

    output.mkdir(parents=True, exist_ok=True)
    replace_file(output / IMAGE_FILE, retrained.image.text.encode())
    replace_file(output / GRAPH_FILE, (to_json(retrained.graph) + "\n").encode())
    data = retrained.dataset
    score = accuracy(emulate(retrained.graph, data.test_images, hooks, reporter), data.test_labels)
    return {"task": data.name, "accuracy_percent": 100 * score, "image": str(output / IMAGE_FILE)}


def _sentence(summary: dict[str, Any]) -> str:
    line = (
        f"{summary['task']}: accuracy {summary['accuracy_percent']:.2f} %, memory image in {summary['image']}"
    )
    if "simulated_images" in summary:
        line += f"\nhardware: {summary['simulated_images']:,} images, every result as computed"
    if summary.get("hardware_accuracy_percent") is not None:
        line += f", accuracy {summary['hardware_accuracy_percent']:.2f} %"
    return line
