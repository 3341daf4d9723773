# SPDX-License-Identifier: Apache-2.0
"""Functional models of cells: a netlist on them does in Icarus Verilog what its RTL does, cycle by cycle."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from hsflow_asap7.gates import write_models
from hsflow_asap7.library import read_cells
from hsflow_asap7.netlist import read_netlist
from hsflow_asap7.platform import Platform
from hsflow_asap7.synthesis import SynthesisOptions, synthesize
from mini_platform import mini_platform, real_platform

from hsflow.errors import ConfigurationError

RTL = """
module dut (
  input logic clk_i, input logic rst_ni, input logic enable_i, input logic [7:0] a_i, input logic [7:0] b_i,
  output logic [9:0] data_o, output logic [2:0] count_o
);
  wire signed [8:0] difference = 9'(a_i) - 9'(b_i);
  logic signed [8:0] difference_q;
  always_ff @(posedge clk_i) if (enable_i) begin
    difference_q <= difference;
    data_o <= 10'(difference_q) + 10'(b_i);
  end
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) count_o <= 3'd5;
    else if (data_o[0]) count_o <= count_o + 3'd1;
  end
endmodule
"""
BENCH = """
module bench;
  logic clk = 0, reset_n = 0, enable = 0;
  logic [7:0] a = 0, b = 0;
  wire [9:0] data;
  wire [2:0] count;
  dut u_dut (.clk_i(clk), .rst_ni(reset_n), .enable_i(enable), .a_i(a), .b_i(b), .data_o(data), .count_o(count));
  integer seed = 1;
  initial begin
    for (int i = 0; i < 400; i++) begin
      @(negedge clk);
      if (i > 6) $display("%0d %0d %0d", i, data, count);
      reset_n = i > 2 && i != 200;
      {enable, a, b} = $random(seed);
      if (i < 6) enable = 1;
    end
    $finish;
  end
  always #5 clk = ~clk;
endmodule
"""


def simulated(folder: Path, *sources: Path) -> str:
    if shutil.which("iverilog") is None:
        pytest.skip("Icarus Verilog is not installed")
    bench = folder / "bench.sv"
    bench.write_text(BENCH)
    program = folder / "program"
    subprocess.run(["iverilog", "-g2012", "-s", "bench", "-o", program, bench, *sources], check=True)
    return subprocess.run(["vvp", "-n", program], check=True, capture_output=True, text=True).stdout


def on_gates(platform: Platform, folder: Path) -> tuple[Path, Path, Path]:
    pytest.importorskip("pyosys")
    source, models = folder / "dut.sv", folder / "models.v"
    source.write_text(RTL)
    made = synthesize([source], "dut", SynthesisOptions(), platform, folder / "synthesis")
    write_models(platform, read_netlist(made.netlist_json).cell_counts(), models)
    return source, made.netlist_v, models


def test_a_netlist_does_what_its_rtl_does(tmp_path: Path) -> None:
    source, netlist, models = on_gates(mini_platform(tmp_path / "asap7"), tmp_path)
    wanted = simulated(tmp_path, source)
    assert len(set(wanted.split())) > 100
    assert simulated(tmp_path, netlist, models) == wanted


def test_a_wrong_cell_is_seen(tmp_path: Path) -> None:
    source, netlist, models = on_gates(mini_platform(tmp_path / "asap7"), tmp_path)
    models.write_text(models.read_text().replace("assign Y = ~A;", "assign Y = A;"))
    assert simulated(tmp_path, netlist, models) != simulated(tmp_path, source)


def test_the_real_library_has_models(tmp_path: Path) -> None:
    platform = real_platform()
    source, netlist, models = on_gates(platform, tmp_path)
    assert simulated(tmp_path, netlist, models) == simulated(tmp_path, source)
    cells = [
        name
        for name, cell in read_cells(platform).items()
        if cell.state is None or cell.state.kind != "latch"
    ]
    write_models(platform, cells, tmp_path / "all.v")
    if shutil.which("iverilog"):
        subprocess.run(["iverilog", "-g2012", "-t", "null", tmp_path / "all.v"], check=True)


def test_a_cell_without_a_model_is_named(tmp_path: Path) -> None:
    platform = mini_platform(tmp_path / "asap7")
    library = platform.root / "lib" / "NLDM" / "asap7sc7p5t_SIMPLE_RVT_TT_nldm_1.lib"
    latch = 'cell (DHL) { area : 1; latch (Q, QN) { } pin (Q) { direction : output; function : "Q"; } }'
    library.write_text(library.read_text().rstrip().removesuffix("}") + latch + "}\n")
    with pytest.raises(ConfigurationError, match="no model of such a cell"):
        write_models(platform, ["DHL"], tmp_path / "models.v")
    with pytest.raises(ConfigurationError, match="nothing_x1"):
        write_models(platform, ["nothing_x1"], tmp_path / "models.v")
