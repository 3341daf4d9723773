# SPDX-License-Identifier: Apache-2.0
"""`hsflow verify`: layers of a real project are proved alone, what is proved stays so, and a fault is named."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hsflow_harden.emit_kernel import emit_kernel

import hsflow
from hsflow import cli, hookimpl
from hsflow.design import DesignFile
from hsflow.errors import EXIT_FAILURE, EXIT_OK, EXIT_USAGE, MismatchError
from hsflow.plugins import load_plugins

FLOW = """\
[flow]
name = "tiny"

[load]
model = "digits"
checkpoint = "model/digits.safetensors"

[prune]
steps = 1
epochs = 1

[quantize]
epochs = 1

[harden]
effort = "low"
workers = 1
"""
LAYER = "features.1.conv.0.0"
MODULE = "tiny_features_1_conv_0_0"
COMMON = ("--simulator", "icarus", "--words", "4", "--images", "1", "--workers", "1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a project; the tests below share its store."""
    folder = tmp_path_factory.mktemp("verify")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert cli.main(["-q", "new", "tiny"]) == EXIT_OK
    (folder / "tiny" / "flow.toml").write_text(FLOW)
    return folder / "tiny"


@pytest.fixture(autouse=True)
def working_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.delenv("HSFLOW_STORE", raising=False)


class FaultyEmitter:
    """Write one subtraction of one layer as an addition."""

    @hookimpl
    def hsflow_emit_kernel(self, tile: Any, operands: Any, title: str) -> Iterator[DesignFile]:
        for file in emit_kernel(tile, operands, title):
            turned = re.sub(r" - (?=\d+'\()", " + ", file.text, count=1)
            yield replace(file, text=turned if MODULE in file.path else file.text)


def test_every_layer_is_proved_and_stays_so(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--json", "verify", *COMMON]) == EXIT_OK
    first = json.loads(capfd.readouterr().out)
    assert first["layers"] == first["layers_proved"] == len(first["proofs"]) > 2
    assert {proof["words"] for proof in first["proofs"]} <= {1, 4}
    assert not any(proof["reused"] or proof["wrong"] for proof in first["proofs"])
    assert cli.main(["verify", *COMMON]) == EXIT_OK
    written = capfd.readouterr()
    assert written.out.count("proved before") == first["layers"]
    assert f"{first['layers']} of {first['layers']} layers are proved on 1 images" in written.err
    assert cli.main(["-q", "report"]) == EXIT_OK
    text = Path("report.html").read_text()
    assert f"{first['layers']} of {first['layers']} hardened layers" in text


def test_the_python_interface_proves_the_same() -> None:
    flow = hsflow.load("digits", name="tiny", checkpoint="model/digits.safetensors")
    flow = flow.prune(steps=1, epochs=1).quantize(epochs=1).harden(effort="low", workers=1)
    chosen = {"layers": [LAYER], "images": 1, "words": 4, "simulator": "icarus", "workers": 1}
    found = flow.verify(work_root="work/api", **chosen)
    assert [(proof.name, proof.words, proof.wrong, proof.reused) for proof in found.proofs] == [
        (LAYER, 4, 0, False)
    ]
    assert flow.verify(work_root="work/api", **chosen).proofs[0].reused
    assert "words compared with the integer network" in flow.report("api.html").read_text()
    faulty = replace(flow, plugins={"faulty": FaultyEmitter()})
    with pytest.raises(MismatchError, match=re.escape(LAYER)):
        faulty.verify(output="faulty", work_root="work/faulty", **{**chosen, "words": None})


def test_a_layer_is_chosen_by_name(capfd: pytest.CaptureFixture[str]) -> None:
    status = cli.main(["--json", "verify", "--layers", f"{LAYER}9", *COMMON])
    error = json.loads(capfd.readouterr().out)["error"]
    assert status == EXIT_USAGE and LAYER in error["hint"]
    assert cli.main(["--json", "verify", "--layers", LAYER, "--stalls", *COMMON]) == EXIT_OK
    proofs = json.loads(capfd.readouterr().out)["proofs"]
    assert [(proof["name"], proof["reused"]) for proof in proofs] == [(LAYER, False)]


def test_a_fault_in_a_layer_is_found_and_named(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hsflow.project.load_plugins", lambda: load_plugins({"faulty": FaultyEmitter()}))
    status = cli.main(["verify", "--simulator", "icarus", "--images", "1", "--overwrite"])
    written = capfd.readouterr()
    assert status == EXIT_FAILURE
    assert re.search(
        rf"layer {re.escape(LAYER)}, word \d+, pixel 0, channel \d+: .* disagree in \d+ words\n  got: 0b",
        written.err,
    )
    assert "WRONG" in written.out and written.out.count("proved") >= 2
    figures = json.loads(Path("work/verify/metrics.json").read_text())
    assert figures["verify.layers_proved"]["value"] == figures["verify.layers"]["value"] - 1


@pytest.mark.parametrize("words", [["--whole", "--words", "3"], ["--simulator", "modelsim"]])
def test_options_that_make_no_sense_are_refused(words: list[str]) -> None:
    assert cli.main(["verify", *words]) == EXIT_USAGE
