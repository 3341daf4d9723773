# SPDX-License-Identifier: Apache-2.0
"""Register the TFLite loader."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hsflow import hookimpl
from hsflow.plan import SketchedNetwork
from hsflow.stage import Stage
from hsflow_tflite.stage import TfliteLoader


@hookimpl
def hsflow_stages() -> Sequence[Stage]:
    """Offer `load = "tflite"`."""
    return (TfliteLoader(),)


@hookimpl
def hsflow_sketch_network(model: str) -> SketchedNetwork | None:
    """Load a .tflite file."""
    path = Path(model)
    if path.suffix != ".tflite":
        return None
    from hsflow_tflite.lower import lower_file

    return SketchedNetwork(lower_file(path), has_random_weights=False)
