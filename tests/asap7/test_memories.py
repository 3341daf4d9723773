# SPDX-License-Identifier: Apache-2.0
"""Line buffers on SRAM macros: in every cycle they do what those of registers do, down to gates, time and layout."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from hsflow_asap7.constraints import Constraints
from hsflow_asap7.gates import write_models
from hsflow_asap7.memories import (
    macros_of,
    memories_in,
    memory_area,
    with_memories,
    write_line_buffers,
)
from hsflow_asap7.netlist import read_netlist
from hsflow_asap7.platform import Corner, Platform, merged_liberty
from hsflow_asap7.power import Simulated, measure_power
from hsflow_asap7.proof import prove
from hsflow_asap7.synthesis import SynthesisOptions, synthesize
from hsflow_asap7.timing import Design, time_design
from mini_platform import mini_platform, real_platform

from hsflow.errors import ConfigurationError
from hsflow.launch import resolve
from hsflow.process import run

ORIGINAL = Path(__file__).parents[2] / "cores" / "window" / "rtl" / "hsflow_line_buffer.sv"
SIZES = [
    (8, 3),
    (8, 4),
    (8, 5),
    (3, 6),
    (5, 7),
    (1, 12),
    (9, 21),
    (16, 34),
    (17, 35),
    (40, 26),
    (8, 66),
    (8, 70),
]
"""Width and depth: even and odd, one macro and several, narrower and deeper ones, and too deep for any."""

LIBERTY = """
library ({name}) {{
  time_unit : "1ns"; voltage_unit : "1V"; current_unit : "1uA"; leakage_power_unit : "1uW";
  capacitive_load_unit (1, pf); pulling_resistance_unit : "1kohm"; delay_model : table_lookup; nom_voltage : 0.7;
  slew_lower_threshold_pct_rise : 20; slew_upper_threshold_pct_rise : 80;
  slew_lower_threshold_pct_fall : 20; slew_upper_threshold_pct_fall : 80;
  input_threshold_pct_rise : 50; input_threshold_pct_fall : 50;
  output_threshold_pct_rise : 50; output_threshold_pct_fall : 50;
  type (word) {{ base_type : array; data_type : bit; bit_width : {width}; bit_from : {top}; bit_to : 0; downto : true; }}
  type (row) {{ base_type : array; data_type : bit; bit_width : {bits}; bit_from : {last}; bit_to : 0; downto : true; }}
  cell ({name}) {{
    area : {area}; interface_timing : true; cell_leakage_power : 1.0;
    pin (clk) {{ direction : input; capacitance : 0.002; clock : true;
      internal_power () {{ rise_power (scalar) {{ values ("0.01") }} fall_power (scalar) {{ values ("0.01") }} }} }}
    bus (rd_out) {{ bus_type : word; direction : output; max_capacitance : 0.5;
      timing () {{ related_pin : "clk"; timing_type : rising_edge; timing_sense : non_unate;
        cell_rise (scalar) {{ values ("0.2") }} cell_fall (scalar) {{ values ("0.2") }}
        rise_transition (scalar) {{ values ("0.01") }} fall_transition (scalar) {{ values ("0.01") }} }} }}
    {inputs}
  }}
}}
"""
INPUT = """{kind} ({name}) {{ {type} direction : input; capacitance : 0.001;
      timing () {{ related_pin : clk; timing_type : setup_rising;
        rise_constraint (scalar) {{ values ("0.05") }} fall_constraint (scalar) {{ values ("0.05") }} }} }}
    """
BENCH = """
module bench;
  logic clk = 0, reset_n = 0, shift = 0;
  logic [63:0] data = 0;
  integer shifts = 0, wrong = 0, seed = 7;
{instances}
  initial begin
`ifdef VERILATOR
    $dumpfile("activity.saif"); $dumpvars(0, bench);
`endif
    #1 reset_n = 1;
    #1 reset_n = 0;
    #1 reset_n = 1;
    for (int i = 0; i < 3000; i++) begin
      #1;
{checks}
      clk = 1;
      if (shift) shifts = shifts + 1;
      #1 clk = 0;
      data = {{$random(seed), $random(seed)}};
      // Long runs of shifts, long stalls, and a mixture.
      shift = i % 600 < 200 ? 1 : i % 600 < 240 ? 0 : $random(seed);
    end
    $display("%0d shifts, %0d wrong", shifts, wrong);
    $finish;
  end
endmodule
"""

WRAPPER = """
module hsflow_line_buffer #(parameter int Width = 16, parameter int Depth = 35) (
  input logic clk_i, input logic rst_ni, input logic shift_i, input logic [15:0] data_i, output logic [15:0] data_o
);
  gates u_gates (.clk_i, .rst_ni, .shift_i, .data_i, .data_o);
endmodule
"""


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    platform = mini_platform(tmp_path / "asap7")
    for depth, width, area in ((16, 8, 30), (32, 16, 90), (16, 32, 100)):
        name, bits = f"fakeram7_{depth}x{width}", (depth - 1).bit_length()
        pins = (
            ("pin", "ce_in", ""),
            ("pin", "we_in", ""),
            ("bus", "addr_in", "row"),
            ("bus", "wd_in", "word"),
        )
        inputs = "".join(
            INPUT.format(kind=kind, name=pin, type=f"bus_type : {type};" if type else "")
            for kind, pin, type in pins
        )
        text = LIBERTY.format(
            name=name, width=width, top=width - 1, bits=bits, last=bits - 1, area=area, inputs=inputs
        )
        (platform.root / "lib" / "NLDM" / f"{name}.lib").write_text(text)
        lef = platform.root / "lef" / f"{name}.lef"
        lef.write_text(f"MACRO {name}\n  SIZE 10.000 BY {area / 10:.3f} ;\nEND {name}\n")
    return platform


def by_icarus(folder: Path, sources: Sequence[Path]) -> str:
    if shutil.which("iverilog") is None:
        pytest.skip("Icarus Verilog is not installed")
    subprocess.run(["iverilog", "-g2012", "-s", "bench", "-o", "program", *sources], check=True, cwd=folder)
    return subprocess.run(
        ["vvp", "-n", "program"], check=True, capture_output=True, text=True, cwd=folder
    ).stdout


def by_verilator(folder: Path, sources: Sequence[Path]) -> str:
    """Simulate, and leave activity.saif."""
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
    words = [*verilator.argv, *verilator.adapt([*flags, *(str(path) for path in sources)])]
    run(words, cwd=folder, env=verilator.env, log=folder / "build.log")
    run([folder / "obj_dir" / "Vbench"], cwd=folder, log=folder / "run.log")
    return (folder / "run.log").read_text()


def compared(
    folder: Path,
    replacement: Sequence[Path],
    sizes: Sequence[tuple[int, int]],
    simulate: Callable[[Path, Sequence[Path]], str] = by_icarus,
) -> str:
    """Return what a simulation says of the line buffers beside those of registers; unknown bits are wrong."""
    golden = folder / "golden.sv"
    golden.write_text(re.sub(r"\bhsflow_line_buffer\b", "golden", ORIGINAL.read_text()))
    instances, checks = [], []
    for number, (width, depth) in enumerate(sizes):
        ports = f".clk_i(clk), .rst_ni(reset_n), .shift_i(shift), .data_i(data[{width - 1}:0])"
        for module in ("golden", "hsflow_line_buffer"):
            short = module[0] + str(number)
            instances.append(f"  wire [{width - 1}:0] {short};")
            instances.append(
                f"  {module} #(.Width({width}), .Depth({depth})) u_{short} ({ports}, .data_o({short}));"
            )
        checks.append(
            f"      if (shifts >= {depth} && (^g{number} === 1'bx || g{number} !== h{number})) wrong = wrong + 1;"
        )
    bench = BENCH.format(instances="\n".join(instances), checks="\n".join(checks))
    (folder / "bench.sv").write_text(bench)
    return simulate(folder, [folder / "bench.sv", golden, *replacement])


def test_in_every_cycle_memories_do_what_registers_do(platform: Platform, tmp_path: Path) -> None:
    made = write_line_buffers(platform, ORIGINAL, 1, tmp_path / "made")
    found = re.fullmatch(r"(\d+) shifts, 0 wrong\n", compared(tmp_path, made, SIZES))
    assert found and int(found[1]) > 1500


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("fresh_q ? read : next_q", "read"),
        ("Depth / 2 - 1", "Depth / 2"),
        ("{data_i, first_q}", "{first_q, data_i}"),
        (".write_i  (second_q)", ".write_i  (1'b0)"),
    ],
)
def test_a_mistake_in_them_is_seen(platform: Platform, tmp_path: Path, right: str, wrong: str) -> None:
    replacement, models = write_line_buffers(platform, ORIGINAL, 1, tmp_path / "made")
    text = replacement.read_text()
    assert right in text
    replacement.write_text(text.replace(right, wrong))
    assert ", 0 wrong" not in compared(tmp_path, (replacement, models), SIZES)


@pytest.mark.parametrize(
    ("width", "depth", "macros"),
    [
        (4, 25, {}),  # 100 bits, below the threshold
        (4, 26, {"fakeram7_16x8": 1}),
        (8, 34, {"fakeram7_16x8": 2}),
        (16, 34, {"fakeram7_16x32": 1}),  # 100 um2; four of the small ones have 120
        (8, 35, {"fakeram7_16x8": 2}),
        (8, 36, {"fakeram7_32x16": 1}),  # 17 words
        (20, 66, {"fakeram7_32x16": 3}),
        (2, 68, {}),  # 33 words are too many
    ],
)
def test_the_macros_are_those_of_least_area(
    platform: Platform, tmp_path: Path, width: int, depth: int, macros: dict[str, int]
) -> None:
    pytest.importorskip("pyosys")
    replacement, models = write_line_buffers(platform, ORIGINAL, 101, tmp_path / "made")
    size = {"Width": width, "Depth": depth}
    made = synthesize(
        [replacement],
        "hsflow_line_buffer",
        SynthesisOptions(),
        platform,
        tmp_path / "netlist",
        size,
        [models],
    )
    memories = memories_in(read_netlist(made.netlist_json), platform)
    assert {memory.name: memory.count for memory in memories} == macros
    assert memory_area(memories) == sum(
        count * next(macro.area for macro in macros_of(platform) if macro.name == name)
        for name, count in macros.items()
    )


@pytest.mark.parametrize("which", ["mini", pytest.param("real", marks=pytest.mark.slow)])
def test_from_rtl_to_power(request: pytest.FixtureRequest, tmp_path: Path, which: str) -> None:
    """Netlist, proof, simulation of gates, timing and power take a design with memories."""
    pytest.importorskip("pyosys")
    platform = request.getfixturevalue("platform") if which == "mini" else real_platform()
    top, size = "hsflow_line_buffer", {"Width": 16, "Depth": 35}
    replacement, models = write_line_buffers(platform, ORIGINAL, 256, tmp_path / "made")
    made = synthesize([replacement], top, SynthesisOptions(), platform, tmp_path / "netlist", size, [models])
    netlist = read_netlist(made.netlist_json)
    assert prove([replacement], netlist, platform, tmp_path / "proof", size, [models]).registers > 16 * 6
    memories = memories_in(netlist, platform)
    assert len(memories) == 1 and made.area_um2 < 500

    write_models(platform, netlist.cell_counts(), tmp_path / "cells.v")
    (tmp_path / "wrapper.sv").write_text(WRAPPER)
    gates = made.netlist_v.read_text().replace(f"module {top} ", "module gates ")
    (tmp_path / "gates.v").write_text(gates)
    sources = [*(tmp_path / name for name in ("wrapper.sv", "gates.v", "cells.v")), models]
    assert ", 0 wrong" in compared(tmp_path, sources, [(16, 35)], by_verilator)

    simulated = Simulated(tmp_path / "activity.saif", "bench/u_h0/u_gates", images=1)
    liberties = [merged_liberty(platform, Corner.TT, tmp_path / "liberty"), *(m.liberty for m in memories)]
    names = [memory.name for memory in memories]
    power = measure_power(made.netlist_json, liberties, Corner.TT, 1000.0, simulated, memories=names)
    assert power.annotated == 1.0 and power.parts["memory"] > 0
    if shutil.which("sta") is None:
        pytest.skip("OpenSTA is not installed")
    timing = time_design(
        Design(made.netlist_v, top, tuple(liberties), Corner.TT), Constraints(1000.0), tmp_path / "timing"
    )
    assert 0 < timing.slack_ps < 900 and timing.fmax_mhz > 1000


def test_sources_get_the_replacement(tmp_path: Path) -> None:
    sources = [tmp_path / "a.sv", ORIGINAL, tmp_path / "b.sv"]
    assert with_memories(sources, tmp_path / "new.sv") == (sources[0], tmp_path / "new.sv", sources[2])


def test_what_cannot_be_done_is_refused(platform: Platform, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="threshold of 0 bits"):
        write_line_buffers(platform, ORIGINAL, 0, tmp_path / "made")
    (platform.root / "lef" / "fakeram7_16x8.lef").write_text("MACRO fakeram7_16x8\nEND fakeram7_16x8\n")
    with pytest.raises(ConfigurationError, match="area or size is not known"):
        macros_of(platform)
    with pytest.raises(ConfigurationError, match="0 SRAM macros"):
        write_line_buffers(mini_platform(tmp_path / "bare"), ORIGINAL, 1, tmp_path / "made")


def test_asap7s_own_macros_do_it_too(tmp_path: Path) -> None:
    platform = real_platform()
    assert {(macro.depth, macro.width) for macro in macros_of(platform)} >= {(256, 32), (128, 64)}
    made = write_line_buffers(platform, ORIGINAL, 64, tmp_path / "made")
    found = compared(tmp_path, made, [(8, 9), (64, 101), (8, 256), (33, 600), (16, 700)])
    assert ", 0 wrong" in found
