# SPDX-License-Identifier: Apache-2.0
"""Read weights from a file that nobody vouches for: tensors only, nothing in the file is ever executed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from hsflow.errors import ModelError

_TORCH_MAGIC = (b"PK\x03\x04", b"\x80")
_CONTAINERS = ("state_dict", "model_state_dict", "state_dict_ema", "model", "net", "weights")
_PREFIXES = ("module.", "_orig_mod.", "model.", "net.", "network.")
_OPTIONAL = "num_batches_tracked"
_SHOWN = 20
_NEXT = "save the weights alone: safetensors.torch.save_file(model.state_dict(), 'model.safetensors')"


def load_checkpoint(module: nn.Module, path: Path, *, by_order: bool = False) -> None:
    """Copy the weights in `path` into `module`.

    The file is safetensors or torch's, with the weights at its top or under a usual key such as "state_dict"; a usual
    prefix such as "module." before every name is taken off. `by_order` takes tensors in their order instead, each for one
    of the same kind (the last part of its name) and shape.

    Raises:
        ModelError: if the file is unreadable, holds anything but tensors, or does not fit the module; the message
            lists every missing, unexpected and misshapen tensor.
    """
    tensors = read_tensors(path)
    expected = module.state_dict()
    fitting = _in_order(tensors, expected) if by_order else _without_prefix(tensors, expected)
    problems = _compare(fitting, expected)
    if problems:
        raise ModelError(
            "the checkpoint does not fit the model",
            where=str(path),
            got="".join(f"\n    {problem}" for problem in problems),
            expected="exactly the model's tensors",
            hint="check [load] model, and that the checkpoint was made for it (number of classes included); if it is the "
            "same network under other names, try by_order = true",
        )
    module.load_state_dict(fitting, strict=False)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the named tensors in a safetensors or torch file.

    Raises:
        ModelError: if it is neither, or holds anything else.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(4)
        if magic.startswith(_TORCH_MAGIC):
            return _named_tensors(_read_torch(path), path)
        return dict(load_file(str(path)))
    except (OSError, SafetensorError) as error:
        raise ModelError(
            "the checkpoint cannot be read",
            where=str(path),
            got=error,
            expected="a safetensors file, or a torch file that holds tensors only",
            hint=_NEXT,
        ) from error


def _read_torch(path: Path) -> Any:
    """Return a torch file's content; torch's reader raises anything at all on a damaged or hostile file."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ModelError(
            "the checkpoint was refused: it is damaged, or holds Python objects that would run code when loaded",
            where=str(path),
            got=str(error).splitlines()[0] if str(error) else type(error).__name__,
            expected="a torch file that holds tensors only",
            hint=_NEXT,
        ) from error


def _named_tensors(content: Any, path: Path) -> dict[str, Tensor]:
    for key in _CONTAINERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if not isinstance(content, Mapping):
        raise ModelError(
            "the checkpoint holds no named tensors", where=str(path), got=type(content).__name__, hint=_NEXT
        )
    strangers = [str(name) for name, value in content.items() if not _is_named_tensor(name, value)]
    if strangers or not content:
        raise ModelError(
            "the checkpoint holds things that are not tensors",
            where=str(path),
            got=_listed(strangers) or "nothing",
            expected=f"tensors at the top, or under one of {', '.join(_CONTAINERS)}",
            hint=_NEXT,
        )
    return dict(content)


def _is_named_tensor(name: Any, value: Any) -> bool:
    return isinstance(name, str) and isinstance(value, Tensor)


def _without_prefix(tensors: dict[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take a usual prefix off as long as every name has it and the model's names do not."""
    for _ in range(len(_PREFIXES)):
        for prefix in _PREFIXES:
            mine = all(name.startswith(prefix) for name in expected)
            if not mine and all(name.startswith(prefix) for name in tensors):
                tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
                break
    return tensors


def _in_order(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under the model's names where all agree in kind and in order; else as they are."""
    given = [(name, tensor) for name, tensor in tensors.items() if not name.endswith(_OPTIONAL)]
    wanted = [name for name in expected if not name.endswith(_OPTIONAL)]
    kinds = [[name.rpartition(".")[2] for name in names] for names in (wanted, [each for each, _ in given])]
    if kinds[0] != kinds[1]:
        return dict(tensors)
    return {name: tensor for name, (_, tensor) in zip(wanted, given, strict=True)}


def _compare(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    missing = [name for name in expected if name not in tensors and not name.endswith(_OPTIONAL)]
    unexpected = [name for name in tensors if name not in expected and not name.endswith(_OPTIONAL)]
    misshapen = [
        f"{name} {tuple(tensors[name].shape)} for {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in tensors and tensors[name].shape != tensor.shape
    ]
    found = (("missing", missing), ("unexpected", unexpected), ("wrong shape", misshapen))
    return [f"{label}: {_listed(names)}" for label, names in found if names]


def _listed(names: Iterable[str]) -> str:
    everything = list(names)
    more = f" and {len(everything) - _SHOWN} more" if len(everything) > _SHOWN else ""
    return ", ".join(everything[:_SHOWN]) + more
