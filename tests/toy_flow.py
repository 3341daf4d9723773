# SPDX-License-Identifier: Apache-2.0
"""A flow of toy stages that takes milliseconds, for the tests of the runner, the command line and the store."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from pydantic import Field

from hsflow import hookimpl
from hsflow.design import Design, DesignFile, FileRole
from hsflow.ir import graph as integer
from hsflow.ir import network as real
from hsflow.ir.graph import FeatureMap, Graph, Po2Weight
from hsflow.ir.network import Network
from hsflow.ir.tensor import Constant, Shape, TensorFormat, Window
from hsflow.plugins import PluginManager, load_plugins
from hsflow.stage import InputFile, StageContext, StageEvent, StageKind, StageOptions

CLASSES = 3
SHAPE = Shape(1, 2, 2)
CHOICES = {kind: "toy" for kind in StageKind if kind is not StageKind.TARGET}


class LoadOptions(StageOptions):
    scale: float = Field(default=1.0, gt=0, description="What the weights are multiplied by.")
    weights: InputFile | None = Field(default=None, description="A file whose size is added to the weights.")
    more: tuple[InputFile, ...] = Field(default=(), description="Further files.")


class QuantizeOptions(StageOptions):
    levels: int = Field(default=8, ge=1, le=8, description="Exponent levels.")


class NoOptions(StageOptions):
    pass


def toy_network(name: str, scale: float) -> Network:
    weight = np.array([[[[scale]]], [[[-scale]]]], dtype=np.float32)
    dense = np.arange(CLASSES * 8, dtype=np.float32).reshape(CLASSES, 8)
    conv = real.Conv(
        "conv", "input", Constant(weight), Constant(np.zeros(2, np.float32)), Window(), pad_values=(0.0,)
    )
    classifier = real.Dense("dense", "conv", Constant(dense), Constant(np.zeros(CLASSES, np.float32)))
    return Network(name, SHAPE, (conv, classifier), ("0", "1", "2"))


def toy_graph(name: str, levels: int) -> Graph:
    sign = np.array([1, 1], dtype=np.int8).reshape(1, 2, 1, 1, 1)
    weight = Po2Weight(Constant(sign), Constant(np.zeros_like(sign)), levels)
    pixel = TensorFormat.uniform(8, False, 8, 1)
    conv = integer.Conv(
        "conv", "input", weight, (0, 0), Constant(np.zeros(2, np.int64)), Window(), 1, (0,),
        TensorFormat.uniform(8, False, 8, 2),
    )  # fmt: skip
    dense = (np.arange(CLASSES * 8) % 5 - 2).astype(np.int8).reshape(CLASSES, 8)
    bias = Constant(np.array([1, 0, -1], dtype=np.int32))
    classifier = integer.Dense("dense", "conv", Constant(dense), bias, 8)
    return Graph(name, FeatureMap(SHAPE, pixel), (conv, classifier), ("0", "1", "2"))


@dataclass
class ToyStage:
    """Make the kind's value; `runs` counts by kind, `behaviour` changes what one kind does."""

    kind: StageKind
    plugin: ToyPlugin
    options_model: type[StageOptions] = NoOptions
    name: str = "toy"
    version: str = "1"

    def run(self, value: Any, options: Any, context: StageContext) -> Any:
        self.plugin.runs[self.kind] += 1
        if self.kind in self.plugin.behaviour:
            return self.plugin.behaviour[self.kind](value, options, context)
        return self.make(value, options, context)

    def make(self, value: Any, options: Any, context: StageContext) -> Any:
        match self.kind:
            case StageKind.LOAD:
                context.record("accuracy", 0.875, better="higher")
                size = options.weights.stat().st_size if options.weights else 0
                return toy_network(context.settings.name, options.scale + size)
            case StageKind.PRUNE:
                return replace(value, origins=(("conv", "features.0"),))
            case StageKind.QUANTIZE:
                context.record("accuracy", np.float64(0.75), better="higher")
                return toy_graph(value.name, options.levels)
            case StageKind.HARDEN:
                context.record("adders", 7, unit="adders", better="lower")
                return Design(value.name, value, (_file(value.name, context.settings.clock_mhz),), (), 5, 4)
            case StageKind.PACKAGE:
                core = DesignFile("toy.core", f"CAPI=2:\nname: hsflow:toy:{value.name}:0\n", FileRole.CORE)
                return replace(value, files=(*value.files, core))
        return value


def _file(name: str, clock_mhz: float) -> DesignFile:
    return DesignFile(f"rtl/{name}.sv", f"// {clock_mhz} MHz\nmodule {name};\nendmodule\n", FileRole.RTL)


@dataclass(eq=False)
class ToyPlugin:
    """Offer the toy stages and watch them."""

    runs: Counter[StageKind] = field(default_factory=Counter)
    behaviour: dict[StageKind, Any] = field(default_factory=dict)
    seen: list[str] = field(default_factory=list)

    @hookimpl
    def hsflow_stages(self) -> list[ToyStage]:
        models = {StageKind.LOAD: LoadOptions, StageKind.QUANTIZE: QuantizeOptions}
        return [ToyStage(kind, self, models.get(kind, NoOptions)) for kind in CHOICES]

    @hookimpl
    def hsflow_stage_started(self, event: StageEvent) -> None:
        self.seen.append(f"started {event.kind}")

    @hookimpl
    def hsflow_stage_finished(self, event: StageEvent) -> None:
        self.seen.append(f"{'found' if event.cached else 'finished'} {event.kind}")

    @hookimpl
    def hsflow_stage_failed(self, event: StageEvent, error: BaseException) -> None:
        self.seen.append(f"failed {event.kind} {type(error).__name__}")


def toy_plugins(plugin: ToyPlugin) -> PluginManager:
    """Return a manager that knows the toy plugin alone."""
    return load_plugins({"toy": plugin}, installed=False)


def toy_tables(**tables: Any) -> dict[str, Any]:
    """Return the tables of a flow.toml that chooses the toys, with further options."""
    return {
        "flow": {"name": "toy", **tables.pop("flow", {})},
        **{kind.value: {"use": "toy", **tables.pop(kind.value, {})} for kind in CHOICES},
        **tables,
    }


def toy_toml(**flow: str) -> str:
    """Return the text of a flow.toml that chooses the toys."""
    lines = ["[flow]", 'name = "toy"', *(f"{key} = {value}" for key, value in flow.items())]
    return "\n".join([*lines, *(f'[{kind.value}]\nuse = "toy"' for kind in CHOICES)]) + "\n"
