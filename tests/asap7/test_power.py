# SPDX-License-Identifier: Apache-2.0
"""Power from simulated activity: figures that can be computed by hand, and activity that must not pass."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from hsflow_asap7.netlist import Cell, Module, Netlist, Port, write_json
from hsflow_asap7.platform import Corner, Platform, merged_liberty
from hsflow_asap7.power import Power, Simulated, measure_power
from hsflow_asap7.saif import Activity, read_saif
from hsflow_asap7.spef import wire_loads
from hsflow_asap7.structural import write_verilog
from mini_platform import mini_platform, real_platform

from hsflow.errors import ConfigurationError
from hsflow.launch import resolve
from hsflow.process import run

needs_opensta = pytest.mark.skipif(shutil.which("sta") is None, reason="OpenSTA (sta) is not installed")

REGISTER, INVERTER, GATE, TIE = (f"{name}_ASAP7_75t_R" for name in ("DFFHQNx1", "INVx1", "ICGx1", "TIELOx1"))


def module(name: str, inputs: str, outputs: str, cells: Mapping[str, tuple[str, str]]) -> Module:
    """Return a module of one-bit ports; a cell's pins are `PIN=net`."""
    names = sorted(
        {pin.split("=")[1] for _, pins in cells.values() for pin in pins.split()} | {*inputs.split()}
    )
    nets = {net: number for number, net in enumerate(names, 2)}
    directions = [("input", inputs), ("output", outputs)]
    ports = {port: Port(way, (nets[port],)) for way, ports in directions for port in ports.split()}
    made = {
        cell: Cell(kind, {pin: (nets[net],) for pin, net in (pair.split("=") for pair in pins.split())})
        for cell, (kind, pins) in cells.items()
    }
    return Module(name, ports, made, {number: net for net, number in nets.items()})


STEM = module("stem", "clk_i d_i", "q_o", {
    "d_q_reg": (REGISTER, "CLK=clk_i D=d_i QN=n"), "n_inv": (INVERTER, "A=n Y=q_o"),
})  # fmt: skip
FC = module("fc", "clk_i enable_i d_i", "q_o", {
    "tie": (TIE, "L=low"), "gate": (GATE, "CLK=clk_i ENA=enable_i SE=low GCLK=gated"),
    "d_q_reg": (REGISTER, "CLK=gated D=d_i QN=n"), "n_inv": (INVERTER, "A=n Y=q_o"),
})  # fmt: skip
TOP = module("top", "clk_i rst_ni enable_i a_i", "y_o", {
    "u_stem": ("stem", "clk_i=clk_i d_i=a_i q_o=m"),
    "u_fc": ("fc", "clk_i=clk_i enable_i=enable_i d_i=m q_o=y_o"),
})  # fmt: skip
NETLIST = Netlist("top", {each.name: each for each in (STEM, FC, TOP)})
SPEF = """*SPEF "ieee 1481-1999"
*DIVIDER /
*DELIMITER :
*T_UNIT 1 NS
*C_UNIT 1 PF
*R_UNIT 1 OHM
*NAME_MAP
*1 clk_i
*2 leaf
*3 u_a\\/buffer
*4 u_a\\/d_q_reg

*PORTS
*1 I

*D_NET *1 0.002
*CONN
*P *1 I
*I *3:A I
*END
*D_NET *2 0.003
*CONN
*I *3:Y O *D BUFx2_ASAP7_75t_R
*I *4:CLK I
*END
"""
MEMORY = """library (ram) {
  time_unit : "1ns"; voltage_unit : "1V"; leakage_power_unit : "1uW"; nom_voltage : 0.7;
  capacitive_load_unit (1, pf);
  type (word) { base_type : array; data_type : bit; bit_width : 2; bit_from : 1; bit_to : 0; }
  cell (ram) {
    memory () { type : ram; }
    cell_leakage_power : 1.0;
    pin (clk) { direction : input; clock : true; capacitance : 0.005;
      internal_power () { when : "!we"; rise_power (t) { index_1 ("0.01, 0.2"); values ("0.002, 0.002") }
        fall_power (t) { index_1 ("0.01, 0.2"); values ("0.002, 0.002") } }
    }
    pin (we) { direction : input; capacitance : 0.001; }
    bus (rd) { bus_type : word; direction : output; }
  }
}
"""
CYCLES = 1000
TRANSITIONS = {
    "": {"clk_i": 2000, "rst_ni": 1, "enable_i": 500, "a_i": 400},
    "u_stem/d_q_reg": {"CLK": 2000, "D": 400, "QN": 400},
    "u_stem/n_inv": {"A": 400, "Y": 400},
    "u_fc/gate": {"CLK": 2000, "ENA": 500, "SE": 0, "GCLK": 1000},
    "u_fc/d_q_reg": {"CLK": 1000, "D": 400, "QN": 200},
    "u_fc/n_inv": {"A": 200, "Y": 200},
    "u_fc/tie": {"L": 0},
}
VERILOG_CELLS = """
module DFFHQNx1_ASAP7_75t_R (input CLK, input D, output reg QN); always @(posedge CLK) QN <= ~D; endmodule
module INVx1_ASAP7_75t_R (input A, output Y); assign Y = ~A; endmodule
module TIELOx1_ASAP7_75t_R (output L); assign L = 1'b0; endmodule
module ICGx1_ASAP7_75t_R (input CLK, input ENA, input SE, output GCLK);
  reg q; always @* if (!CLK) q = ENA | SE; assign GCLK = CLK & q;
endmodule
"""
TESTBENCH = """
module bench;
  reg clk = 0, enable = 1, a = 0; wire y; integer i;
  top u_dut (.clk_i(clk), .rst_ni(1'b1), .enable_i(enable), .a_i(a), .y_o(y));
  initial begin
    $dumpfile("activity.saif"); $dumpvars(0, u_dut);
    for (i = 0; i < 100; i = i + 1) begin
      #1 clk = 1; #1 clk = 0; a = ~a; enable = i % 4 != 3;
    end
    $finish;
  end
endmodule
"""


def saif(transitions: Mapping[str, Mapping[str, int]], *, divided: bool = True) -> str:
    """Return a SAIF file of `bench/u_dut`; paths are divided into instances, or are names with slashes."""

    def nets(of: Mapping[str, int]) -> str:
        return "".join(f"({name} (T0 900) (T1 100) (TX 0) (TC {n}) (IG 0))\n" for name, n in of.items())

    groups = []
    for path, of in transitions.items():
        levels = [level for level in (path.split("/") if divided else [path]) if level]
        opened = "".join(f"(INSTANCE {level} " for level in levels)
        groups.append(f"{opened}(NET {nets(of)}){')' * len(levels)}")
    header = '(SAIFVERSION "2.0") (DIRECTION "backward") (DATE "(now)") (DIVIDER / ) (DURATION 1000)'
    return f"// a comment\n(SAIFILE {header}\n(INSTANCE bench (INSTANCE u_dut {' '.join(groups)})))\n"


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return mini_platform(tmp_path / "asap7")


def measured(
    platform: Platform,
    folder: Path,
    transitions: Mapping[str, Mapping[str, int]] = TRANSITIONS,
    clock_ps: float = 1000.0,
) -> Power:
    folder.mkdir(parents=True, exist_ok=True)
    write_json(NETLIST, folder / "netlist.json")
    (folder / "run.saif").write_text(saif(transitions))
    liberty = merged_liberty(platform, Corner.TT, folder)
    simulated = Simulated(folder / "run.saif", "bench/u_dut", images=10)
    return measure_power(folder / "netlist.json", [liberty], Corner.TT, clock_ps, simulated)


def watts(femtojoules: float, load_ff: float, transitions: float) -> float:
    """Return the power of an output at 1 GHz and 0.7 V, by its transitions a cycle."""
    return transitions * (femtojoules + 0.5 * load_ff * 0.7**2) * 1e-15 * 1e9


def test_power_is_what_the_cells_and_their_activity_give(platform: Platform, tmp_path: Path) -> None:
    power = measured(platform, tmp_path)
    # The clock's net has two pins, its gate drives one, and the second register's clock runs half the time.
    clock = 1e-6 + 0.5e-6 + watts(0, 1.0, 2.0) + watts(0, 0.5, 1.0) + 26e-12
    register = watts(4, 0.5, 0.4) + watts(4, 0.5, 0.2) + 2 * 28e-12
    logic = watts(3, 0.5, 0.4) + watts(3, 3.898, 0.2) + 3 * 4e-12
    assert power.parts == pytest.approx(
        {"clock": clock, "register": register, "logic": logic, "memory": 0.0}, rel=1e-6
    )
    assert power.leakage_w == pytest.approx(94e-12)
    assert power.internal_w == pytest.approx(1.5e-6 + 4 * 0.6e-6 + 3 * 0.6e-6)
    assert power.internal_w + power.switching_w + power.leakage_w == pytest.approx(power.total_w)
    assert power.layers == pytest.approx(
        {
            "stem": 1e-6 + watts(4, 0.5, 0.4) + watts(3, 0.5, 0.4) + 32e-12,
            "fc": power.total_w - watts(0, 1.0, 2.0) - power.layers["stem"],
        }
    )
    assert power.annotated == 1.0


def test_energy_is_that_of_the_run(platform: Platform, tmp_path: Path) -> None:
    power = measured(platform, tmp_path)
    assert power.cycles == CYCLES and power.images_per_second == pytest.approx(1e7)
    assert power.energy_per_image_j == pytest.approx(power.total_w * 1e-6 / 10)
    slow = measured(platform, tmp_path, clock_ps=2000.0)
    assert slow.switching_w == pytest.approx(power.switching_w / 2)
    assert slow.leakage_w == pytest.approx(power.leakage_w)


def test_data_that_stand_still_leave_clock_and_leakage(platform: Platform, tmp_path: Path) -> None:
    still = {
        path: {name: n if name in ("clk_i", "CLK", "GCLK") else 0 for name, n in of.items()}
        for path, of in TRANSITIONS.items()
    }
    moving, power = (measured(platform, tmp_path, each) for each in (TRANSITIONS, still))
    assert power.parts["clock"] == pytest.approx(moving.parts["clock"])
    assert power.parts["register"] == pytest.approx(56e-12)
    assert power.parts["logic"] == pytest.approx(12e-12)


def test_pins_that_the_simulation_does_not_know_are_counted(platform: Platform, tmp_path: Path) -> None:
    partial = {path: of for path, of in TRANSITIONS.items() if path != "u_stem/n_inv"}
    assert measured(platform, tmp_path, partial).annotated == pytest.approx(13 / 15)


def test_wires_and_the_clock_tree_count_where_there_is_a_layout(platform: Platform, tmp_path: Path) -> None:
    cells = {
        "u_a/buffer": ("BUFx2_ASAP7_75t_R", "A=clk_i Y=leaf"),
        "u_a/d_q_reg": (REGISTER, "CLK=leaf D=a_i QN=y_o"),
    }
    routed = module("top", "clk_i a_i", "y_o", cells)
    activity = {
        "": {"clk_i": 2000, "a_i": 0},
        "u_a/buffer": {"A": 2000, "Y": 2000},
        "u_a/d_q_reg": {"CLK": 2000, "D": 0, "QN": 0},
    }
    write_json(Netlist("top", {"top": routed}), tmp_path / "final.json")
    # OpenROAD's instances have slashes in their names.
    names = {name: name.replace("/", "\\/") for name in cells}
    text = saif({"": activity[""], **{names[name]: activity[name] for name in cells}}, divided=False)
    (tmp_path / "run.saif").write_text(text)
    (tmp_path / "final.spef").write_text(SPEF)
    liberty = merged_liberty(platform, Corner.TT, tmp_path)
    simulated = Simulated(tmp_path / "run.saif", "bench/u_dut", images=1)
    given = (tmp_path / "final.json", [liberty], Corner.TT, 1000.0, simulated)
    bare, wired = measure_power(*given), measure_power(*given, parasitics=tmp_path / "final.spef")
    # 2 fF of wires to the buffer and 3 fF behind it; the buffer takes 3 fJ a transition.
    assert bare.parts["clock"] == pytest.approx(1e-6 + watts(0, 1.0, 2.0) + watts(3, 0.5, 2.0) + 7e-12)
    assert wired.parts["clock"] - bare.parts["clock"] == pytest.approx(watts(0, 2.0 + 3.0, 2.0))
    assert wired.annotated == 1.0 and wired.layers["a"] > 0 and wired.parts["logic"] == 0


@pytest.mark.parametrize("text", ["", "*C_UNIT 1 FF\n", "*D_NET *1 2.0\n*CONN\n*P clk_i I\n"])
def test_what_is_no_spef_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "final.spef"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match="SPEF"):
        wire_loads(path)


def test_a_memory_has_buses_and_units_of_its_own(platform: Platform, tmp_path: Path) -> None:
    library = tmp_path / "ram.lib"
    library.write_text(MEMORY)
    cells = {"u_m/ram": ("ram", "clk=clk_i we=we_i rd[0]=y_o rd[1]=z_o")}
    macro = module("top", "clk_i we_i", "y_o z_o", cells)
    activity = {
        "": {"clk_i": 2000, "we_i": 1000},
        "u_m/ram": {"clk": 2000, "we": 1000, "rd[0]": 400, "rd[1]": 0},
    }
    write_json(Netlist("top", {"top": macro}), tmp_path / "netlist.json")
    (tmp_path / "run.saif").write_text(saif(activity))
    liberties = [merged_liberty(platform, Corner.TT, tmp_path), library]
    simulated = Simulated(tmp_path / "run.saif", "bench/u_dut", images=1)
    given = (tmp_path / "netlist.json", liberties, Corner.TT, 1000.0, simulated)
    power = measure_power(*given, memories=["ram"])
    # 0.002 pJ an edge of the clock while the pin is low (nine tenths of the time), 5 fF at it, 1 uW of leakage.
    assert power.parts["memory"] == pytest.approx(watts(0, 3.898, 0.4) + 1e-6)
    assert power.parts["clock"] == pytest.approx(2 * 0.9 * 2e-6 + watts(0, 5.0, 2.0))
    assert power.annotated == 1.0


@needs_opensta
def test_opensta_charges_nets_alike(platform: Platform, tmp_path: Path) -> None:
    """OpenSTA 2.0 takes one activity for all pins; what it says of power inside of cells is wrong, of nets right."""
    special = {"clk_i": 2000, "CLK": 2000, "GCLK": 2000, "SE": 0, "L": 0}
    alike = {path: {name: special.get(name, 200) for name in of} for path, of in TRANSITIONS.items()}
    ours = measured(platform, tmp_path, alike)
    write_verilog(NETLIST, tmp_path / "netlist.v")
    script = [
        *(f"read_liberty {{{path}}}" for path in tmp_path.glob("asap7_tt_*.lib")),
        "read_verilog netlist.v",
        "link_design top",
        "create_clock -name clock -period 1000 [get_ports clk_i]",
        "set_load 3.898 [all_outputs]",
        "set_power_activity -global -activity 0.2 -duty 0.5",
        "report_power -digits 8",
    ]
    (tmp_path / "power.tcl").write_text("\n".join(script))
    words = [*resolve("sta").argv, "-no_init", "-no_splash", "-exit", "power.tcl"]
    run(words, cwd=tmp_path, log=tmp_path / "power.log")
    (total,) = re.findall(r"^Total +\S+ +(\S+)", (tmp_path / "power.log").read_text(), re.MULTILINE)
    assert float(total) == pytest.approx(ours.switching_w - watts(0, 1.0, 2.0), rel=1e-4)


def test_a_simulation_gives_the_activity(platform: Platform, tmp_path: Path) -> None:
    """Verilator writes SAIF: data change in each cycle, and the gated clock stays low in every fourth from the fifth on."""
    write_verilog(NETLIST, tmp_path / "netlist.v")
    (tmp_path / "bench.v").write_text(VERILOG_CELLS + TESTBENCH)
    verilator = resolve("verilator")
    flags = [
        "--binary",
        "--timing",
        "--trace-saif",
        "--trace-underscore",
        "-Wno-fatal",
        "--top-module",
        "bench",
    ]
    words = [*verilator.argv, *verilator.adapt([*flags, "bench.v", "netlist.v"])]
    run(words, cwd=tmp_path, env=verilator.env, log=tmp_path / "build.log")
    run([tmp_path / "obj_dir" / "Vbench"], cwd=tmp_path, log=tmp_path / "run.log")
    found = read_saif(tmp_path / "activity.saif", "bench/u_dut")
    assert found.cycles("clk_i") == 100
    assert found.nets["u_stem/d_q_reg/D"] == Activity(100, pytest.approx(0.5, abs=0.01))
    assert found.nets["u_fc/gate/GCLK"].transitions == 152


def test_asap7_itself_gives_a_plausible_figure(tmp_path: Path) -> None:
    power = measured(real_platform(), tmp_path)
    # A cycle of DFFHQNx1's clock takes 0.6 fJ inside.
    assert 0.5e-6 < power.parts["clock"] < 5e-6 and 0 < power.leakage_w < 10e-9


def test_a_scope_keeps_its_nets_only(tmp_path: Path) -> None:
    path = tmp_path / "run.saif"
    path.write_text(saif(TRANSITIONS))
    assert read_saif(path, "bench/u_dut/u_fc").nets.keys() == {
        f"{cell.removeprefix('u_fc/')}/{pin}"
        for cell, of in TRANSITIONS.items()
        for pin in of
        if cell.startswith("u_fc")
    }
    assert read_saif(path, "bench/u_dut").nets["a_i"] == Activity(400, 0.1)
    with pytest.raises(ConfigurationError, match="nothing in the scope"):
        read_saif(path, "bench/u_other")


@pytest.mark.parametrize(
    "text",
    ["", "(SAIFILE", "(SAIFILE (INSTANCE a (NET (b (T0 x)))))", "(SAIFILE (INSTANCE a (NET (b (T0 1", "module a; endmodule"],
)  # fmt: skip
def test_what_is_no_saif_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "run.saif"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=r"SAIF file"):
        read_saif(path, "a")


@pytest.mark.parametrize("clock", [0, None])
def test_a_clock_that_stands_still_is_refused(tmp_path: Path, clock: int | None) -> None:
    ports = {"rst_ni": 1} if clock is None else {"clk_i": clock}
    path = tmp_path / "run.saif"
    path.write_text(saif({"": ports}))
    with pytest.raises(ConfigurationError, match="does not toggle"):
        read_saif(path, "bench/u_dut").cycles("clk_i")
