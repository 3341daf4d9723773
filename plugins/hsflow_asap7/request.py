# SPDX-License-Identifier: Apache-2.0
"""What a run of the flow is asked: asap7.json in its work root, which Edalize's flow writes and every step reads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hsflow.durable import replace_file
from hsflow.errors import ConfigurationError
from hsflow.results import Conditions
from hsflow_asap7.platform import Corner, Platform

FILE_NAME = "asap7.json"
_PS_PER_US = 1e6


class Request(BaseModel):
    """Hold the design, the library, the clock, and the tools' options. Paths are relative to the work root.

    From `memory_bits` on a line buffer becomes SRAM macros; None: never.

    `testbench` are the sources of the gate-level simulation beside the netlist, `data` what it reads, and `conditions` how
    it is driven; `records` are where builds of the cores may have left their figures.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    format: int = Field(default=1, ge=1, le=1)
    top: str
    sources: tuple[str, ...] = Field(min_length=1)
    testbench: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    records: tuple[str, ...] = ()
    platform_folder: str
    clock_mhz: float = Field(gt=0)
    conditions: Conditions = Conditions()
    simulation_timeout: float = Field(default=3600.0, gt=0)
    adders: Literal["full-adder", "abc"] = "full-adder"
    carry_save: bool = False
    flatten: bool = False
    memory_bits: int | None = Field(default=None, ge=1)
    corners: tuple[Corner, ...] = Field(default=(Corner.TT, Corner.SS, Corner.FF), min_length=1)
    utilization: float = Field(default=0.55, gt=0, lt=1)
    workers: int = Field(default=0, ge=0)

    @property
    def platform(self) -> Platform:
        """Return the library."""
        return Platform(Path(self.platform_folder))

    @property
    def clock_ps(self) -> float:
        """Return the clock's period in picoseconds."""
        return _PS_PER_US / self.clock_mhz

    @classmethod
    def of(cls, fields: Mapping[str, object]) -> Request:
        """Return a request; a field that is None has its default.

        Raises:
            ConfigurationError: if a field is not right.
        """
        try:
            return cls.model_validate({name: value for name, value in fields.items() if value is not None})
        except ValidationError as error:
            raise ConfigurationError(
                "an option of the flow is not right", where="asap7", got=error
            ) from error

    def write(self, work_root: Path) -> None:
        """Put the request into a work root."""
        replace_file(work_root / FILE_NAME, (self.model_dump_json(indent=2) + "\n").encode())


def read_request(work_root: Path) -> Request:
    """Return the request of a work root.

    Raises:
        ConfigurationError: if it is missing or ill-formed.
    """
    path = work_root / FILE_NAME
    try:
        return Request.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise ConfigurationError(
            "the flow's request cannot be read", where=str(path), got=error, hint="run the target again"
        ) from error
