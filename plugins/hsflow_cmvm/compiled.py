# SPDX-License-Identifier: Apache-2.0
"""Compilation: the decorators of functions that numba compiles when they are first called, and keeps on disk.

numba keeps a function's machine code, with that of all functions it calls, until the function's own module changes. Here
a change of any module of this package makes all of it stale, for they call each other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TypeVar, cast

from filelock import FileLock
from numba import njit

F = TypeVar("F", bound=Callable[..., Any])


def compiled(function: F) -> F:
    """Compile a function."""
    return cast(F, _cached(function, {}))


def inlined(function: F) -> F:
    """Compile a small function into those that call it."""
    return cast(F, _cached(function, {"inline": "always"}))


def _cached(function: Callable[..., Any], options: dict[str, str]) -> Any:
    """Return the compiled function, not kept on disk where that is impossible."""
    try:
        dispatcher = njit(cache=True, **options)(function)
        cache = dispatcher._cache._cache_file
        if not isinstance(cache._source_stamp, tuple | bytes):
            return njit(**options)(function)
        cache._source_stamp = _STAMP
    except (AttributeError, RuntimeError):
        # No folder can be written to, or this release of numba keeps its stamps elsewhere.
        return njit(**options)(function)
    return dispatcher


def alone(function: Callable[..., Any]) -> AbstractContextManager[Any]:
    """Return a lock that keeps other processes from compiling into the folder where a function's machine code is kept."""
    folder = cast(Any, function).stats.cache_path
    return nullcontext() if folder is None else FileLock(Path(folder) / "hsflow_cmvm.lock")


def _digest(folder: Path) -> bytes:
    """Return a digest of all modules in a folder."""
    digest = hashlib.sha256()
    for module in sorted(folder.glob("*.py")):
        digest.update(f"{module.name}\0".encode() + module.read_bytes() + b"\0")
    return digest.digest()


_STAMP = _digest(Path(__file__).parent)
