# SPDX-License-Identifier: Apache-2.0
"""The Edalize flow `asap7`: a design on the ASAP7 library, from RTL to timing, power and layout."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from edalize.flows.edaflow import Edaflow, FlowGraph
from edalize.flows.hsflow import as_runtime_error
from edalize.tools.asap7step import rule
from hsflow_asap7.platform import find_platform
from hsflow_asap7.request import Request
from hsflow_asap7.runner import Step
from hsflow_asap7.steps import STEPS
from hsflow_asap7.summary import conclude, discard, show

from hsflow.eda import DATA_FILES, TESTBENCH_PATH
from hsflow.errors import ConfigurationError
from hsflow.launch import LOG_VARIABLE
from hsflow.process import run
from hsflow.results import read_plan
from hsflow.simulation import LAUNCH_LOG, locked, records_of, safe_name, split_plusargs

_TOOLS = ("libertyyosys", "gatesimulation", "opensta", "openroad")
_RTL = ("verilogSource", "systemVerilogSource")


class Asap7(Edaflow):  # type: ignore[misc]
    """Synthesize a hardened design on ASAP7, prove and simulate the netlist, time it, find its power, lay it out.

    A step whose tool is not installed is skipped, which metrics.json says. The run fails unless every other step has a
    result of the very sources, options, library and tools of this run.
    """

    argtypes: ClassVar[list[str]] = ["plusarg"]
    FLOW_OPTIONS: ClassVar[dict[str, Any]] = {
        **Edaflow.FLOW_OPTIONS,
        "platform": {
            "type": "file",
            "desc": "OpenROAD-flow-scripts' folder flow/platforms/asap7 (default: the variable HSFLOW_ASAP7)",
        },
        "clock_mhz": {"type": "real", "desc": "The clock (default: the one that the design states)"},
        "until": {"type": "str", "desc": f"The last step: {', '.join(STEPS)} (default: all)"},
        "simulation_timeout": {"type": "int", "desc": "Seconds after which a simulation is killed (default 3600)"},
    }  # fmt: skip

    @classmethod
    def get_tool_options(cls, flow_options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the tools' options."""
        options: dict[str, Any] = cls.get_filtered_tool_options(_TOOLS, {})
        return options

    def extract_flow_options(self) -> dict[str, Any]:
        """Return the flow's options, with hsflow's build runner unless another one is named."""
        return {"build_runner": "hsflow", **super().extract_flow_options()}

    def configure_flow(self, flow_options: Mapping[str, Any]) -> FlowGraph:
        """Return the tools one after the other."""
        before: list[str] = []
        graph = {}
        for tool in _TOOLS:
            graph[tool] = {"deps": before}
            before = [tool]
        return FlowGraph.fromdict(graph)

    def configure_tools(self, graph: FlowGraph) -> None:
        """Configure the tools, and aim at the last step that is wanted."""
        super().configure_tools(graph)
        with as_runtime_error():
            self.commands.set_default_target(rule(self._steps()[-1].name))

    def configure(self) -> None:
        """Write the request and the Makefile, while no other run reads them."""
        with as_runtime_error(), locked(self._root):
            self._write()

    def build(self) -> None:
        """Run the steps; each is skipped, taken from an earlier run of the same input, or done in a new folder.

        FuseSoC leaves `configure` out where its own description of the design is unchanged, but the environment may name
        another library now: all is written again.
        """
        with as_runtime_error(), locked(self._root):
            self._write()
            program, arguments = self.build_runner.get_build_command()
            log = {LOG_VARIABLE: str((self._root / LAUNCH_LOG).resolve())}
            run([program, "--silent", "--no-print-directory", *arguments], cwd=self._root, env=log)

    def run(self, args: Any = None) -> None:
        """Gather and show the figures of the steps, and check the thresholds."""
        with as_runtime_error(), locked(self._root):
            show(self._steps(), conclude(self._steps(), self._request(), self._root))

    def _write(self) -> None:
        discard(self._root)
        self._request().write(self._root)
        super().configure()

    @property
    def _root(self) -> Path:
        return Path(self.work_root)

    def _steps(self) -> Sequence[Step]:
        """Return the steps up to the last one that is wanted."""
        last = self.flow_options.get("until") or list(STEPS)[-1]
        if last not in STEPS:
            raise ConfigurationError("an unknown step", where="until", got=last, expected=", ".join(STEPS))
        names = list(STEPS)
        return [STEPS[name] for name in names[: names.index(last) + 1]]

    def _request(self) -> Request:
        conditions, _ = split_plusargs(self.edam.get("parameters", {}))
        platform = self.flow_options.get("platform")
        fields = {
            "top": safe_name(self.edam.get("toplevel", "")),
            "sources": self._files(simulation=False),
            "testbench": self._files(simulation=True),
            "data": self._data(),
            "records": [path.relative_to(self._root).as_posix() for path in self._records()],
            "platform_folder": str(find_platform(Path(platform) if platform else None).root),
            "clock_mhz": self.flow_options.get("clock_mhz") or read_plan(self._root).clock_mhz,
            "conditions": conditions,
            "simulation_timeout": self.flow_options.get("simulation_timeout"),
        }
        options = {name: value for tool in _TOOLS for name, value in self.edam["tool_options"][tool].items()}
        return Request.of({**fields, **options})

    def _records(self) -> list[Path]:
        return list(records_of(self.edam.get("cores", {}), self._root))

    def _data(self) -> list[str]:
        names = (entry["name"] for entry in self.edam.get("files", ()) if entry.get("file_type") == "user")
        return [safe_name(name) for name in names if Path(name).name in DATA_FILES]

    def _files(self, *, simulation: bool) -> list[str]:
        """Return the design's sources, or those of the simulation alone: FuseSoC passes no tags on, so by name."""
        names = [
            safe_name(entry["name"])
            for entry in self.edam.get("files", ())
            if entry.get("file_type", "user").startswith(_RTL)
        ]
        return [name for name in names if (Path(name).name == Path(TESTBENCH_PATH).name) == simulation]
