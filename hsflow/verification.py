# SPDX-License-Identifier: Apache-2.0
"""Verification of a whole design, layer by layer, on images: what is simulated, where it is kept, and its figures."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from hsflow import metrics
from hsflow.design import Design
from hsflow.durable import replace_file
from hsflow.eda import RTL_LIBRARY
from hsflow.emulation import feature_maps
from hsflow.errors import ConfigurationError
from hsflow.executor import ProcessExecutor
from hsflow.layerwise import (
    PREFIX,
    RTL_DIGEST,
    Conditions,
    LayerProof,
    LayerTask,
    layer_tasks,
    rtl_digest,
    verify_layers,
)
from hsflow.metrics import Metric, make_metric
from hsflow.process import terminate_as_interrupt
from hsflow.progress import Reporter
from hsflow.results import METRICS


@dataclass(frozen=True)
class Verification:
    """Hold the layers that were simulated, with what came of each, and how many images and layers there are."""

    proofs: tuple[LayerProof, ...]
    images: int
    layers: int
    rtl_digest: str

    @property
    def proved(self) -> int:
        """Return how many layers are proved."""
        return sum(proof.proved for proof in self.proofs)

    def figures(self) -> dict[str, Metric]:
        """Return the metrics of this verification; each layer's are named by its place among those simulated."""
        return {name: make_metric(name, value, unit) for name, value, unit in self._figures()}

    def _figures(self) -> Iterator[tuple[str, int | float | str, str]]:
        yield RTL_DIGEST, self.rtl_digest, ""
        yield f"{PREFIX}images", self.images, "images"
        yield f"{PREFIX}layers", self.layers, "layers"
        yield f"{PREFIX}layers_proved", self.proved, "layers"
        yield f"{PREFIX}words", sum(proof.words for proof in self.proofs), "words"
        yield f"{PREFIX}words_wrong", sum(proof.wrong for proof in self.proofs), "words"
        for number, proof in enumerate(self.proofs):
            yield f"{PREFIX}layer{number}.name", proof.name, ""
            yield f"{PREFIX}layer{number}.words", proof.words, "words"
            yield f"{PREFIX}layer{number}.words_wrong", proof.wrong, "words"
            yield f"{PREFIX}layer{number}.seconds", seconds_of(proof), "s"


def seconds_of(proof: LayerProof) -> float:
    """Return the processor's seconds that a proof took."""
    return round(proof.compile_seconds + proof.run_seconds, 3)


def verify_design(
    design: Design,
    images: NDArray[Any],
    folder: Path,
    conditions: Conditions,
    hooks: Any,
    *,
    names: Sequence[str] = (),
    workers: int = 0,
    reporter: Reporter | None = None,
) -> Verification:
    """Simulate the hardened layers of a design on images, and return what came of each.

    Args:
        design: a hardened network.
        images: integers, (n, channels, height, width).
        folder: where each layer's result lies; those of an earlier run are used.
        conditions: how layers are simulated.
        hooks: pluggy's relay, for a fast emulator.
        names: the layers; by default all.
        workers: processes; 0 is one for each usable processor.
        reporter: shows the progress.

    Raises:
        ConfigurationError: if a layer is unknown, or there is no image.
        ToolError: if a simulator is missing or fails.
    """
    if not len(images):
        raise ConfigurationError("there is no image to verify with", got=0, expected="one or more")
    known = [cost.name for cost in design.layers]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 3) or known[:3]
            raise ConfigurationError("an unknown layer", got=name, hint=f"some are {', '.join(near)}")
    tasks = [
        task for task in _tasks(design, images, folder, conditions, hooks) if task.name in (names or known)
    ]
    with terminate_as_interrupt():  # so that workers, and what they have started, end as well
        proofs = verify_layers(tasks, ProcessExecutor(workers), (reporter or Reporter()).track)
    return Verification(tuple(proofs), len(images), len(known), rtl_digest(design))


def _tasks(
    design: Design, images: NDArray[Any], folder: Path, conditions: Conditions, hooks: Any
) -> list[LayerTask]:
    from hsflow_cores import FOLDER

    library = [FOLDER / core / "rtl" for core in RTL_LIBRARY]
    return layer_tasks(design, feature_maps(design.graph, images, hooks), folder, conditions, library)


def write_figures(folder: Path, verification: Verification, before: Mapping[str, Metric]) -> None:
    """Write the figures, with those of the stages before, where a report finds them."""
    folder.mkdir(parents=True, exist_ok=True)
    replace_file(folder / METRICS, metrics.to_json({**before, **verification.figures()}).encode())
