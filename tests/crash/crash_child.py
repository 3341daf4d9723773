# SPDX-License-Identifier: Apache-2.0
"""The process that the crash tests kill: `crash_child.py MODE FOLDER [ARGUMENT...]`."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from test_crash import NEW, OLD
from toy_flow import ToyPlugin, toy_plugins, toy_tables

from hsflow import output, store
from hsflow.artifact import MANIFEST
from hsflow.config import STAGES, configure
from hsflow.design import DesignFile, FileRole
from hsflow.flow import run_flow
from hsflow.stage import StageKind
from hsflow.store import Store

CHANGES = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate"}


def kill_self() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def run(folder: Path, force: bool = False) -> None:
    plugins = toy_plugins(ToyPlugin())
    configuration = configure(toy_tables(), plugins, folder)
    run_flow(
        configuration, Store(folder / ".hsflow"), plugins, to=StageKind.PRUNE, force=STAGES if force else ()
    )


def run_slowly(folder: Path) -> None:
    """Run with a load stage that takes long enough for others to come; print how many stages were computed here."""
    plugin = ToyPlugin()
    plugins = toy_plugins(plugin)
    stage = plugins.stages[StageKind.LOAD, "toy"].stage

    def slow(value: Any, options: Any, context: Any) -> Any:
        time.sleep(3)
        return stage.make(value, options, context)

    plugin.behaviour[StageKind.LOAD] = slow
    run_flow(configure(toy_tables(), plugins, folder), Store(folder / ".hsflow"), plugins, to=StageKind.PRUNE)
    print(sum(plugin.runs.values()))


def write(folder: Path, contents: dict[str, str]) -> None:
    output.write_output(folder, [DesignFile(path, text, FileRole.DATA) for path, text in contents.items()])


def list_points(folder: Path) -> None:
    store.reached = print
    run(folder)
    run(folder, force=True)


def kill_at_point(folder: Path, point: str, force: str) -> None:
    def reached(here: str) -> None:
        if here == point:
            kill_self()

    store.reached = reached
    run(folder, bool(force))


def sweep(root: Path, prepare: Callable[[Path], None], action: Callable[[Path], None]) -> None:
    """Run `action` in a fork for each n, killed at its n-th change below its folder, until one runs to its end."""
    for number in range(1000):
        folder = root / f"killed-{number:03}"
        folder.mkdir()
        prepare(folder)
        if not killed(lambda folder=folder, number=number: kill_at_change(folder, number, action)):
            shutil.rmtree(folder)
            return
    raise SystemExit("the action never came to its end")


def killed(action: Callable[[], None]) -> bool:
    process = os.fork()
    if process == 0:
        try:
            action()
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    status = os.waitpid(process, 0)[1]
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        raise SystemExit("the action failed without being killed")
    return os.WIFSIGNALED(status)


def kill_at_change(folder: Path, number: int, action: Callable[[Path], None]) -> None:
    remaining = number

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal remaining
        if event not in CHANGES or not str(arguments[0]).startswith(str(folder)):
            return
        if event == "open" and not (
            isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        ):
            return
        if remaining == 0:
            kill_self()
        remaining -= 1

    sys.addaudithook(hook)
    action(folder)


def break_store() -> None:
    """Publish the manifest before the files."""
    good = Store.put

    def put(self: Store, manifest: Any, files: Any) -> Any:
        complete = manifest.model_copy(
            update={"files": {name: store.digest(data) for name, data in files.items()}}
        )
        entry = self.root / "entries" / manifest.key
        entry.mkdir(exist_ok=True)
        (entry / MANIFEST).write_text(complete.to_json())
        return good(self, manifest, files)

    Store.put = put


def break_output() -> None:
    """Write into the files in place, in two parts."""

    def replace_file(path: Path, content: bytes) -> None:
        path.write_bytes(content[: len(content) // 2])
        path.write_bytes(content)

    output.replace_file = replace_file


def main(mode: str, folder: Path, *arguments: str) -> None:
    match mode:
        case "list":
            list_points(folder)
        case "point":
            kill_at_point(folder, *arguments)
        case "sweep-store" | "broken-store":
            if mode == "broken-store":
                break_store()
            sweep(folder, lambda _: None, run)
        case "sweep-output":
            sweep(folder, lambda place: write(place, OLD), lambda place: write(place, NEW))
        case "broken-output":
            sweep(folder, lambda place: write(place, OLD), lambda place: (break_output(), write(place, NEW)))
        case "slow":
            run_slowly(folder)
        case "mend-output":
            write(folder, NEW)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
