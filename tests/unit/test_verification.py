# SPDX-License-Identifier: Apache-2.0
"""What a verification leaves: figures that a report shows, and only for the RTL that they are about."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from toy_report import METRICS, design

from hsflow.design import Design, DesignFile, FileRole
from hsflow.errors import MismatchError
from hsflow.layerwise import LayerProof, require_proved, rtl_digest
from hsflow.report.content import Paragraph, Table, Tone
from hsflow.report.page import render_report
from hsflow.report.proofs import proof_parts
from hsflow.report.result import Result, Run
from hsflow.report.runs import find_runs
from hsflow.verification import Verification, write_figures

PROOF = LayerProof("stem", "toy_stem", 300, 0, -1, "", "", "", 400, 1.5, 0.25, 90.0, "abc")
WRONG = replace(
    PROOF, name="head", wrong=2, first_wrong=7, place="word 7, pixel 0, channel 1", got="0b1", expected="0b0"
)


def hardware(text: str = "module toy; endmodule\n") -> Design:
    return replace(design(), files=(DesignFile("rtl/toy.sv", text, FileRole.RTL),))


def verification(*proofs: LayerProof) -> Verification:
    return Verification(proofs, 4, 2, rtl_digest(hardware()))


def parts(found: Verification) -> tuple[Paragraph, Table]:
    paragraph, table = proof_parts(Run("work/verify", found.figures()))
    assert isinstance(paragraph, Paragraph) and isinstance(table, Table)
    return paragraph, table


def test_a_report_tells_which_layers_are_proved(tmp_path: Path) -> None:
    write_figures(tmp_path / "work" / "verify", verification(PROOF, replace(PROOF, name="<b>")), METRICS)
    runs, foreign = find_runs(tmp_path / "work", hardware(), METRICS)
    assert len(runs) == 1 and not foreign
    text = render_report(Result(hardware(), METRICS, 500.0, runs))
    assert "2 of 2 hardened layers (100" in text and "every one of 600 words" in text
    assert "&lt;b&gt;" in text and "No simulation of this build" not in text


def test_figures_of_other_rtl_are_not_shown(tmp_path: Path) -> None:
    write_figures(tmp_path / "work" / "verify", verification(PROOF), METRICS)
    runs, foreign = find_runs(tmp_path / "work", hardware("module other; endmodule\n"), METRICS)
    assert not runs and len(foreign) == 1


def test_the_tone_says_whether_all_layers_are_right() -> None:
    assert parts(verification(PROOF, PROOF))[0].tone is Tone.GOOD
    assert parts(verification(PROOF))[0].tone is Tone.NOTE
    paragraph, table = parts(verification(PROOF, WRONG))
    assert paragraph.tone is Tone.WARNING
    assert [[cell.text for cell in row[:3]] for row in table.rows] == [
        ["stem", "300", "0"],
        ["head", "300", "2"],
    ]


def test_all_wrong_layers_are_named_and_the_first_value() -> None:
    require_proved([PROOF])
    with pytest.raises(MismatchError, match="tail as well") as caught:
        require_proved([PROOF, WRONG, replace(WRONG, name="tail")])
    assert caught.value.where == "layer head, word 7, pixel 0, channel 1"
    assert (caught.value.got, caught.value.expected) == ("0b1", "0b0")
