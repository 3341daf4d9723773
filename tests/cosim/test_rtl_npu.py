# SPDX-License-Identifier: Apache-2.0
"""hsflow_npu against its NumPy model: every logit, every formula, every register, and a change of weights."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hsflow_npu import NpuConfiguration
from hsflow_npu.choice import with_fewest_multipliers
from npu_bench import (
    BY_NAME,
    CASES,
    LIBRARY,
    NPU,
    TRAFFIC,
    Case,
    add_npu,
    problems,
    switch_of,
    timing_problems,
    wrong_answers,
)
from simulator import choose_simulator, lint, run
from stream_bench import Bench, Log, read_log

SIMULATORS = ["verilator", *(["icarus"] if choose_simulator() == "icarus" else [])]
SLOW_IN_ICARUS = {
    "all_logits",
    "more_logits_than_classes",
    "rows_inside_beats",
    "rows_of_odd_beats",
    "one_beat_a_cycle",
    "tree_of_three_stages",
    "wide_extreme",
}
"""Verilator alone runs these."""


def runs_of(simulator: str) -> list[tuple[Case, str]]:
    """Return each case and traffic that is simulated; Icarus is spared most of the wide beats."""
    runs = [(case, kind) for case in CASES for kind in TRAFFIC]
    if simulator == "verilator":
        return runs
    return [
        (case, kind)
        for case, kind in runs
        if case.name not in SLOW_IN_ICARUS and (case.npu.logit_lanes == 1 or kind in ("full", "random"))
    ]


@pytest.fixture(scope="module")
def executables(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Return a function that builds all runs of a simulator, once."""

    @cache
    def build(simulator: str) -> Path:
        bench = Bench()
        for case, kind in runs_of(simulator):
            add_npu(bench, case, f"{case.name}_{kind}", kind)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HSFLOW_TEST_SIMULATOR", simulator)
            return bench.compile([*LIBRARY, *NPU], tmp_path_factory.mktemp(f"npu_{simulator}"))

    return build


@pytest.fixture(scope="module")
def logs(executables: Callable[[str], Path]) -> Callable[[str], Log]:
    """Return a function that simulates all runs of a simulator, once."""
    return cache(lambda simulator: read_log(run(executables(simulator))))


@pytest.mark.parametrize(
    ("simulator", "case", "kind"),
    [(simulator, *one) for simulator in SIMULATORS for one in runs_of(simulator)],
    ids=lambda value: value.name if isinstance(value, Case) else value,
)
def test_everything_is_exact(logs: Callable[[str], Log], simulator: str, case: Case, kind: str) -> None:
    log, name = logs(simulator), f"{case.name}_{kind}"
    assert not log.timed_out
    assert wrong_answers(log, case, name, kind) == []
    assert problems(log, case, name, kind) == []


@pytest.mark.parametrize("simulator", SIMULATORS)
def test_results_survive_a_reset_at_any_moment(executables: Callable[[str], Path], simulator: str) -> None:
    # Icarus needs many seconds for each.
    for reset_at in (1001,) if simulator == "icarus" else (123, 1001, 1502):
        log = read_log(run(executables(simulator), [f"+reset_at={reset_at}"]))
        wrong = {
            f"{case.name}_{kind}": found
            for case, kind in runs_of(simulator)
            if (found := problems(log, case, f"{case.name}_{kind}", kind))
        }
        assert wrong == {}, f"reset at {reset_at}"


def test_twin_a_wrong_model_is_caught(logs: Callable[[str], Log]) -> None:
    log = logs(SIMULATORS[-1])
    case = BY_NAME["ragged_classes"]
    switch = switch_of(log, "ragged_classes_full")
    assert log.words("ragged_classes_full_out") != case.beats(switch - 1)
    assert log.words("ragged_classes_full_out") != case.beats(switch + 1)


def test_twin_slower_traffic_breaks_the_formulas(logs: Callable[[str], Log]) -> None:
    log = logs(SIMULATORS[-1])
    switch = switch_of(log, "long_slow")
    assert timing_problems(log, BY_NAME["long"], "long_slow", switch)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_lint_of_every_case(case: Case) -> None:
    sources = [*LIBRARY, *(path for path in NPU if path.parent.name == "rtl")]
    assert (
        lint(sources, "hsflow_npu", case.npu.rtl_parameters() | {"AddressWidth": case.npu.address_width})
        == []
    )


@pytest.mark.slow
def test_lint_of_the_largest_npu() -> None:
    """Lint MobileNetV2's classifier at an image every 49 cycles: 26,169 multipliers; 85 s and 4.5 GB."""
    npu = with_fewest_multipliers(NpuConfiguration(1, 1280, 1000, 1, 1), 49)
    sources = [*LIBRARY, *(path for path in NPU if path.parent.name == "rtl")]
    assert lint(sources, "hsflow_npu", npu.rtl_parameters() | {"AddressWidth": npu.address_width}) == []


@pytest.mark.parametrize(
    "illegal",
    [
        {"ClassLanes": 11},
        {"FeatureLanes": 17},
        {"ActivationWidth": 17},
        {"Classes": 65537},
        {"AddressWidth": NpuConfiguration(1, 16, 10, 2, 1).address_width - 1},
    ],
)
def test_illegal_parameters_are_refused(illegal: dict[str, int]) -> None:
    assert any("hsflow_npu:" in line for line in lint([*LIBRARY, *NPU], "hsflow_npu", illegal))
