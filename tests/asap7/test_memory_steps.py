# SPDX-License-Identifier: Apache-2.0
"""The flow with line buffers on SRAM macros: every step knows of them."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from hsflow_asap7.chip import inventory, memories
from hsflow_asap7.request import Request
from hsflow_asap7.runner import Job, Status, figures_of, perform
from hsflow_asap7.steps import STEPS
from mini_platform import real_platform

from hsflow.errors import ConfigurationError

pytest.importorskip("pyosys")
LIBRARY = Path(__file__).parents[2] / "cores" / "window" / "rtl" / "hsflow_line_buffer.sv"
RTL = """
module chip (input logic clk_i, input logic rst_ni, input logic shift_i, input logic [15:0] data_i,
             output logic [15:0] data_o);
  logic [15:0] delayed;
  hsflow_line_buffer #(.Width(16), .Depth(66)) u_line (
    .clk_i, .rst_ni, .shift_i, .data_i, .data_o(delayed)
  );
  always_ff @(posedge clk_i) data_o <= delayed;
endmodule
"""


def request(work: Path, memory_bits: int | None, clock_mhz: float = 500.0) -> Request:
    (work / "chip.sv").write_text(RTL)
    shutil.copy(LIBRARY, work)
    return Request(
        top="chip", sources=("chip.sv", LIBRARY.name), platform_folder=str(real_platform().root),
        clock_mhz=clock_mhz, memory_bits=memory_bits, corners=("TT",), workers=1,
    )  # fmt: skip


def test_a_long_line_is_a_macro_in_area_proof_and_timing(tmp_path: Path) -> None:
    wanted = request(tmp_path, 1000)
    assert perform(STEPS["synthesis"], wanted, tmp_path).status is Status.DONE
    job = Job(wanted, tmp_path, tmp_path / "synthesis")
    (memory,) = memories(job)
    figures = figures_of(tmp_path / "synthesis")
    macros = figures["synth__design__instance__area__macros"].value
    assert inventory(job).memories == {memory.name: memory.count} and macros > 0
    assert inventory(job).area.um2["memories"] == pytest.approx(macros)
    assert perform(STEPS["proof"], wanted, tmp_path).status is Status.DONE
    if shutil.which("sta"):
        assert perform(STEPS["timing"], wanted, tmp_path).status is Status.DONE
        assert figures_of(tmp_path / "timing")["timing__setup__ws__corner:tt"].value < 2000


@pytest.mark.skipif(shutil.which("sta") is None, reason="OpenSTA (sta) is not installed")
def test_a_path_through_a_macro_is_repaired_around_it(tmp_path: Path) -> None:
    wanted = request(tmp_path, 1000, clock_mhz=4000.0)
    assert perform(STEPS["synthesis"], wanted, tmp_path).status is Status.DONE
    (memory,) = memories(Job(wanted, tmp_path, tmp_path / "synthesis"))
    assert memory.count > 0
    assert figures_of(tmp_path / "synthesis")["synth__repair__instance__count"].value > 0
    assert perform(STEPS["proof"], wanted, tmp_path).status is Status.DONE


def test_a_short_line_stays_of_registers(tmp_path: Path) -> None:
    wanted = request(tmp_path, 10_000)
    perform(STEPS["synthesis"], wanted, tmp_path)
    assert inventory(Job(wanted, tmp_path, tmp_path)).memories == {}
    assert figures_of(tmp_path / "synthesis")["synth__design__instance__area__macros"].value == 0


def test_a_platform_without_macros_says_so(tmp_path: Path) -> None:
    wanted = request(tmp_path, 1000)
    bare = tmp_path / "bare"
    (bare / "lib").mkdir(parents=True)
    for name in ("lef", "gds"):
        (bare / name).symlink_to(real_platform().root / name)
    (bare / "lib" / "NLDM").mkdir()
    for path in (real_platform().root / "lib" / "NLDM").glob("asap7*"):
        (bare / "lib" / "NLDM" / path.name).symlink_to(path)
    with pytest.raises(ConfigurationError, match="line buffers cannot become memories"):
        perform(STEPS["synthesis"], wanted.model_copy(update={"platform_folder": str(bare)}), tmp_path)
