# SPDX-License-Identifier: Apache-2.0
"""Synthesis by parts: the same netlist as in one piece, parts in the store, and only what changed made again."""

from __future__ import annotations

from pathlib import Path

import pytest
from hsflow_asap7.netlist import read_netlist
from hsflow_asap7.platform import Platform
from hsflow_asap7.proof import prove
from hsflow_asap7.synthesis import SynthesisOptions, synthesize
from hsflow_asap7.tiles import parts_of, prove_parts, synthesize_each, synthesize_parts
from mini_platform import mini_platform

from hsflow.errors import ConfigurationError, MismatchError
from hsflow.executor import ProcessExecutor

SOURCES = {
    "hsflow_delay.sv": """
module hsflow_delay #(parameter int Width = 4) (input logic clk_i, input logic [Width-1:0] x_i, output logic [Width-1:0] y_o);
  always_ff @(posedge clk_i) y_o <= x_i;
endmodule
""",
    "tile0.sv": """
// Not an instance: tile1.
module tile0 (input logic clk_i, input logic [3:0] x_i, output logic [5:0] y_o);
  always_ff @(posedge clk_i) y_o <= 6'(x_i) + (6'(x_i) << 1);
endmodule
""",
    "tile1.sv": """
module tile1 (input logic clk_i, input logic [3:0] x_i, output logic [5:0] y_o);
  always_ff @(posedge clk_i) y_o <= 6'(x_i) + (6'(x_i) << 2);
endmodule
""",
    "layer.sv": """
module layer (input logic clk_i, input logic [3:0] x_i, output logic [5:0] y_o, output logic [5:0] z_o);
  logic [3:0] x;
  logic [5:0] y;
  hsflow_delay #(.Width(4)) u_delay (.clk_i, .x_i, .y_o(x));
  tile0 u_tile0 (.clk_i, .x_i(x), .y_o(y));
  tile1 u_tile1 (.clk_i, .x_i(x), .y_o(z_o));
  hsflow_delay #(.Width(6)) u_last (.clk_i, .x_i(y), .y_o);
endmodule
""",
}  # fmt: skip


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    pytest.importorskip("pyosys")
    return mini_platform(tmp_path / "asap7")


@pytest.fixture
def sources(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "rtl"
    folder.mkdir()
    for name, text in SOURCES.items():
        (folder / name).write_text(text)
    return sorted(folder.iterdir())


def test_parts_are_generated_modules_with_the_library_they_use(sources: list[Path]) -> None:
    parts = parts_of(sources, "layer")
    assert [part.module for part in parts] == ["tile0", "tile1", "layer"]
    assert [path.name for path in parts[-1].sources] == ["hsflow_delay.sv", "layer.sv"]
    assert [path.name for path in parts[-1].children] == ["tile0.sv", "tile1.sv"]
    assert [path.name for path in parts[0].sources] == ["tile0.sv"]
    assert parts[0].children == ()
    with pytest.raises(ConfigurationError, match="nothing"):
        parts_of(sources, "nothing")


def test_parts_make_the_netlist_that_one_piece_makes(
    platform: Platform, sources: list[Path], tmp_path: Path
) -> None:
    whole = synthesize(sources, "layer", SynthesisOptions(), platform, tmp_path / "whole")
    store = tmp_path / "store"
    options = SynthesisOptions()
    parts = synthesize_parts(
        sources, "layer", options, platform, tmp_path / "parts", store=store, executor=ProcessExecutor(2)
    )
    assert parts.cells == whole.cells
    assert parts.area_um2 == pytest.approx(whole.area_um2)
    netlist = read_netlist(parts.netlist_json)
    assert set(netlist.modules) == {"layer", "tile0", "tile1"}
    whole_proof = prove(sources, netlist, platform, tmp_path / "proof")
    by_parts = prove_parts(
        sources, parts.netlist_json, platform, tmp_path / "proofs", executor=ProcessExecutor(2)
    )
    assert (by_parts.modules, by_parts.registers) == (whole_proof.modules, whole_proof.registers) == (3, 22)
    assert by_parts.outputs == whole_proof.outputs


def test_a_fault_in_a_part_is_found(platform: Platform, sources: list[Path], tmp_path: Path) -> None:
    options, store = SynthesisOptions(), tmp_path / "store"
    made = synthesize_parts(sources, "layer", options, platform, tmp_path / "parts", store=store)
    tile = next(path for path in sources if path.name == "tile1.sv")
    tile.write_text(tile.read_text().replace("<< 2", "<< 1"))
    with pytest.raises(MismatchError, match=r"^tile1: the netlist differs"):
        prove_parts(sources, made.netlist_json, platform, tmp_path / "proofs")
    tile.unlink()
    with pytest.raises(MismatchError, match="other modules"):
        prove_parts([path for path in sources if path != tile], made.netlist_json, platform, tmp_path / "p")


def test_only_what_changed_is_made_again(platform: Platform, sources: list[Path], tmp_path: Path) -> None:
    def made() -> dict[str, bool]:
        results = synthesize_each(
            sources, "layer", SynthesisOptions(), platform, tmp_path / "work", tmp_path / "store"
        )
        return {result.module: result.seconds > 0 for result in results}

    assert made() == {"tile0": True, "tile1": True, "layer": True}
    assert made() == {"tile0": False, "tile1": False, "layer": False}
    tile = next(path for path in sources if path.name == "tile1.sv")
    tile.write_text(tile.read_text().replace("<< 2", "<< 1"))
    assert made() == {"tile0": False, "tile1": True, "layer": True}


def test_another_option_is_another_part(platform: Platform, sources: list[Path], tmp_path: Path) -> None:
    for adders in ("full-adder", "abc"):
        options = SynthesisOptions(adders=adders)  # type: ignore[arg-type]
        folder, store = tmp_path / "work", tmp_path / "store"
        results = list(synthesize_each(sources, "tile0", options, platform, folder, store))
        assert [result.seconds > 0 for result in results] == [True]
