# SPDX-License-Identifier: Apache-2.0
"""Register the torch loader."""

from __future__ import annotations

from collections.abc import Sequence

from hsflow import hookimpl
from hsflow.stage import Stage
from hsflow_torch.stage import TorchLoader


@hookimpl
def hsflow_stages() -> Sequence[Stage]:
    """Offer `load = "torch"`."""
    return (TorchLoader(),)
