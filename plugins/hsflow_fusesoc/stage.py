# SPDX-License-Identifier: Apache-2.0
"""The packaging stage: everything that FuseSoC needs to build, simulate and check a design."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import chain

from pydantic import Field

from hsflow.beats import input_stream, output_stream
from hsflow.design import Design, DesignFile, FileRole
from hsflow.eda import TestbenchParameters, core_file, render_testbench
from hsflow.errors import MismatchError
from hsflow.results import PLAN, SimulationPlan
from hsflow.stage import FlowSettings, StageContext, StageKind, StageOptions
from hsflow.targets import Target
from hsflow_fusesoc.targets import TARGETS
from hsflow_fusesoc.vectors import Vectors


class PackageOptions(StageOptions):
    """Hold the options of the `fusesoc` packager."""

    images: int | None = Field(
        None, ge=1, description="held-out images that the simulation classifies; by default all of them"
    )
    vendor: str = Field("user", pattern=r"[A-Za-z0-9_]+", description="the vendor in the core's name")


class PackageStage:
    """Add testbench, stimulus, expected results and core file to a design."""

    kind = StageKind.PACKAGE
    name = "fusesoc"
    version = "1"
    builds_on = (
        "hsflow.eda",
        "hsflow.results",
        "hsflow.targets",
        "hsflow.templates",
        "hsflow_targets",
        "jinja2",
    )
    asks = ("hsflow_targets", "hsflow_emulate")
    options_model = PackageOptions

    def run(self, value: Design, options: PackageOptions, context: StageContext) -> Design:
        """Return the design with every file of its core; `files` is then complete."""
        dataset = context.dataset
        count = min(options.images or len(dataset.test_images), len(dataset.test_images))
        context.log(f"computing the expected results of {count} images")
        vectors = Vectors(value, value.graph, dataset.test_images[:count], dataset.test_labels[:count])
        _check_emulator(vectors, context)
        targets = sorted(chain(*context.hooks.hsflow_targets()), key=lambda target: target.name)
        return package(value, vectors, context.settings, options.vendor, targets)


def _check_emulator(vectors: Vectors, context: StageContext) -> None:
    """Compare the fast emulator, which scored the network, with the interpreter, which says what to expect.

    Raises:
        MismatchError: if they disagree on an integer.
    """
    emulated = context.hooks.hsflow_emulate(graph=vectors.graph, images=vectors.images, track=context.track)
    if emulated is None:
        return
    wrong = int((emulated != vectors.results).sum())
    context.record("emulator_mismatches", wrong, better="lower")
    if wrong:
        raise MismatchError(
            "emulator and interpreter disagree",
            where=vectors.graph.name,
            got=f"{wrong} results",
            expected="none",
        )


def package(
    design: Design, vectors: Vectors, settings: FlowSettings, vendor: str, targets: Iterable[Target] = TARGETS
) -> Design:
    """Return `design` with testbench, data and a core file for `vectors`, with `targets`."""
    plan = simulation_plan(design, vectors, settings.clock_mhz)
    added = (
        render_testbench(testbench_parameters(design)),
        DesignFile(f"data/{PLAN}", plan.to_json(), FileRole.DATA),
        *vectors.files(),
    )
    files = (*design.files, *added)
    vlnv = f"{vendor}:hsflow:{design.name}:0.1.0"
    description = f"{design.name}, a network hardened by hsflow"
    core = core_file(vlnv, design.name, files, targets=targets, description=description)
    return replace(design, files=(*files, core))


def simulation_plan(design: Design, vectors: Vectors, clock_mhz: float) -> SimulationPlan:
    """Return what the simulation of `design` on `vectors` must show."""
    return SimulationPlan(
        top=design.name,
        images=len(vectors.images),
        transfers_per_image=input_stream(design).beats,
        beats_per_image=output_stream(design).beats,
        latency=design.latency,
        initiation_interval=design.initiation_interval,
        clock_mhz=clock_mhz,
    )


def testbench_parameters(design: Design) -> TestbenchParameters:
    """Return what the testbench must know of `design`."""
    return TestbenchParameters(
        top=design.name,
        in_width=input_stream(design).width,
        out_width=output_stream(design).width,
        transfers_per_image=input_stream(design).beats,
        beats_per_image=output_stream(design).beats,
        latency=design.latency,
        initiation_interval=design.initiation_interval,
        axil_address_width=design.npu.address_width if design.npu else None,
    )
