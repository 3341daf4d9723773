# SPDX-License-Identifier: Apache-2.0
"""The targets' files: templates, descriptions and constraints, one folder a target."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent
