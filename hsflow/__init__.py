# SPDX-License-Identifier: Apache-2.0
"""hsflow turns a trained convolutional network into adders and wires."""

from __future__ import annotations

from hsflow.hookspecs import hookimpl

__all__ = ["__version__", "hookimpl"]
__version__ = "0.1.0"
