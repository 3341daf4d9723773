# SPDX-License-Identifier: Apache-2.0
"""Register the pruners."""

from __future__ import annotations

from collections.abc import Sequence

from hsflow import hookimpl
from hsflow.stage import Stage
from hsflow_prune.stage import MagnitudePruner, NoPruner


@hookimpl
def hsflow_stages() -> Sequence[Stage]:
    """Offer `prune = "magnitude"` and `prune = "none"`."""
    return (MagnitudePruner(), NoPruner())
