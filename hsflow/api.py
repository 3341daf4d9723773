# SPDX-License-Identifier: Apache-2.0
"""The Python face of hsflow: a flow written as a chain of calls, run by the same runner as the command line.

    import hsflow

    flow = hsflow.load("digits", name="digits").prune(sparsity=0.5).quantize(levels=8)
    print(flow.metrics["quantize.accuracy_po2"].value)
    logits = flow.emulate(images)          # bit for bit what the hardware computes
    print(flow.estimate().area.total)      # um2 of ASAP7's cells, before any synthesis
    flow.build("build")                    # FuseSoC cores
    flow.run("sim")                        # simulate the hardware against the integer network
    flow.verify()                          # the same layer by layer, where the whole is too large
    flow.report()                          # one HTML file about the design and these simulations

Each call returns a new `Flow`; nothing is computed before a result is asked for, and what the store has is not computed
again. A stage that is not mentioned runs with its default implementation and options, as in flow.toml.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from numpy.typing import NDArray

from hsflow import hookimpl
from hsflow.artifact import digest
from hsflow.config import FLOW_TABLE, USE, configure, flow_settings
from hsflow.design import Design
from hsflow.errors import ConfigurationError
from hsflow.fixedpoint import IntArray
from hsflow.flow import FlowResult, Selection
from hsflow.ir.graph import Graph
from hsflow.ir.network import Network
from hsflow.ir.serial import to_json
from hsflow.layerwise import STRIP, Conditions, require_proved
from hsflow.metrics import Metric
from hsflow.plugins import load_plugins
from hsflow.progress import Reporter
from hsflow.project import Project
from hsflow.results import RECORD
from hsflow.stage import Stage, StageContext, StageKind, StageOptions

if TYPE_CHECKING:
    import torch

    from hsflow.estimate import Estimate
    from hsflow.verification import Verification

GIVEN = "given"
"""The name under which a network that was handed over is loaded."""

_LOAD_MODULE_OPTIONS = ("mean", "std")


@dataclass(frozen=True)
class Flow:
    """Hold a flow's tables, as in flow.toml, and what they refer to. Make one with `load`.

    `folder` is where relative paths start and the store lies; `plugins` come beside the installed ones; `reporter` is
    told what happens.
    """

    tables: Mapping[str, Mapping[str, Any]]
    folder: Path = field(default_factory=Path)
    network_given: Network | None = None
    plugins: Mapping[str, object] = field(default_factory=dict)
    reporter: Reporter = field(default_factory=Reporter)

    def prune(self, use: str | None = None, **options: Any) -> Flow:
        """Choose how weights become zero."""
        return self.stage(StageKind.PRUNE, use, **options)

    def quantize(self, use: str | None = None, **options: Any) -> Flow:
        """Choose how weights become powers of two and activations integers."""
        return self.stage(StageKind.QUANTIZE, use, **options)

    def harden(self, use: str | None = None, **options: Any) -> Flow:
        """Choose how layers become adders and wires."""
        return self.stage(StageKind.HARDEN, use, **options)

    def npu(self, use: str | None = None, **options: Any) -> Flow:
        """Choose the programmable last layer's hardware."""
        return self.stage(StageKind.NPU, use, **options)

    def package(self, use: str | None = None, **options: Any) -> Flow:
        """Choose what is written for the tools that follow."""
        return self.stage(StageKind.PACKAGE, use, **options)

    def stage(self, kind: StageKind, use: str | None = None, **options: Any) -> Flow:
        """Return the flow with another table for a stage: its implementation (None: the default) and options."""
        table = {**({} if use is None else {USE: use}), **options}
        return replace(self, tables={**self.tables, str(kind): table})

    def result(self, to: StageKind = StageKind.PACKAGE) -> FlowResult:
        """Run the stages up to `to`, as far as the store lacks them, and return what they made.

        Raises:
            HsflowError: if the options are wrong or a stage refuses its input.
        """
        return self._project().run(Selection(to))

    @property
    def network(self) -> Network:
        """Return the pruned float network."""
        return self.result(StageKind.PRUNE).network

    @property
    def graph(self) -> Graph:
        """Return the integer network."""
        return self.result(StageKind.QUANTIZE).graph

    @property
    def design(self) -> Design:
        """Return the packaged design."""
        return self.result().design

    @property
    def metrics(self) -> Mapping[str, Metric]:
        """Return the figures of all stages; every stage runs, as far as the store lacks it.

        `result(to).metrics` is enough for the figures of the stages up to `to`.
        """
        return self.result().metrics

    def estimate(self, corner: str = "TT", sram_bits: int | None = None) -> Estimate:
        """Return the hardened layers' area and clock on ASAP7's cells, estimated without synthesis.

        Args:
            corner: that of the clock: TT or SS.
            sram_bits: from how many bits on a line buffer is made of SRAM macros; None is never.

        Raises:
            ConfigurationError: if the corner is unknown, or `sram_bits` is not positive.
        """
        from hsflow.estimate import estimate_design

        return estimate_design(self._project().hardened().design, corner, sram_bits)

    def emulate(self, images: NDArray[Any]) -> IntArray:
        """Run uint8 images of shape (n, channels, height, width) through the integer network; return its logits."""
        from hsflow.emulation import emulate

        return emulate(self.graph, images, self._project().plugins.hook, self.reporter)

    def build(self, output: str | Path = "build", *, overwrite: bool = False) -> Path:
        """Write the packaged cores and metrics.json into `output`, relative to the flow's folder, and return it."""
        folder = self.folder / output
        self._project().build(folder, overwrite=overwrite)
        return folder

    def run(
        self,
        target: str,
        output: str | Path = "build",
        work_root: str | Path | None = None,
        *,
        arguments: Sequence[str] = (),
    ) -> Mapping[str, Metric]:
        """Build, run a target such as `sim`, and return what it measured (nothing, if it measures nothing).

        Args:
            target: as `hsflow run` takes it.
            output: where the cores are built, relative to the flow's folder.
            work_root: where the target is built and run, relative to the flow's folder; by default work/TARGET.
            arguments: words for the target, such as `--images=20`.

        Raises:
            ConfigurationError: if the target is unknown.
            ToolError: if it fails.
        """
        project = self._project()
        project.check_target(target)
        place = self.folder / (Path("work") / target if work_root is None else work_root)
        project.build(self.folder / output, record=place / RECORD)
        return project.run_target(target, self.folder / output, place, arguments=arguments)

    def verify(
        self,
        layers: Sequence[str] = (),
        output: str | Path = "build",
        work_root: str | Path = "work/verify",
        *,
        images: int = 4,
        words: int | Literal["strip"] | None = STRIP,
        simulator: str = "verilator",
        stalls: bool = False,
        workers: int = 0,
        overwrite: bool = False,
    ) -> Verification:
        """Build, simulate each hardened layer alone with the feature maps of held-out images, and return what was compared.

        Args:
            layers: names of layers; by default all.
            output: where the cores are built, relative to the flow's folder.
            work_root: where results lie, relative to the flow's folder; a layer that is proved stays so.
            images: held-out images, one after the other.
            words: transfers of each layer's output that are compared; None is all, "strip" three rows, or 256 if that is
                more.
            simulator: verilator or icarus.
            stalls: pause both ends of each layer at random.
            workers: layers at once; 0 is one for each usable processor.
            overwrite: replace files in `output` that are not hsflow's, or were edited since.

        Raises:
            ConfigurationError: if a layer or the simulator is unknown.
            MismatchError: if a layer's RTL differs from the integer network, or no layer was simulated.
            ToolError: if a simulator is missing or fails.
        """
        conditions = Conditions(simulator, words, stalls)
        found = self._project().verify(
            self.folder / output, self.folder / work_root, conditions,
            images=images, names=layers, workers=workers, overwrite=overwrite,
        )  # fmt: skip
        require_proved(found.proofs)
        return found

    def report(
        self, path: str | Path = "report.html", work: str | Path = "work", *, overwrite: bool = False
    ) -> Path:
        """Write one HTML file about the design, with what its runs in the folders of `work` measured, and return its path.

        Both paths are relative to the flow's folder.

        Raises:
            HsflowError: if a file is there that is no report; `overwrite` replaces it.
        """
        place = self.folder / path
        self._project().report(place, self.folder / work, overwrite=overwrite)
        return place

    def _project(self) -> Project:
        tables = dict(self.tables)
        extra = dict(self.plugins)
        if self.network_given is not None:
            extra[GIVEN] = _GivenPlugin(self.network_given)
            tables[StageKind.LOAD] = {USE: GIVEN, "sha256": digest(to_json(self.network_given))}
        plugins = load_plugins(extra)
        return Project.of(
            configure(tables, plugins, self.folder.resolve(), where="hsflow.load"), plugins, self.reporter
        )


def load(
    model: torch.nn.Module | Network | str | Path,
    *,
    name: str = "model",
    data: str = "digits",
    images: Mapping[str, Any] | None = None,
    seed: int = 1,
    clock_mhz: float = 1000.0,
    folder: str | Path = ".",
    reporter: Reporter | None = None,
    use: str | None = None,
    plugins: Mapping[str, object] | None = None,
    **options: Any,
) -> Flow:
    """Start a flow from a trained network.

    Args:
        model: a torch module (fx-traceable), an hsflow `Network`, the name of an architecture as the loader knows it, or
            the path of a checkpoint.
        name: the design's and top module's name.
        data: `digits`, or the path of an .npz file, or of a folder or .zip file of images.
        images: how images are read: `test_data`, `held_out`, `resize` and `crop` of flow.toml's [flow].
        seed: the seed of everything random.
        clock_mhz: the clock for which throughput is stated.
        folder: where relative paths start and the store lies.
        reporter: who is told what happens; by default nobody.
        use: the loader; None is the default.
        plugins: modules or objects with hook implementations, by name, beside the installed ones.
        **options: the loader's options. With a module: `mean` and `std` of its preprocessing.

    Raises:
        ConfigurationError: if `model` is none of these.
    """
    settings = {"name": name, "data": data, **(images or {}), "seed": seed, "clock_mhz": clock_mhz}
    flow = Flow({FLOW_TABLE: settings}, Path(folder), plugins=plugins or {}, reporter=reporter or Reporter())
    match model:
        case Network():
            return replace(flow, network_given=model)
        case Path():
            return flow.stage(StageKind.LOAD, use, checkpoint=str(model), **options)
        case str():
            return flow.stage(StageKind.LOAD, use, model=model, **options)
    if not (hasattr(model, "state_dict") and hasattr(model, "named_modules")):
        expected = "a torch module, a Network, an architecture's name or a checkpoint's path"
        raise ConfigurationError("no model", where="hsflow.load", got=type(model).__name__, expected=expected)
    return replace(flow, network_given=_lowered(model, settings, flow, options))


def _lowered(module: Any, settings: dict[str, Any], flow: Flow, options: dict[str, Any]) -> Network:
    from hsflow.data import load_dataset
    from hsflow.importing.completion import completed
    from hsflow.ir.tensor import Shape

    if unknown := sorted(set(options) - set(_LOAD_MODULE_OPTIONS)):
        raise ConfigurationError(
            "an unknown option for a module", where="hsflow.load", got=unknown, expected=_LOAD_MODULE_OPTIONS
        )
    given = flow_settings(settings, flow.folder, where="hsflow.load")
    dataset = load_dataset(given.data, flow.folder, given.reading)
    network: Network | None = load_plugins(flow.plugins).hook.hsflow_import_model(
        model=module, input_shape=Shape(*map(int, dataset.test_images.shape[1:])), name=settings["name"],
        mean=tuple(options.get("mean", (0.0,))), std=tuple(options.get("std", (1.0,))),
    )  # fmt: skip
    if network is None:
        raise ConfigurationError(
            "no plugin imports such a model", where="hsflow.load", got=type(module).__name__
        )
    finished = completed(network, dataset, given.geometry)
    return replace(finished, classes=network.classes or finished.classes)


class _GivenOptions(StageOptions):
    """Hold the digest of the network that was handed over: its identity in the cache key."""

    sha256: str


@dataclass
class _GivenStage:
    """Give a network that Python code handed over."""

    network: Network
    kind: StageKind = StageKind.LOAD
    name: str = GIVEN
    version: str = "1"
    options_model: type[StageOptions] = _GivenOptions

    def run(self, value: None, options: _GivenOptions, context: StageContext) -> Network:
        return replace(self.network, name=context.settings.name)


@dataclass(frozen=True)
class _GivenPlugin:
    network: Network

    @hookimpl
    def hsflow_stages(self) -> list[Stage]:
        return [_GivenStage(self.network)]
