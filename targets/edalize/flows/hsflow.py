# SPDX-License-Identifier: Apache-2.0
"""The Edalize flow `hsflow`: build a simulation once, run it, and check every result it wrote."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from edalize.flows.sim import Sim

from hsflow.errors import HsflowError
from hsflow.process import terminate_as_interrupt
from hsflow.simulation import Simulation


class Hsflow(Sim):  # type: ignore[misc]
    """Simulate a hardened design with Verilator or Icarus Verilog and compare it with the expected results.

    Runs of one work root wait for each other. An interrupted build is never taken for a finished one. The run fails
    unless every result, the latency and the initiation interval are exactly the expected ones.
    """

    FLOW_OPTIONS: ClassVar[dict[str, Any]] = {
        **Sim.FLOW_OPTIONS,
        "simulation_timeout": {
            "type": "int",
            "desc": "Seconds after which a simulation is killed (default 3600)",
        },
    }

    def extract_flow_options(self) -> dict[str, Any]:
        """Return the flow's options, with hsflow's build runner unless another one is named."""
        return {"build_runner": "hsflow", **super().extract_flow_options()}

    def configure(self) -> None:
        """Write the tool's files, while no other run reads them."""
        simulation = self._simulation()
        with as_runtime_error(), simulation.lock():
            super().configure()

    def build(self) -> None:
        """Compile the simulation, or take the one that was compiled from the same sources."""
        with as_runtime_error():
            self._simulation().build(self.build_runner.get_build_command())

    def run(self, args: Any = None) -> None:
        """Simulate and check."""
        with as_runtime_error():
            self._simulation().run()

    def _simulation(self) -> Simulation:
        return Simulation.from_edam(self.edam, Path(self.work_root), self.flow_options)


@contextlib.contextmanager
def as_runtime_error() -> Iterator[None]:
    """Turn hsflow's errors into the RuntimeError that FuseSoC reports; a killed FuseSoC leaves nothing running."""
    try:
        with terminate_as_interrupt():
            yield
    except HsflowError as error:
        raise RuntimeError(str(error)) from error
