# SPDX-License-Identifier: Apache-2.0
"""Check what a simulation wrote against what was expected: every result beat, the latency, the interval.

Files of a simulation's work root:

    simulation.json       what is simulated: `SimulationPlan`
    stimulus.hex          one input transfer a line, hexadecimal, all images back to back
    expected.txt          one result transfer (beat) a line: data, user (both hexadecimal) and last (0 or 1)
    npu.hex               the NPU's memory image: lines of `AAAAAAAA DDDDDDDD`; absent without an NPU
    npu2.hex, expected2.txt   a second memory image and its expected beats, for `switch_after`; optional
    labels.txt            one decimal label a line; with it the hardware's accuracy is measured; optional
    results.txt           what the testbench wrote
    metrics.json          the metrics of the stages before and the simulation's, written when everything is right
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hsflow import metrics
from hsflow.artifact import canonical_json
from hsflow.durable import replace_file
from hsflow.errors import HsflowError, MismatchError

PLAN = "simulation.json"
STIMULUS = "stimulus.hex"
EXPECTED = "expected.txt"
EXPECTED_SWITCHED = "expected2.txt"
NPU_IMAGE = "npu.hex"
NPU_IMAGE_SWITCHED = "npu2.hex"
LABELS = "labels.txt"
RESULTS = "results.txt"
METRICS = "metrics.json"

RECORD = ".hsflow-metrics.json"
"""What a build leaves in the work root or beside the generated core: the metrics of its stages, wall times included."""

FEWEST_IMAGES_FOR_INTERVAL = 8
"""A shorter stream has no steady state to measure an initiation interval in."""

_SUMMARY = re.compile(r"summary((?: [a-z_]+=-?\d+)+)")
_HEXADECIMAL = re.compile(r"[0-9a-fA-F]+")
_Positive = Field(ge=1)


class SimulationPlan(BaseModel):
    """Hold what is simulated and the scheduler's figures (see `Design`): the content of simulation.json."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    format: int = Field(default=1, ge=1, le=1)
    top: str
    """The design's top module."""
    images: int = _Positive
    """Images in stimulus.hex."""
    transfers_per_image: int = _Positive
    """Input transfers of an image, of one pixel or a block of pixels each."""
    beats_per_image: int = _Positive
    """Result transfers of an image, of one logit, some logits or a block of pixels each."""
    latency: int = _Positive
    """Cycles from the first input transfer to the last result's, of an isolated image."""
    initiation_interval: int = _Positive
    """Cycles between images in a steady stream."""
    clock_mhz: float = Field(gt=0)

    def to_json(self) -> str:
        """Return the canonical text of simulation.json."""
        return canonical_json(self.model_dump())


class Conditions(BaseModel):
    """Hold how a simulation is driven: the testbench's plusargs of the same names (0 images: all of them)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: int = Field(default=0, ge=0)
    gap_percent: int = Field(default=0, ge=0, le=99)
    gap_seed: int = Field(default=1, ge=0, lt=2**31)
    stall_percent: int = Field(default=0, ge=0, le=99)
    latency_probe: int = Field(default=1, ge=0, le=1)
    switch_after: int = Field(default=0, ge=0)

    def images_of(self, plan: SimulationPlan) -> int:
        """Return how many images are simulated: as many as are asked for, and never more than there are."""
        return min(self.images or plan.images, plan.images)

    @property
    def exact_timing(self) -> bool:
        """Tell whether nothing delays the design, so that its latency and interval are its own."""
        return not (self.gap_percent or self.stall_percent or self.switch_after)


@dataclass(frozen=True)
class Beat:
    """Hold one transfer of the result stream."""

    data: str
    user: str
    last: str
    cycle: int

    @property
    def payload(self) -> tuple[int, int, int] | None:
        """Return (data, user, last), or None where a bit is unknown."""
        return _payload(self.data, self.user, self.last)


@dataclass(frozen=True)
class Results:
    """Hold a complete results file: the probe's beats, the stream's beats, and the summary's figures."""

    probe: tuple[Beat, ...]
    stream: tuple[Beat, ...]
    summary: dict[str, int]


@dataclass(frozen=True)
class SimulationResult:
    """Hold a simulation in which every result was right.

    `latency` and `initiation_interval` are measured cycles; None where the conditions leave them unmeasured.
    """

    images: int
    logits: int
    latency: int | None
    initiation_interval: int | None
    accuracy: float | None
    errors: int = 0


def check_simulation(
    work_root: Path, conditions: Conditions | None = None, design_metrics: metrics.Metrics | None = None
) -> SimulationResult:
    """Compare a work root's results with the expected ones and write its metrics.json.

    Args:
        work_root: where the files lie.
        conditions: how the simulation was driven.
        design_metrics: those of the stages before, to be written as well.

    Raises:
        MismatchError: a result, the latency, the interval or the number of results is not exactly the expected one,
            or the results are incomplete.
        HsflowError: an input file is missing or ill-formed.
    """
    conditions = conditions or Conditions()
    plan = read_plan(work_root)
    images = conditions.images_of(plan)
    results = parse_results(work_root / RESULTS)
    _check_summary(results, conditions, images)
    _check_stream(work_root, plan, results, conditions, images)
    latency = _check_latency(plan, results, conditions)
    interval = _check_interval(plan, results, conditions, images)
    result = SimulationResult(
        images, len(results.stream), latency, interval, _accuracy(work_root, plan, results)
    )
    _write_metrics(work_root, {**(design_metrics or {}), **measured_metrics(plan, result)})
    return result


def read_plan(work_root: Path) -> SimulationPlan:
    """Return the content of simulation.json.

    Raises:
        HsflowError: if it is missing or ill-formed.
    """
    path = work_root / PLAN
    try:
        return SimulationPlan.model_validate_json(_read(path))
    except ValidationError as error:
        raise HsflowError("the simulation's description is ill-formed", where=str(path), got=error) from error


def parse_results(path: Path) -> Results:
    """Return what a testbench wrote.

    Raises:
        MismatchError: if the file is missing, ends early or is damaged.
    """
    if not path.is_file():
        raise MismatchError(
            "the simulation wrote no results", where=str(path), hint="see simulate.log beside it"
        )
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    summary = _SUMMARY.fullmatch(lines[-2]) if len(lines) >= 2 else None
    if lines[-1:] != ["DONE"] or summary is None:
        raise MismatchError(
            "the results are truncated",
            where=str(path),
            got=f"{len(lines)} lines",
            expected="a summary and DONE at the end",
            hint="see simulate.log beside it",
        )
    phases: dict[str, list[Beat]] = {"probe": [], "stream": []}
    for number, line in enumerate(lines[:-2], 1):
        match line.split():
            case [data, user, last, cycle, ("probe" | "stream") as phase] if cycle.isdecimal():
                phases[phase].append(Beat(data, user, last, int(cycle)))
            case _:
                raise MismatchError("a result line is damaged", where=f"{path}:{number}", got=repr(line[:80]))
    figures = (entry.split("=") for entry in summary[1].split())
    return Results(tuple(phases["probe"]), tuple(phases["stream"]), {k: int(v) for k, v in figures})


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise HsflowError("a file of the simulation cannot be read", where=str(path), got=error) from error


def _payload(data: str, user: str, last: str) -> tuple[int, int, int] | None:
    if not all(_HEXADECIMAL.fullmatch(word) for word in (data, user, last)):
        return None
    return int(data, 16), int(user, 16), int(last, 16)


def _check_summary(results: Results, conditions: Conditions, images: int) -> None:
    wanted = {
        "images": images,
        "gap_percent": conditions.gap_percent,
        "stall_percent": conditions.stall_percent,
    }
    found = {name: results.summary.get(name) for name in wanted}
    if found != wanted:
        raise MismatchError("the results are another run's", where=RESULTS, got=found, expected=wanted)
    if results.summary.get("errors") != 0:
        raise MismatchError(
            "the design raised its error flag",
            where="error_o",
            got=f"{results.summary.get('errors')} cycles",
            expected="none",
        )


def _expected_images(path: Path, beats_per_image: int) -> Iterator[list[tuple[int, int, int]]]:
    lines = _read(path).splitlines()
    for start in range(0, len(lines) - beats_per_image + 1, beats_per_image):
        image = []
        for offset, line in enumerate(lines[start : start + beats_per_image]):
            words = line.split()
            payload = _payload(*words) if len(words) == 3 else None
            if payload is None:
                raise HsflowError(
                    "an expected result is ill-formed",
                    where=f"{path}:{start + offset + 1}",
                    got=repr(line[:80]),
                )
            image.append(payload)
        yield image


def _expected_stream(
    work_root: Path, plan: SimulationPlan, results: Results, conditions: Conditions, images: int
) -> list[list[tuple[int, int, int]]]:
    """Return each image's expected beats: the second weights' from the image on at which they took over."""
    expected = list(islice(_expected_images(work_root / EXPECTED, plan.beats_per_image), images))
    if conditions.switch_after:
        switched = list(islice(_expected_images(work_root / EXPECTED_SWITCHED, plan.beats_per_image), images))
        count = results.summary.get("switched_images", -1)
        if not conditions.switch_after <= count <= images:
            raise MismatchError(
                "the weights were not changed",
                got=count,
                expected=f"{conditions.switch_after} to {images} images",
            )
        expected = expected[:count] + switched[count:]
    if len(expected) < images:
        raise HsflowError(
            "too few expected results", where=str(work_root), got=len(expected), expected=f"{images} images"
        )
    return expected


def _check_stream(
    work_root: Path, plan: SimulationPlan, results: Results, conditions: Conditions, images: int
) -> None:
    expected = _expected_stream(work_root, plan, results, conditions, images)
    _compare("the stream", results.stream, expected)
    if conditions.latency_probe:
        first = next(_expected_images(work_root / EXPECTED, plan.beats_per_image))
        _compare("the isolated image", results.probe, [first])


def _compare(phase: str, beats: Sequence[Beat], images: Sequence[Sequence[tuple[int, int, int]]]) -> None:
    expected = [
        (image, beat, payload) for image, row in enumerate(images) for beat, payload in enumerate(row)
    ]
    wrong = [
        (image, number, beat, payload)
        for (image, number, payload), beat in zip(expected, beats, strict=False)
        if beat.payload != payload
    ]
    if wrong:
        image, number, beat, (data, user, last) = wrong[0]
        raise MismatchError(
            f"{len(wrong)} of {len(expected)} results are wrong in {len({entry[0] for entry in wrong})} images",
            where=f"{phase}, image {image}, beat {number}, cycle {beat.cycle}",
            got=f"data {beat.data}, user {beat.user}, last {beat.last}",
            expected=f"data {data:x}, user {user:x}, last {last:x}",
        )
    if len(beats) != len(expected):
        raise MismatchError(
            "the number of results is wrong", where=phase, got=len(beats), expected=f"{len(expected)} beats"
        )


def _check_latency(plan: SimulationPlan, results: Results, conditions: Conditions) -> int | None:
    if not conditions.latency_probe or conditions.gap_percent or conditions.stall_percent:
        return None
    measured = results.summary.get("latency", -1)
    if measured != plan.latency:
        raise MismatchError(
            "the latency is not the computed one", got=f"{measured} cycles", expected=f"{plan.latency} cycles"
        )
    return measured


def _check_interval(
    plan: SimulationPlan, results: Results, conditions: Conditions, images: int
) -> int | None:
    """Compare the distances of the last beats, over the second half of the stream, with the computed interval."""
    if not conditions.exact_timing or images < FEWEST_IMAGES_FOR_INTERVAL:
        return None
    ends = [beat.cycle for beat in results.stream[plan.beats_per_image - 1 :: plan.beats_per_image]]
    distances = {after - before for before, after in pairwise(ends[images // 2 - 1 :])}
    distances |= {results.summary.get("interval_min", -1), results.summary.get("interval_max", -1)}
    if distances != {plan.initiation_interval}:
        raise MismatchError(
            "the initiation interval is not the computed one",
            got=f"{min(distances)} to {max(distances)} cycles",
            expected=f"{plan.initiation_interval} cycles",
        )
    return plan.initiation_interval


def _accuracy(work_root: Path, plan: SimulationPlan, results: Results) -> float | None:
    """Return the part of the images whose last beat's user, the index of the largest logit, is the label."""
    path = work_root / LABELS
    if not path.is_file():
        return None
    labels = _read(path).split()
    chosen = [int(beat.user, 16) for beat in results.stream[plan.beats_per_image - 1 :: plan.beats_per_image]]
    if len(labels) < len(chosen) or not all(label.isdecimal() for label in labels):
        raise HsflowError(
            "the labels do not fit the images", where=str(path), expected=f"{len(chosen)} numbers"
        )
    right = sum(int(label) == choice for label, choice in zip(labels, chosen, strict=False))
    return right / len(chosen)


def _write_metrics(work_root: Path, merged: metrics.Metrics) -> None:
    """Write metrics.json last: it stands for a simulation in which everything was right."""
    replace_file(work_root / METRICS, metrics.to_json(merged).encode())


def measured_metrics(plan: SimulationPlan, result: SimulationResult) -> dict[str, metrics.Metric]:
    """Return the simulation's figures under the stage name `simulate`."""
    figures: list[tuple[str, int | float | None, str, str]] = [
        ("images", result.images, "", ""),
        ("results", result.logits, "", ""),
        ("mismatches", 0, "", "lower"),
        ("accuracy", _percent(result.accuracy), "%", "higher"),
        ("latency", result.latency, "cycles", "lower"),
        ("initiation_interval", result.initiation_interval, "cycles", "lower"),
    ]
    if result.initiation_interval:
        rate = plan.clock_mhz * 1e6 / result.initiation_interval
        figures.append(("throughput", rate, "images/s", "higher"))
    named = ((f"simulate.{name}", value, unit, better) for name, value, unit, better in figures)
    return {
        name: metrics.make_metric(name, value, unit, better)
        for name, value, unit, better in named
        if value is not None
    }


def _percent(part: float | None) -> float | None:
    return None if part is None else 100 * part
