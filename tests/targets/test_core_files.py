# SPDX-License-Identifier: Apache-2.0
"""The hand-written core of hashiflex offers what a generated core offers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from hsflow_asap7.plugin import TARGET
from hsflow_fusesoc.targets import TARGETS

from hsflow.eda import core_targets, plusarg_parameters
from hsflow.targets import Target

CORE = Path(__file__).parents[2] / "cores" / "hashiflex" / "hashiflex.core"


def _hashiflex() -> dict[str, Any]:
    return yaml.safe_load(CORE.read_text(encoding="utf-8").split("\n", 1)[1])


def _comparable(target: dict[str, Any]) -> dict[str, Any]:
    """Leave out what must differ: where the files come from, and the words of the description."""
    return {
        key: value
        for key, value in target.items()
        if key not in ("filesets", "description", "generate", "<<")
    }


def test_hashiflex_has_the_targets_of_every_packaged_core() -> None:
    written = _hashiflex()["targets"]
    generated = core_targets("hashiflex", (*TARGETS, TARGET))
    for name in ("sim", "stress", "icarus", "lint", "asap7"):
        assert _comparable(written[name]) == _comparable(generated[name]), name
    assert _comparable(written["default"]) == _comparable(generated["sim"])


def test_hashiflex_has_the_testbench_s_parameters() -> None:
    written = _hashiflex()["parameters"]
    assert set(written) == set(plusarg_parameters())
    assert {entry["paramtype"] for entry in written.values()} == {"plusarg"}


def test_a_target_names_its_top_module() -> None:
    simulated = Target("a", "", "hsflow")
    synthesized = Target("b", "", "asap7", design_on_top=True)
    found = core_targets("toy", [simulated, synthesized])
    assert {name: found[name]["toplevel"] for name in "ab"} == {"a": "hsflow_tb", "b": "toy"}
    assert found["a"]["filesets"] == found["b"]["filesets"]


def test_a_target_that_differs_is_seen() -> None:
    generated = core_targets("hashiflex", TARGETS)
    assert _comparable(generated["sim"]) != _comparable(generated["stress"])
