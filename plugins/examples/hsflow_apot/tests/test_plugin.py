# SPDX-License-Identifier: Apache-2.0
"""The hooks, the options and the observer, as hsflow calls them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hsflow.plugins import load_plugins
from hsflow.progress import Reporter
from hsflow.stage import StageEvent, StageKind
from pydantic import ValidationError

import hsflow_apot.plugin
from hsflow_apot.stage import ApotOptions

EVENT = StageEvent(StageKind.QUANTIZE, "apot", "0" * 64, wall_seconds=1.25)


def test_the_installed_plugin_offers_the_stage() -> None:
    stage = load_plugins().stages[StageKind.QUANTIZE, "apot"]
    assert (stage.plugin.name, stage.plugin.distribution) == ("apot", "hsflow-apot")
    assert stage.stage.options_model is ApotOptions


@pytest.mark.parametrize("options", [{"levels": 1}, {"levels": 17}, {"terms": 2}, {"epochs": -1}])
def test_wrong_options_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValidationError, match=next(iter(options))):
        ApotOptions.model_validate(options)


def test_loading_the_plugin_imports_no_torch() -> None:
    script = "import sys, hsflow_apot.plugin; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_the_observer_appends_to_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = tmp_path / "stages.log"
    monkeypatch.setenv(hsflow_apot.plugin.LOG, str(log))
    plugins = load_plugins({"observer": hsflow_apot.plugin}, installed=False)
    plugins.notify("hsflow_stage_finished", Reporter(), event=EVENT)
    plugins.notify(
        "hsflow_stage_finished", Reporter(), event=StageEvent(EVENT.kind, "apot", "1", cached=True)
    )
    assert log.read_text() == f"quantize apot: 1.25 s, {EVENT.key}\nquantize apot: from the store, 1\n"


def test_without_a_log_the_observer_is_silent(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv(hsflow_apot.plugin.LOG, raising=False)
    hsflow_apot.plugin.hsflow_stage_finished(EVENT)
    assert capfd.readouterr() == ("", "")
