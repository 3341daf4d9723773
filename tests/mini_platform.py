# SPDX-License-Identifier: Apache-2.0
"""A platform of our own in ASAP7's layout: a few cells with ASAP7's names and pins, and round figures.

Tests of the flow run on it where the real platform is not at hand. Delays are linear in the load and grow from the fast
corner to the slow one; a gate's transition takes 3 fJ inside, a register's 4 fJ, and a cycle of its clock 1 fJ.
HSFLOW_ASAP7, else ../shared/asap7 beside the checkout, is the real one.
"""

from __future__ import annotations

import gzip
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hsflow_asap7.platform import VARIABLE, Corner, Platform

_BESIDE = Path(__file__).parents[2] / "shared" / "asap7"
_CONDITIONS = {Corner.TT: (1.0, 0.70, 25), Corner.SS: (1.5, 0.63, 100), Corner.FF: (0.7, 0.77, 0)}
"""Factor of the delays, volts, degrees Celsius."""

_CARRY = "(!A * !B) + (!A * !CI) + (!B * !CI)"
_SUM = "(A * B * !CI) + (A * !B * CI) + (!A * B * CI) + (!A * !B * !CI)"
_GATES: dict[str, tuple[tuple[str, float, str, dict[str, str], int], ...]] = {
    "INVBUF": (
        *((f"INVx{size}", 0.3 + 0.1 * size, "A", {"Y": "!A"}, size) for size in (1, 2, 4, 8)),
        *((f"BUFx{size}", 0.5 + 0.1 * size, "A", {"Y": "A"}, size) for size in (2, 4, 8)),
    ),
    "AO": (
        ("AOI21x1", 1.1, "A1 A2 B", {"Y": "(!A1 * !B) + (!A2 * !B)"}, 1),
        ("AO21x1", 0.9, "A1 A2 B", {"Y": "(A1 * A2) + B"}, 1),
        ("AO22x1", 1.3, "A1 A2 B1 B2", {"Y": "(A1 * A2) + (B1 * B2)"}, 1),
    ),
    "OA": (
        ("OAI21x1", 1.1, "A1 A2 B", {"Y": "(!A1 * !A2) + !B"}, 1),
        ("OA21x2", 1.0, "A1 A2 B", {"Y": "(A1 * B) + (A2 * B)"}, 2),
    ),
    "SIMPLE": (
        ("NAND2x1", 0.9, "A B", {"Y": "!A + !B"}, 1),
        ("NAND2xp5", 0.6, "A B", {"Y": "!A + !B"}, 1),
        ("NOR2x1", 0.9, "A B", {"Y": "!A * !B"}, 1),
        ("AND2x2", 0.9, "A B", {"Y": "A * B"}, 2),
        ("OR2x2", 0.9, "A B", {"Y": "A + B"}, 2),
        ("XOR2x2", 1.6, "A B", {"Y": "(A * !B) + (!A * B)"}, 2),
        ("XNOR2x2", 1.6, "A B", {"Y": "(A * B) + (!A * !B)"}, 2),
        ("MAJIxp5", 1.0, "A B C", {"Y": _CARRY.replace("CI", "C")}, 1),
        ("MAJx2", 1.3, "A B C", {"Y": "(A * B) + (A * C) + (B * C)"}, 2),
        ("FAx1", 2.0, "A B CI", {"CON": _CARRY, "SN": _SUM}, 1),
        ("HAxp5", 1.3, "A B", {"CON": "!A + !B", "SN": "(A * B) + (!A * !B)"}, 1),
        ("TIEHIx1", 0.4, "", {"H": "1"}, 1),
        ("TIELOx1", 0.4, "", {"L": "0"}, 1),
    ),
}
_REGISTERS = (
    *((f"DFFHQNx{size}", 2.7 + 0.1 * size, "", size) for size in (1, 2, 3)),
    ("DFFASRHQNx1", 3.8, "RESETN SETN", 1),
)


def mini_platform(folder: Path) -> Platform:
    """Write the platform below `folder`; its files are as many and named as ASAP7's, some of them packed."""
    for corner in Corner:
        for group in ("AO", "INVBUF", "OA", "SEQ", "SIMPLE"):
            text = "\n".join(_library(group, corner)) + "\n"
            path = folder / "lib" / "NLDM" / f"asap7sc7p5t_{group}_RVT_{corner}_nldm_1.lib"
            path.parent.mkdir(parents=True, exist_ok=True)
            if group in ("AO", "OA"):
                path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(text.encode()))
            else:
                path.write_text(text)
    for name in ("lef/asap7_tech_1x_1.lef", "lef/asap7sc7p5t_28_R_1x_1.lef", "gds/asap7sc7p5t_28_R_1.gds"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("")
    return Platform(folder)


def real_platform() -> Platform:
    """Return ASAP7 itself; skip the test where it is not."""
    root = Path(os.environ.get(VARIABLE) or _BESIDE)
    if not (root / "lib" / "NLDM").is_dir():
        pytest.skip(f"ASAP7 is not here; {VARIABLE} names its folder")
    return Platform(root.resolve())


def _library(group: str, corner: Corner) -> Iterator[str]:
    slow, volts, celsius = _CONDITIONS[corner]
    yield f"library (mini_{group}_{corner}) {{ /* braces in a comment: }} */"
    yield '  time_unit : "1ps"; capacitive_load_unit (1, ff); voltage_unit : "1V"; current_unit : "1mA";'
    yield '  leakage_power_unit : "1pW"; pulling_resistance_unit : "1kohm"; delay_model : table_lookup;'
    yield f"  nom_voltage : {volts}; nom_temperature : {celsius}; nom_process : 1; default_max_transition : 320;"
    yield f"  operating_conditions (c) {{ process : 1; voltage : {volts}; temperature : {celsius}; }}"
    yield "  default_operating_conditions : c;"
    for edge in ("rise", "fall"):
        yield f"  slew_lower_threshold_pct_{edge} : 10; slew_upper_threshold_pct_{edge} : 90;"
        yield f"  input_threshold_pct_{edge} : 50; output_threshold_pct_{edge} : 50;"
    yield "  lu_table_template (delay) {"
    yield "    variable_1 : input_net_transition; variable_2 : total_output_net_capacitance;"
    yield '    index_1 ("5, 320"); index_2 ("0.5, 50"); }'
    yield '  lu_table_template (check) { variable_1 : constrained_pin_transition; index_1 ("5, 320"); }'
    if group == "SEQ":
        for name, area, resets, size in _REGISTERS:
            yield from _register(name, area, resets.split(), size, slow)
        yield from _clock_gate(slow)
    for name, area, inputs, functions, size in _GATES.get(group, ()):
        yield from _gate(name, area, inputs.split(), functions, size, slow)
    yield "}"


def _gate(
    name: str, area: float, inputs: list[str], functions: dict[str, str], size: int, slow: float
) -> Iterator[str]:
    # ASAP7's own inverters end this statement with the line, not with a semicolon.
    yield f"  cell ({name}_ASAP7_75t_R) {{\n    area : {area:g}\n    cell_leakage_power : {10 * area:g};"
    for pin in inputs:
        yield f"    pin ({pin}) {{ direction : input; capacitance : {0.5 * size:g}; }}"
    for pin, function in functions.items():
        yield f'    pin ({pin}) {{ direction : output; function : "{function}"; max_capacitance : {46 * size};'
        for related in inputs:
            yield f'      timing () {{ related_pin : "{related}"; timing_sense : non_unate; {_delays(slow, size)} }}'
            yield f'      internal_power () {{ related_pin : "{related}"; {_energies(2, 4)} }}'
        yield "    }"
    yield "  }"


def _register(name: str, area: float, resets: list[str], size: int, slow: float) -> Iterator[str]:
    yield f"  cell ({name}_ASAP7_75t_R) {{ area : {area:g}; cell_leakage_power : {10 * area:g};"
    states = 'clear : "!SETN"; preset : "!RESETN"; clear_preset_var1 : L; clear_preset_var2 : L; '
    yield f'    ff (IQN, IQNN) {{ clocked_on : "CLK"; next_state : "!D"; {states if resets else ""}}}'
    yield "    pin (CLK) { direction : input; clock : true; capacitance : 0.5;"
    yield "      rise_capacitance : 0.5; fall_capacitance : 0.5;"
    yield "      rise_capacitance_range (0.4, 0.5); fall_capacitance_range (0.4, 0.5);"
    for state in ("D", "!D"):
        yield f'      internal_power () {{ when : "{state}"; {_energies(1, 0)} }}'
    yield "    }"
    yield "    pin (D) { direction : input; capacitance : 0.5;"
    for check, time in (("setup_rising", 10), ("hold_rising", 5)):
        table = " ".join(
            f'{edge}_constraint (check) {{ values ("{time * slow:g}, {2 * time * slow:g}"); }}'
            for edge in ("rise", "fall")
        )
        yield f'      timing () {{ related_pin : "CLK"; timing_type : {check}; {table} }}'
    yield "    }"
    for pin in resets:
        yield f"    pin ({pin}) {{ direction : input; capacitance : 0.5; }}"
    yield f'    pin (QN) {{ direction : output; function : "IQN"; max_capacitance : {46 * size};'
    yield f'      timing () {{ related_pin : "CLK"; timing_type : rising_edge; {_delays(slow, size)} }}'
    yield f'      internal_power () {{ related_pin : "CLK"; {_energies(3, 5)} }}'
    for pin, kind in zip(resets, ("preset", "clear"), strict=False):
        yield f'      timing () {{ related_pin : "{pin}"; timing_type : {kind}; {_delays(slow, size)} }}'
    yield "    }\n  }"


def _clock_gate(slow: float) -> Iterator[str]:
    yield "  cell (ICGx1_ASAP7_75t_R) { area : 2.6; cell_leakage_power : 26;"
    yield "    clock_gating_integrated_cell : latch_posedge_precontrol;"
    table = "L L L : - : L , L L H : - : H , L H L : - : H , L H H : - : H , H - - : - : N"
    yield f'    statetable ("CLK ENA SE", "IQ") {{ table : "{table}"; }}'
    yield '    pin (IQ) { direction : internal; internal_node : "IQ"; }'
    pins = (("CLK", "clock : true; clock_gate_clock_pin"), ("ENA", "clock_gate_enable_pin"))
    for pin, role in (*pins, ("SE", "clock_gate_test_pin")):
        yield f"    pin ({pin}) {{ direction : input; {role} : true; capacitance : 0.5; }}"
    yield '    pin (GCLK) { direction : output; clock_gate_out_pin : true; state_function : "CLK & IQ";'
    yield f'      max_capacitance : 46; timing () {{ related_pin : "CLK"; timing_sense : positive_unate; {_delays(slow, 1)} }}'
    yield "    }\n  }"


def _energies(rise: float, fall: float) -> str:
    """Return the energy (fJ) of a transition each way, whatever drives and loads the pin."""
    return " ".join(
        f'{edge}_power (scalar) {{ values ("{energy:g}"); }}'
        for edge, energy in (("rise", rise), ("fall", fall))
    )


def _delays(slow: float, size: int) -> str:
    """Return tables of 10 ps and 4 ps/fF over the size, both rising with the input's transition."""
    tables = []
    for kind, base, per_load in (("cell", 10.0, 4.0), ("transition", 8.0, 6.0)):
        rows = [
            [slow * (base + per_load * load / size + transition / 20) for load in (0.5, 50)]
            for transition in (5, 320)
        ]
        values = ", ".join(f'"{row[0]:g}, {row[1]:g}"' for row in rows)
        names = (f"{kind}_rise", f"{kind}_fall") if kind == "cell" else ("rise_transition", "fall_transition")
        axes = 'index_1 ("5, 320"); index_2 ("0.5, 50");'  # ASAP7's tables state their own axes, too
        tables.extend(f"{name} (delay) {{ {axes} values ({values}); }}" for name in names)
    return " ".join(tables)
