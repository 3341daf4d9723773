# SPDX-License-Identifier: Apache-2.0
"""The proof of a netlist against its RTL: it holds for what synthesis makes, and for nothing that was tampered with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from hsflow_asap7 import facts
from hsflow_asap7.netlist import Cell, Module, Netlist, Origin, read_netlist
from hsflow_asap7.platform import Platform
from hsflow_asap7.proof import prove
from hsflow_asap7.synthesis import SynthesisOptions, synthesize
from mini_platform import mini_platform, real_platform

from hsflow.errors import MismatchError

pytest.importorskip("pyosys")

RTL = """
module hsflow_flag (input logic clk_i, input logic rst_ni, input logic set_i, output logic [1:0] flag_o);
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) flag_o <= 2'b10;
    else if (set_i) flag_o <= {flag_o[0], ~flag_o[1]};
  end
endmodule
module part (
  input logic clk_i, input logic enable_i, input logic [5:0] a_i, input logic [5:0] b_i, output logic [8:0] data_o
);
  wire signed [6:0] difference = 7'(a_i) - 7'(b_i);
  logic signed [6:0] difference_q;
  wire signed [8:0] sum = 9'(difference_q) + (9'(difference_q) << 2);
  always_ff @(posedge clk_i) if (enable_i) begin
    difference_q <= difference;
    data_o <= sum - 9'sd37;
  end
endmodule
module whole (
  input logic clk_i, input logic rst_ni, input logic enable_i, input logic [5:0] a_i, input logic [5:0] b_i,
  output logic [8:0] data_o, output logic [15:0] product_o, output logic [1:0] flag_o
);
  part u_part (.clk_i, .enable_i, .a_i, .b_i, .data_o);
  hsflow_flag u_flag (.clk_i, .rst_ni, .set_i(enable_i), .flag_o);
  always_ff @(posedge clk_i) product_o <= 16'($signed(a_i)) * 16'(data_o);
endmodule
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Platform, Path, Netlist]:
    folder = tmp_path_factory.mktemp("proof")
    platform = mini_platform(folder / "asap7")
    source = folder / "rtl.sv"
    source.write_text(RTL)
    result = synthesize([source], "whole", SynthesisOptions(), platform, folder / "synthesis")
    return platform, source, read_netlist(result.netlist_json)


def test_the_netlist_is_proved_module_by_module(made: tuple[Platform, Path, Netlist], tmp_path: Path) -> None:
    platform, source, netlist = made
    proof = prove([source], netlist, platform, tmp_path)
    assert proof.modules == 2
    assert proof.registers == sum(
        count
        for cell, count in netlist.cell_counts().items()
        if cell in (facts.REGISTER, facts.RESET_REGISTER)
    )
    assert proof.outputs > 4 * proof.registers


@pytest.mark.parametrize(
    "options", [{"flatten": True}, {"adders": "abc"}, {"carry_save": True}, {"clock_ps": 350.0}]
)
def test_every_way_to_synthesize_is_proved(
    made: tuple[Platform, Path, Netlist], tmp_path: Path, options: Mapping[str, object]
) -> None:
    platform, source, _ = made
    chosen = replace(SynthesisOptions(), **options)  # type: ignore[arg-type]
    result = synthesize([source], "whole", chosen, platform, tmp_path / "synthesis")
    netlist = read_netlist(result.netlist_json)
    assert prove([source], netlist, platform, tmp_path / "proof", flatten=chosen.flatten).registers > 20


def rewired(pin: str, other: str) -> Callable[[Cell], Cell]:
    return lambda cell: replace(cell, pins={**cell.pins, pin: cell.pins[other]})


def as_other(type_: str) -> Callable[[Cell], Cell]:
    return lambda cell: replace(cell, type=type_)


def swapped_resets(cell: Cell) -> Cell:
    return replace(cell, pins={**cell.pins, "SETN": cell.pins["RESETN"], "RESETN": cell.pins["SETN"]})


FAULTS: Mapping[str, tuple[str, str, Callable[[Cell], Cell]]] = {
    "a carry that is another input": ("part", facts.FULL_ADDER, rewired("CI", "A")),
    "an inverter that is a buffer": ("part", facts.INVERTER, as_other(facts.BUFFER)),
    "a register that takes its own output": ("part", facts.REGISTER, rewired("D", "QN")),
    "a clock that is always on": (
        "part",
        facts.REGISTER,
        lambda cell: replace(cell, pins={**cell.pins, "CLK": (2,)}),
    ),
    "set and reset swapped": ("whole", facts.RESET_REGISTER, swapped_resets),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(made: tuple[Platform, Path, Netlist], tmp_path: Path, fault: str) -> None:
    platform, source, netlist = made
    module, cell, change = FAULTS[fault]
    with pytest.raises(MismatchError, match=f"^{module}: the netlist differs from the RTL"):
        prove([source], _changed(netlist, module, cell, change), platform, tmp_path)


def _changed(netlist: Netlist, name: str, type_: str, change: Callable[[Cell], Cell]) -> Netlist:
    """Return a netlist with the first cell of a type in a module changed."""
    module = netlist.modules[name]
    victim = next(key for key, cell in module.cells.items() if cell.type == type_)
    cells = {**module.cells, victim: change(module.cells[victim])}
    return replace(netlist, modules={**netlist.modules, name: replace(module, cells=cells)})


def test_a_register_under_another_name_is_found(made: tuple[Platform, Path, Netlist], tmp_path: Path) -> None:
    platform, source, netlist = made
    module = netlist.modules["part"]
    outputs = {cell.pins["QN"][0] for cell in module.cells.values() if cell.type == facts.REGISTER}
    victim = next(net for net in module.origins if net in outputs)
    origins = {**module.origins, victim: Origin(("nobody",))}
    with pytest.raises(MismatchError, match=r"^part: the netlist differs"):
        prove([source], _with(netlist, replace(module, origins=origins)), platform, tmp_path)


def test_a_missing_port_is_found(made: tuple[Platform, Path, Netlist], tmp_path: Path) -> None:
    platform, source, netlist = made
    module = netlist.modules["part"]
    ports = {name: port for name, port in module.ports.items() if name != "enable_i"}
    with pytest.raises(MismatchError, match="enable_i"):
        prove([source], _with(netlist, replace(module, ports=ports)), platform, tmp_path)


def _with(netlist: Netlist, module: Module) -> Netlist:
    return replace(netlist, modules={**netlist.modules, module.name: module})


LAZY = """
module lazy (input logic clk_i, input logic rst_ni, input logic x_i, output logic y_o, output logic [1:0] z_o);
  logic always_zero_q, unread_q;
  logic [1:0] count_q;
  assign y_o = x_i & ~always_zero_q;
  assign z_o = count_q;
  always_ff @(posedge clk_i or negedge rst_ni) begin
    if (!rst_ni) {always_zero_q, unread_q, count_q} <= '0;
    else begin
      always_zero_q <= always_zero_q & x_i;
      unread_q <= x_i;
      count_q <= count_q + {1'b0, x_i};
    end
  end
endmodule
"""


def test_registers_that_synthesis_left_out_are_proved_constant(
    made: tuple[Platform, Path, Netlist], tmp_path: Path
) -> None:
    platform, source = made[0], tmp_path / "lazy.sv"
    source.write_text(LAZY)
    result = synthesize([source], "lazy", SynthesisOptions(), platform, tmp_path / "synthesis")
    netlist = read_netlist(result.netlist_json)
    assert netlist.cell_counts()[facts.RESET_REGISTER] < 4
    prove([source], netlist, platform, tmp_path / "proof")
    source.write_text(LAZY.replace("always_zero_q & x_i", "always_zero_q | x_i"))
    with pytest.raises(MismatchError, match="always_zero_q"):
        prove([source], netlist, platform, tmp_path / "proof")


def test_other_rtl_is_not_proved(made: tuple[Platform, Path, Netlist], tmp_path: Path) -> None:
    platform, _, netlist = made
    other = tmp_path / "other.sv"
    other.write_text(RTL.replace("9'sd37", "9'sd38"))
    with pytest.raises(MismatchError, match=r"next value of data_o\["):
        prove([other], netlist, platform, tmp_path)


def test_the_real_library_s_cells_are_proved(tmp_path: Path) -> None:
    platform = real_platform()
    source = tmp_path / "rtl.sv"
    source.write_text(RTL)
    made = synthesize([source], "whole", SynthesisOptions(), platform, tmp_path / "synthesis")
    assert prove([source], read_netlist(made.netlist_json), platform, tmp_path / "proof").modules == 2
