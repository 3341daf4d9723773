# SPDX-License-Identifier: Apache-2.0
"""Register the TFLite loader."""

from __future__ import annotations

from collections.abc import Sequence

from hsflow import hookimpl
from hsflow.stage import Stage
from hsflow_tflite.stage import TfliteLoader


@hookimpl
def hsflow_stages() -> Sequence[Stage]:
    """Offer `load = "tflite"`."""
    return (TfliteLoader(),)
