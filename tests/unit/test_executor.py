# SPDX-License-Identifier: Apache-2.0
"""Executors: results in order, errors as they were raised, and no process that outlives its use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hsflow.errors import ConfigurationError, MismatchError
from hsflow.executor import Executor, ProcessExecutor, SerialExecutor

EXECUTORS = (SerialExecutor(), ProcessExecutor(1), ProcessExecutor(2))


def square(value: int) -> int:
    time.sleep(0.05 * (value % 2))  # so that results are not ready in order
    return value * value


def process_of(_: int) -> int:
    return os.getpid()


def fail_at_two(task: tuple[Path, int]) -> int:
    folder, value = task
    (folder / str(value)).touch()
    if value == 2:
        raise MismatchError("two does not agree", where="here", got=value)
    time.sleep(0.01)
    return value


@pytest.mark.parametrize("executor", EXECUTORS)
def test_results_come_in_order(executor: Executor) -> None:
    assert list(executor.map(square, range(9))) == [value * value for value in range(9)]
    assert list(executor.map(square, ())) == []


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_first_result_does_not_wait_for_all(executor: Executor) -> None:
    taken: list[int] = []

    def items() -> list[int]:
        for item in range(200):
            taken.append(item)
            yield item

    results = executor.map(square, items())
    assert next(results) == 0
    assert len(taken) < 20


def test_one_worker_starts_no_process() -> None:
    own = os.getpid()
    assert set(SerialExecutor().map(process_of, range(4))) == {own}
    assert set(ProcessExecutor(1).map(process_of, range(4))) == {own}
    assert own not in set(ProcessExecutor(2).map(process_of, range(4)))


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_failing_task_raises_what_it_raised_and_stops_the_rest(executor: Executor, tmp_path: Path) -> None:
    with pytest.raises(MismatchError, match="here: two does not agree") as caught:
        list(executor.map(fail_at_two, ((tmp_path, value) for value in range(300))))
    assert (caught.value.where, caught.value.got) == ("here", 2)
    assert (tmp_path / "2").exists()
    assert len(list(tmp_path.iterdir())) < 30
    assert list(executor.map(square, [3])) == [9], "the executor still works"


@pytest.mark.filterwarnings("error:.*tasks")
def test_giving_up_cancels_the_rest(tmp_path: Path) -> None:
    results = ProcessExecutor(2).map(fail_at_two, ((tmp_path, value) for value in range(3, 300)))
    assert next(results) == 3
    results.close()  # type: ignore[attr-defined]
    time.sleep(0.1)
    assert len(list(tmp_path.iterdir())) < 30


INTERRUPTED = """
import os, sys, time
from pathlib import Path
from hsflow.executor import ProcessExecutor
folder = Path(sys.argv[1])

def task(number):
    (folder / str(os.getpid())).touch()
    time.sleep(60)

try:
    list(ProcessExecutor(2).map(task, range(8)))
except KeyboardInterrupt:
    sys.exit(130)
"""


def test_an_interrupt_leaves_no_process(tmp_path: Path) -> None:
    script = subprocess.Popen([sys.executable, "-c", INTERRUPTED, str(tmp_path)], start_new_session=True)
    try:
        _wait(lambda: len(list(tmp_path.iterdir())) == 2)
        workers = [int(file.name) for file in tmp_path.iterdir()]
        assert all(map(_runs, workers))
        script.send_signal(signal.SIGINT)
        assert script.wait(timeout=20) == 130
        _wait(lambda: not any(map(_runs, workers)))
    finally:
        script.kill()


def _wait(done, seconds: float = 20) -> None:  # type: ignore[no-untyped-def]
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.02)


def _runs(process: int) -> bool:
    """Tell whether a process is there and no zombie: an orphan's parent may reap it late or never."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_zero_workers_are_as_many_as_there_are_processors() -> None:
    processors = len(os.sched_getaffinity(0))
    assert len(set(ProcessExecutor().map(process_of, range(4 * processors)))) <= processors
    assert list(ProcessExecutor().map(square, range(4))) == [0, 1, 4, 9]


def test_less_than_no_worker_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="workers"):
        ProcessExecutor(-1)
