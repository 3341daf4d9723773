# SPDX-License-Identifier: Apache-2.0
"""kill -9 at every point of publication: the store stays sound, and the next run succeeds.

A child process runs a toy flow and kills itself at the n-th event of its kind: a named publish point of the store, or any
change of the file system that Python reports to audit hooks. The parent then looks at what is left. Two twins prove that
the look finds what it should: a store that publishes in the wrong order, and a writer that puts files in place half-written.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from toy_flow import ToyPlugin, toy_plugins, toy_tables

from hsflow.artifact import MANIFEST, file_digest
from hsflow.config import STAGES, configure
from hsflow.flow import FlowResult, run_flow
from hsflow.output import BUILD_RECORD, read_record
from hsflow.store import PUBLISH_POINTS, Store

CHILD = Path(__file__).with_name("crash_child.py")
TESTS = Path(__file__).parents[1]


def child(mode: str, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(CHILD), mode, str(folder), *arguments]
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)


def unsound(store: Path) -> list[str]:
    """Return the entries that look finished and are not."""
    found = []
    for manifest in store.glob(f"entries/*/{MANIFEST}"):
        try:
            listed = json.loads(manifest.read_text())["manifest"]["files"]
        except ValueError:
            found.append(f"{manifest}: half-written")
            continue
        for name, expected in listed.items():
            path = manifest.parent / name
            if not path.is_file() or file_digest(path) != expected:
                found.append(str(path))
    return found


def run_again(folder: Path) -> FlowResult:
    plugins = toy_plugins(ToyPlugin())
    return run_flow(configure(toy_tables(), plugins, folder), Store(folder / ".hsflow"), plugins)


def leftovers(folder: Path) -> list[Path]:
    return list((folder / ".hsflow" / "temporary").iterdir())


def test_the_list_of_publish_points_is_whole(tmp_path: Path) -> None:
    done = child("list", tmp_path)
    assert set(done.stdout.splitlines()) == set(PUBLISH_POINTS), done.stderr


@pytest.mark.parametrize("again", [False, True], ids=["first run", "forced run"])
@pytest.mark.parametrize("point", PUBLISH_POINTS)
def test_a_run_killed_at_a_publish_point_leaves_a_sound_store(
    tmp_path: Path, point: str, again: bool
) -> None:
    if again:
        run_again(tmp_path)
    elif point == "old entry moved away":
        pytest.skip("a first run has no old entry")
    done = child("point", tmp_path, point, "force" if again else "")
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert unsound(tmp_path / ".hsflow") == []
    result = run_again(tmp_path)
    assert result.design.name == "toy" and len(result.artifacts) == len(STAGES)
    assert all(event.cached for event in run_again(tmp_path).events)
    assert leftovers(tmp_path) == []


def test_a_run_killed_at_any_change_of_the_file_system_leaves_a_sound_store(tmp_path: Path) -> None:
    """The child forks once for each event, so that all cost one start of Python."""
    done = child("sweep-store", tmp_path)
    assert done.returncode == 0, done.stderr
    folders = sorted(path for path in tmp_path.iterdir() if path.name.startswith("killed-"))
    assert len(folders) >= 20
    for folder in folders:
        assert unsound(folder / ".hsflow") == []
        assert run_again(folder).design.name == "toy"
        assert leftovers(folder) == []


def test_the_twin_that_writes_the_manifest_first_is_found_out(tmp_path: Path) -> None:
    done = child("broken-store", tmp_path)
    assert done.returncode == 0, done.stderr
    folders = [path for path in tmp_path.iterdir() if path.name.startswith("killed-")]
    assert any(unsound(folder / ".hsflow") for folder in folders)
    # And even then the digests save the next run.
    assert all(run_again(folder).design.name == "toy" for folder in folders)


def test_processes_at_once_share_one_computation_and_all_succeed(tmp_path: Path) -> None:
    command = [sys.executable, str(CHILD), "slow", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(TESTS)}
    running = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) for _ in range(3)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0]
    assert sum(map(int, outputs)) == 2  # the load and prune stages, once each in all


OLD = {"a.txt": "old a", "rtl/b.txt": "old b", "stale.txt": "old"}
NEW = {"a.txt": "new a", "rtl/b.txt": "old b", "rtl/c.txt": "new c"}


def output_tree(folder: Path) -> dict[str, str]:
    paths = (
        path for path in folder.rglob("*") if path.is_file() and not path.name.startswith(".hsflow-output")
    )
    return {path.relative_to(folder).as_posix(): path.read_text() for path in paths}


def finished(tree: dict[str, str]) -> dict[str, str]:
    """Leave out what is being written under a temporary name."""
    return {name: text for name, text in tree.items() if not name.endswith(".tmp")}


def half_written(folder: Path) -> bool:
    record, tree = read_record(folder), finished(output_tree(folder))
    torn = any(text not in (OLD.get(name), NEW.get(name)) for name, text in tree.items())
    lying = record is not None and record.complete and tree not in (OLD, NEW)
    return torn or lying or (record is None and (folder / BUILD_RECORD).exists())


def test_an_output_folder_is_never_half_written_and_is_mended_by_the_next_build(tmp_path: Path) -> None:
    done = child("sweep-output", tmp_path)
    assert done.returncode == 0, done.stderr
    folders = sorted(path for path in tmp_path.iterdir() if path.name.startswith("killed-"))
    assert len(folders) >= 8
    assert not any(map(half_written, folders))
    for folder in folders:
        assert child("mend-output", folder).returncode == 0
        assert output_tree(folder) == NEW
        assert not list(folder.glob(".hsflow-output*.tmp"))


def test_the_twin_that_writes_in_place_is_found_out(tmp_path: Path) -> None:
    done = child("broken-output", tmp_path)
    assert done.returncode == 0, done.stderr
    assert any(half_written(path) for path in tmp_path.iterdir() if path.name.startswith("killed-"))
