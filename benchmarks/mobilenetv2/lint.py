# SPDX-License-Identifier: Apache-2.0
"""`python -m benchmarks.mobilenetv2.lint BUILD`: lint of every module of a built design, each by itself.

Verilator warns with all of `-Wall`. What a module instantiates is there as its ports alone, for it is linted itself; thus
a design of any size takes seconds a module and little memory. The exit status is 1 if there is any warning.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hsflow.executor import ProcessExecutor
from hsflow.launch import resolve

LIBRARY = sorted(Path(__file__).parents[2].glob("cores/*/rtl"))
_HEADER = re.compile(r"^module (\w+).*?^\);$", re.MULTILINE | re.DOTALL)
_INSTANCE = re.compile(r"^ +(\w+) (?:#\(|u_\w+ \()", re.MULTILINE)
_EMPTY = "// verilator lint_off UNUSEDSIGNAL\n// verilator lint_off UNDRIVEN\n"


@dataclass(frozen=True)
class Module:
    """Hold a module's file, its ports as an empty module, and the names of what it may instantiate."""

    path: Path
    ports: str
    inside: frozenset[str]


def main(arguments: Sequence[str] | None = None) -> int:
    """Lint the modules and print what was found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.mobilenetv2.lint", description=__doc__)
    parser.add_argument("build", type=Path, help="the folder that `hsflow build` wrote")
    modules = read_modules(parser.parse_args(arguments).build / "rtl")
    with tempfile.TemporaryDirectory() as folder:
        found = list(ProcessExecutor().map(partial(lint, Path(folder)), _tasks(modules)))
    for warnings in filter(None, found):
        print("\n".join(warnings))
    clean = sum(not warnings for warnings in found)
    print(f"{len(modules)} modules, {clean} of them clean")
    return int(clean < len(modules) or not modules)


def read_modules(folder: Path) -> dict[str, Module]:
    """Return the modules of a folder, one a file, by name."""
    return {path.stem: _read(path) for path in sorted(folder.glob("*.sv"))}


def _read(path: Path) -> Module:
    text = path.read_text(encoding="utf-8")
    header = _HEADER.search(text)
    if header is None or header[1] != path.stem:
        raise SystemExit(f"{path}: no module of the file's name")
    return Module(path, f"{header[0]}\nendmodule\n", frozenset(_INSTANCE.findall(text)))


def _tasks(modules: Mapping[str, Module]) -> Iterator[tuple[Path, str]]:
    for module in modules.values():
        inside = sorted(module.inside & modules.keys())
        yield module.path, "".join(modules[name].ports for name in inside)


def lint(folder: Path, task: tuple[Path, str]) -> list[str]:
    """Return Verilator's warnings and errors about a module's file with the empty modules in it, put into `folder`."""
    path, inside = task
    empty = folder / path.name
    empty.write_text(f"{_EMPTY}{inside}", encoding="utf-8")
    verilator = resolve("verilator")
    words = ["--lint-only", "-Wall", "-Wno-DECLFILENAME", "-Wno-fatal", "--top-module", path.stem]
    words += [item for library in LIBRARY for item in ("-y", str(library))]
    words += [*([str(empty)] if inside else []), str(path)]
    command = [*verilator.argv, *verilator.adapt(words)]
    result = subprocess.run(
        command, env={**os.environ, **verilator.env}, capture_output=True, text=True, check=False
    )
    return list(_complaints(result, path.stem))


def _complaints(result: subprocess.CompletedProcess[str], name: str) -> Iterator[str]:
    lines = (result.stdout + result.stderr).splitlines()
    found = [line for line in lines if line.startswith(("%Warning", "%Error"))]
    yield from found
    if result.returncode and not found:
        yield f"{name}: Verilator failed with exit code {result.returncode}"


if __name__ == "__main__":
    sys.exit(main())
