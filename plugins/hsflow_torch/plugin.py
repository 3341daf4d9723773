# SPDX-License-Identifier: Apache-2.0
"""Register the torch loader."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hsflow import hookimpl
from hsflow.ir.network import Network
from hsflow.ir.tensor import Shape
from hsflow.plan import SketchedNetwork
from hsflow.stage import Stage
from hsflow_torch.stage import TorchLoader


@hookimpl
def hsflow_stages() -> Sequence[Stage]:
    """Offer `load = "torch"`."""
    return (TorchLoader(),)


@hookimpl
def hsflow_import_model(
    model: Any, input_shape: Shape, name: str, mean: tuple[float, ...], std: tuple[float, ...]
) -> Network | None:
    """Lower a torch module."""
    from torch import nn

    from hsflow_torch.lower import lower

    return lower(model, input_shape, name=name, mean=mean, std=std) if isinstance(model, nn.Module) else None


@hookimpl(trylast=True)
def hsflow_sketch_network(
    model: str, width: float | None, resolution: int | None, seed: int
) -> SketchedNetwork | None:
    """Make an architecture with random weights; plugins that know files are asked first."""
    if Path(model).is_file():
        return None
    from hsflow_torch.sketch import sketch_network

    return SketchedNetwork(sketch_network(model, width, resolution, seed), has_random_weights=True)
