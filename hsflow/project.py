# SPDX-License-Identifier: Apache-2.0
"""A project: a checked configuration with its store and plugins. The command line and the Python API both act on it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hsflow import metrics
from hsflow.config import FILE_NAME, Configuration, read_configuration
from hsflow.data import Dataset, load_dataset
from hsflow.design import Design, DesignFile, FileRole
from hsflow.durable import replace_file
from hsflow.flow import FlowResult, Selection, run_flow
from hsflow.output import write_output
from hsflow.plugins import PluginManager, load_plugins
from hsflow.progress import Reporter
from hsflow.results import RECORD
from hsflow.stage import StageKind
from hsflow.store import Store, store_root

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
        return load_dataset(self.configuration.settings.data, self.configuration.folder)

    def run(self, selection: Selection = EVERYTHING) -> FlowResult:
        """Run the selected stages."""
        return run_flow(
            self.configuration, self.store, self.plugins,
            to=selection.last, force=selection.again, reporter=self.reporter,
        )  # fmt: skip

    def build(
        self, output: Path, selection: Selection = EVERYTHING, *, overwrite: bool = False
    ) -> tuple[FlowResult, list[Path]]:
        """Run the flow and, if it reaches `package`, write the packaged files and metrics.json into `output`.

        Returns:
            The result, and the files that changed.
        """
        result = self.run(selection)
        if StageKind.PACKAGE not in result.artifacts:
            return result, []
        changed = write_output(output, _packaged(result), overwrite=overwrite)
        # Wall times differ from run to run, so they lie beside the files that must not.
        replace_file(output / RECORD, metrics.to_json(result.metrics).encode())
        return result, changed


def _packaged(result: FlowResult) -> Iterable[DesignFile]:
    design: Design = result.value(StageKind.PACKAGE)
    # Without wall times: the same input gives the same bytes.
    figures = {
        name: metric for name, metric in result.metrics.items() if not name.endswith(metrics.WALL_SECONDS)
    }
    table = DesignFile(METRICS_FILE, metrics.to_json(figures), FileRole.DATA)
    return (*(file for file in design.files if file.path != METRICS_FILE), table)
