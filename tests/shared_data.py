# SPDX-License-Identifier: Apache-2.0
"""Published models and real images, where a checkout has them: tests that need one are skipped where it is not.

The folder is HSFLOW_SHARED_DATA, else ../shared/data beside the checkout.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

VARIABLE = "HSFLOW_SHARED_DATA"
_BESIDE = Path(__file__).parents[2] / "shared" / "data"


def shared_file(name: str) -> Path:
    """Return the path of a file such as `models/mlperf_tiny/vww_96_int8.tflite`; skip the test if it is not there."""
    path = Path(os.environ.get(VARIABLE) or _BESIDE) / name
    if not path.is_file():
        pytest.skip(f"{name} is not here; {VARIABLE} names the folder that has it")
    return path
