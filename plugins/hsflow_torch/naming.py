# SPDX-License-Identifier: Apache-2.0
"""What `[load] model` names, and a digest of the code behind it; nothing of that code is imported here."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path

from hsflow.cachekey import has_module, module_digest, source_digest

TORCHVISION = "torchvision"
MISSING = "missing"


def is_torchvision(model: str) -> bool:
    """Tell whether `model` is torchvision:NAME."""
    return model.startswith(f"{TORCHVISION}:")


def is_factory(model: str) -> bool:
    """Tell whether `model` is package.module:factory."""
    return ":" in model and not is_torchvision(model)


def code_digest(model: str) -> str:
    """Return a digest of the code that makes an architecture, "" for a built-in one.

    Without a module of that name it is "missing", as where a file cannot be read; a module without a file has "no
    source". Otherwise the digest is of the whole top package, or of the module if it is outside of any. A namespace
    package, a folder without __init__.py, may hold much else, so of that it is the folder of the module.
    """
    if ":" not in model:
        return ""
    package, *inner = model.partition(":")[0].split(".")
    if not has_module(package):
        return MISSING
    folders = _namespace(package)
    try:
        return module_digest(package) if folders is None else _digest_in(folders, inner)
    except OSError:  # a file that nobody may read
        return MISSING


def _namespace(package: str) -> list[Path] | None:
    """Return the folders of a namespace package; None if `package` is none."""
    module = sys.modules.get(package)
    spec = getattr(module, "__spec__", None) if module is not None else importlib.util.find_spec(package)
    if spec is None or spec.has_location or spec.submodule_search_locations is None:
        return None
    return [Path(folder) for folder in spec.submodule_search_locations]


def _digest_in(folders: Sequence[Path], names: Sequence[str]) -> str:
    """Follow module names through folders, by hand: `find_spec` would import packages on the way."""
    if not names:
        return MISSING
    for folder in folders:
        if (folder / names[0] / "__init__.py").is_file():
            return source_digest(folder / names[0])
        if (folder / f"{names[0]}.py").is_file():
            return source_digest(folder)
    return _digest_in([inner for folder in folders if (inner := folder / names[0]).is_dir()], names[1:])
