# SPDX-License-Identifier: Apache-2.0
"""Writing of a packaged design into a folder of the user's, without ever overwriting what is not ours.

The folder's `.hsflow-output.json` lists what hsflow wrote and the digests that each file may have. It says `complete` only
when everything is in place; while files are replaced, one by one and each at once, it lists old and new digests. So a
killed run is recognized as unfinished, and the next one still knows which files are its own. Files that are not in the
list (FuseSoC's work roots, say) stay as they are.
"""

from __future__ import annotations

import glob
import json
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, ValidationError

from hsflow.artifact import digest, file_digest
from hsflow.design import DesignFile
from hsflow.durable import replace_file
from hsflow.errors import HsflowError, PluginError

BUILD_RECORD = ".hsflow-output.json"
LOCK = ".hsflow-output.lock"
FORMAT = 1
_RESERVED = (BUILD_RECORD, LOCK)
"""Names in the output folder that no design may use."""


class Record(BaseModel):
    """Hold what hsflow wrote into a folder: each file's possible digests, and whether all is in place."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format: int = FORMAT
    complete: bool = False
    files: dict[str, tuple[str, ...]] = {}


def write_output(folder: Path, files: Iterable[DesignFile], *, overwrite: bool = False) -> list[Path]:
    """Write `files` into `folder`, remove those of an earlier build, and return the paths that changed.

    Args:
        folder: made if it is not there.
        files: relative paths; a path is written once.
        overwrite: whether files that hsflow did not write, or that were edited since, may be replaced.

    Raises:
        PluginError: if a path would leave the folder, or occurs twice.
        HsflowError: if a file would be overwritten that is not ours.
    """
    contents = _contents(files)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / LOCK):
        old = read_record(folder) or Record()
        _discard_temporaries(folder, [BUILD_RECORD, *contents, *old.files])
        if not overwrite:
            _refuse_foreign(folder, contents, old)
        return _replace(folder, contents, old)


def read_record(folder: Path) -> Record | None:
    """Return what is known of an earlier build into `folder`, or None if that is nothing."""
    try:
        record = Record.model_validate_json((folder / BUILD_RECORD).read_bytes())
    except (OSError, ValidationError):
        return None
    return record if record.format == FORMAT and all(map(_is_inside, record.files)) else None


def check_complete(folder: Path) -> None:
    """Check that `folder` holds a finished build.

    Raises:
        HsflowError: if nothing was built there, or a build was killed.
    """
    record = read_record(folder)
    if record is None or not record.complete:
        found = "no build" if record is None else "a build that was not finished"
        raise HsflowError(
            "there is no finished build", where=str(folder), got=found, hint="run `hsflow build`"
        )


def _contents(files: Iterable[DesignFile]) -> dict[str, bytes]:
    contents: dict[str, bytes] = {}
    for file in files:
        if not _is_inside(file.path):
            raise PluginError(
                "a generated file would leave the output folder",
                got=repr(file.path),
                expected="a relative path",
            )
        if contents.setdefault(file.path, file.text.encode()) != file.text.encode():
            raise PluginError("two generated files have one path", got=file.path)
    return contents


def _is_inside(path: str) -> bool:
    plain = not (set(path) & set("\\:") or "\0" in path or any(ord(character) < 32 for character in path))
    parts = path.split("/")
    return plain and all(part not in ("", ".", "..") for part in parts) and parts[0] not in _RESERVED


def _refuse_foreign(folder: Path, contents: Mapping[str, bytes], old: Record) -> None:
    foreign = [name for name in sorted({*contents, *old.files}) if _is_foreign(folder, name, contents, old)]
    if foreign:
        raise HsflowError(
            "files would be overwritten that hsflow did not write, or that were edited since",
            where=str(folder),
            got=", ".join(foreign[:8]) + (f" and {len(foreign) - 8} more" if len(foreign) > 8 else ""),
            hint="choose another --output, move them away, or use --overwrite",
        )


def _is_foreign(folder: Path, name: str, contents: Mapping[str, bytes], old: Record) -> bool:
    path = folder / name
    if not path.exists() and not path.is_symlink():
        return False
    if path.is_symlink() or not path.is_file():
        return True
    known = {*old.files.get(name, ())} | ({digest(contents[name])} if name in contents else set())
    return file_digest(path) not in known


def _replace(folder: Path, contents: Mapping[str, bytes], old: Record) -> list[Path]:
    new: dict[str, tuple[str, ...]] = {name: (digest(content),) for name, content in contents.items()}
    union = {
        name: tuple(sorted({*old.files.get(name, ()), *new.get(name, ())})) for name in {*old.files, *new}
    }
    changed = [name for name in new if not _has_digest(folder / name, new[name][0])]
    stale = [name for name in old.files if name not in new and (folder / name).exists()]
    if changed or stale or not old.complete or old.files != new:
        _write_record(folder, Record(files=union))
        for name in changed:
            _write(folder, name, contents[name])
        for name in stale:
            _remove(folder, name)
        _write_record(folder, Record(complete=True, files=new))
    return [folder / name for name in changed]


def _discard_temporaries(folder: Path, names: Iterable[str]) -> None:
    """Remove what a killed `replace_file` left; the caller holds the folder's lock."""
    for name in names:
        path = folder / name
        for temporary in path.parent.glob(f".{glob.escape(path.name)}.{'[0-9a-f]' * 12}.tmp"):
            temporary.unlink()


def _write(folder: Path, name: str, content: bytes) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    _check_place(folder, path)
    replace_file(path, content)


def _remove(folder: Path, name: str) -> None:
    path = folder / name
    _check_place(folder, path)
    path.unlink()
    for parent in PurePosixPath(name).parents:
        place = folder / parent
        if place == folder or any(place.iterdir()):
            return
        place.rmdir()


def _check_place(folder: Path, path: Path) -> None:
    if not path.parent.resolve().is_relative_to(folder.resolve()):
        raise HsflowError(
            "a link leads out of the output folder", where=str(path), got=str(path.parent.resolve())
        )


def _has_digest(path: Path, expected: str) -> bool:
    return path.is_file() and not path.is_symlink() and file_digest(path) == expected


def _write_record(folder: Path, record: Record) -> None:
    data: Any = record.model_dump(mode="json")
    replace_file(folder / BUILD_RECORD, (json.dumps(data, sort_keys=True, indent=1) + "\n").encode())
