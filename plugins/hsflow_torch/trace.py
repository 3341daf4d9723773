# SPDX-License-Identifier: Apache-2.0
"""Trace a module into a graph of operators with torch.fx."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from torch import fx, nn

from hsflow.errors import ModelError
from hsflow_torch.operators import module_type

_SHOWN = 20


class _Tracer(fx.Tracer):
    """Keep supported layers whole, those that users subclass without changing them included."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return module_type(m) is not None or super().is_leaf_module(m, module_qualified_name)


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Put `module` into evaluation mode, and afterwards each of its layers back into the mode that it had."""
    before = [(layer, layer.training) for layer in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for layer, training in before:
            layer.training = training


def trace(module: nn.Module, name: str) -> fx.Graph:
    """Return the operators that `module`, which is in evaluation mode, applies to one image tensor.

    Raises:
        ModelError: if the module cannot be traced or a weight is not finite.
    """
    check_finite(module, name)
    try:
        return _Tracer().trace(module, concrete_args=_defaults(module))
    except Exception as error:
        raise ModelError(
            "the model cannot be traced by torch.fx",
            where=name,
            got=f"{type(error).__name__}: {error}",
            expected="a forward() of one image tensor whose control flow does not depend on values",
            hint="move such control flow out of forward(), or write the model as nn.Module layers",
        ) from error


def check_finite(module: nn.Module, name: str) -> None:
    """Refuse NaN and infinite weights.

    Raises:
        ModelError: names each parameter and buffer that has one.
    """
    tensors = [*module.named_parameters(), *module.named_buffers()]
    bad = [path for path, tensor in tensors if tensor.is_floating_point() and not _is_finite(tensor)]
    if bad:
        more = f" and {len(bad) - _SHOWN} more" if len(bad) > _SHOWN else ""
        raise ModelError(
            "the model has weights that are NaN or infinite",
            where=name,
            got=", ".join(bad[:_SHOWN]) + more,
            expected="finite numbers",
            hint="train again or load another checkpoint",
        )


def _is_finite(tensor: Any) -> bool:
    return bool(np.isfinite(tensor.detach().cpu().double().numpy()).all())


def _defaults(module: nn.Module) -> dict[str, Any]:
    """Return every argument of forward() but the first that has a default, so that it is traced as a constant."""
    parameters = list(inspect.signature(module.forward).parameters.values())[1:]
    return {p.name: p.default for p in parameters if p.default is not inspect.Parameter.empty}
