# SPDX-License-Identifier: Apache-2.0
"""From a model's name, file or flow.toml to its plan: plugins make the network, the integer graph, the stream and the NPU."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from hsflow.config import FILE_NAME, Configuration, read_configuration
from hsflow.data import Dataset, load_dataset
from hsflow.errors import ConfigurationError, PluginError
from hsflow.ir.network import Network
from hsflow.plan import Plan, PlanRequest, SketchedNetwork
from hsflow.plugins import PluginManager
from hsflow.progress import Reporter
from hsflow.stage import FlowSettings, StageKind

T = TypeVar("T")

_HARDEN_OPTIONS = (
    "target_throughput",
    "initiation_interval",
    "adder_levels_per_stage",
    "timing_margin",
    "corner",
)
"""Options that a hardener may have and that a plan heeds."""


@dataclass(frozen=True)
class PlannedModel:
    """Name what is planned: `model` is an architecture, a model's file, or a flow.toml or its folder.

    `width` and `resolution` change an architecture; `sparsity` is the least share of zeros among the weights of each
    convolution, None what a flow.toml prunes to; `seed` draws the weights that an architecture does not have.
    """

    model: str
    width: float | None = None
    resolution: int | None = None
    sparsity: float | None = None
    seed: int = 1


def plan_model(
    chosen: PlannedModel, request: PlanRequest, plugins: PluginManager, reporter: Reporter
) -> tuple[Plan, bool]:
    """Return the plan of a model, and whether its weights are random.

    Raises:
        ConfigurationError: if there is no such model, or it cannot be as fast as requested.
        PluginError: if no plugin plans.
    """
    sketched = sketch(chosen, plugins, reporter)
    hooks = plugins.hook
    sparsity = default_sparsity(chosen.model, plugins) if chosen.sparsity is None else chosen.sparsity
    graph = _made(hooks.hsflow_sketch_graph(network=sketched.network, sparsity=sparsity), chosen, "quantizes")
    plan: Plan = _made(hooks.hsflow_plan_network(graph=graph, request=request), chosen, "plans")
    design = _made(hooks.hsflow_plan_classifier(design=plan.design), chosen, "plans the NPU of")
    return replace(plan, design=design), sketched.has_random_weights


def default_request(model: str, plugins: PluginManager) -> PlanRequest:
    """Return what a flow.toml says of clock, rate and registers; for anything else one pixel a cycle at 1000 MHz."""
    path = configuration_path(model)
    if path is None:
        return PlanRequest()
    configuration = read_configuration(path, plugins)
    options = configuration.stages[StageKind.HARDEN].options
    given = {name: getattr(options, name) for name in _HARDEN_OPTIONS if hasattr(options, name)}
    return PlanRequest(clock_mhz=configuration.settings.clock_mhz, **given)


def default_sparsity(model: str, plugins: PluginManager) -> float:
    """Return the share of zeros that a flow.toml prunes to; none for anything else."""
    path = configuration_path(model)
    if path is None:
        return 0.0
    options = read_configuration(path, plugins).stages[StageKind.PRUNE].options
    return float(getattr(options, "sparsity", 0.0))


def sketch(chosen: PlannedModel, plugins: PluginManager, reporter: Reporter) -> SketchedNetwork:
    """Return the float network of a model."""
    path = configuration_path(chosen.model)
    is_file = path is not None or Path(chosen.model).is_file()
    if not is_file and _is_like_a_file(chosen.model):
        raise ConfigurationError("there is no such file", where=chosen.model)
    if is_file and (chosen.width is not None or chosen.resolution is not None):
        raise ConfigurationError(
            "width and resolution are for an architecture; a file has its own",
            where=chosen.model,
            hint="leave --width and --resolution out",
        )
    if path is not None:
        return _loaded(read_configuration(path, plugins), reporter)
    found: SketchedNetwork | None = plugins.hook.hsflow_sketch_network(
        model=chosen.model, width=chosen.width, resolution=chosen.resolution, seed=chosen.seed
    )
    return _made(found, chosen, "knows")


def configuration_path(model: str) -> Path | None:
    """Return the flow.toml that `model` names, itself or by its folder; None if it names something else."""
    path = Path(model)
    if path.is_dir():
        return path / FILE_NAME
    return path if path.suffix == ".toml" else None


def _is_like_a_file(model: str) -> bool:
    """Tell whether `model` looks like a path; a factory, package.module:name, does not."""
    return ":" not in model and ("/" in model or bool(Path(model).suffix))


def _loaded(configuration: Configuration, reporter: Reporter) -> SketchedNetwork:
    choice = configuration.stages[StageKind.LOAD]
    dataset = load_dataset(configuration.settings.data, configuration.folder)
    context = _LoadContext(configuration.settings, _one_image(dataset), reporter)
    network: Network = choice.registered.stage.run(None, choice.options, context)
    return SketchedNetwork(network, bool(getattr(choice.options, "random_weights", False)))


def _one_image(dataset: Dataset) -> Dataset:
    """Return a data set of one image: loaders look at its shape, and score what they load."""
    return replace(dataset, test_images=dataset.test_images[:1], test_labels=dataset.test_labels[:1])


_HINT = (
    "a checkpoint does not tell its architecture: name both in [load] of a flow.toml; see `hsflow plugins`"
)


def _made(value: T | None, chosen: PlannedModel, verb: str) -> T:
    if value is None:
        raise PluginError(f"no plugin {verb} this model", where=chosen.model, hint=_HINT)
    return value


@dataclass(frozen=True)
class _LoadContext:
    """Be the context of a load stage whose metrics nobody asks for."""

    settings: FlowSettings
    dataset: Dataset
    reporter: Reporter
    hooks: Any = None

    def portable_hook(self, name: str) -> Callable[..., Any] | None:
        return None

    def track(
        self, items: Iterable[T], description: str | Callable[[], str], total: int | None = None
    ) -> Iterable[T]:
        return self.reporter.track(items, description, total)

    def record(self, name: str, value: int | float | str, *, unit: str = "", better: str = "") -> None:
        pass

    def log(self, message: str) -> None:
        self.reporter.log(message)
