# SPDX-License-Identifier: Apache-2.0
"""The checker of simulations: right results pass, and each kind of wrong one fails with its place."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import toy_design as toy

from hsflow.eda import check_simulation
from hsflow.errors import HsflowError, MismatchError
from hsflow.metrics import make_metric
from hsflow.results import METRICS, RESULTS, Conditions

FIRST_STREAM_BEAT = toy.CLASSES


def beat_lines(expected: str, start: int, phase: str) -> list[str]:
    """Return the result lines of images whose last beats are one interval apart."""
    lines = []
    for index, line in enumerate(expected.splitlines()):
        image, beat = divmod(index, toy.CLASSES)
        lines.append(f"{line} {start + image * toy.INTERVAL + beat} {phase}")
    return lines


def summary(**changes: int) -> str:
    figures = {
        "images": toy.IMAGES,
        "latency": toy.LATENCY,
        "interval_min": toy.INTERVAL,
        "interval_max": toy.INTERVAL,
        "errors": 0,
        "cycles": 1000,
        "gap_percent": 0,
        "stall_percent": 0,
        "switched_images": -1,
        **changes,
    }
    return "summary " + " ".join(f"{name}={value}" for name, value in figures.items())


@pytest.fixture
def work_root(tmp_path: Path) -> Path:
    for name, text in toy.data_files().items():
        (tmp_path / name).write_text(text)
    expected = (tmp_path / "expected.txt").read_text()
    first = "\n".join(expected.splitlines()[: toy.CLASSES])
    write(
        tmp_path, [*beat_lines(first, 40, "probe"), *beat_lines(expected, 100, "stream"), summary(), "DONE"]
    )
    return tmp_path


def write(work_root: Path, lines: list[str]) -> None:
    (work_root / RESULTS).write_text("".join(f"{line}\n" for line in lines))


def read(work_root: Path) -> list[str]:
    return (work_root / RESULTS).read_text().splitlines()


def replace_summary(work_root: Path, **changes: int) -> None:
    write(work_root, [*read(work_root)[:-2], summary(**changes), "DONE"])


def edit(work_root: Path, line: int, field: int, text: str) -> None:
    lines = read(work_root)
    words = lines[line].split()
    words[field] = text
    lines[line] = " ".join(words)
    write(work_root, lines)


def test_right_results_pass_and_are_measured(work_root: Path) -> None:
    before = {"quantize.accuracy": make_metric("quantize.accuracy", 0.5, "", "higher")}
    result = check_simulation(work_root, design_metrics=before)
    assert (result.images, result.logits) == (toy.IMAGES, toy.IMAGES * toy.CLASSES)
    assert (result.latency, result.initiation_interval) == (toy.LATENCY, toy.INTERVAL)
    assert result.accuracy == 0.5
    figures = json.loads((work_root / METRICS).read_text())
    assert figures["simulate.throughput"] == {"better": "higher", "unit": "images/s", "value": 62.5e6}
    assert figures["quantize.accuracy"]["value"] == 0.5


def test_leading_zeros_and_case_do_not_matter(work_root: Path) -> None:
    lines = read(work_root)
    write(
        work_root,
        [line.upper().replace("PROBE", "probe").replace("STREAM", "stream") for line in lines[:-2]]
        + lines[-2:],
    )
    check_simulation(work_root)


@pytest.mark.parametrize(
    ("line", "field", "text"),
    [
        (FIRST_STREAM_BEAT, 0, "00000000"),
        (FIRST_STREAM_BEAT + toy.IMAGES * toy.CLASSES - 1, 0, "ffffffff"),
        (FIRST_STREAM_BEAT + 3, 1, "beee"),
        (FIRST_STREAM_BEAT + 3, 2, "0"),
        (FIRST_STREAM_BEAT + 1, 2, "1"),
        (FIRST_STREAM_BEAT, 0, "xxxxxxxx"),
        (FIRST_STREAM_BEAT, 0, "0000002X"),
        (0, 0, "12345678"),
    ],
)
def test_one_wrong_beat_fails(work_root: Path, line: int, field: int, text: str) -> None:
    edit(work_root, line, field, text)
    with pytest.raises(MismatchError, match=r"1 of .* results are wrong in 1 images"):
        check_simulation(work_root)
    assert not (work_root / METRICS).exists()


def test_the_first_wrong_place_is_named(work_root: Path) -> None:
    for beat in (9, 14):
        edit(work_root, FIRST_STREAM_BEAT + beat, 0, "00000bad")
    with pytest.raises(MismatchError) as caught:
        check_simulation(work_root)
    assert "2 of 64 results are wrong in 2 images" in str(caught.value)
    assert "the stream, image 2, beat 1" in str(caught.value)
    assert "00000bad" in str(caught.value)


@pytest.mark.parametrize("kept", [0, 1, 10, -2, -1])
def test_truncated_results_fail(work_root: Path, kept: int) -> None:
    write(work_root, read(work_root)[:kept])
    with pytest.raises(MismatchError, match="truncated"):
        check_simulation(work_root)


def test_missing_results_fail(work_root: Path) -> None:
    (work_root / RESULTS).unlink()
    with pytest.raises(MismatchError, match="no results"):
        check_simulation(work_root)


@pytest.mark.parametrize(
    "line", ["", "00 00 0", "00 00 0 1 stream extra", "00 00 0 -1 stream", "00 00 0 1 other"]
)
def test_a_damaged_line_fails(work_root: Path, line: str) -> None:
    lines = read(work_root)
    lines[7] = line
    write(work_root, lines)
    with pytest.raises(MismatchError, match=r"results\.txt:8"):
        check_simulation(work_root)


@pytest.mark.parametrize("change", [-1, 1])
def test_a_missing_or_further_beat_fails(work_root: Path, change: int) -> None:
    lines = read(work_root)
    beats = lines[:-3] if change < 0 else [*lines[:-2], "00 00 0 999 stream"]
    write(work_root, [*beats, *lines[-2:]])
    with pytest.raises(MismatchError, match="number of results"):
        check_simulation(work_root)


@pytest.mark.parametrize("latency", [toy.LATENCY - 1, toy.LATENCY + 1, -1])
def test_a_wrong_latency_fails(work_root: Path, latency: int) -> None:
    replace_summary(work_root, latency=latency)
    with pytest.raises(MismatchError, match="latency"):
        check_simulation(work_root)


@pytest.mark.parametrize(
    "changes", [{"interval_min": 15}, {"interval_max": 17}, {"interval_min": 0, "interval_max": 0}]
)
def test_a_wrong_interval_fails(work_root: Path, changes: dict[str, int]) -> None:
    replace_summary(work_root, **changes)
    with pytest.raises(MismatchError, match="initiation interval"):
        check_simulation(work_root)


def test_the_interval_is_taken_from_the_beats_too(work_root: Path) -> None:
    """The testbench's own figures say what is expected; the beats do not."""
    edit(work_root, -3, 3, "99999")
    with pytest.raises(MismatchError, match="initiation interval"):
        check_simulation(work_root)


def test_an_error_flag_fails(work_root: Path) -> None:
    replace_summary(work_root, errors=1)
    with pytest.raises(MismatchError, match="error flag"):
        check_simulation(work_root)


@pytest.mark.parametrize("changes", [{"images": 5}, {"gap_percent": 10}, {"stall_percent": 10}])
def test_another_run_s_results_fail(work_root: Path, changes: dict[str, int]) -> None:
    """Results with gaps would not be compared in time: they must not pass for a run without."""
    replace_summary(work_root, **changes)
    with pytest.raises(MismatchError, match="another run"):
        check_simulation(work_root)


def test_timing_is_not_compared_under_gaps(work_root: Path) -> None:
    replace_summary(work_root, gap_percent=30, latency=77, interval_max=99)
    result = check_simulation(work_root, Conditions(gap_percent=30))
    assert result.latency is None
    assert result.initiation_interval is None


@pytest.mark.parametrize("switched", [5, 12, toy.IMAGES])
def test_a_change_of_weights_is_followed(work_root: Path, switched: int) -> None:
    lines = read(work_root)
    second = beat_lines((work_root / "expected2.txt").read_text(), 100, "stream")
    cut = FIRST_STREAM_BEAT + switched * toy.CLASSES
    mixed = [*lines[:cut], *second[switched * toy.CLASSES :]]
    write(work_root, [*mixed, summary(switched_images=switched), "DONE"])
    check_simulation(work_root, Conditions(switch_after=5))
    write(work_root, [*mixed, summary(switched_images=switched - 1), "DONE"])
    with pytest.raises(MismatchError):
        check_simulation(work_root, Conditions(switch_after=5))


def test_weights_that_never_changed_fail(work_root: Path) -> None:
    with pytest.raises(MismatchError, match="not changed"):
        check_simulation(work_root, Conditions(switch_after=5))


@pytest.mark.parametrize("name", ["simulation.json", "expected.txt"])
@pytest.mark.parametrize("text", [None, "", "[]", "{", "zz zz zz\n" * 200])
def test_a_damaged_input_is_an_error(work_root: Path, name: str, text: str | None) -> None:
    path = work_root / name
    path.unlink()
    if text is not None:
        path.write_text(text)
    with pytest.raises(HsflowError):
        check_simulation(work_root)


def test_wrong_labels_are_an_error(work_root: Path) -> None:
    (work_root / "labels.txt").write_text("1\n2\n")
    with pytest.raises(HsflowError, match="labels"):
        check_simulation(work_root)
