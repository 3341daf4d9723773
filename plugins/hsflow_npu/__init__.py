# SPDX-License-Identifier: Apache-2.0
"""The NPU: the last dense layer, whose weights can be written at any time.

`configuration` derives cycles and addresses, `assembler` makes the memory image of a layer, `driver`
loads it, `model` says what the hardware computes; the RTL is the core `hsflow:rtl:npu`.
"""

from .assembler import MemoryImage, assemble, disassemble
from .configuration import NpuConfiguration
from .driver import Bus, NpuDriver, NpuError, Register, Status
from .model import dense

__all__ = [
    "Bus",
    "MemoryImage",
    "NpuConfiguration",
    "NpuDriver",
    "NpuError",
    "Register",
    "Status",
    "assemble",
    "dense",
    "disassemble",
]
