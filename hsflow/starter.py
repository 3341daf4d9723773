# SPDX-License-Identifier: Apache-2.0
"""The flow.toml that `hsflow new` writes: every option of the default stages, with its meaning and default."""

from __future__ import annotations

import importlib
import json
import os
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from hsflow.config import DEFAULTS, FILE_NAME, STAGES, USE, name_problem
from hsflow.durable import replace_file
from hsflow.errors import ConfigurationError
from hsflow.plugins import PluginManager
from hsflow.stage import StageKind

EXAMPLE_CHECKPOINT = "model/digits.safetensors"
"""The trained weights of the example, in a new project and in the core that they come from."""

_CHECKPOINT_OPTION = "checkpoint"
_WIDTH = 100
_HEAD = """\
# A flow of hsflow: from a trained network to FuseSoC cores.
#
#     hsflow build            run every stage and write the cores into build/
#     hsflow emulate          score the integer network, bit for bit what the hardware computes
#     hsflow run sim          simulate the hardware against it
#
# A line that is commented out shows a default; `...` stands for none. An unknown table or key is an error.
#
# The first build trains for a minute or two. For a quick try, which is less accurate, set steps and epochs of [prune]
# to 1 and epochs of [quantize] to 3.

[flow]
# The design's name, and its top module's.
name = "{name}"
# `digits` (1,797 images of handwritten digits, 8x8), or an .npz file with the arrays train_images and test_images
# (uint8; n, channels, height, width), train_labels and test_labels, or a folder or .zip file of images, in a folder for
# each class or with names that begin with the number of the class.
# data = "digits"
# For images: which are held out (by default a third of `data`, evenly spread), the pixels to which the shorter side is
# scaled, and those that are then cut from the centre.
# test_data = ...
# held_out = 0.3333333333333333
# resize = ...
# crop = ...
# seed = 1
# The clock for which throughput is stated.
# clock_mhz = 1000.0
"""
_TAIL = """\
# Bounds of figures, by the names that `hsflow build` and `hsflow run` print: beyond one of them a run fails.
[thresholds]
# quantize.accuracy_po2 = {min = ...}
# harden.adders = {max = ...}
"""
_PURPOSES = {
    StageKind.LOAD: "Where the trained network comes from.",
    StageKind.PRUNE: "Which weights become zero: they cost nothing in hardware.",
    StageKind.QUANTIZE: "How weights become powers of two, and activations small integers.",
    StageKind.HARDEN: "How layers become adders and wires.",
    StageKind.NPU: "The last layer, which stays programmable.",
    StageKind.PACKAGE: "What is written into the output folder.",
}


def write_starter(folder: Path, name: str, plugins: PluginManager) -> Path:
    """Write `folder`/flow.toml for a design called `name`, with the example's weights, and return its path.

    Nothing is overwritten; flow.toml comes last, so that a folder which has one is complete.

    Raises:
        ConfigurationError: if the name is not allowed, or a file that would be written exists.
    """
    if problem := name_problem(name):
        raise ConfigurationError(f"the name {problem}", where=repr(name))
    contents: dict[Path, bytes] = {}
    if _takes_checkpoint(plugins):
        contents[folder / EXAMPLE_CHECKPOINT] = _example_checkpoint().read_bytes()
    contents[folder / FILE_NAME] = starter_text(name, plugins).encode()
    for path in contents:
        _refuse_existing(folder, path)
    for path, content in contents.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, content)
    return folder / FILE_NAME


def _refuse_existing(folder: Path, path: Path) -> None:
    """Refuse to write `path` if it is there, or if a folder on the way to it is something else."""
    taken = [path] if os.path.lexists(path) else []
    parents = (folder, *(folder / parent for parent in path.relative_to(folder).parents))
    taken += [parent for parent in parents if os.path.lexists(parent) and not parent.is_dir()]
    if taken:
        raise ConfigurationError(
            "the file exists", where=str(taken[0]), hint="choose another name, or remove it"
        )


def _takes_checkpoint(plugins: PluginManager) -> bool:
    loader = plugins.stages.get((StageKind.LOAD, DEFAULTS[StageKind.LOAD]))
    return loader is not None and _CHECKPOINT_OPTION in loader.stage.options_model.model_fields


def _example_checkpoint() -> Path:
    folder: Path = importlib.import_module("hsflow_cores").FOLDER
    return folder / "hashiflex" / EXAMPLE_CHECKPOINT


def starter_text(name: str, plugins: PluginManager) -> str:
    """Return the text of a flow.toml with every default stage and its options; the weights are the example's."""
    parts = [_HEAD.format(name=name)]
    for kind in STAGES:
        use = DEFAULTS[kind]
        parts.append("\n".join([*_comment(_PURPOSES[kind]), f"[{kind}]", f"{USE} = {json.dumps(use)}"]))
        registered = plugins.stages.get((kind, use))
        if registered is not None:
            parts[-1] += "".join(f"\n{line}" for line in _options(registered.stage.options_model))
        parts[-1] += "\n"
    return "\n".join([*parts, _TAIL])


def _options(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield from _comment(field.description or "")
        if name == _CHECKPOINT_OPTION:
            yield f"{name} = {toml_value(EXAMPLE_CHECKPOINT)}"
            continue
        yield f"# {name} = {toml_value(_default(field))}"


def _default(field: FieldInfo) -> Any:
    return None if field.is_required() else field.get_default(call_default_factory=True, validated_data={})


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent="# ", subsequent_indent="# ")


def toml_value(value: Any) -> str:
    """Return `value` as TOML writes it; None, which TOML lacks, as `...`."""
    match value:
        case None:
            return "..."
        case bool():
            return str(value).lower()
        case str():
            return json.dumps(str(value), ensure_ascii=False)
        case tuple() | list():
            return f"[{', '.join(map(toml_value, value))}]"
        case BaseModel():
            return toml_value(value.model_dump(mode="json"))
        case dict():
            return "{" + ", ".join(f"{key} = {toml_value(entry)}" for key, entry in value.items()) + "}"
        case int() | float():
            return repr(value)
    return json.dumps(str(value))
