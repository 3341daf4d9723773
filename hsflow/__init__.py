# SPDX-License-Identifier: Apache-2.0
"""hsflow turns a trained convolutional network into adders and wires.

`hsflow.load(...)` starts a flow in Python (see `hsflow.api`); `hsflow.hookimpl` marks a plugin's hook implementations.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hsflow.hookspecs import hookimpl

if TYPE_CHECKING:
    from hsflow.api import Flow, load

__all__ = ["Flow", "__version__", "hookimpl", "load"]
__version__ = "0.1.0"

_LAZY = {"Flow": "hsflow.api", "load": "hsflow.api"}


def __getattr__(name: str) -> Any:
    """Import the Python API when it is first asked for."""
    if name not in _LAZY:
        raise AttributeError(f"module 'hsflow' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(_LAZY[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
