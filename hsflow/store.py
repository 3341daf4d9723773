# SPDX-License-Identifier: Apache-2.0
"""The artefact store: content-addressed, safe against crashes and against several runs at once.

    .hsflow/
      CACHEDIR.TAG, .gitignore
      entries/<key>/manifest.json, value.json, ...
      temporary/<key>.<random>/     entries being built or discarded
      locks/<key>.lock

An entry is built in `temporary/`, synchronized to disk, renamed into `entries/`, and gets its manifest last. A run that is
killed anywhere leaves either nothing, or a folder without a manifest, or a finished entry. Whatever is not finished and
undamaged does not count as present: it is moved away and built again. All writing for a key happens under its lock, which
the operating system releases when its holder dies; a second run waits, looks again and finds the first one's result.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from filelock import FileLock, Timeout

from hsflow.artifact import MANIFEST, Artifact, Manifest, digest, file_digest, is_digest
from hsflow.durable import replace_file, sync_folder, write_synced
from hsflow.errors import StoreError
from hsflow.progress import Reporter

FOLDER = ".hsflow"
VARIABLE = "HSFLOW_STORE"
PUBLISH_POINTS = (
    "temporary folder made",
    "file written",
    "temporary folder synced",
    "old entry moved away",
    "entry renamed",
    "entries synced",
    "manifest written",
    "entry discarded",
)
"""Where the crash tests kill a run that publishes an entry, in order."""

_LOCK_TIMEOUT = 12 * 3600.0
_PATIENCE = 1.0
_TAG = "Signature: 8a477f597d28d172789f06886806bc55\n# This folder is a cache of hsflow; it may be deleted.\n"


def reached(point: str) -> None:
    """Do nothing: the crash tests replace this function to kill the process at a publish point."""


def store_root(folder: Path) -> Path:
    """Return the store of the project in `folder`: the environment's HSFLOW_STORE, else `.hsflow` beside flow.toml."""
    chosen = os.environ.get(VARIABLE)
    return Path(chosen).expanduser().resolve() if chosen else folder / FOLDER


class Store:
    """Keep artefacts below `root`, by cache key (64 hexadecimal digits).

    Raises:
        StoreError: if `root` cannot be made or written.
    """

    def __init__(
        self, root: Path, reporter: Reporter | None = None, lock_timeout: float = _LOCK_TIMEOUT
    ) -> None:
        self.root = root
        self._reporter = reporter or Reporter()
        self._lock_timeout = lock_timeout
        self._entries, self._temporary, self._locks = (
            root / name for name in ("entries", "temporary", "locks")
        )
        with self._explained("the store cannot be made"):
            for folder in (self._entries, self._temporary, self._locks):
                folder.mkdir(parents=True, exist_ok=True)
            self._mark("CACHEDIR.TAG", _TAG)
            self._mark(".gitignore", "*\n")

    def get(self, key: str) -> Artifact | None:
        """Return the entry of `key`, or None if there is none that is finished and undamaged."""
        folder = self._entry(key)
        try:
            manifest = Manifest.from_json((folder / MANIFEST).read_bytes())
            _check_files(folder, manifest, key)
        except FileNotFoundError:
            return None
        except (OSError, StoreError) as error:
            self._reporter.warn(f"a stored entry is damaged and is built again\n  {folder}: {error}")
            return None
        return Artifact(folder, manifest)

    def put(self, manifest: Manifest, files: Mapping[str, bytes]) -> Artifact:
        """Publish an entry; the caller holds the key's lock. An entry that is there already makes way.

        Args:
            manifest: its `files` are filled in here.
            files: content by name; names are plain, without folders.

        Raises:
            StoreError: if the entry cannot be written.
        """
        entry = self._entry(manifest.key)
        complete = manifest.model_copy(update={"files": {name: digest(data) for name, data in files.items()}})
        with self._explained("an artefact cannot be stored"):
            self.discard_leftovers(manifest.key)
            self._publish(self._build(manifest.key, files), entry)
            replace_file(entry / MANIFEST, complete.to_json().encode())
            reached("manifest written")
            self.discard_leftovers(manifest.key)
            reached("entry discarded")
        return Artifact(entry, complete, cached=False)

    @contextlib.contextmanager
    def lock(self, key: str) -> Iterator[None]:
        """Hold the lock of `key`; wait while another run holds it.

        Raises:
            StoreError: if the other run holds it for too long.
        """
        lock = FileLock(self._locks / f"{_checked(key)}.lock")
        self._acquire(lock, key)
        try:
            yield
        finally:
            lock.release()

    def clean(self) -> int:
        """Remove what killed runs left; return how many folders. What a live run is building is left alone."""
        removed = 0
        for folder in sorted(self._temporary.iterdir()):
            key = folder.name.partition(".")[0]
            if not is_digest(key):
                continue
            with contextlib.suppress(Timeout), FileLock(self._locks / f"{key}.lock", timeout=0):
                removed += self.discard_leftovers(key)
        return removed

    def discard_leftovers(self, key: str) -> int:
        """Remove the temporary folders of `key`; the caller holds its lock, so that nobody else can need them."""
        leftovers = list(self._temporary.glob(f"{_checked(key)}.*"))
        for folder in leftovers:
            shutil.rmtree(folder, ignore_errors=True)
        return len(leftovers)

    def _acquire(self, lock: FileLock, key: str) -> None:
        with contextlib.suppress(Timeout):
            lock.acquire(timeout=min(_PATIENCE, self._lock_timeout))
            return
        self._reporter.log(f"waiting for another run that builds {key[:12]}")
        try:
            lock.acquire(timeout=self._lock_timeout)
        except Timeout as error:
            raise StoreError(
                "another run holds the lock for too long",
                where=str(lock.lock_file),
                got=f"more than {self._lock_timeout:g} s",
                hint="wait for the other hsflow, or end it",
            ) from error

    def _build(self, key: str, files: Mapping[str, bytes]) -> Path:
        folder = self._new_temporary(key)
        folder.mkdir()
        reached("temporary folder made")
        for name, content in files.items():
            write_synced(folder / _plain(name), content)
            reached("file written")
        sync_folder(folder)
        reached("temporary folder synced")
        return folder

    def _publish(self, folder: Path, entry: Path) -> None:
        if entry.exists():
            # Without its manifest first: a half-moved or half-deleted entry must never look finished.
            (entry / MANIFEST).unlink(missing_ok=True)
            entry.rename(self._new_temporary(entry.name))
            reached("old entry moved away")
        folder.rename(entry)
        reached("entry renamed")
        sync_folder(self._entries)
        reached("entries synced")

    def _new_temporary(self, key: str) -> Path:
        return self._temporary / f"{key}.{secrets.token_hex(6)}"

    def _entry(self, key: str) -> Path:
        return self._entries / _checked(key)

    def _mark(self, name: str, text: str) -> None:
        if not (self.root / name).exists():
            replace_file(self.root / name, text.encode())

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            hint = (
                "free some space"
                if error.errno == errno.ENOSPC
                else f"see {VARIABLE} to keep the store elsewhere"
            )
            raise StoreError(what, where=str(self.root), got=error, hint=hint) from error


def _check_files(folder: Path, manifest: Manifest, key: str) -> None:
    if manifest.key != key:
        raise StoreError("the manifest is another entry's", got=manifest.key, expected=key)
    for name, expected in manifest.files.items():
        path = folder / _plain(name)
        if not path.is_file():
            raise StoreError("a file is missing", where=name)
        if file_digest(path) != expected:
            raise StoreError("a file's content has changed", where=name)


def _checked(key: str) -> str:
    if not is_digest(key):
        raise StoreError("a key must be 64 hexadecimal digits", got=repr(key))
    return key


def _plain(name: str) -> str:
    if not name or name in (".", "..", MANIFEST) or "/" in name or "\0" in name:
        raise StoreError("a stored file's name must be plain", got=repr(name))
    return name
