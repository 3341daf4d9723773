# SPDX-License-Identifier: Apache-2.0
"""FuseSoC's generator: `python -P -m hsflow.generate INPUT.yml` turns a flow.toml into a core in the working folder.

FuseSoC keeps no lock on that folder, and two runs may share it. What is published is therefore never half there and
never changed: the files of a design lie in a folder named by their digest, and one core file, replaced in one step
and only when it differs, names them.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from filelock import FileLock

from hsflow import thresholds
from hsflow.artifact import canonical_json, digest, file_digest
from hsflow.durable import replace_file
from hsflow.eda import CAPI, dump_yaml
from hsflow.errors import EXIT_INTERRUPTED, EXIT_USAGE, ConfigurationError, HsflowError, ToolError
from hsflow.process import run, terminate_as_interrupt
from hsflow.results import RECORD

_PARAMETERS = {"config", "tree"}
_LOCK = ".lock"
_DIGEST_CHARACTERS = 16
_READ_ATTEMPTS = 50
_READ_PAUSE_SECONDS = 0.1
_LEFTOVER_SECONDS = 24 * 3600.0


@dataclass(frozen=True)
class Request:
    """Hold what FuseSoC asks for: a core of this name from a configuration, or from a tree that is already built."""

    vlnv: str
    config: Path | None
    tree: Path | None


def read_request(path: Path) -> Request:
    """Return the request in a generator's input file; another run may be writing the same file again.

    Raises:
        ConfigurationError: if it is ill-formed, or names not exactly one of `config` and `tree`.
    """
    for attempt in range(_READ_ATTEMPTS):
        data = _parsed(path)
        if isinstance(data, dict) and {"files_root", "parameters", "vlnv"} <= set(data):
            return _request(data)
        if attempt + 1 < _READ_ATTEMPTS:
            time.sleep(_READ_PAUSE_SECONDS)
    raise ConfigurationError(
        "the generator's input is ill-formed", where=str(path), expected="files_root, parameters, vlnv"
    )


def generate(request: Request, folder: Path) -> Path:
    """Build what the request asks for and publish it in `folder`; return the core file.

    Raises:
        HsflowError: if the flow fails or leaves no core.
    """
    if request.tree is not None:
        return publish(request.tree, folder, request.vlnv)
    with tempfile.TemporaryDirectory(prefix="hsflow-") as temporary:
        tree = Path(temporary) / "core"
        record = Path(temporary) / RECORD
        _build(request.config or Path("flow.toml"), tree, record)
        return publish(tree, folder, request.vlnv, record)


def publish(tree: Path, folder: Path, vlnv: str, record: Path | None = None) -> Path:
    """Copy a design into a folder named by its content, then put its core file, under the name `vlnv`, in place.

    `record` holds the figures of the stages, and thresholds may lie beside it; a target finds both beside the core file.
    """
    source = _core_of(tree)
    core = _parsed(source)
    if not isinstance(core, dict) or "filesets" not in core:
        raise ConfigurationError("the core file has no filesets", where=str(source))
    contents = _contents(tree, source)
    name = digest(canonical_json(contents))[:_DIGEST_CHARACTERS]
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / _LOCK):
        _copy(tree, contents, folder / name)
        _discard_leftovers(folder)
        if record is not None:
            _publish_records(record, folder)
        text = dump_yaml(_relocated(core, vlnv, name))
        return _publish_core(folder / f"{vlnv.split(':')[2]}.core", f"{CAPI}:\n{text}")


def main(argv: Sequence[str] | None = None) -> int:
    """Serve one request of FuseSoC."""
    words = list(sys.argv[1:] if argv is None else argv)
    if len(words) != 1:
        print("usage: python -P -m hsflow.generate INPUT.yml", file=sys.stderr)
        return EXIT_USAGE
    try:
        with terminate_as_interrupt():
            generate(read_request(Path(words[0])), Path.cwd())
    except HsflowError as error:
        print(f"hsflow: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return 0


def _request(data: Mapping[str, Any]) -> Request:
    parameters = data["parameters"] or {}
    if len(parameters) != 1 or not set(parameters) <= _PARAMETERS:
        raise ConfigurationError(
            "the generator takes one parameter",
            where=str(data["vlnv"]),
            got=sorted(parameters),
            expected="config: flow.toml, or tree: a folder that 'hsflow build' wrote",
        )
    root = Path(data["files_root"])
    paths = {key: root / str(value) for key, value in parameters.items()}
    for path in paths.values():
        if not path.exists():
            raise ConfigurationError("the generator's input is missing", where=str(path))
    return Request(str(data["vlnv"]), paths.get("config"), paths.get("tree"))


def _parsed(path: Path) -> object:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, yaml.YAMLError):
        return None


def _build(config: Path, output: Path, record: Path) -> None:
    """Run the flow as the command line does, in a process of its own, so that its progress is seen as it comes."""
    # -P: the working folder is FuseSoC's cache, whose content is no code of ours.
    program = [sys.executable, "-P", "-m", "hsflow.cli"]
    # The simulation shows the figures when all of them are known.
    words = [*program, "build", "--no-table", "--record", str(record)]
    words += ["--config", str(config), "--output", str(output)]
    completed = run(words, check=False, own_group=False)
    if completed.returncode != 0:
        raise ToolError("the flow failed", where=str(config), hint="its message is above")


def _core_of(tree: Path) -> Path:
    cores = sorted(tree.glob("*.core"))
    if len(cores) != 1:
        raise ConfigurationError(
            "a built design must hold one core file", where=str(tree), got=[path.name for path in cores]
        )
    return cores[0]


def _contents(tree: Path, core: Path) -> dict[str, str]:
    """Return each file's digest by its path in the tree, without the core file and what is hidden."""
    paths = sorted(path.relative_to(tree) for path in tree.rglob("*") if path.is_file() and path != core)
    shown = (path for path in paths if not any(part.startswith(".") for part in path.parts))
    return {path.as_posix(): file_digest(tree / path) for path in shown}


def _copy(tree: Path, contents: Mapping[str, str], target: Path) -> None:
    """Copy the files beside their place first, and rename last."""
    if target.is_dir():
        os.utime(target)
        return
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        for name in contents:
            path = temporary / name
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(tree / name, path)
        temporary.replace(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _publish_records(record: Path, folder: Path) -> None:
    """Put the figures, and the thresholds that may lie beside them, in place; no old thresholds stay."""
    replace_file(folder / RECORD, record.read_bytes())
    limits = record.with_name(thresholds.RECORD)
    if limits.is_file():
        replace_file(folder / thresholds.RECORD, limits.read_bytes())
    else:
        (folder / thresholds.RECORD).unlink(missing_ok=True)


def _discard_leftovers(folder: Path) -> None:
    """Delete designs that nobody has asked for since a day; a running simulation may still read a younger one."""
    oldest = time.time() - _LEFTOVER_SECONDS
    for path in folder.iterdir():
        if path.is_dir() and path.stat().st_mtime < oldest:
            shutil.rmtree(path, ignore_errors=True)


def _relocated(core: Mapping[str, Any], vlnv: str, prefix: str) -> dict[str, Any]:
    """Return a core under another name, its files below `prefix`."""
    filesets = {}
    for name, fileset in core["filesets"].items():
        files = [_prefixed(entry, prefix) for entry in fileset.get("files", ())]
        filesets[name] = {**fileset, "files": files}
    rest = {key: value for key, value in core.items() if key != CAPI}
    return {**rest, "name": vlnv, "filesets": filesets}


def _prefixed(entry: Any, prefix: str) -> Any:
    if isinstance(entry, str):
        return f"{prefix}/{entry}"
    return {f"{prefix}/{path}": attributes for path, attributes in entry.items()}


def _publish_core(path: Path, text: str) -> Path:
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        replace_file(path, text.encode())
    return path


if __name__ == "__main__":
    sys.exit(main())
