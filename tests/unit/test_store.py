# SPDX-License-Identifier: Apache-2.0
"""The store: what is damaged does not count, what is whole is found, and two runs at once share one computation."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from hsflow import durable
from hsflow.artifact import MANIFEST, VALUE, Manifest, digest
from hsflow.errors import StoreError
from hsflow.metrics import Metric
from hsflow.progress import Reporter
from hsflow.store import Store, store_root

KEY = digest("a stage")
OTHER = digest("another stage")
FILES = {VALUE: b'{"some": "value"}', "notes.txt": b"hello"}


class Listener(Reporter):
    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.logs: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def log(self, message: str) -> None:
        self.logs.append(message)


@pytest.fixture
def listener() -> Listener:
    return Listener()


@pytest.fixture
def store(tmp_path: Path, listener: Listener) -> Store:
    return Store(tmp_path / ".hsflow", listener)


def publish(store: Store, key: str = KEY, files: dict[str, bytes] = FILES, **more: Any) -> Manifest:
    with store.lock(key):
        return store.put(Manifest(key=key, stage="load torch 1", **more), files).manifest


def test_what_was_put_is_got_with_its_manifest(store: Store) -> None:
    metrics = {"load.accuracy": Metric(value=0.5, unit="", better="higher"), "load.count": Metric(value=3)}
    written = publish(store, metrics=metrics, wall_seconds=1.5, versions={"hsflow": "1"}, inputs=(OTHER,))
    artifact = store.get(KEY)
    assert artifact is not None
    assert artifact.manifest == written
    assert artifact.read() == FILES[VALUE] and artifact.read("notes.txt") == b"hello"
    assert artifact.value_digest == digest(FILES[VALUE])
    assert store.get(OTHER) is None


def test_nothing_but_finished_entries_is_left(store: Store) -> None:
    publish(store)
    publish(store)  # a second time, as under --force
    assert not list((store.root / "temporary").iterdir())
    assert sorted(path.name for path in (store.root / "entries").iterdir()) == [KEY]
    assert (store.root / ".gitignore").read_text() == "*\n"


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def _flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("spoil", [_truncate, _flip, Path.unlink, lambda path: path.write_bytes(b"")])
@pytest.mark.parametrize("name", [MANIFEST, VALUE, "notes.txt"])
def test_a_damaged_entry_does_not_count_and_is_built_again(
    store: Store, listener: Listener, name: str, spoil: Any
) -> None:
    publish(store)
    spoil(store.root / "entries" / KEY / name)
    assert store.get(KEY) is None
    missing_manifest = name == MANIFEST and spoil is Path.unlink
    assert missing_manifest or (KEY in listener.warnings[0] and "built again" in listener.warnings[0])
    publish(store)
    assert store.get(KEY) is not None


def test_damage_after_the_look_up_is_found_when_reading(store: Store) -> None:
    publish(store)
    artifact = store.get(KEY)
    assert artifact is not None
    _flip(artifact.folder / VALUE)
    with pytest.raises(StoreError, match="damaged"):
        artifact.read()


def test_an_entry_under_another_key_does_not_count(store: Store, listener: Listener) -> None:
    publish(store)
    (store.root / "entries" / KEY).rename(store.root / "entries" / OTHER)
    assert store.get(OTHER) is None
    assert "another entry's" in listener.warnings[0]


@pytest.mark.parametrize("name", ["../x", "a/b", "", ".", "..", MANIFEST])
def test_a_file_name_that_leaves_the_entry_is_refused(store: Store, name: str) -> None:
    with pytest.raises(StoreError, match="plain"):
        publish(store, files={name: b""})
    assert store.get(KEY) is None


@pytest.mark.parametrize("key", ["../../etc", "", "A" * 64, "0" * 63])
def test_a_key_that_is_no_digest_is_refused(store: Store, key: str) -> None:
    with pytest.raises(StoreError, match="64 hexadecimal"):
        store.get(key)


def test_a_manifest_cannot_name_a_file_outside(store: Store) -> None:
    publish(store)
    forged = Manifest(
        key=KEY, stage="s", files={"../../CACHEDIR.TAG": digest((store.root / "CACHEDIR.TAG").read_bytes())}
    )
    (store.root / "entries" / KEY / MANIFEST).write_text(forged.to_json())
    assert store.get(KEY) is None


def test_two_at_once_compute_once(store: Store, tmp_path: Path) -> None:
    computed = []

    def run() -> None:
        own = Store(tmp_path / ".hsflow")
        with own.lock(KEY):
            if own.get(KEY) is None:
                computed.append(1)
                time.sleep(0.2)
                own.put(Manifest(key=KEY, stage="s"), FILES)
        assert own.get(KEY) is not None

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(computed) == 1


def test_waiting_for_a_lock_is_told_and_ends_in_an_error(
    store: Store, tmp_path: Path, listener: Listener
) -> None:
    hasty = Store(tmp_path / ".hsflow", listener, lock_timeout=0.1)
    with store.lock(KEY), pytest.raises(StoreError, match="too long"), hasty.lock(KEY):
        pass
    assert "waiting" in listener.logs[0]


def test_cleaning_spares_what_a_live_run_builds(store: Store, tmp_path: Path) -> None:
    for key in (KEY, OTHER):
        (store.root / "temporary" / f"{key}.0123").mkdir()
    (store.root / "temporary" / "strange").mkdir()
    with store.lock(KEY):
        assert Store(tmp_path / ".hsflow").clean() == 1
    assert sorted(path.name for path in (store.root / "temporary").iterdir()) == sorted(
        [f"{KEY}.0123", "strange"]
    )
    assert store.clean() == 1


def test_a_store_that_cannot_be_made_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="HSFLOW_STORE"):
        Store(tmp_path / "file" / ".hsflow")


def test_the_environment_moves_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HSFLOW_STORE", raising=False)
    assert store_root(tmp_path) == tmp_path / ".hsflow"
    monkeypatch.setenv("HSFLOW_STORE", str(tmp_path / "elsewhere"))
    assert store_root(tmp_path) == tmp_path / "elsewhere"


class Trace:
    """Record what reaches the disk in which order, as (operation, name)."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.events: list[tuple[str, str]] = []
        real_sync, real_rename, real_replace = os.fsync, Path.rename, Path.replace

        def fsync(descriptor: int) -> None:
            self.events.append(("sync", Path(f"/proc/self/fd/{descriptor}").readlink().name))
            real_sync(descriptor)

        def rename(path: Path, target: Path) -> Path:
            self.events.append(("rename", target.name))
            return real_rename(path, target)

        def replace(path: Path, target: Path) -> Path:
            self.events.append(("rename", target.name))
            return real_replace(path, target)

        monkeypatch.setattr(os, "fsync", fsync)
        monkeypatch.setattr(Path, "rename", rename)
        monkeypatch.setattr(Path, "replace", replace)

    def unsynced_at_publication(self) -> set[str]:
        """Return the files whose content was not on disk when the entry, or its manifest, was put in place."""
        names = [name for operation, name in self.events if operation == "rename"]
        published = self.events.index(("rename", KEY))
        synced = {name for operation, name in self.events[:published] if operation == "sync"}
        assert names.index(KEY) < names.index(MANIFEST)
        return {*FILES, f"{KEY}."} - synced - {f"{KEY}." for name in synced if name.startswith(f"{KEY}.")}


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc to name a descriptor")
def test_everything_is_on_disk_before_it_is_put_in_place(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = Trace(monkeypatch)
    publish(store)
    assert trace.unsynced_at_publication() == set()
    assert ("sync", "entries") in trace.events


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="needs /proc to name a descriptor")
def test_the_trace_finds_a_store_that_forgets_to_synchronize(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def careless(path: Path, content: bytes) -> None:
        path.write_bytes(content)

    monkeypatch.setattr("hsflow.store.write_synced", careless)
    trace = Trace(monkeypatch)
    publish(store)
    assert trace.unsynced_at_publication() == set(FILES)


def test_replacing_a_file_leaves_no_trace_when_it_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "file"
    durable.replace_file(target, b"old")

    def fail(descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        durable.replace_file(target, b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    assert target.read_bytes() == b"old"
