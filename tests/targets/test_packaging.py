# SPDX-License-Identifier: Apache-2.0
"""What is installed: every package, the cores, the templates, and hsflow's part of Edalize's namespace."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import subprocess
import sys
import tomllib
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PROJECT["tool"]["setuptools"]


def source_of(package: str) -> Path:
    """Return a package's folder, by the longest prefix that pyproject.toml maps."""
    parts = package.split(".")
    for length in range(len(parts), 0, -1):
        mapped = SETUPTOOLS["package-dir"].get(".".join(parts[:length]))
        if mapped is not None:
            return ROOT.joinpath(mapped, *parts[length:])
    return ROOT.joinpath(*parts)


def test_every_package_is_listed() -> None:
    """A package that is not listed works in a checkout and is missing from the wheel."""
    listed = {source_of(package) for package in SETUPTOOLS["packages"]}
    roots = [ROOT / "hsflow", *(ROOT / "plugins").glob("hsflow_*")]
    found = {path.parent for root in roots for path in root.rglob("__init__.py")}
    assert found <= listed, sorted(str(path.relative_to(ROOT)) for path in found - listed)
    assert all(path.is_dir() for path in listed)


def test_edalize_stays_a_namespace() -> None:
    """An __init__.py in our part would hide Edalize's own flows."""
    assert not list((ROOT / "targets" / "edalize").rglob("__init__.py"))
    for name in ("flows.hsflow", "flows.sim", "build_runners.hsflow", "build_runners.make"):
        assert importlib.util.find_spec(f"edalize.{name}") is not None


def test_flow_and_runner_are_named_as_edalize_looks_for_them() -> None:
    from edalize.build_runners.hsflow import Hsflow as Runner
    from edalize.flows.hsflow import Hsflow as Flow

    assert Flow.__name__ == Runner.__name__ == "hsflow".capitalize()
    command, options = Runner({}).get_build_command()
    assert command == "make"
    assert options[0].startswith("EDALIZE_LAUNCHER=")
    assert sys.executable in options[0]


def test_importing_hsflow_imports_nothing_heavy() -> None:
    code = "import sys, hsflow.eda; sys.exit(any(m in sys.modules for m in ('torch', 'fusesoc', 'edalize')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--editable",)])
def test_a_fresh_environment_has_everything(tmp_path: Path, options: tuple[str, ...]) -> None:
    """Install in a new environment that sees this one's libraries, but not its hsflow."""
    site = Path(importlib.metadata.distribution("fusesoc").locate_file("")).resolve()
    venv.create(tmp_path / "v", with_pip=True)
    python = tmp_path / "v" / "bin" / "python"
    own = subprocess.run(
        [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    pip = [python, "-m", "pip", "install", "-q", "--no-deps", *options, str(ROOT)]
    if not options:
        subprocess.run([python, "-m", "pip", "install", "-q", "setuptools>=77"], check=True)
    subprocess.run(pip, check=True)
    Path(own.stdout.strip(), "zz-libraries.pth").write_text(f"{site}\n")
    code = (
        "import pathlib, hsflow, hsflow_cores, hsflow_targets, edalize.build_runners.hsflow as r, edalize.flows.sim\n"
        "import edalize.flows.hsflow as f; print(hsflow.__file__, r.__file__, f.__file__)\n"
        "assert (hsflow_targets.FOLDER / 'verilator' / 'hsflow_tb.sv.j2').is_file()\n"
        "assert (hsflow_cores.FOLDER / 'hsflow' / 'generator.py').is_file()\n"
        "assert len(list(hsflow_cores.FOLDER.glob('*/*.core'))) >= 8\n"
    )
    result = subprocess.run([python, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    home = ROOT if options else tmp_path
    assert all(Path(path).is_relative_to(home) for path in result.stdout.split())
