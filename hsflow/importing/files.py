# SPDX-License-Identifier: Apache-2.0
"""Read a model's file that nobody vouches for, through a library that is installed only where it is wanted."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from hsflow.errors import HsflowError, ModelError

T = TypeVar("T")

MAX_FILE_BYTES = 1 << 30


def optional_library(package: str, form: str) -> Any:
    """Return the package of the extra of that name, which reads files of this form.

    Raises:
        HsflowError: if it is not installed.
    """
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise HsflowError(
            f"the package that reads {form} files is missing",
            where=f"[load] use = '{package}'",
            got=str(error),
            hint=f"pip install 'hsflow[{package}]'",
        ) from error


def content(path: Path) -> bytes:
    """Return a file's bytes.

    Raises:
        ModelError: if it is unreadable or larger than `MAX_FILE_BYTES`.
    """
    try:
        size = path.stat().st_size
        raw = path.read_bytes() if size <= MAX_FILE_BYTES else b""
    except OSError as error:
        raise ModelError("the model cannot be read", where=str(path), got=error) from error
    if size > MAX_FILE_BYTES:
        raise ModelError(
            "the model is too large", where=str(path), got=f"{size:,} bytes", expected=f"{MAX_FILE_BYTES:,}"
        )
    return raw


def parsed(parse: Callable[[bytes, str], T], raw: bytes, path: Path, form: str) -> T:
    """Return what `parse` makes of a file's bytes; such libraries raise anything at all on a damaged file.

    Raises:
        ModelError: if it raises.
    """
    try:
        return parse(raw, str(path))
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(
            f"the {form} file is damaged",
            where=str(path),
            got=f"{type(error).__name__}: {error}"[:200],
            expected="a whole file",
            hint="fetch, export or convert the model again",
        ) from error
