# SPDX-License-Identifier: Apache-2.0
"""Writing that survives a crash: synchronize first, rename last."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path


def write_synced(path: Path, content: bytes) -> None:
    """Write a new file and wait until its content is on disk; an existing file is an error."""
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(path: Path) -> None:
    """Wait until a folder's entries are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def replace_file(path: Path, content: bytes) -> None:
    """Put a file in place at once: a reader, or the next run after a crash, sees the old content or the new."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(6)}.tmp")
    try:
        write_synced(temporary, content)
        temporary.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
