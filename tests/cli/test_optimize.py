# SPDX-License-Identifier: Apache-2.0
"""`hsflow optimize`: figures that can be checked, RTL that computes them, and a reason for each refusal."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simulator
from lowered import share
from test_adder_graph import VECTORS, bench, vectors

from hsflow import cli, hookimpl
from hsflow.errors import EXIT_FAILURE, EXIT_OK, EXIT_USAGE
from hsflow.fixedpoint import IntArray, Interval
from hsflow.ir.addergraph import AdderGraph
from hsflow.lowering import LoweringGoal
from hsflow.plugins import load_plugins

KEYS = {
    "adders",
    "adders_without_sharing",
    "cpu_seconds",
    "depth",
    "full_adder_bits",
    "latency",
    "peak_mib",
    "proved",
    "register_bits",
    "verilog",
}
TIMES = ("cpu_seconds", "peak_mib")

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Return a function that runs the command line in a folder of its own."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str, str]:
        status = cli.main(("optimize", *words))
        return status, *capfd.readouterr()

    return run


def weights(seed: int = 1) -> IntArray:
    """Return a matrix, shape (inputs, outputs), with a zero row and column and a single negative weight."""
    generator = np.random.default_rng(seed)
    matrix = generator.choice([-8, -4, -2, -1, 0, 0, 1, 2, 4, 8, 45, -100], (6, 8))
    matrix[2], matrix[:, 3], matrix[:, 5], matrix[1, 5] = 0, 0, 0, -4
    matrix[:, 6] = -np.abs(matrix[:, 6])
    return matrix


def figures(run: Run, *words: str) -> dict[str, Any]:
    status, out, err = run(*words, "--json")
    assert status == EXIT_OK, err
    found: dict[str, Any] = json.loads(out)
    assert set(found) == KEYS
    return found


def without_times(found: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if name not in TIMES}


def test_the_figures_are_those_of_a_proved_graph(run: Run) -> None:
    np.save("m.npy", np.array([[1, 3, 0], [1, 0, -4]]))  # x + y, 3x, -4y
    found = figures(run, "m.npy", "--levels-per-stage", "1")
    # 9 bits for x + y. 3x takes 10 bits; as 4x - x it is 11 with the sign, and 2x + x leaves the lowest bit alone.
    assert (found["adders"], found["adders_without_sharing"], found["depth"]) == (2, 2, 1)
    assert found["proved"] is True and found["latency"] == 1 and found["verilog"] is None
    assert found["full_adder_bits"] in (9 + 11, 9 + 9)
    assert found["register_bits"] in (9 + 11 + 8, 9 + 10 + 8)
    assert 0 <= found["cpu_seconds"] < 60 and found["peak_mib"] > 10


def test_people_get_a_short_table(run: Run) -> None:
    np.save("m.npy", weights())
    status, out, _ = run("m.npy", "--verilog", "deep/er/sums.sv")
    assert status == EXIT_OK and len(out.splitlines()) <= 12
    for part in ("6 inputs, 8 outputs", "without sharing", "every coefficient", "deep/er/sums.sv"):
        assert part in out
    assert Path("deep/er/sums.sv").read_text().startswith("// SPDX")


def test_orders_in_memory_and_integer_types_change_nothing(run: Run) -> None:
    found = []
    for number, (order, dtype) in enumerate([("C", "i8"), ("F", "i8"), ("C", "i1"), ("F", ">i4")]):
        np.save(f"m{number}.npy", np.asarray(weights(), dtype=dtype, order=order))
        found.append(without_times(figures(run, f"m{number}.npy", "--verilog", f"{number}/sums.sv")))
        found[-1].pop("verilog")
    assert all(one == found[0] for one in found)
    assert len({Path(f"{number}/sums.sv").read_text() for number in range(4)}) == 1


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.uint16, np.uint64])
def test_types_without_a_sign_are_taken(run: Run, dtype: Any) -> None:
    np.save("m.npy", np.array([[1, 1], [1, 0]], dtype=dtype))
    assert figures(run, "m.npy")["adders"] == 1


def test_a_matrix_is_inputs_by_outputs(run: Run) -> None:
    np.save("tall.npy", np.ones((7, 1), np.int8))
    np.save("wide.npy", np.ones((1, 7), np.int8))
    assert figures(run, "tall.npy")["adders"] == 6
    assert figures(run, "wide.npy")["adders"] == 0


def test_zeros_need_nothing(run: Run) -> None:
    np.save("m.npy", np.zeros((3, 2), np.int8))
    found = figures(run, "m.npy", "--verilog", "zeros.sv")
    assert [found[name] for name in ("adders", "full_adder_bits", "register_bits", "depth")] == [0, 0, 0, 0]
    assert simulator.lint([Path("zeros.sv")], "zeros") == []


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("levels", [0, 1, 2])
def test_the_verilog_computes_the_matrix_in_the_cycle_that_is_told(
    run: Run, tmp_path: Path, signed: bool, levels: int
) -> None:
    matrix = weights(4)
    np.save("m.npy", matrix)
    options = ["--input-bits", "5", "--levels-per-stage", str(levels), *(["--signed"] if signed else [])]
    found = figures(run, "m.npy", "--verilog", "Sums_5.sv", *options)
    assert found["latency"] == (-(-found["depth"] // levels) if levels else 0)
    assert bool(found["register_bits"]) == bool(levels)
    assert simulator.lint([Path("Sums_5.sv")], "Sums_5") == []
    inputs = (Interval.of_format(5, signed),) * 6
    assert ("clk_i" in Path("Sums_5.sv").read_text()) == bool(levels)
    goal = LoweringGoal(adder_levels_per_stage=levels or 64)
    lowered = {"matrix": np.ascontiguousarray(matrix.T), "inputs": inputs, "layer": "m.npy", "goal": goal}
    reference = load_plugins().hook.hsflow_lower_layer(**lowered)  # for widths; its values are the matrix's
    stimulus = vectors(reference)
    assert np.array_equal(reference.evaluate(stimulus), matrix.T @ stimulus)
    assert any(output.negate for output in reference.outputs)
    assert _failures(reference, stimulus, found["latency"], tmp_path) == 0
    flipped = replace(reference.outputs[0], negate=not reference.outputs[0].negate)
    wrong = replace(reference, outputs=(flipped, *reference.outputs[1:]))
    assert _failures(wrong, stimulus, found["latency"], tmp_path) > 0


def _failures(reference: AdderGraph, stimulus: IntArray, latency: int, folder: Path) -> int:
    (folder / "bench.sv").write_text(bench(reference, "Sums_5", stimulus, latency))
    assert stimulus.shape[1] == VECTORS
    program = simulator.build([folder / "Sums_5.sv", folder / "bench.sv"], "bench", folder)
    return int(simulator.run(program).rpartition("FAILURES ")[2].split()[0])


# ---- Refusals


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ones((2, 2)), "astype(np.int64)"),
        (np.ones((2, 2), np.float16), "astype(np.int64)"),
        (np.array([[1, None]], dtype=object), "type object"),
        (np.array([["1"]]), "not of integers"),
        (np.ones(3, np.int8), "two dimensions"),
        (np.ones((2, 2, 2), np.int8), "two dimensions"),
        (np.zeros((0, 2), np.int8), "at least 1"),
        (np.zeros((2, 0), np.int8), "at least 1"),
        (np.array([[2**63]], np.uint64), "too large"),
        (np.array([[2**55]]), "at most 62 bits"),
        (np.full((100, 1), 2**50), "at most 62 bits"),
        (np.array([[-(2**63)]]), "at most 62 bits"),
    ],
)
def test_what_is_no_matrix_is_refused(run: Run, array: Any, message: str) -> None:
    np.save("bad.npy", array, allow_pickle=True)
    status, out, err = run("bad.npy")
    assert status in (EXIT_FAILURE, EXIT_USAGE) and not out
    assert "bad.npy" in err and message in err and "Traceback" not in err


def test_what_holds_no_array_is_refused(run: Run) -> None:
    np.savez("many.npz", one=weights())
    Path("many.npz").rename("renamed.npy")
    np.savez("many.npz", one=weights())
    Path("text.npy").write_text("1 2 3")
    Path("pickle.npy").write_bytes(b"\x80\x04.")
    for name, message in [
        ("many.npz", "np.save('matrix.npy'"),
        ("renamed.npy", "cannot be read"),
        ("text.npy", "cannot be read"),
        ("pickle.npy", "cannot be read"),
        ("none.npy", "FileNotFoundError"),
        (".", "cannot be read"),
    ]:
        status, _, err = run(name)
        assert status == EXIT_USAGE and message in err and "Traceback" not in err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--input-bits", "0"), "--input-bits"),
        (("--input-bits", "17"), "--input-bits"),
        (("--effort", "some"), "--effort"),
        (("--objective", "speed"), "--objective"),
        (("--max-depth", "-1"), "--max-depth"),
        (("--depth-slack", "-1"), "--depth-slack"),
        (("--max-depth", "3", "--depth-slack", "0"), "leave one of them out"),
        (("--levels-per-stage", "-1"), "--levels-per-stage"),
        (("--verilog", "sums.txt"), ".sv or .v"),
        (("--verilog", "sums"), ".sv or .v"),
        (("--verilog", "folder.sv"), ".sv or .v"),
        (("--verilog", "module.sv"), "reserved word"),
        (("--verilog", "9sums.sv"), "a letter"),
        (("--verilog", "a b.sv"), "a letter"),
        (("--verilog", "x;y.sv"), "a letter"),
        (("--verilog", f"{'x' * 64}.sv"), "a letter"),
    ],
)
def test_wrong_usage_is_refused_before_anything_is_done(
    run: Run, words: tuple[str, ...], message: str
) -> None:
    np.save("m.npy", weights())
    Path("folder.sv").mkdir()
    Path("sums.txt").write_text("precious")
    status, out, err = run("m.npy", *words)
    assert status == EXIT_USAGE and message in err and not out and "Traceback" not in err
    assert sorted(path.name for path in Path().iterdir()) == ["folder.sv", "m.npy", "sums.txt"]
    assert Path("sums.txt").read_text() == "precious"


def test_verilog_is_replaced_at_once_or_not_at_all(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save("m.npy", weights())
    Path("sums.v").write_text("old")
    assert run("m.npy", "--verilog", "sums.v")[0] == EXIT_OK
    new = Path("sums.v").read_text()
    assert "module sums (" in new

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("hsflow.durable.os.fsync", full)
    assert run("m.npy", "--verilog", "sums.v", "--signed")[0] != EXIT_OK
    assert Path("sums.v").read_text() == new
    assert sorted(path.name for path in Path().iterdir()) == ["m.npy", "sums.v"]


# ---- What a plugin may do


class Lowering:
    """Lower by a function, before anyone else."""

    def __init__(self, lower: Callable[..., Any]) -> None:
        self.lower = lower
        self.goals: list[Any] = []

    @hookimpl(tryfirst=True)
    def hsflow_lower_layer(self, matrix: IntArray, inputs: tuple[Interval, ...], goal: Any) -> Any:
        self.goals.append(goal)
        return self.lower(matrix, inputs)


def install(monkeypatch: pytest.MonkeyPatch, lower: Callable[..., Any]) -> Lowering:
    plugin = Lowering(lower)
    monkeypatch.setattr("hsflow.plugins.load_plugins", lambda: load_plugins({"mine": plugin}))
    return plugin


def test_the_goal_is_what_the_options_say(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    plugin = install(monkeypatch, share)
    np.save("m.npy", weights())
    words = "--effort", "high", "--objective", "digit-serial", "--depth-slack", "9", "--levels-per-stage", "3"
    assert run("m.npy", *words)[0] == EXIT_OK
    goal = plugin.goals[-1]
    found = (goal.effort, goal.objective, goal.max_depth, goal.depth_slack, goal.adder_levels_per_stage)
    assert found == ("high", "digit-serial", None, 9, 3)


@pytest.mark.parametrize(
    ("lower", "message"),
    [
        (lambda matrix, inputs: share(-matrix, inputs), "other coefficients"),
        (lambda matrix, inputs: share(matrix[:1], inputs), "another size"),
        (lambda matrix, inputs: share(matrix, (Interval(0, 1),) * len(inputs)), "other input ranges"),
        (lambda matrix, inputs: 7, "no plugin lowered"),
    ],
)
def test_a_wrong_graph_is_never_called_proved(
    run: Run, monkeypatch: pytest.MonkeyPatch, lower: Callable[..., Any], message: str
) -> None:
    install(monkeypatch, lower)
    np.save("m.npy", weights())
    status, out, err = run("m.npy", "--json", "--verilog", "sums.sv")
    assert status == EXIT_FAILURE and message in err and '"proved"' not in out
    assert not Path("sums.sv").exists()


@pytest.mark.parametrize("words", [("--max-depth", "0"), ("--max-depth", "1")])
def test_a_depth_that_cannot_be_kept_is_an_error(run: Run, words: tuple[str, ...]) -> None:
    np.save("m.npy", np.ones((5, 1), np.int8))
    status, out, _ = run("m.npy", *words)
    assert status != EXIT_OK and not out
    assert run("m.npy", "--max-depth", "3")[0] == EXIT_OK
    assert run("m.npy", "--depth-slack", "0")[0] == EXIT_OK


def test_a_graph_deeper_than_asked_for_is_refused(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    np.save("m.npy", np.array([[45], [45], [3]]))
    install(monkeypatch, lambda matrix, inputs: share(matrix, inputs))
    assert run("m.npy", "--max-depth", "9")[0] == EXIT_OK
    status, _, err = run("m.npy", "--max-depth", "2")
    assert status == EXIT_FAILURE and "deeper than asked for" in err
