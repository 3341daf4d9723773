# SPDX-License-Identifier: Apache-2.0
"""A project: a checked configuration with its store and plugins. The command line and the Python API both act on it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hsflow import metrics, results, thresholds
from hsflow.config import FILE_NAME, Configuration, nearest, read_configuration
from hsflow.data import Dataset, load_dataset
from hsflow.design import Design, DesignFile, FileRole
from hsflow.durable import replace_file
from hsflow.errors import ConfigurationError, ToolError
from hsflow.flow import FlowResult, Selection, run_flow
from hsflow.output import check_complete, write_output
from hsflow.plugins import PluginManager, load_plugins
from hsflow.process import output_into, tail
from hsflow.progress import Reporter
from hsflow.report.page import FILE_NAME as REPORT_FILE
from hsflow.report.page import render_report, write_report
from hsflow.report.result import Result
from hsflow.report.runs import WORK, find_runs
from hsflow.stage import StageKind
from hsflow.store import Store, store_root
from hsflow.targets import Target

if TYPE_CHECKING:
    from hsflow.layerwise import Conditions
    from hsflow.verification import Verification

METRICS_FILE = "metrics.json"
EVERYTHING = Selection()


@dataclass(frozen=True)
class Project:
    """Hold what a run needs."""

    configuration: Configuration
    store: Store
    plugins: PluginManager
    reporter: Reporter

    @classmethod
    def open(cls, path: Path = Path(FILE_NAME), reporter: Reporter | None = None) -> Project:
        """Return the project of a flow.toml.

        Raises:
            HsflowError: if a plugin, the file or the store is not right.
        """
        plugins = load_plugins()
        configuration = read_configuration(path, plugins)
        return cls.of(configuration, plugins, reporter or Reporter())

    @classmethod
    def of(cls, configuration: Configuration, plugins: PluginManager, reporter: Reporter) -> Project:
        """Return the project of a checked configuration, with the store of its folder."""
        store = Store(store_root(configuration.folder), reporter)
        return cls(configuration, store, plugins, reporter)

    @property
    def dataset(self) -> Dataset:
        """Return the flow's images."""
        settings = self.configuration.settings
        return load_dataset(settings.data, self.configuration.folder, settings.reading)

    def check_target(self, name: str) -> Target:
        """Return the target of that name that a plugin offers.

        Raises:
            ConfigurationError: names the known ones, and the nearest.
        """
        known = self.plugins.targets()
        if name not in known:
            raise ConfigurationError("an unknown target", got=name, hint=nearest(name, known))
        return known[name][0]

    def run(self, selection: Selection = EVERYTHING) -> FlowResult:
        """Run the selected stages."""
        return run_flow(
            self.configuration, self.store, self.plugins,
            to=selection.last, force=selection.again, reporter=self.reporter,
        )  # fmt: skip

    def hardened(self) -> FlowResult:
        """Run the stages up to the one that makes layers into hardware, as far as the store lacks them."""
        return self.run(Selection(StageKind.HARDEN))

    def build(
        self,
        output: Path,
        selection: Selection = EVERYTHING,
        *,
        overwrite: bool = False,
        record: Path | None = None,
    ) -> tuple[FlowResult, list[Path]]:
        """Run the flow and, if it reaches `package`, write the packaged files and two of figures into `output`.

        The two are metrics.json and report.html.

        What lies in `output` is the same for the same input. Wall times are not: they go into `record`, with all other
        figures, if one is named.

        Returns:
            The result, and the files that changed.

        Raises:
            HsflowError: if a figure is beyond its threshold; all files are written.
        """
        result = self.run(selection)
        if StageKind.PACKAGE not in result.artifacts:
            return result, []
        changed = write_output(output, self._packaged(result), overwrite=overwrite)
        if record is not None:
            self._record(record, result)
        thresholds.require(self.configuration.thresholds, result.metrics, str(output))
        return result, changed

    def _record(self, path: Path, result: FlowResult) -> None:
        """Write what a target's run goes on from: all figures of the stages and, beside them, the thresholds."""
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, metrics.to_json(result.metrics).encode())
        limits = path.with_name(thresholds.RECORD)
        if self.configuration.thresholds:
            replace_file(limits, thresholds.to_json(self.configuration.thresholds).encode())
        else:
            limits.unlink(missing_ok=True)

    def report(self, path: Path = Path(REPORT_FILE), work: Path = WORK, *, overwrite: bool = False) -> Result:
        """Write the report on the packaged design, with what its runs in the folders of `work` measured, into a file.

        Returns:
            What the report is about.

        Raises:
            HsflowError: if the file is there and no report; `overwrite` replaces it all the same.
        """
        result = self._result(self.run(), work)
        write_report(path, render_report(result, self.plugins), overwrite=overwrite)
        return result

    def _result(self, flow: FlowResult, work: Path | None = None) -> Result:
        design: Design = flow.value(StageKind.PACKAGE)
        runs, foreign = ((), ()) if work is None else find_runs(work, design, flow.metrics)
        return Result(design, flow.metrics, self.configuration.settings.clock_mhz, runs, foreign)

    def _packaged(self, result: FlowResult) -> Iterable[DesignFile]:
        """Return what is written into the output; it has no wall times, so the same input gives the same bytes."""
        design: Design = result.value(StageKind.PACKAGE)
        figures = {
            name: metric for name, metric in result.metrics.items() if not name.endswith(metrics.WALL_SECONDS)
        }
        table = DesignFile(METRICS_FILE, metrics.to_json(figures), FileRole.DATA)
        report = DesignFile(REPORT_FILE, render_report(self._result(result), self.plugins), FileRole.DATA)
        rest = (file for file in design.files if file.path not in (METRICS_FILE, REPORT_FILE))
        return (*rest, table, report)

    def verify(
        self,
        output: Path,
        work_root: Path,
        conditions: Conditions,
        *,
        images: int,
        names: Sequence[str] = (),
        workers: int = 0,
        overwrite: bool = False,
    ) -> Verification:
        """Build into `output`, simulate each hardened layer alone on held-out images, and leave the figures in `work_root`.

        Args:
            output: where the cores are built.
            work_root: where each layer's result lies; those of an earlier run are used.
            conditions: how layers are simulated.
            images: how many held-out images.
            names: the layers; by default all.
            workers: layers at once; 0 is one for each usable processor.
            overwrite: replace files in `output` that are not hsflow's, or were edited since.

        Returns:
            What came of each layer, right or wrong.

        Raises:
            ConfigurationError: if a layer is unknown.
            ToolError: if a simulator is missing or fails.
        """
        from hsflow.verification import verify_design, write_figures

        built, _ = self.build(output, overwrite=overwrite, record=work_root / results.RECORD)
        (work_root / results.METRICS).unlink(missing_ok=True)
        found = verify_design(
            built.design, self.dataset.test_images[:images], work_root, conditions, self.plugins.hook,
            names=names, workers=workers, reporter=self.reporter,
        )  # fmt: skip
        write_figures(work_root, found, built.metrics)
        return found

    def run_target(
        self,
        name: str,
        output: Path,
        work_root: Path,
        *,
        arguments: Sequence[str] = (),
        log: Path | None = None,
    ) -> metrics.Metrics:
        """Run a target of the cores that were built into `output`, in `work_root`.

        Args:
            name: a target that a plugin offers.
            output: a finished build.
            work_root: where the target is built and run.
            arguments: words for the target, such as a testbench's plusargs: `--images=20`.
            log: where the target's programs write; None is this process's output.

        Returns:
            What the run measured: the metrics.json that it left in `work_root`; empty if it left none.

        Raises:
            ConfigurationError: if the target is unknown.
            HsflowError: if there is no finished build.
            ToolError: if the target fails.
        """
        from hsflow.eda import run_target

        self.check_target(name)
        check_complete(output)
        path = work_root / results.METRICS
        before = _identity(path)
        with nullcontext() if log is None else output_into(log):
            status = run_target(name, output, work_root, arguments=arguments, reporter=self.reporter)
        if status:
            raise ToolError(
                f"the target '{name}' failed",
                where=str(work_root),
                got=f"exit status {status}",
                hint="see its log above" if log is None else f"see {log}, which ends with:\n{tail(log)}",
            )
        return metrics.from_json(path.read_bytes()) if _identity(path) not in (None, before) else {}


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what differs when a file is written anew; None if it is not there."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns
