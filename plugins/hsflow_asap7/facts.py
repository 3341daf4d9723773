# SPDX-License-Identifier: Apache-2.0
"""What a flow must know about ASAP7's 7.5-track RVT library beyond its files.

Source: OpenROAD-flow-scripts, `flow/platforms/asap7` (config.mk, setRC.tcl, make_tracks.tcl, grid_strategy). Lengths are in
um, resistances in kohm or kohm/um, capacitances in fF or fF/um.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class CellPin:
    """Name an output pin of a cell."""

    cell: str
    pin: str


@dataclass(frozen=True)
class WireRc:
    """Hold a wire's resistance (kohm/um) and capacitance (fF/um)."""

    resistance: float
    capacitance: float


@dataclass(frozen=True)
class Tracks:
    """Hold a layer's routing tracks: the offset of the first and the pitch, along each axis (um)."""

    layer: str
    x_offset: float
    x_pitch: float
    y_offset: float
    y_pitch: float


@dataclass(frozen=True)
class Straps:
    """Hold a power grid's straps on one layer (um); straps without a spacing follow the cells' pins."""

    layer: str
    width: float
    pitch: float
    spacing: float | None = None
    offset: float = 0.0


SUFFIX = "_ASAP7_75t_R"
SITE = "asap7sc7p5t"
DONT_USE = ("*x1p*_ASAP7*", "*xp*_ASAP7*", "SDF*", "ICG*")
"""Cells that nothing may choose by itself; HAxp5, MAJIxp5 and ICGx1 are placed on purpose."""

TIE_HIGH = CellPin(f"TIEHIx1{SUFFIX}", "H")
TIE_LOW = CellPin(f"TIELOx1{SUFFIX}", "L")
BUFFER = f"BUFx2{SUFFIX}"
INVERTER = f"INVx1{SUFFIX}"
FULL_ADDER = f"FAx1{SUFFIX}"
HALF_ADDER = f"HAxp5{SUFFIX}"
REGISTER = f"DFFHQNx1{SUFFIX}"
REGISTERS = tuple(f"DFFHQNx{size}{SUFFIX}" for size in (1, 2, 3))
RESET_REGISTER = f"DFFASRHQNx1{SUFFIX}"
CLOCK_GATE = f"ICGx1{SUFFIX}"
TAP_CELL = f"TAPCELL{SUFFIX}"
TAP_DISTANCE = 25.0
FILL_CELLS = tuple(
    f"{name}{SUFFIX}"
    for name in ("FILLERxp5", "FILLER", "DECAPx1", "DECAPx2", "DECAPx4", "DECAPx6", "DECAPx10")
)
ABC_DRIVER = BUFFER
ABC_LOAD = 3.898
"""The cell that drives inputs and the load of outputs (fF) where nothing else is known."""

PIN_LAYER_HORIZONTAL, PIN_LAYER_VERTICAL = "M4", "M5"
PLACEMENT_DENSITY = 0.60
ROUTING_LAYERS = ("M2", "M7")
LOWEST_CLOCK_LAYER = "M4"
ROUTING_ADJUSTMENT = 0.25

SIGNAL_RC = WireRc(2.65684e-2, 1.65790e-1)
CLOCK_RC = WireRc(2.14161e-2, 1.45426e-1)
LAYER_RC: Mapping[str, WireRc] = {
    "M1": WireRc(7.04e-2, 1e-10),
    "M2": WireRc(2.97e-2, 1.75e-1),
    "M3": WireRc(3.13e-2, 1.56e-1),
    "M4": WireRc(1.80e-2, 1.78e-1),
    "M5": WireRc(1.90e-2, 1.64e-1),
    "M6": WireRc(1.19e-2, 1.87e-1),
    "M7": WireRc(1.25e-2, 1.63e-1),
    "M8": WireRc(8.45e-3, 1.04e-1),
    "M9": WireRc(8.90e-3, 9.28e-2),
}
VIA_RESISTANCE: Mapping[str, float] = {
    **dict.fromkeys(("V1", "V2", "V3"), 1.72e-2),
    **dict.fromkeys(("V4", "V5"), 1.18e-2),
    **dict.fromkeys(("V6", "V7"), 8.2e-3),
    **dict.fromkeys(("V8", "V9"), 6.3e-3),
}
TRACKS = (
    Tracks("M1", 0.009, 0.036, 0.009, 0.036),
    *(Tracks("M2", 0.009, 0.036, y, 0.270) for y in (0.045, 0.081, 0.117, 0.153, 0.189, 0.225, 0.270)),
    Tracks("M3", 0.009, 0.036, 0.009, 0.036),
    Tracks("M4", 0.009, 0.036, 0.012, 0.048),
    Tracks("M5", 0.012, 0.048, 0.012, 0.048),
    Tracks("M6", 0.012, 0.048, 0.016, 0.064),
    Tracks("M7", 0.016, 0.064, 0.016, 0.064),
    Tracks("M8", 0.116, 0.080, 0.116, 0.080),
    Tracks("M9", 0.116, 0.080, 0.116, 0.080),
)
RAILS = (Straps("M1", 0.018, 0.54), Straps("M2", 0.018, 0.54))
STRAPS = (Straps("M5", 0.12, 5.4, 0.072, 0.300), Straps("M6", 0.288, 5.4, 0.096, 0.513))
CONNECTED = (("M1", "M2"), ("M2", "M5"), ("M5", "M6"))
POWER_PIN_LAYER = "M6"
