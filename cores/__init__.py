# SPDX-License-Identifier: Apache-2.0
"""The FuseSoC cores that come with hsflow: the RTL library, the generator and the designs."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent
