# SPDX-License-Identifier: Apache-2.0
"""Checkpoints from strangers: read as tensors or refused, never executed."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from hsflow_torch.checkpoint import load_checkpoint, read_tensors
from hsflow_torch.models.digits import DigitsNet
from hsflow_torch.stage import TorchLoader, TorchOptions
from safetensors.torch import save_file
from torch import nn

from hsflow.errors import ModelError
from tests.torch_models import Context


class Bomb:
    """Make a folder when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.fixture
def module() -> nn.Module:
    torch.manual_seed(0)
    return DigitsNet()


@pytest.mark.parametrize("kind", ["pickle", "pickle in a dictionary", "torch", "torch, legacy", "protocol 0"])
def test_a_pickle_posing_as_a_checkpoint_is_not_executed(kind: str, tmp_path: Path) -> None:
    crater, path = tmp_path / "crater", tmp_path / "model.pt"
    bomb: Any = Bomb(crater)
    match kind:
        case "pickle":
            path.write_bytes(pickle.dumps(bomb))
        case "pickle in a dictionary":
            path.write_bytes(pickle.dumps({"state_dict": {"features.0.0.weight": bomb}}))
        case "torch":
            torch.save({"state_dict": bomb}, path)
        case "torch, legacy":
            torch.save(bomb, path, _use_new_zipfile_serialization=False)
        case "protocol 0":
            path.write_bytes(pickle.dumps(bomb, protocol=0))
    with pytest.raises(ModelError, match="next: save the weights alone"):
        TorchLoader().run(None, TorchOptions(checkpoint=path), Context())
    assert not crater.exists()


def test_the_bomb_works(tmp_path: Path) -> None:
    """The twin: unpickling would have run it."""
    pickle.loads(pickle.dumps(Bomb(tmp_path / "crater")))
    assert (tmp_path / "crater").exists()


def test_a_whole_pickled_module_is_refused(module: nn.Module, tmp_path: Path) -> None:
    torch.save(module, tmp_path / "model.pt")
    with pytest.raises(ModelError, match="refused"):
        read_tensors(tmp_path / "model.pt")


@pytest.mark.parametrize(
    "layout", ["plain", "state_dict", "model", "module.", "lightning", "compiled", "safetensors", "uncounted"]
)
def test_usual_layouts(layout: str, module: nn.Module, tmp_path: Path) -> None:
    state, path = module.state_dict(), tmp_path / "model.pt"
    content: Any = state
    match layout:
        case "state_dict" | "model":
            content = {layout: state, "epoch": 3}
        case "module.":
            content = {"state_dict": {f"module.{name}": tensor for name, tensor in state.items()}}
        case "lightning":
            content = {"state_dict": {f"model.{name}": tensor for name, tensor in state.items()}, "epoch": 1}
        case "compiled":
            content = {f"module._orig_mod.{name}": tensor for name, tensor in state.items()}
        case "uncounted":
            content = {name: tensor for name, tensor in state.items() if "num_batches" not in name}
    if layout == "safetensors":
        save_file(state, str(path))
    else:
        torch.save(content, path)
    target = DigitsNet()
    load_checkpoint(target, path)
    for name, tensor in state.items():
        assert torch.equal(target.state_dict()[name], tensor)


def test_everything_that_does_not_fit_is_listed(module: nn.Module, tmp_path: Path) -> None:
    state = dict(module.state_dict())
    del state["features.0.0.weight"]
    state["extra"] = torch.zeros(1)
    state["classifier.1.bias"] = torch.zeros(7)
    save_file(state, str(tmp_path / "m.safetensors"))
    with pytest.raises(ModelError) as caught:
        load_checkpoint(module, tmp_path / "m.safetensors")
    for expected in (
        "missing: features.0.0.weight",
        "unexpected: extra",
        "wrong shape: classifier.1.bias (7,) for (10,)",
    ):
        assert expected in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04",
        b"\x80",
        b"\x80\x02.",
        b"\xff" * 64,
        b"\x10\0\0\0\0\0\0\0{}",
        b"\xff\xff\xff\xff\xff\xff\xff\x7f{}",
    ],
)
def test_damaged_files(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    with pytest.raises(ModelError):
        read_tensors(path)


def test_truncated_files(module: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "model"
    for save in (
        lambda: torch.save(module.state_dict(), path),
        lambda: save_file(module.state_dict(), str(path)),
    ):
        save()
        whole = path.read_bytes()
        for size in (9, len(whole) // 2, len(whole) - 1):
            path.write_bytes(whole[:size])
            with pytest.raises(ModelError):
                read_tensors(path)


@pytest.mark.parametrize(
    "content", [[torch.zeros(1)], {}, {"a": "text"}, {"state_dict": {"a": 1}}, torch.zeros(2)]
)
def test_things_that_are_not_named_tensors(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(ModelError):
        read_tensors(tmp_path / "model.pt")


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(ModelError, match="cannot be read"):
            read_tensors(path)


def test_nan_in_a_checkpoint_is_named(module: nn.Module, tmp_path: Path) -> None:
    state = dict(module.state_dict())
    state["features.0.0.weight"] = torch.full_like(state["features.0.0.weight"], float("nan"))
    save_file(state, str(tmp_path / "m.safetensors"))
    with pytest.raises(ModelError, match=r"features\.0\.0\.weight"):
        TorchLoader().run(None, TorchOptions(checkpoint=tmp_path / "m.safetensors"), Context())
