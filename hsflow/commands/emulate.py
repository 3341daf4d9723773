# SPDX-License-Identifier: Apache-2.0
"""`emulate`: score the integer network, bit for bit what the hardware computes."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Annotated, Any

import typer

from hsflow.commands.session import DEFAULT_CONFIG, Config, session_of
from hsflow.durable import replace_file


def emulate(
    context: typer.Context,
    images: Annotated[
        Path | None,
        typer.Argument(help="Images (.npy, or .npz with labels); by default the held-out test set."),
    ] = None,
    config: Config = DEFAULT_CONFIG,
    logits: Annotated[Path | None, typer.Option(help="Write the raw integer results here (.npy).")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Take only the first images.")] = None,
) -> None:
    """Run images through the integer network and print its accuracy."""
    from hsflow.emulation import LabelledImages, accuracy, read_images
    from hsflow.emulation import emulate as run_emulator
    from hsflow.flow import Selection
    from hsflow.stage import StageKind

    session = session_of(context)
    project = session.project(config)
    graph = project.run(Selection(StageKind.QUANTIZE)).graph
    if images is None:
        data = LabelledImages(project.dataset.test_images, project.dataset.test_labels)
    else:
        data = read_images(images)
    data = data.first(limit)
    result = run_emulator(graph, data.images, project.plugins.hook, session.reporter)
    summary: dict[str, Any] = {"images": len(result), "logits": None if logits is None else str(logits)}
    if logits is not None:
        write_array(logits, result)
    if data.labels is not None:
        summary["accuracy_percent"] = 100 * accuracy(result, data.labels)
    session.show(summary, lambda: _sentence(summary))


def write_array(path: Path, array: Any) -> None:
    """Write an .npy file at once."""
    import numpy as np

    buffer = BytesIO()
    np.save(buffer, array, allow_pickle=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, buffer.getvalue())


def _sentence(summary: dict[str, Any]) -> str:
    parts = [f"{summary['images']:,} images"]
    if "accuracy_percent" in summary:
        parts.append(f"accuracy {summary['accuracy_percent']:.2f} %")
    if summary["logits"] is not None:
        parts.append(f"results in {summary['logits']}")
    return ", ".join(parts)
