# SPDX-License-Identifier: Apache-2.0
"""FuseSoC calls this with the `python3` on PATH; find the Python that has hsflow, and let it do the work.

Looked at, in this order: HSFLOW_PYTHON, the Python that runs fusesoc, the active virtual environment, this Python, and
those of the `hsflow` and `fusesoc` programs on PATH. The script needs nothing but a Python 3.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

HELP = """hsflow: no Python with hsflow was found.
  tried: {tried}
  next:  install hsflow where fusesoc is installed ('pip install hsflow', or 'make run' in a checkout),
         or set HSFLOW_PYTHON to the Python of the environment that has it."""


def candidates() -> Iterator[str]:
    """Yield Pythons that may have hsflow, the likeliest first."""
    named = os.environ.get("HSFLOW_PYTHON")
    if named:
        yield named
        return
    parent = python_of_process(os.getppid())
    if parent:
        yield parent
    environment = os.environ.get("VIRTUAL_ENV")
    if environment:
        yield str(Path(environment) / "bin" / "python")
    yield sys.executable
    for program in ("hsflow", "fusesoc"):
        interpreter = python_of_script(shutil.which(program))
        if interpreter:
            yield interpreter


def python_of_process(number: int) -> str:
    """Return the first word of a process's command line if it names a Python by its path, else nothing."""
    try:
        words = Path("/proc", str(number), "cmdline").read_bytes().split(b"\0")
        first = os.fsdecode(words[0])
    except OSError:
        first = first_word_of_process(number)
    return first if Path(first).is_absolute() and Path(first).name.startswith("python") else ""


def first_word_of_process(number: int) -> str:
    """Return what `ps` says, for systems without /proc."""
    try:
        line = subprocess.check_output(["ps", "-o", "command=", "-p", str(number)])  # noqa: S607
    except (OSError, subprocess.CalledProcessError):
        return ""
    return (os.fsdecode(line).split() or [""])[0]


def python_of_script(path: str | None) -> str:
    """Return the interpreter in a script's first line, or nothing."""
    if not path:
        return ""
    try:
        with Path(path).open("rb") as stream:
            first = stream.readline(4096)
    except OSError:
        return ""
    interpreter = os.fsdecode(first[2:]).strip() if first.startswith(b"#!") else ""
    return interpreter if Path(interpreter).name.startswith("python") else ""


def has_hsflow(python: str) -> bool:
    """Tell whether a Python starts and has hsflow installed; what lies in the working folder (-P) does not count."""
    probe = "import importlib.util, sys; sys.exit(importlib.util.find_spec('hsflow.generate') is None)"
    try:
        return subprocess.call([python, "-P", "-c", probe], stderr=subprocess.DEVNULL) == 0
    except (OSError, ValueError):
        return False


def main() -> int:
    """Run `hsflow.generate` in the first Python that has it."""
    tried = []
    for python in candidates():
        if python not in tried and has_hsflow(python):
            return subprocess.call([python, "-P", "-m", "hsflow.generate", *sys.argv[1:]])
        tried.append(python)
    print(HELP.format(tried=", ".join(dict.fromkeys(tried))), file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
