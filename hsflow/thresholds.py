# SPDX-License-Identifier: Apache-2.0
"""Thresholds: bounds of figures, in flow.toml, beyond which a run fails.

    [thresholds]
    harden.adders = {max = 5000}
    "timing__setup__ws__corner:tt" = {min = 0}

A build writes them beside its figures (`RECORD`), where the run of a target finds them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from hsflow.errors import HsflowError
from hsflow.metrics import Metric, Metrics

TABLE = "thresholds"
RECORD = ".hsflow-thresholds.json"
_BOUNDS = {"min", "max"}


class Threshold(BaseModel):
    """Hold the least and the largest value that a figure may have, in the figure's own unit."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, populate_by_name=True)

    least: float | None = Field(default=None, alias="min")
    largest: float | None = Field(default=None, alias="max")

    @model_validator(mode="after")
    def _some_value_fits(self) -> Threshold:
        bounds = [bound for bound in (self.least, self.largest) if bound is not None]
        if not bounds or not all(map(math.isfinite, bounds)):
            raise ValueError("needs a finite min, or max, or both")
        if bounds != sorted(bounds):
            raise ValueError("min is above max")
        return self

    def violation(self, name: str, metric: Metric) -> str | None:
        """Return how a figure is beyond its bounds, or None if it is not."""
        if isinstance(metric.value, str):
            return f"{name} is {metric.value!r}, and no number"
        for bound, beyond, word in (
            (self.least, self.least is not None and metric.value < self.least, "least"),
            (self.largest, self.largest is not None and metric.value > self.largest, "most"),
        ):
            if beyond:
                return f"{name} is {metric.value:g} {metric.unit}".rstrip() + f"; at {word} {bound:g}"
        return None


Thresholds = Mapping[str, Threshold]


def parse(table: Mapping[str, Any], problems: list[str], prefix: str = "") -> dict[str, Threshold]:
    """Return the thresholds of a table, adding to `problems` what is wrong; tables in tables are names with dots."""
    found: dict[str, Threshold] = {}
    for key, entry in table.items():
        name = f"{prefix}{key}"
        if isinstance(entry, Mapping) and entry and not _BOUNDS & entry.keys():
            found.update(parse(entry, problems, f"{name}."))
            continue
        try:
            found[name] = Threshold.model_validate_json(json.dumps(entry, default=str))
        except ValidationError as error:
            details = "; ".join(_explained(detail["loc"], detail["msg"]) for detail in error.errors())
            problems.append(f"[{TABLE}] {name}: {details}; write {name} = {{max = 1.0}}, or min, or both")
    return found


def _explained(location: tuple[int | str, ...], message: str) -> str:
    where = ".".join(map(str, location))
    return f"{where}: {message}" if where else message.removeprefix("Value error, ")


def violations(thresholds: Thresholds, figures: Metrics) -> list[str]:
    """Return what is wrong with each figure that is there and beyond its threshold."""
    found = (
        threshold.violation(name, figures[name]) for name, threshold in thresholds.items() if name in figures
    )
    return [violation for violation in found if violation is not None]


def require(
    thresholds: Thresholds,
    figures: Metrics,
    where: str,
    must_measure: Callable[[str], bool] = lambda name: False,
) -> None:
    """Check every figure that is there; one that is not there is wrong if `must_measure` says so of its name.

    Raises:
        HsflowError: names every figure that is beyond its threshold.
    """
    wrong = violations(thresholds, figures)
    wrong += [f"{name} was not measured" for name in thresholds if name not in figures and must_measure(name)]
    if wrong:
        lines = "".join(f"\n  - {line}" for line in wrong)
        raise HsflowError(
            f"figures are beyond their thresholds{lines}",
            where=where,
            hint=f"change the design, or the table [{TABLE}] of flow.toml",
        )


def to_json(thresholds: Thresholds) -> str:
    """Return the text of a record."""
    plain = {name: entry.model_dump(by_alias=True) for name, entry in thresholds.items()}
    return json.dumps(plain, sort_keys=True, indent=2) + "\n"


def require_recorded(
    figures_records: Iterable[Path],
    figures: Metrics,
    where: str,
    must_measure: Callable[[str], bool] = lambda name: False,
) -> list[str]:
    """Check a run's figures against the thresholds that builds left beside the records of their figures.

    Returns:
        The names that have a threshold and no figure.

    Raises:
        HsflowError: as `require` does, or if a record is ill-formed.
    """
    paths = (path.with_name(RECORD) for path in figures_records)
    thresholds = dict(item for path in paths if path.is_file() for item in _read(path))
    require(thresholds, figures, where, must_measure)
    return [name for name in thresholds if name not in figures]


def _read(path: Path) -> Iterator[tuple[str, Threshold]]:
    try:
        for name, entry in json.loads(path.read_bytes()).items():
            yield name, Threshold.model_validate(entry)
    except (OSError, ValueError, AttributeError) as error:
        raise HsflowError("a record of thresholds is ill-formed", where=str(path), got=error) from error
