# SPDX-License-Identifier: Apache-2.0
"""metrics.json is canonical and checked; the table says which figure belongs where."""

from __future__ import annotations

from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from hsflow import metrics
from hsflow.errors import HsflowError
from hsflow.metrics import Metric, make_metric

EXAMPLE = {
    "quantize.accuracy": Metric(value=0.9650, better="higher"),
    "harden.adders": Metric(value=12345, unit="adders", better="lower"),
    "harden.throughput": Metric(value=1.21e6, unit="images/s", better="higher"),
    "harden.wall_seconds": Metric(value=1.25, unit="s", better="lower"),
    "harden.architecture": Metric(value="stream"),
}


def test_the_file_is_canonical_and_comes_back() -> None:
    text = metrics.to_json(EXAMPLE)
    assert metrics.to_json(dict(reversed(EXAMPLE.items()))) == text
    assert metrics.from_json(text) == EXAMPLE
    assert (
        '"harden.adders": {\n    "better": "lower",\n    "unit": "adders",\n    "value": 12345\n  }' in text
    )


@pytest.mark.parametrize(
    "text", ["", "[]", '{"a": 1}', '{"a": {"value": 1, "colour": 2}}', '{"a": {"value": true}}']
)
def test_another_file_is_refused(text: str) -> None:
    with pytest.raises(HsflowError, match=r"metrics\.json"):
        metrics.from_json(text)


def test_numpy_scalars_become_numbers() -> None:
    assert make_metric("a", np.int64(3)).value == 3 and type(make_metric("a", np.int64(3)).value) is int
    assert make_metric("a", np.float32(0.5)).value == 0.5


@pytest.mark.parametrize(
    ("name", "value", "better"),
    [("a", float("inf"), ""), ("a", None, ""), ("a", [1], ""), ("a", True, ""), ("a b", 1, ""), ("A", 1, ""), ("a", 1, "up")],
)  # fmt: skip
def test_an_ill_formed_metric_is_refused(name: str, value: object, better: str) -> None:
    with pytest.raises(HsflowError, match="ill-formed"):
        make_metric(name, value, better=better)


def test_each_metric_has_its_heading() -> None:
    assert {name: metrics.group_of(name, metric) for name, metric in EXAMPLE.items()} == {
        "quantize.accuracy": "Accuracy",
        "harden.adders": "Hardware",
        "harden.throughput": "Timing",
        "harden.wall_seconds": "Time and memory",
        "harden.architecture": "Hardware",
    }


def test_the_table_shows_every_metric_under_its_heading() -> None:
    console = Console(file=StringIO(), width=100)
    console.print(metrics.render(EXAMPLE))
    lines = [line.strip() for line in console.file.getvalue().splitlines()]
    positions = [
        next(i for i, line in enumerate(lines) if line.startswith(group)) for group in metrics.GROUPS
    ]
    assert positions == sorted(positions)
    for shown in ("0.965", "12,345", "1,210,000", "1.2", "stream"):
        assert any(shown in line for line in lines)
