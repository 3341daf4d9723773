# SPDX-License-Identifier: Apache-2.0
"""The synthesis bench without its tools: scripts, areas and the table."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from benchmarks.cmvm.liberty import asap7, cell_areas, generic
from benchmarks.cmvm.synthesis import OURS, THEIRS, Column, mean, quoted, script

LIBERTY = """library (l) { default_max_area : 9;
  cell (INVx1) { area : 0.04374; pin (Y) { area : 7; } }
  cell ("FAx1") {
    area : 2.5e-1;
  }
  cell (NOAREA) { }
}
"""


def test_areas_are_read_from_liberty() -> None:
    assert cell_areas(LIBERTY) == {"INVx1": 0.04374, "FAx1": 0.25}


def test_area_is_the_sum_of_known_cells() -> None:
    assert generic().area({"$_NAND_": 3, "FULL_ADDER": 2}) == pytest.approx(3 + 2 * 5.33)
    with pytest.raises(ValueError, match="mystery"):
        generic().area({"$_NAND_": 3, "mystery": 1})


def test_asap7_is_read_packed_or_not(tmp_path: Path) -> None:
    folder = tmp_path / "nldm"
    folder.mkdir()
    for group in ("AO", "INVBUF", "OA", "SIMPLE"):
        packed = gzip.compress(LIBERTY.encode())
        (folder / f"asap7sc7p5t_{group}_RVT_TT_nldm_211120.lib.gz").write_bytes(packed)
    with pytest.raises(FileNotFoundError, match="SEQ"):
        asap7(folder, tmp_path / "work")
    (folder / "asap7sc7p5t_SEQ_RVT_TT_nldm_220123.lib").write_text(LIBERTY)
    library = asap7(folder, tmp_path / "work")
    assert library.area({"INVx1": 2}) == pytest.approx(2 * 0.04374)
    assert all("RVT_TT" in command for command in library.map_commands)
    assert not any(".gz" in command for command in library.map_commands)


def test_only_the_full_adder_column_maps_full_adders(tmp_path: Path) -> None:
    plain, mapped = (
        script(tmp_path / "a.v", tmp_path / "a.json", Column(generic(), full_adders))
        for full_adders in (False, True)
    )
    assert not any("full_adders.v" in command for command in plain)
    assert next(command for command in mapped if command not in plain) == "maccmap"
    assert any("full_adders.v" in command for command in mapped)


def test_a_path_that_would_end_a_command_is_refused() -> None:
    assert quoted(Path("a b.v")) == '"a b.v"'
    with pytest.raises(ValueError, match="quote"):
        quoted(Path('a"; shell ls; "'))


def test_means_are_of_one_pipelining() -> None:
    found = {
        ("m", 0): {THEIRS: {"gates abc": 10.0}, OURS: {"gates abc": 9.0}},
        ("n", 0): {THEIRS: {"gates abc": 10.0}, OURS: {"gates abc": 4.0}},
        ("m", 2): {THEIRS: {"gates abc": 10.0}, OURS: {"gates abc": 20.0}},
    }
    assert mean(found, 0, OURS, "gates abc") == pytest.approx(0.6)
    assert mean(found, 2, OURS, "gates abc") == pytest.approx(2.0)
