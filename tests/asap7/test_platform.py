# SPDX-License-Identifier: Apache-2.0
"""The platform: where it is looked for, which file it lacks, one Liberty file a corner."""

from __future__ import annotations

from pathlib import Path

import pytest
from hsflow_asap7 import facts, liberty
from hsflow_asap7.platform import VARIABLE, Corner, Platform, cell_areas, find_platform, merged_liberty
from mini_platform import mini_platform, real_platform

from hsflow.errors import ConfigurationError


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return mini_platform(tmp_path / "asap7")


def test_the_option_wins_over_the_environment(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "elsewhere"))
    assert find_platform(platform.root) == platform
    with pytest.raises(ConfigurationError, match="elsewhere"):
        find_platform()
    monkeypatch.setenv(VARIABLE, str(platform.root))
    assert find_platform() == platform
    monkeypatch.delenv(VARIABLE)
    with pytest.raises(ConfigurationError, match=f"{VARIABLE}=FOLDER"):
        find_platform()


def test_a_missing_file_is_named(platform: Platform) -> None:
    platform.cells_lef.unlink()
    with pytest.raises(ConfigurationError, match=r"lef/asap7sc7p5t_28_R_1x_\*\.lef"):
        _ = platform.cells_lef
    with pytest.raises(ConfigurationError, match="rcx_patterns"):
        _ = platform.extraction_rules
    platform.liberties(Corner.SS)[3].unlink()
    with pytest.raises(ConfigurationError, match="SEQ_RVT_SS"):
        platform.liberties(Corner.SS)


def test_the_merged_library_has_every_cell_once(platform: Platform, tmp_path: Path) -> None:
    path = merged_liberty(platform, Corner.TT, tmp_path / "made")
    library = liberty.read_library(path)
    cells = [cell.name for cell in library.groups("cell")]
    assert sorted(cells) == sorted(cell_areas(platform))
    assert len(cells) == len(set(cells))
    assert [group.name for group in library.groups("lu_table_template")] == ["delay", "check"]
    assert library.attributes()["nom_voltage"] == "0.7"
    stamp = path.stat().st_mtime_ns
    assert merged_liberty(platform, Corner.TT, tmp_path / "made").stat().st_mtime_ns == stamp
    assert merged_liberty(platform, Corner.SS, tmp_path / "made") != path


def test_another_release_gives_another_merged_library(platform: Platform, tmp_path: Path) -> None:
    first = merged_liberty(platform, Corner.TT, tmp_path)
    changed = platform.liberties(Corner.TT)[4]
    changed.write_text(changed.read_text().replace("area : 2\n", "area : 3\n"))
    assert merged_liberty(platform, Corner.TT, tmp_path) != first


def test_areas_are_read_with_and_without_a_semicolon(platform: Platform) -> None:
    areas = cell_areas(platform)
    assert areas[facts.FULL_ADDER] == 2.0
    assert areas[facts.REGISTER] == pytest.approx(2.8)


@pytest.mark.parametrize("text", ["", "library (x) {", "library (x) { cell (y) { }", "{ }"])
def test_what_is_no_library_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.lib"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=r"x\.lib"):
        liberty.read_library(path)


def test_the_real_platform_is_whole(tmp_path: Path) -> None:
    platform = real_platform()
    areas = cell_areas(platform)
    assert areas[facts.FULL_ADDER] == pytest.approx(0.20412)
    named = {facts.FULL_ADDER, facts.HALF_ADDER, facts.REGISTER, facts.RESET_REGISTER, facts.CLOCK_GATE}
    named |= {facts.BUFFER, facts.INVERTER, facts.TIE_HIGH.cell, facts.TIE_LOW.cell}
    assert named <= areas.keys()
    assert len(platform.macros()) == 5
    for corner in Corner:
        merged = liberty.read_library(merged_liberty(platform, corner, tmp_path))
        assert {cell.name for cell in merged.groups("cell")} == areas.keys()
    for path in (platform.technology_lef, platform.cells_lef, platform.cells_gds, platform.extraction_rules):
        assert path.is_file()


def test_the_power_of_ground_is_left_out() -> None:
    supply = (
        'internal_power () {\n related_pin : "A"; related_pg_pin : VDD;\n rise_power (t) { values ("1"); }\n}'
    )
    ground = supply.replace("VDD", "VSS")
    leak = 'leakage_power () { value : 3; when : "A"; related_pg_pin : "VSS"; }'
    text = f"pin (Y) {{ {supply} {ground} {leak} timing () {{ }} }}"
    kept = liberty.without_ground_power(text)
    assert "VSS" not in kept and supply in kept and kept.endswith("timing () { } }")
    assert liberty.without_ground_power(supply) == supply
