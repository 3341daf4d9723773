# SPDX-License-Identifier: Apache-2.0
"""Find the architecture that `[load] model` names: built in, torchvision's, or a Python factory."""

from __future__ import annotations

import difflib
import importlib
import os
from collections.abc import Callable
from typing import Any

from torch import nn

from hsflow.errors import HsflowError, ModelError
from hsflow_torch.models import BUILT_IN, SCALABLE, TWINS
from hsflow_torch.naming import is_factory, is_torchvision
from hsflow_torch.training import seeded

_TORCHVISION_CLASSES = 1000
ALLOW_CODE = "HSFLOW_ALLOW_CODE"
"""The environment variable that lets `package.module:factory` import and call what a configuration names."""

_WHERE = "[load] model"


def build(
    model: str, *, classes: int, seed: int, pretrained: bool = False, width: float | None = None
) -> nn.Module:
    """Return the architecture that `model` names, with fresh weights drawn from `seed` unless `pretrained`.

    `model` is a built-in name, `torchvision:NAME`, or `package.module:factory`, where the factory takes no argument.
    `width` scales the channels; None is 1.

    Raises:
        ModelError: if there is no such architecture, its channels cannot be scaled, or its factory fails.
        HsflowError: if torchvision is not installed or does not fit the installed torch, or if a factory is named and
            the environment variable HSFLOW_ALLOW_CODE is not 1.
    """
    model = model if pretrained else TWINS.get(model, model)
    with seeded(seed):
        if width is not None:
            return _scaled(model, classes, width)
        if is_torchvision(model):
            return _from_torchvision(model.partition(":")[2], classes, pretrained)
        if is_factory(model):
            return _from_factory(model)
        return _built_in(model, classes)


def _built_in(model: str, classes: int) -> nn.Module:
    if model not in BUILT_IN:
        near = difflib.get_close_matches(model, BUILT_IN, n=1)
        raise ModelError(
            "an unknown architecture",
            where=_WHERE,
            got=model,
            expected=f"one of {', '.join(BUILT_IN)}; torchvision:NAME; or package.module:factory",
            hint=f"did you mean {near[0]!r}?" if near else None,
        )
    return BUILT_IN[model](classes)


def _scaled(model: str, classes: int, width: float) -> nn.Module:
    if model not in SCALABLE:
        raise ModelError(
            "this architecture's channels cannot be scaled",
            where="[load] width",
            got=model,
            expected=f"one of {', '.join(SCALABLE)}",
        )
    return SCALABLE[model](classes, width)


def _from_torchvision(name: str, classes: int, pretrained: bool) -> nn.Module:
    models = _torchvision_models()
    try:
        if pretrained:
            return _checked(models.get_model(name, weights="DEFAULT"), name)
        return _checked(models.get_model(name, weights=None, num_classes=classes), name)
    except ValueError as error:
        raise ModelError("torchvision has no such model", where=_WHERE, got=name, hint=str(error)) from error
    except OSError as error:
        raise ModelError(
            "torchvision's weights cannot be fetched",
            where=_WHERE,
            got=error,
            hint="download them elsewhere and name the file in [load] checkpoint",
        ) from error


def _torchvision_models() -> Any:
    try:
        return importlib.import_module("torchvision.models")
    except Exception as error:
        raise HsflowError(
            "torchvision cannot be imported",
            where=_WHERE,
            got=f"{type(error).__name__}: {error}",
            expected="a torchvision built for the installed torch",
            hint="install both from one index, for instance pip install torch torchvision "
            "--index-url https://download.pytorch.org/whl/cpu; or name a factory, package.module:factory",
        ) from error


def _from_factory(model: str) -> nn.Module:
    if os.environ.get(ALLOW_CODE) != "1":
        raise HsflowError(
            "a flow.toml may not run code of its own accord",
            where=_WHERE,
            got=model,
            hint=f"if you trust it, set {ALLOW_CODE}=1; or hand the module over in Python: hsflow.load(module)",
        )
    path, _, name = model.partition(":")
    try:
        factory: Callable[[], Any] = getattr(importlib.import_module(path), name)
        return _checked(factory(), model)
    except ModelError:
        raise
    except Exception as error:
        raise ModelError(
            "the model's factory failed",
            where=_WHERE,
            got=f"{type(error).__name__}: {error}",
            expected=f"{model} to be importable (see PYTHONPATH), callable without arguments, and to return a module",
        ) from error


def _checked(module: Any, model: str) -> nn.Module:
    if not isinstance(module, nn.Module):
        raise ModelError(
            "the factory returned no module",
            where=model,
            got=type(module).__name__,
            expected="torch.nn.Module",
        )
    return module


def default_classes(model: str, dataset_classes: int) -> int:
    """Return how many classes an architecture gets where nothing says so."""
    return _TORCHVISION_CLASSES if is_torchvision(model) else dataset_classes
