# SPDX-License-Identifier: Apache-2.0
"""The model of area and clock in `hsflow.technology`: how far it is from synthesis, and its constants.

    python -m benchmarks.asap7.calibrate             # the error on layers that were fitted to, and on those that were not
    python -m benchmarks.asap7.calibrate --fit       # the constants for hsflow/technology.py
    python -m benchmarks.asap7.calibrate --measure   # synthesizes and times all samples: writes measured.json anew

Measuring takes a third of an hour on a processor, Yosys, OpenSTA, and ASAP7's folder (`--platform`, or HSFLOW_ASAP7). With
`--folder` netlists are kept, and what an interrupted run has measured.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
from hsflow_harden.cost import layer_cost
from hsflow_harden.paths import longest_path
from hsflow_harden.structure import StreamLayer
from numpy.typing import NDArray

from benchmarks.asap7.samples import Sample, build, names
from benchmarks.asap7.tiles import PARTS, Measured, measure
from hsflow.area import layer_area
from hsflow.design import LayerCost
from hsflow.durable import replace_file
from hsflow.ir.network import INPUT_NAME
from hsflow.technology import ASAP7, Accuracy, Delays

MEASURED = Path(__file__).with_name("measured.json")

_COUNTS = {
    "tiles": ("full_adders", "half_adders", "split_adders", "tile_registers"),
    "kernels": ("rounded", "saturated", "results", "compared"),
    "stream": (
        "accumulated", "former_registers", "masked", "streamed", "stages", "buffer_bit", "buffer_word", "layer",
    ),
}  # fmt: skip
"""What the area of each part is made of."""

_FITTED = ("add", "carry", "carry_ahead", "fanout", "sum_fanout", "gate", "compare", "requantize")
_SLIGHTLY = 1.01
"""By which a delay is multiplied to see what depends on it."""

_MOST_DAMPING = 100.0
"""Where even steps damped so much gain nothing, the fit is done."""


@dataclass(frozen=True)
class Row:
    """Hold a sample, what it counts, and what synthesis made of it."""

    sample: Sample
    cost: LayerCost
    measured: Measured

    @property
    def area_error(self) -> float:
        """Return how far the estimated area is off, as a share."""
        return layer_area(self.cost).total / self.measured.total - 1

    def path_error(self, corner: str) -> float:
        """Return how far the estimated path is off, as a share."""
        longest = next(path.ps for path in self.cost.paths if path.corner == corner)
        return longest / self.measured.path_ps[corner] - 1

    @property
    def is_timed(self) -> bool:
        """Tell whether the longest path is in the layer: that of a residual add begins in the FIFO in front of it."""
        return self.sample.graph.layers[0].sources == (INPUT_NAME,)

    def counts(self) -> dict[str, float]:
        """Return what the areas of `hsflow.technology.Areas` are multiplied with."""
        lines = self.cost.line_buffers
        return {
            **asdict(self.cost.resources),
            "buffer_bit": sum(line.depth * line.width for line in lines),
            "buffer_word": sum(line.depth for line in lines),
            "layer": 1,
        }


def read(path: Path = MEASURED) -> dict[str, Measured]:
    """Return what was measured, by the samples' names."""
    return {name: Measured(**row) for name, row in json.loads(path.read_text(encoding="utf-8")).items()}


def write(measured: Mapping[str, Measured], path: Path = MEASURED) -> None:
    """Write what was measured, one sample a line, at once."""
    lines = (f"{json.dumps(name)}: {json.dumps(asdict(row))}" for name, row in sorted(measured.items()))
    replace_file(path, ("{\n" + ",\n".join(lines) + "\n}\n").encode())


@cache
def layer_of(name: str) -> StreamLayer:
    """Return a sample's hardened layer, which takes no synthesis."""
    (layer,) = build(name).structure().layers
    return layer


def rows(measured: Mapping[str, Measured]) -> list[Row]:
    """Return the samples with what they count."""
    return [Row(build(name), layer_cost(layer_of(name)), found) for name, found in measured.items()]


def accuracy(of: Sequence[Row], error: Callable[[Row], float]) -> Accuracy:
    """Return the mean and the worst magnitude of an error."""
    errors = np.abs([error(row) for row in of])
    return Accuracy(float(errors.mean()), float(errors.max()), len(of))


def fit_areas(fitted: Sequence[Row]) -> dict[str, float]:
    """Return the area of each count: least squares of the parts' relative errors, none negative."""
    found: dict[str, float] = {}
    for part in PARTS:
        there = [row for row in fitted if row.measured.um2[part] > 0]
        target = np.array([row.measured.um2[part] for row in there])
        columns = np.array(
            [[row.counts()[name] for name in _COUNTS[part]] for row in there], dtype=np.float64
        )
        found |= zip(_COUNTS[part], _solved(columns / target[:, np.newaxis]), strict=True)
    return found


def _solved(columns: NDArray[np.float64]) -> list[float]:
    """Return non-negative factors of columns whose sum is nearest to 1 in each row."""
    chosen = np.flatnonzero(columns.any(axis=0))
    while True:
        factors, *_ = np.linalg.lstsq(columns[:, chosen], np.ones(len(columns)), rcond=None)
        if not len(factors) or factors.min() >= 0:
            break
        chosen = np.delete(chosen, factors.argmin())
    result = np.zeros(columns.shape[1])
    result[chosen] = factors
    return [float(factor) for factor in result]


def fit_delays(fitted: Sequence[Row], corner: str) -> Delays:
    """Return the delays whose longest paths are nearest to the netlists': least squares, from the bounds on.

    Steps are those of Levenberg ("A method for the solution of certain non-linear problems in least squares", Quarterly of
    Applied Mathematics 2, 1944). Delays of registers are the library's. A tree of buffers is as deep as its readers are
    many: nothing bounds its delay.
    """
    layers = [layer_of(row.sample.name) for row in fitted]
    measured = np.array([row.measured.path_ps[corner] for row in fitted])

    def errors(delays: Delays) -> NDArray[np.float64]:
        paths = np.array([longest_path(layer, delays) for layer in layers], dtype=np.float64)
        return np.asarray(paths / measured - 1)

    best, damping = replace(ASAP7.delays_at(corner), tree=math.inf), 1.0
    least = errors(best)
    slopes = _slopes(errors, best, least)
    while damping < _MOST_DAMPING:
        equations = slopes.T @ slopes + damping * np.eye(len(_FITTED)) * np.square(slopes).sum() / slopes.size
        tried = _scaled(best, np.exp(np.linalg.solve(equations, -slopes.T @ least)))
        found = errors(tried)
        if np.square(found).sum() < 0.9999 * np.square(least).sum():
            best, least, slopes, damping = tried, found, _slopes(errors, tried, found), damping / 4
        else:
            damping *= 4
    return best


def _scaled(delays: Delays, factors: NDArray[np.float64]) -> Delays:
    scaled = {name: getattr(delays, name) * float(f) for name, f in zip(_FITTED, factors, strict=True)}
    return replace(delays, **scaled)


def _slopes(
    errors: Callable[[Delays], NDArray[np.float64]], delays: Delays, here: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return how each error, which is `here` now, grows with each fitted delay's logarithm, shape (errors, delays)."""
    raised = np.where(np.eye(len(_FITTED), dtype=np.bool_), _SLIGHTLY, 1.0)
    columns = [(errors(_scaled(delays, factors)) - here) / math.log(_SLIGHTLY) for factors in raised]
    return np.stack(columns, axis=1)


def measure_all(platform: Path | None, folder: Path) -> dict[str, Measured]:
    """Synthesize all samples, and keep what is measured so far in `folder`."""
    from hsflow_asap7.platform import find_platform

    kept, found = folder / MEASURED.name, find_platform(platform)
    measured = read(kept) if kept.is_file() else {}
    for name in names():
        if name not in measured:
            measured[name] = measure(build(name), found, folder / name)
            write(measured, kept)
            print(f"{name:36}{measured[name].total:10,.1f} um2", file=sys.stderr, flush=True)
    return {name: measured[name] for name in names()}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, fit, or print the errors."""
    options = _options(arguments)
    if options.measure:
        with tempfile.TemporaryDirectory() as scratch:
            folder = (options.folder or Path(scratch)).resolve()
            folder.mkdir(parents=True, exist_ok=True)
            write(measure_all(options.platform, folder))
    found = rows(read())
    fitted = [row for row in found if not row.sample.is_held_out]
    held_out = [row for row in found if row.sample.is_held_out]
    if options.fit:
        _print_constants(fitted)
        return 0
    for title, chosen in (("fitted", fitted), ("held out", held_out)):
        _print_errors(title, chosen, options.verbose)
    return 0


def _print_constants(fitted: Sequence[Row]) -> None:
    for name, um2 in fit_areas(fitted).items():
        print(f"{name}={um2:.4g},")
    for corner in ASAP7.typical:
        delays = asdict(fit_delays([row for row in fitted if row.is_timed], corner))
        print(f"{corner!r}: {', '.join(f'{name}={ps:.4g}' for name, ps in delays.items())}")


def _print_errors(title: str, chosen: Sequence[Row], verbose: bool) -> None:
    figures: dict[str, Callable[[Row], float]] = {"area": lambda row: row.area_error}
    figures |= {f"path {corner}": partial(Row.path_error, corner=corner) for corner in ASAP7.typical}
    for name, error in figures.items():
        of = chosen if name == "area" else [row for row in chosen if row.is_timed]
        found = accuracy(of, error)
        text = f"{100 * found.mean:5.1f} % in the mean, {100 * found.worst:5.1f} % at worst"
        print(f"{name:9}{title:10}{found.samples:4} samples: {text}")
        if verbose:
            print(*(f"    {row.sample.name:36}{100 * error(row):+6.1f} %" for row in of), sep="\n")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.asap7.calibrate", description="The model of area and clock."
    )
    parser.add_argument("--measure", action="store_true", help="synthesize and time all samples")
    parser.add_argument("--fit", action="store_true", help="print the constants that fit best")
    parser.add_argument("--platform", type=Path, help="ASAP7's folder; else HSFLOW_ASAP7 names it")
    parser.add_argument("--folder", type=Path, help="keep netlists and what is measured here")
    parser.add_argument("--verbose", action="store_true", help="print the error of each sample")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
