# SPDX-License-Identifier: Apache-2.0
"""Synthesis by Yosys on the small platform: which cells adders, registers and enables become."""

from __future__ import annotations

from pathlib import Path

import pytest
from hsflow_asap7 import facts
from hsflow_asap7.netlist import read_netlist
from hsflow_asap7.platform import Platform, cell_areas
from hsflow_asap7.synthesis import Synthesis, SynthesisOptions, synthesize
from mini_platform import mini_platform

from hsflow.errors import ConfigurationError, ToolError

pytest.importorskip("pyosys")

ADDER = """
module sums (
  input logic clk_i, input logic enable_i, input logic [7:0] a_i, input logic [7:0] b_i,
  output logic signed [9:0] data_o
);
  wire signed [8:0] difference = 9'(a_i) - 9'(b_i);
  always_ff @(posedge clk_i) if (enable_i) data_o <= 10'(difference) + (10'(a_i) << 1);
endmodule
"""
COUNTER = """
module counter (input logic clk_i, input logic rst_ni, output logic [2:0] count_o, output logic one_o);
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) count_o <= 3'b100;
    else count_o <= count_o + 3'd1;
  end
  assign one_o = 1'b1;
endmodule
"""
HIERARCHY = """
module hsflow_leaf #(parameter int Width = 2) (input logic [Width-1:0] x_i, output logic y_o);
  assign y_o = ^x_i;
endmodule
module part (input logic [3:0] x_i, output logic y_o);
  hsflow_leaf #(.Width(4)) u_leaf (.x_i, .y_o);
endmodule
module whole (input logic [3:0] x_i, output logic [1:0] y_o);
  part u_a (.x_i, .y_o(y_o[0]));
  part u_b (.x_i(~x_i), .y_o(y_o[1]));
endmodule
"""


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return mini_platform(tmp_path / "asap7")


def synthesized(
    platform: Platform, folder: Path, text: str, top: str, options: SynthesisOptions | None = None
) -> Synthesis:
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "rtl.sv"
    source.write_text(text)
    return synthesize([source], top, options or SynthesisOptions(), platform, folder / top)


def test_adders_become_adder_cells_and_an_enable_gates_the_clock(platform: Platform, tmp_path: Path) -> None:
    made = synthesized(platform, tmp_path, ADDER, "sums")
    cells = made.cells
    assert cells[facts.REGISTER] == 10
    assert cells[facts.CLOCK_GATE] == 1
    assert 8 <= cells[facts.FULL_ADDER] <= 16
    assert cells.keys() <= {facts.REGISTER, facts.CLOCK_GATE, facts.FULL_ADDER, facts.HALF_ADDER} | {
        facts.INVERTER, facts.TIE_LOW.cell, "MAJIxp5_ASAP7_75t_R", "MAJx2_ASAP7_75t_R",
        "XOR2x2_ASAP7_75t_R", "XNOR2x2_ASAP7_75t_R",
    }  # fmt: skip
    assert read_netlist(made.netlist_json).cell_counts() == cells
    areas = cell_areas(platform)
    assert made.area_um2 == pytest.approx(sum(areas[cell] * number for cell, number in cells.items()))
    assert made.seconds > 0
    assert made.peak_mib > 10


def test_abc_alone_takes_no_adder_cell_and_more_area(platform: Platform, tmp_path: Path) -> None:
    adders = synthesized(platform, tmp_path / "a", ADDER, "sums")
    gates = synthesized(platform, tmp_path / "b", ADDER, "sums", SynthesisOptions(adders="abc"))
    assert not gates.cells.keys() & {facts.FULL_ADDER, facts.HALF_ADDER}
    assert gates.cells[facts.REGISTER] == 10
    assert adders.area_um2 < gates.area_um2


def test_reset_registers_and_constants(platform: Platform, tmp_path: Path) -> None:
    cells = synthesized(platform, tmp_path, COUNTER, "counter").cells
    assert cells[facts.RESET_REGISTER] == 3
    assert cells[facts.TIE_HIGH.cell] == 1


def test_generated_modules_are_kept_unless_flattened(platform: Platform, tmp_path: Path) -> None:
    kept = synthesized(platform, tmp_path / "a", HIERARCHY, "whole")
    netlist = read_netlist(kept.netlist_json)
    assert set(netlist.modules) == {"whole", "part"}
    assert netlist.instances == {"whole": 1, "part": 2}
    flat = synthesized(platform, tmp_path / "b", HIERARCHY, "whole", SynthesisOptions(flatten=True))
    assert set(read_netlist(flat.netlist_json).modules) == {"whole"}


def test_the_same_sources_give_the_same_netlist(platform: Platform, tmp_path: Path) -> None:
    first, second = (synthesized(platform, tmp_path / name, ADDER, "sums") for name in ("a", "b"))
    assert first.netlist_v.read_bytes() == second.netlist_v.read_bytes()
    assert first.netlist_json.read_bytes() == second.netlist_json.read_bytes()


def test_parameters_reach_the_top(platform: Platform, tmp_path: Path) -> None:
    source = tmp_path / "rtl.sv"
    source.write_text(HIERARCHY)
    made = synthesize([source], "hsflow_leaf", SynthesisOptions(), platform, tmp_path / "w", {"Width": 5})
    assert (
        len(read_netlist(made.netlist_json).modules[read_netlist(made.netlist_json).top].ports["x_i"].bits)
        == 5
    )


def test_what_yosys_refuses_is_an_error_with_its_words(platform: Platform, tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="syntax error"):
        synthesized(platform, tmp_path, "module broken (;", "broken")


def test_a_path_that_yosys_cannot_take_is_refused(platform: Platform, tmp_path: Path) -> None:
    source = tmp_path / "a; b.sv"
    source.write_text(ADDER)
    with pytest.raises(ConfigurationError, match="a path has a character"):
        synthesize([source], "sums", SynthesisOptions(), platform, tmp_path / "work")
