# SPDX-License-Identifier: Apache-2.0
"""The one runner: runs the stages in order, takes from the store what is there, publishes what is not.

A stage's value is always read back from its artefact before the next stage gets it, so that a resumed run and an
uninterrupted one see the same bytes. A fully cached run reads manifests only.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

from hsflow.artifact import VALUE, Artifact, Manifest, digest
from hsflow.cachekey import settings_for, stage_keys
from hsflow.config import STAGES, Configuration
from hsflow.data import Dataset, load_dataset
from hsflow.design import Design
from hsflow.errors import HsflowError, PluginError
from hsflow.ir.graph import Graph
from hsflow.ir.network import Network
from hsflow.ir.serial import from_json, to_json
from hsflow.ir.verify import verify
from hsflow.metrics import WALL_SECONDS, Metric, make_metric
from hsflow.plugins import PluginManager, RegisteredStage
from hsflow.progress import Reporter
from hsflow.stage import FlowSettings, StageEvent, StageKind
from hsflow.store import Store

VALUE_TYPES: Mapping[StageKind, type[Network] | type[Graph] | type[Design]] = {
    StageKind.LOAD: Network,
    StageKind.PRUNE: Network,
    StageKind.QUANTIZE: Graph,
    StageKind.HARDEN: Design,
    StageKind.NPU: Design,
    StageKind.PACKAGE: Design,
}
"""What each kind of stage makes."""

T = TypeVar("T")


@dataclass(frozen=True)
class FlowResult:
    """Hold what a run made, by stage; values are read from the store when they are asked for."""

    artifacts: Mapping[StageKind, Artifact]
    metrics: Mapping[str, Metric]
    events: tuple[StageEvent, ...]
    _values: dict[StageKind, Any] = field(default_factory=dict, compare=False, repr=False)

    def value(self, kind: StageKind) -> Any:
        """Return a stage's value: `Network`, `Graph` or `Design`.

        Raises:
            HsflowError: if the run ended before that stage.
        """
        if kind not in self.artifacts:
            raise HsflowError(
                "the run ended before that stage", got=kind, expected=f"one of {', '.join(self.artifacts)}"
            )
        if kind not in self._values:
            self._values[kind] = read_value(self.artifacts[kind], kind)
        return self._values[kind]

    @property
    def network(self) -> Network:
        """Return the pruned network."""
        network: Network = self.value(StageKind.PRUNE)
        return network

    @property
    def graph(self) -> Graph:
        """Return the integer graph."""
        graph: Graph = self.value(StageKind.QUANTIZE)
        return graph

    @property
    def design(self) -> Design:
        """Return the design of the last stage that ran."""
        design: Design = self.value(max(self.artifacts, key=STAGES.index))
        return design


@dataclass(frozen=True)
class Selection:
    """Say which stages run (up to `last`) and which of them run again though the store has their result."""

    last: StageKind = StageKind.PACKAGE
    again: frozenset[StageKind] = frozenset()

    @classmethod
    def of_options(
        cls,
        *,
        first: StageKind | None = None,
        last: StageKind | None = None,
        only: StageKind | None = None,
        force: Collection[StageKind] = (),
    ) -> Selection:
        """Return the selection of `--from`, `--to`, `--only` and `--force`.

        `first` runs that stage and all after it again, `only` that stage alone, `force` those stages. Stages before
        come from the store, and are computed where it has none.
        """
        first, last = only or first, only or last or StageKind.PACKAGE
        begin = len(STAGES) if first is None else STAGES.index(first)
        return cls(last, frozenset(force) | frozenset(STAGES[begin:]))


def run_flow(
    configuration: Configuration,
    store: Store,
    plugins: PluginManager,
    *,
    to: StageKind = StageKind.PACKAGE,
    force: Collection[StageKind] = (),
    reporter: Reporter | None = None,
) -> FlowResult:
    """Run the stages up to `to` and return what they made.

    Args:
        configuration: which implementations and options.
        store: where artefacts are found and put.
        plugins: whose hooks and observers are called.
        to: the last stage.
        force: the stages that run again though the store has their result.
        reporter: who is told what happens.

    Raises:
        HsflowError: if a stage refuses its input, or breaks its contract.
    """
    store.clean()
    return _Run(configuration, store, plugins, reporter or Reporter()).up_to(to, frozenset(force))


def read_value(artifact: Artifact, kind: StageKind) -> Any:
    """Return the value that a stage's artefact holds."""
    return from_json(artifact.read(VALUE), VALUE_TYPES[kind])


class _Run:
    """Hold what the stages of one run share."""

    def __init__(
        self, configuration: Configuration, store: Store, plugins: PluginManager, reporter: Reporter
    ) -> None:
        self.configuration, self.store, self.plugins, self.reporter = configuration, store, plugins, reporter
        self.keys = stage_keys(configuration, plugins)
        self.artifacts: dict[StageKind, Artifact] = {}
        self.events: list[StageEvent] = []

    @cached_property
    def dataset(self) -> Dataset:
        settings = self.configuration.settings
        return load_dataset(settings.data, self.configuration.folder, settings.reading)

    def up_to(self, last: StageKind, force: frozenset[StageKind]) -> FlowResult:
        for kind in STAGES[: STAGES.index(last) + 1]:
            self.artifacts[kind] = self._artifact(kind, kind in force)
        metrics = {
            name: metric for item in self.artifacts.items() for name, metric in _metrics(*item).items()
        }
        return FlowResult(dict(self.artifacts), metrics, tuple(self.events))

    def _artifact(self, kind: StageKind, force: bool) -> Artifact:
        """Return a stage's artefact: from the store, or computed under the key's lock after another look."""
        found = None if force else self._stored(kind)
        if found is None:
            with self.store.lock(self.keys[kind].key):
                found = None if force else self._stored(kind)
                found = found or self._computed(kind)
        event = self._event(kind, found.cached, found.manifest.wall_seconds)
        self.events.append(event)
        self.reporter.stage_finished(event)
        self.plugins.notify("hsflow_stage_finished", self.reporter, event=event)
        return found

    def _stored(self, kind: StageKind) -> Artifact | None:
        found = self.store.get(self.keys[kind].key)
        # A forced stage may have made another value under the same key.
        return found if found is not None and found.manifest.inputs == self._inputs(kind) else None

    def _inputs(self, kind: StageKind) -> tuple[str, ...]:
        before = self._before(kind)
        return () if before is None else (self.artifacts[before].value_digest,)

    def _before(self, kind: StageKind) -> StageKind | None:
        return None if kind is STAGES[0] else STAGES[STAGES.index(kind) - 1]

    def _computed(self, kind: StageKind) -> Artifact:
        event = self._event(kind)
        self.reporter.stage_started(event)
        self.plugins.notify("hsflow_stage_started", self.reporter, event=event)
        try:
            return self._publish(kind)
        except BaseException as error:
            self.plugins.notify("hsflow_stage_failed", self.reporter, event=event, error=error)
            raise

    def _publish(self, kind: StageKind) -> Artifact:
        choice, key = self.configuration.stages[kind], self.keys[kind]
        context = _Context(self, kind)
        before = self._before(kind)
        value = None if before is None else read_value(self.artifacts[before], before)
        started = time.perf_counter()
        result = _call(choice.registered, value, choice.options, context)
        wall_seconds = time.perf_counter() - started
        text = _serialized(result, choice.registered)
        self._compare_with_stored(kind, text)
        manifest = Manifest(
            key=key.key, stage=_title(choice.registered), inputs=self._inputs(kind), metrics=context.metrics,
            wall_seconds=round(wall_seconds, 3), versions=key.versions,
        )  # fmt: skip
        return self.store.put(manifest, {VALUE: text.encode()})

    def _compare_with_stored(self, kind: StageKind, text: str) -> None:
        """Report a forced stage that, given the same input, made something else: it is not reproducible."""
        stored = self._stored(kind)
        if stored is not None and stored.value_digest != digest(text):
            title = _title(self.configuration.stages[kind].registered)
            self.reporter.warn(f"{title} made another result of the same input; the later stages run again")

    def _event(self, kind: StageKind, cached: bool = False, wall_seconds: float = 0.0) -> StageEvent:
        name = self.configuration.stages[kind].registered.name
        return StageEvent(kind, name, self.keys[kind].key, cached, wall_seconds)


class _Context:
    """Be the `StageContext` of one running stage."""

    def __init__(self, run: _Run, kind: StageKind) -> None:
        self._run, self._kind = run, kind
        self.metrics: dict[str, Metric] = {}

    @property
    def settings(self) -> FlowSettings:
        return settings_for(self._kind, self._run.configuration.settings)

    @property
    def dataset(self) -> Dataset:
        return self._run.dataset

    @property
    def hooks(self) -> Any:
        return self._run.plugins.hook

    def portable_hook(self, name: str) -> Callable[..., Any] | None:
        return self._run.plugins.portable_hook(name)

    def track(
        self, items: Iterable[T], description: str | Callable[[], str], total: int | None = None
    ) -> Iterable[T]:
        return self._run.reporter.track(items, description, total)

    def record(self, name: str, value: int | float | str, *, unit: str = "", better: str = "") -> None:
        full_name = f"{self._kind}.{name}"
        self.metrics[full_name] = make_metric(full_name, value, unit, better)

    def log(self, message: str) -> None:
        self._run.reporter.log(message)


def _call(registered: RegisteredStage, value: Any, options: Any, context: _Context) -> Any:
    try:
        return registered.stage.run(value, options, context)
    except HsflowError:
        raise
    except Exception as error:
        if registered.plugin.distribution == "hsflow":
            raise  # our own bug
        raise PluginError(
            "the stage failed",
            where=f"{_title(registered)}, {registered.plugin}",
            got=f"{type(error).__name__}: {error}",
            hint=f"report it to the authors of {registered.plugin.distribution}",
        ) from error


def _serialized(result: Any, registered: RegisteredStage) -> str:
    expected = VALUE_TYPES[registered.kind]
    if type(result) is not expected:
        raise PluginError(
            "the stage returned a value of another type",
            where=f"{_title(registered)}, {registered.plugin}",
            got=type(result).__name__,
            expected=expected.__name__,
        )
    if isinstance(result, Graph):
        verify(result)
    return to_json(result)


def _title(registered: RegisteredStage) -> str:
    return f"{registered.kind} {registered.name} {registered.stage.version}"


def _metrics(kind: StageKind, artifact: Artifact) -> dict[str, Metric]:
    wall = Metric(value=artifact.manifest.wall_seconds, unit="s", better="lower")
    return {**dict(sorted(artifact.metrics.items())), f"{kind}.{WALL_SECONDS}": wall}
