# SPDX-License-Identifier: Apache-2.0
"""Register the ONNX loader."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hsflow import hookimpl
from hsflow.plan import SketchedNetwork
from hsflow.stage import Stage
from hsflow_onnx.stage import OnnxLoader


@hookimpl
def hsflow_stages() -> Sequence[Stage]:
    """Offer `load = "onnx"`."""
    return (OnnxLoader(),)


@hookimpl
def hsflow_sketch_network(model: str) -> SketchedNetwork | None:
    """Load an .onnx file."""
    path = Path(model)
    if path.suffix != ".onnx":
        return None
    from hsflow_onnx.lower import lower_file

    return SketchedNetwork(lower_file(path), has_random_weights=False)
