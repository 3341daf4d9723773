# SPDX-License-Identifier: Apache-2.0
"""Dependencies run one way, and what is heavy is imported only where it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "torchvision", "tflite", "onnx", "PIL", "fusesoc", "edalize", "sklearn", "joblib", "numba"}

# Lower layers first; a module may import from its own layer and from those before it.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("hsflow", "hsflow.hookspecs", "hsflow.errors"),
    (
        "hsflow.fixedpoint",
        "hsflow.keywords",
        "hsflow.durable",
        "hsflow.lowering",
        "hsflow.technology",
        "hsflow.executor",
        "hsflow.images",
        "hsflow.yosys_wheel",
    ),
    ("hsflow.ir",),
    (
        "hsflow.data",
        "hsflow.design",
        "hsflow.beats",
        "hsflow.templates",
        "hsflow.targets",
        "hsflow.importing",
    ),
    ("hsflow.stage", "hsflow.area", "hsflow.estimate", "hsflow.layerbench", "hsflow.plan"),
    ("hsflow.metrics", "hsflow.comparison", "hsflow.thresholds", "hsflow.progress", "hsflow.process"),
    ("hsflow.artifact", "hsflow.plugins", "hsflow.launch"),
    (
        "hsflow.store",
        "hsflow.config",
        "hsflow.layerwise",
        "hsflow.output",
        "hsflow.emulation",
        "hsflow.doctor",
        "hsflow.results",
    ),
    ("hsflow.report",),
    ("hsflow.simulation", "hsflow.cachekey", "hsflow.eda", "hsflow.generate", "hsflow.plots"),
    ("hsflow.flow", "hsflow.starter", "hsflow.planning", "hsflow.verification"),
    ("hsflow.project", "hsflow.finetuning"),
    ("hsflow.api", "hsflow.commands"),
    ("hsflow.cli",),
)

FORBIDDEN: dict[str, set[str]] = {
    "hsflow": HEAVY
    | {"hsflow_torch", "hsflow_prune", "hsflow_po2", "hsflow_harden", "hsflow_npu", "hsflow_fusesoc"}
    | {"hsflow_cmvm", "hsflow_tflite", "hsflow_onnx", "hsflow_asap7", "klayout", "pyosys"},
    "plugins/hsflow_cmvm": {"torch", "torchvision", "fusesoc", "edalize", "sklearn", "joblib"}
    | {"hsflow_torch", "hsflow_prune", "hsflow_po2", "hsflow_harden", "hsflow_npu", "hsflow_fusesoc"},
    "plugins/hsflow_harden": {"torch", "torchvision", "numba", "hsflow_torch", "hsflow_po2"}
    | {"fusesoc", "edalize", "hsflow_cmvm"},
    "plugins/hsflow_npu": {"torch", "torchvision", "hsflow_torch", "hsflow_po2", "fusesoc", "edalize"},
    "plugins/hsflow_fusesoc": {"torch", "torchvision", "hsflow_torch", "fusesoc", "edalize"},
    "plugins/hsflow_asap7": {"torch", "torchvision", "hsflow_torch", "hsflow_po2", "fusesoc", "edalize"}
    | {"hsflow_harden", "hsflow_npu", "klayout", "pyosys"},
    "plugins/hsflow_po2": {"fusesoc", "edalize", "hsflow_harden", "hsflow_npu"},
    "plugins/hsflow_prune": {"fusesoc", "edalize", "hsflow_harden", "hsflow_npu"},
    "plugins/hsflow_torch": {"fusesoc", "edalize", "hsflow_harden", "hsflow_npu"},
    "plugins/hsflow_onnx": {"torch", "torchvision", "hsflow_torch", "hsflow_po2", "fusesoc", "edalize"}
    | {"onnx", "hsflow_harden", "hsflow_npu"},
    "plugins/hsflow_tflite": {"torch", "torchvision", "hsflow_torch", "hsflow_po2", "fusesoc", "edalize"}
    | {"tflite", "hsflow_harden", "hsflow_npu"},
}
"""What a package must not import at the top of a module (the kernel may at a call, where a user asked for it)."""


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(tree: ast.AST, *, top_only: bool) -> Iterator[str]:
    """Yield what a module imports, but not what only a type checker sees."""
    for node in ast.iter_child_nodes(tree):
        match node:
            case ast.Import(names=names):
                yield from (name.name for name in names)
            case ast.ImportFrom(module=str(module), names=names, level=0):
                yield from (f"{module}.{name.name}" for name in names)
            case ast.If(test=ast.Name(id="TYPE_CHECKING"), orelse=other):
                for statement in other:
                    yield from _imports(statement, top_only=top_only)
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda() if top_only:
                pass
            case _:
                yield from _imports(node, top_only=top_only)


def _layer(module: str) -> int | None:
    """Return the layer of the longest listed name that `module` is or lies in."""
    found = [
        (len(name), level)
        for level, names in enumerate(LAYERS)
        for name in names
        if module == name or (module.startswith(f"{name}.") and name != "hsflow")
    ]
    return max(found)[1] if found else None


def _upward(sources: dict[str, str]) -> list[str]:
    """Return each import of a higher layer at the top of a module, as `importer -> imported`."""
    found = []
    for module, text in sources.items():
        own = _layer(module)
        for imported in _imports(ast.parse(text), top_only=True):
            layer = _layer(imported)
            if own is not None and layer is not None and layer > own:
                found.append(f"{module} -> {imported}")
    return found


def _forbidden(package: str, sources: dict[str, str]) -> list[str]:
    return [
        f"{module} -> {imported}"
        for module, text in sources.items()
        for imported in _imports(ast.parse(text), top_only=True)
        if imported.split(".")[0] in FORBIDDEN[package]
    ]


def _sources(folder: str) -> dict[str, str]:
    return {_module(path): path.read_text() for path in sorted((ROOT / folder).rglob("*.py"))}


def test_every_kernel_module_has_a_layer() -> None:
    assert [module for module in _sources("hsflow") if _layer(module) is None] == []


def test_the_kernel_imports_downward_only() -> None:
    assert _upward(_sources("hsflow")) == []


@pytest.mark.parametrize(
    "text",
    ["import hsflow.flow", "from hsflow import cli", "from hsflow.store import Store", "try:\n  import hsflow.api\nexcept X: pass"],
)  # fmt: skip
def test_an_upward_import_is_found(text: str) -> None:
    assert _upward({"hsflow.fixedpoint": text})
    assert not _upward({"hsflow.cli": text})


@pytest.mark.parametrize("package", FORBIDDEN)
def test_no_package_imports_what_it_must_not(package: str) -> None:
    assert _forbidden(package, _sources(package)) == []


def test_a_forbidden_import_is_found_unless_it_is_late_or_a_type() -> None:
    assert _forbidden("hsflow", {"hsflow.x": "if True:\n  from torch import nn"})
    assert not _forbidden("hsflow", {"hsflow.x": "def f():\n  import torch"})
    assert not _forbidden("hsflow", {"hsflow.x": "if TYPE_CHECKING:\n  import torch"})


@pytest.mark.parametrize("folder", ["hsflow", *(name for name in FORBIDDEN if name != "hsflow")])
def test_a_process_is_started_in_one_place_only(folder: str) -> None:
    importers = {
        module
        for module, text in _sources(folder).items()
        if {"subprocess", "pickle"}
        & {name.split(".")[0] for name in _imports(ast.parse(text), top_only=False)}
    }
    assert importers <= {"hsflow.process", "hsflow.launch"}


@pytest.mark.parametrize("module", ["hsflow", "hsflow.flow", "hsflow.api", "hsflow.cli", "hsflow.ir.interp"])
def test_importing_hsflow_imports_nothing_heavy(module: str) -> None:
    script = f"import sys, {module}; print(*sorted({HEAVY!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_the_installed_plugins_import_nothing_heavy() -> None:
    script = (
        "import sys; from hsflow.plugins import load_plugins; plugins = load_plugins(); plugins.stages; plugins.targets();"
        f"print(*sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout, done.returncode) == ("\n", 0), done.stderr


def test_every_package_of_the_kernel_is_installed() -> None:
    configuration = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {_module(path) for path in (ROOT / "hsflow").rglob("__init__.py")}
    assert packages <= set(configuration["tool"]["setuptools"]["packages"])


def test_the_lazy_names_are_there() -> None:
    import hsflow

    assert hsflow.load.__module__ == hsflow.Flow.__module__ == "hsflow.api"
    assert set(hsflow.__all__) <= set(dir(hsflow))
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = hsflow.nothing
