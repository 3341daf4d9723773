# SPDX-License-Identifier: Apache-2.0
"""Program an NPU over any bus that reads and writes 32-bit words."""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Protocol

from hsflow.errors import HsflowError

from .assembler import MemoryImage
from .configuration import NpuConfiguration

IDENTIFIER = 0x4853_4E50
"""The ID register's value, 'HSNP'."""

VERSION = 0x0000_0200
"""The VERSION register's value: major << 16 | minor << 8 | patch."""

_POLLS = 100_000


class Register(IntEnum):
    """Byte addresses of the registers."""

    ID = 0x00
    VERSION = 0x04
    CONTROL = 0x08
    STATUS = 0x0C
    IMAGES = 0x10
    FEATURES = 0x14
    CLASSES = 0x18
    LANES = 0x1C
    LOGITS = 0x20


class Status(IntFlag):
    """Bits of the STATUS register."""

    IDLE = 1
    HOLDING = 2
    WRITE_WHILE_BUSY = 4


class NpuError(HsflowError):
    """Report an NPU that is another one, does not answer in time, or refused an access."""


class Bus(Protocol):
    """Reach the NPU's AXI4-Lite port.

    Both methods take a byte address, a multiple of 4, and raise NpuError if the answer is an error.
    """

    def read(self, address: int) -> int:
        """Read one 32-bit word."""
        ...

    def write(self, address: int, data: int) -> None:
        """Write one 32-bit word."""
        ...


class NpuDriver:
    """Load and exchange the weights of one NPU, with its stream running or not."""

    def __init__(self, bus: Bus, configuration: NpuConfiguration) -> None:
        self._bus = bus
        self._configuration = configuration

    def identify(self) -> None:
        """Check that the NPU is there and has this configuration. Raises NpuError."""
        layer = self._configuration
        lanes = layer.class_lanes | layer.feature_lanes << 16
        self._expect(Register.ID, IDENTIFIER)
        self._expect(Register.VERSION, VERSION)
        self._expect(Register.FEATURES, layer.features)
        self._expect(Register.CLASSES, layer.classes)
        self._expect(Register.LANES, lanes)
        self._expect(Register.LOGITS, layer.logit_lanes)

    def status(self) -> Status:
        """Read the STATUS register."""
        return Status(self._bus.read(Register.STATUS))

    def images(self) -> int:
        """Count the images started since reset, modulo 2**32."""
        return self._bus.read(Register.IMAGES)

    def hold(self, polls: int = _POLLS) -> int:
        """Let no further image start, wait until none uses the memories, return `images()`.

        Exactly the images counted so far have all their logits from the weights up to now; the stream
        waits and nothing is lost. The logits of images under way must be taken meanwhile.
        """
        self._bus.write(Register.CONTROL, 1)
        self._wait_for(Status.HOLDING, polls)
        return self.images()

    def release(self) -> None:
        """Let images start again."""
        self._bus.write(Register.CONTROL, 0)

    def wait_until_idle(self, polls: int = _POLLS) -> None:
        """Wait until every image has left. Raises NpuError after `polls` readings of STATUS."""
        self._wait_for(Status.IDLE, polls)

    def clear_error(self) -> None:
        """Clear STATUS.WRITE_WHILE_BUSY."""
        self._bus.write(Register.STATUS, Status.WRITE_WHILE_BUSY)

    def load(self, image: MemoryImage) -> None:
        """Write a memory image. The NPU must be idle with no stream, or holding."""
        for address, data in image:
            self._bus.write(address, data)

    def exchange(self, image: MemoryImage) -> int:
        """Load other weights while the stream runs; return how many images used the old ones."""
        images = self.hold()
        self.load(image)
        self.release()
        return images

    def verify(self, image: MemoryImage) -> None:
        """Read a memory image back and compare. The NPU must be idle or holding. Raises NpuError."""
        for address, data in image:
            self._expect(address, data)

    def _expect(self, address: int, expected: int) -> None:
        found = self._bus.read(address)
        if found != expected:
            name = Register(address).name if address <= max(Register) else f"0x{address:08X}"
            raise NpuError(
                "the NPU does not hold what it should",
                where=name,
                got=f"0x{found:08X}",
                expected=f"0x{expected:08X}",
                hint="check the base address, and that the RTL was built for this layer",
            )

    def _wait_for(self, wanted: Status, polls: int) -> None:
        for _ in range(polls):
            if self.status() & wanted:
                return
        raise NpuError(
            f"the NPU did not report {wanted.name}",
            where="STATUS",
            got=repr(self.status()),
            expected=repr(wanted),
            hint="see that the NPU's results are taken: an image that cannot leave never ends",
        )
