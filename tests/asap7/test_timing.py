# SPDX-License-Identifier: Apache-2.0
"""Timing by OpenSTA: figures that can be computed by hand, the path's layers, and netlists that must not pass."""

from __future__ import annotations

import math
import shutil
from pathlib import Path

import pytest
from hsflow_asap7 import opensta
from hsflow_asap7.constraints import Constraints
from hsflow_asap7.platform import Corner, Platform, merged_liberty
from hsflow_asap7.timing import Design, Timing, histogram, layer_of, time_design
from mini_platform import mini_platform, real_platform

from hsflow.errors import ConfigurationError, ToolError

needs_opensta = pytest.mark.skipif(shutil.which("sta") is None, reason="OpenSTA (sta) is not installed")

NETLIST = """
module stage (input clk_i, input d_i, output q_o);
  wire n;
  DFFHQNx1_ASAP7_75t_R d_q_reg (.CLK(clk_i), .D(d_i), .QN(n));
  INVx1_ASAP7_75t_R n_inv (.A(n), .Y(q_o));
endmodule
module inner (input clk_i, input a_i, output y_o);
  wire m;
  stage u_stem_conv__fork1 (.clk_i(clk_i), .d_i(a_i), .q_o(m));
  stage u_fc (.clk_i(clk_i), .d_i(m), .q_o(y_o));
endmodule
module top (input clk_i, input rst_ni, input a_i, output y_o);
  inner u_network (.clk_i(clk_i), .a_i(a_i), .y_o(y_o));
endmodule
"""
GATED = """
module top (input clk_i, input rst_ni, input enable_i, input a_i, output y_o);
  wire g, n, m, zero;
  CLOCK
  DFFHQNx1_ASAP7_75t_R r0 (.CLK(g), .D(a_i), .QN(n));
  INVx1_ASAP7_75t_R i0 (.A(n), .Y(m));
  DFFHQNx1_ASAP7_75t_R r1 (.CLK(g), .D(m), .QN(y_o));
endmodule
"""
GATE = "TIELOx1_ASAP7_75t_R tie (.L(zero)); ICGx1_ASAP7_75t_R gate (.CLK(clk_i), .ENA(enable_i), .SE(zero), .GCLK(g));"
GATES = """
module top (input a_i, output y_o);
  wire n;
  INVx1_ASAP7_75t_R i0 (.A(a_i), .Y(n));
  INVx1_ASAP7_75t_R i1 (.A(n), .Y(y_o));
endmodule
"""
SPEF = """*SPEF "IEEE 1481-1998"
*DESIGN "top"
*DATE ""
*VENDOR ""
*PROGRAM ""
*VERSION ""
*DESIGN_FLOW ""
*DIVIDER /
*DELIMITER :
*BUS_DELIMITER []
*T_UNIT 1 PS
*C_UNIT 1 FF
*R_UNIT 1 OHM
*L_UNIT 1 HENRY
*D_NET u_network/m 2.0
*CONN
*I u_network/u_stem_conv__fork1/n_inv:Y O
*I u_network/u_fc/d_q_reg:D I
*CAP
1 u_network/u_fc/d_q_reg:D 2.0
*RES
1 u_network/u_stem_conv__fork1/n_inv:Y u_network/u_fc/d_q_reg:D 1.0
*END
"""


@pytest.fixture
def platform(tmp_path: Path) -> Platform:
    return mini_platform(tmp_path / "asap7")


def design(platform: Platform, folder: Path, text: str, corner: Corner = Corner.TT) -> Design:
    folder.mkdir(parents=True, exist_ok=True)
    netlist = folder / "netlist.v"
    netlist.write_text(text)
    return Design(netlist, "top", (merged_liberty(platform, corner, folder),), corner)


def timed(platform: Platform, folder: Path, constraints: Constraints, corner: Corner = Corner.TT) -> Timing:
    return time_design(design(platform, folder, NETLIST, corner), constraints, folder / "run")


def setup_ps(slow: float, transition: float) -> float:
    """Return the mini platform's setup time: 10 ps at a transition of 5 ps, 20 ps at 320 ps."""
    return slow * (10 + 10 * (transition - 5) / 315)


@needs_opensta
@pytest.mark.parametrize(("corner", "slow"), [(Corner.TT, 1.0), (Corner.SS, 1.5), (Corner.FF, 0.7)])
def test_the_slack_is_what_the_cells_tables_give(
    platform: Platform, tmp_path: Path, corner: Corner, slow: float
) -> None:
    timing = timed(platform, tmp_path, Constraints(1000.0), corner)
    # Each output drives one pin of 0.5 fF; the ideal clock's edge takes 20 ps.
    register, register_slew = slow * (10 + 4 * 0.5 + 20 / 20), slow * (8 + 6 * 0.5 + 20 / 20)
    inverter, slew = slow * (12 + register_slew / 20), slow * (11 + register_slew / 20)
    expected = 1000 - register - inverter - setup_ps(slow, slew)
    between = {end: slack for slack, end in timing.setup.slacks}["u_network/u_fc/d_q_reg/D"]
    assert between == pytest.approx(expected, abs=0.01)
    assert timing.corner is corner


@needs_opensta
def test_the_worst_path_is_told_with_its_layers(platform: Platform, tmp_path: Path) -> None:
    timing = timed(platform, tmp_path, Constraints(40.0, io_share=0.0))
    path = [(point.pin, point.cell) for point in timing.setup.path]
    assert path == [
        ("u_network/u_fc/d_q_reg/QN", "DFFHQNx1_ASAP7_75t_R"),
        ("u_network/u_fc/n_inv/A", "INVx1_ASAP7_75t_R"),
        ("u_network/u_fc/n_inv/Y", "INVx1_ASAP7_75t_R"),
        ("y_o", ""),
    ]
    assert timing.setup.layers == ("fc",)
    assert timing.slack_ps == pytest.approx(40 - timing.setup.path[-1].arrival_ps, abs=0.01)
    assert timing.fmax_mhz == pytest.approx(1e6 / (40 - timing.slack_ps))
    assert len(timing.setup.slacks) == 3 and timing.untimed == ()
    assert sum(timing.slack_histogram(7)[1]) == 3


@needs_opensta
def test_a_clock_that_is_too_fast_is_seen(platform: Platform, tmp_path: Path) -> None:
    slow, fast = (timed(platform, tmp_path / str(ps), Constraints(ps)) for ps in (1000.0, 20.0))
    assert slow.setup.violations == 0 and slow.setup.total_negative_slack_ps == 0
    assert fast.setup.violations > 0 and fast.setup.total_negative_slack_ps <= fast.slack_ps < 0


@needs_opensta
def test_uncertainty_takes_its_part_of_every_check(platform: Platform, tmp_path: Path) -> None:
    ideal, real = (
        timed(platform, tmp_path / str(ps), Constraints(500.0, uncertainty_ps=ps)) for ps in (0, 30)
    )
    assert ideal.slack_ps - real.slack_ps == pytest.approx(30, abs=0.01)
    assert ideal.hold.slack_ps - real.hold.slack_ps == pytest.approx(30, abs=0.01)


@needs_opensta
def test_a_clock_gate_gives_no_slack_before_the_clock_has_a_tree(platform: Platform, tmp_path: Path) -> None:
    """OpenSTA credits the spread of the gate's delay, here by the range of its loads, to a clock that has no delay."""
    direct, gated = (
        time_design(
            design(platform, tmp_path / str(number), GATED.replace("CLOCK", clock)),
            Constraints(1000.0),
            tmp_path / str(number),
        )
        for number, clock in enumerate(("assign g = clk_i;", GATE))
    )
    for one, other in ((direct.setup, gated.setup), (direct.hold, gated.hold)):
        wanted = {end: slack for slack, end in one.slacks}
        assert {end: slack for slack, end in other.slacks if end in wanted} == wanted


@needs_opensta
def test_wires_that_are_told_in_part_only_fail(platform: Platform, tmp_path: Path) -> None:
    spef = tmp_path / "wires.spef"
    spef.write_text(SPEF[: SPEF.index("*RES")])
    bare = design(platform, tmp_path, NETLIST)
    with pytest.raises(ToolError, match="syntax error"):
        time_design(
            Design(bare.netlist, bare.top, bare.liberties, bare.corner, spef), Constraints(1000.0), tmp_path
        )


@needs_opensta
def test_wires_count_where_they_are_known(platform: Platform, tmp_path: Path) -> None:
    spef = tmp_path / "wires.spef"
    spef.write_text(SPEF)
    bare = design(platform, tmp_path, NETLIST)
    wired = Design(bare.netlist, bare.top, bare.liberties, bare.corner, parasitics=spef)
    slacks = []
    for each in (bare, wired):
        timing = time_design(each, Constraints(1000.0, edge_ps=0.0), tmp_path / "run")
        slacks.append({end: slack for slack, end in timing.setup.slacks}["u_network/u_fc/d_q_reg/D"])
    # Two more fF: 4 ps each in the inverter, and a transition of 6 ps each more at the register.
    assert slacks[0] - slacks[1] == pytest.approx(8 + 12 * 10 / 315, abs=0.05)


@needs_opensta
def test_a_design_without_registers_has_a_clock_that_is_nowhere(platform: Platform, tmp_path: Path) -> None:
    bare = Constraints(1000.0, clock_port=None, reset_port=None)
    timing = time_design(design(platform, tmp_path, GATES), bare, tmp_path)
    assert timing.setup.path[0].pin == "a_i" and 0 < timing.slack_ps < 600
    assert timing.setup.layers == ("",)


@needs_opensta
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (NETLIST.replace("INVx1", "INVx99"), "INVx99"),
        (NETLIST.replace("endmodule", "endmodul", 1), "error"),
        (NETLIST.replace("clk_i", "clock"), "clk_i"),
        (NETLIST.replace(" top ", " other "), "error"),
    ],
)
def test_a_netlist_that_is_not_understood_fails(
    platform: Platform, tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(ToolError, match=f"(?i){message}"):
        time_design(design(platform, tmp_path, text), Constraints(1000.0), tmp_path)


@needs_opensta
def test_a_design_in_which_nothing_is_timed_fails(platform: Platform, tmp_path: Path) -> None:
    text = GATES.replace("INVx1_ASAP7_75t_R i0 (.A(a_i), .Y(n));", "TIELOx1_ASAP7_75t_R i0 (.L(n));")
    with pytest.raises(ToolError, match="no path"):
        time_design(design(platform, tmp_path, text), Constraints(1e3, None, None), tmp_path)


@needs_opensta
def test_asap7_itself_is_read(tmp_path: Path) -> None:
    timing = timed(real_platform(), tmp_path, Constraints(1000.0))
    assert 0 < timing.slack_ps < 1000 and timing.hold.slack_ps > 0


def test_results_of_an_earlier_run_do_not_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "sta"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    (tmp_path / "timing_tt.tsv").write_text("setup\t1.0\ta\nend\n")
    with pytest.raises(ToolError, match="did not reach the end"):
        time_design(Design(tmp_path / "n.v", "top", (), Corner.TT), Constraints(1000.0), tmp_path)


def test_a_path_with_a_brace_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="word of a Tcl script"):
        opensta.word(tmp_path / "a}b.lib", tmp_path)


@pytest.mark.parametrize(
    ("pin", "layer"),
    [
        ("u_network/u_stem_conv/u_kernel/u_tile0/_12_/A", "stem_conv"),
        ("u_network/u_stem_conv__out__fork1/u_x/_1_/Y", "stem_conv"),
        ("u_network/u_fc.u_kernel.n1_inv/Y", "fc"),
        ("u_npu/u_lane0/_1_/Y", "npu"),
        ("u_network/_3_/Y", ""),
        ("u_npu_quiet_n_g/C", ""),
        ("data_i[3]", ""),
    ],
)
def test_a_pin_is_in_a_layer(pin: str, layer: str) -> None:
    assert layer_of(pin) == layer


def test_a_histogram_counts_every_value_once() -> None:
    edges, counts = histogram([0.0, 1.0, 9.99, 10.0], 10)
    assert counts == (1, 1, 0, 0, 0, 0, 0, 0, 0, 2) and edges[0] == 0 and edges[-1] == pytest.approx(10)
    assert histogram([2.0, 2.0], 4)[1] == (2, 0, 0, 0) and histogram([], 4) == ((), ())


@pytest.mark.parametrize(
    "wrong", [{"clock_ps": 0.0}, {"clock_ps": math.inf}, {"io_share": 0.5}, {"uncertainty_ps": 1000.0}]
)
def test_constraints_are_checked(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match="out of range"):
        Constraints(**{"clock_ps": 1000.0, **wrong})
