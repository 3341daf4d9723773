# SPDX-License-Identifier: Apache-2.0
"""Run OpenSTA on a script of ours.

Its exit status says little: version 2.0, Debian's, ends with 0 whatever happens, and an unknown cell becomes an empty box.
So a script ends its results with the line "end", and a log that tells of an error or of something not found is a failure.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from hsflow.errors import ConfigurationError, ToolError
from hsflow.launch import resolve
from hsflow.process import output_of, run, tail
from hsflow.templates import render

TOOL = "sta"
END = "end"
_COMPLAINT = re.compile(
    r"^\[?Error\b.*|.*\b(?:black box|not found|syntax error)\b.*", re.IGNORECASE | re.MULTILINE
)
_VERSION = re.compile(r"(\d+)\.(\d+)")
_UNSAFE = re.compile(r"[{}\\\n]")


@cache
def version() -> tuple[int, int]:
    """Return OpenSTA's major and minor version.

    Raises:
        ToolError: if it is not installed.
    """
    found = _VERSION.search(output_of([*resolve(TOOL).argv, "-version"]))
    return (int(found[1]), int(found[2])) if found else (0, 0)


def word(path: Path, folder: Path) -> str:
    """Return a path, relative to the folder that a script runs in, as one word of it.

    Raises:
        ConfigurationError: if it has a brace, a backslash or a line's end.
    """
    text = os.path.relpath(path, folder)
    if _UNSAFE.search(text):
        raise ConfigurationError(
            "a path cannot be a word of a Tcl script", got=repr(text), expected="no { } \\"
        )
    return f"{{{text}}}"


def analyze(
    folder: Path,
    name: str,
    template: str,
    results: str,
    context: Mapping[str, object],
    timeout: float | None = None,
) -> list[list[str]]:
    """Render `template` as `name`.tcl in `folder`, run it there, and return the rows of `results` without the last.

    Raises:
        ToolError: if OpenSTA is missing, fails, complains or does not reach the end; its log is `name`.log.
    """
    script, log = folder / f"{name}.tcl", folder / f"{name}.log"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / results).unlink(missing_ok=True)
    script.write_text(render("hsflow_targets", template, folder="asap7", **context), encoding="utf-8")
    run(
        [*resolve(TOOL).argv, "-no_init", "-no_splash", "-exit", script.name],
        cwd=folder,
        log=log,
        timeout=timeout,
    )
    if complaint := _COMPLAINT.search(log.read_text(encoding="utf-8", errors="replace")):
        raise ToolError("OpenSTA reports an error", where=str(script), got=complaint[0], hint=f"see {log}")
    return _rows(folder / results, log)


def _rows(results: Path, log: Path) -> list[list[str]]:
    lines = results.read_text(encoding="utf-8").splitlines() if results.is_file() else []
    if not lines or lines[-1] != END:
        raise ToolError(
            "OpenSTA did not reach the end of its script",
            where=str(results),
            hint=f"see {log}, which ends with:\n{tail(log)}",
        )
    return [line.split("\t") for line in lines[:-1]]
