# SPDX-License-Identifier: Apache-2.0
"""Processes: literal arguments, measured, logged, and gone with their whole group after a timeout or an interrupt."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hsflow.errors import ToolError
from hsflow.process import observed, output_of, read_notes, run, tail

# Starts a grandchild that ignores SIGTERM, writes its number, and waits for ever.
FAMILY = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(600)"],
    stdout=subprocess.PIPE)
child.stdout.readline()
open("child.txt.new", "w").write(str(child.pid))
import os; os.rename("child.txt.new", "child.txt")
time.sleep(600)
"""


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def wait_for(condition, seconds: float = 20.0) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


def test_a_program_is_measured(tmp_path: Path) -> None:
    busy = "import time; block = bytearray(64 << 20); end = time.process_time() + 0.2\nwhile time.process_time() < end: pass"
    completed = run(python(busy), cwd=tmp_path)
    assert completed.returncode == 0
    assert completed.cpu_s >= 0.2
    assert completed.wall_s >= 0.2
    assert completed.rss_mb > 64


@pytest.mark.parametrize("word", ["$(touch hacked)", "; touch hacked", "`touch hacked`", "a b\nc", "-n", "*"])
def test_arguments_are_literal(tmp_path: Path, word: str) -> None:
    log = tmp_path / "log"
    run([*python("import sys; print(ascii(sys.argv[1]))"), word], cwd=tmp_path, log=log)
    assert log.read_text() == ascii(word) + "\n"
    assert not (tmp_path / "hacked").exists()


def test_a_failure_shows_the_end_of_its_log(tmp_path: Path) -> None:
    code = (
        "import sys\nfor i in range(100): print('line', i)\nprint('the cause', file=sys.stderr)\nsys.exit(7)"
    )
    with pytest.raises(ToolError) as caught:
        run(python(code), log=tmp_path / "x.log")
    message = str(caught.value)
    assert "exit status 7" in message
    assert "the cause" in message
    assert "line 99" in message
    assert "line 3\n" not in message


def test_a_failure_may_be_returned(tmp_path: Path) -> None:
    assert run(python("raise SystemExit(7)"), check=False).returncode == 7


def test_a_signal_is_named(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="SIGKILL"):
        run(python("import os; os.kill(os.getpid(), 9)"), log=tmp_path / "log")


@pytest.mark.parametrize("argv", [["/no/such/program"], ["nul\0byte"], []])
def test_a_program_that_cannot_start_is_explained(argv: list[str]) -> None:
    with pytest.raises(ToolError):
        run(argv)


def test_the_log_is_new_each_time_and_cannot_drive_a_terminal(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("old\n")
    run(python(r"print('\x1b[2Jred\x07')"), log=log)
    assert tail(log) == "?[2Jred?"


def test_the_environment_is_added_to(tmp_path: Path) -> None:
    log = tmp_path / "log"
    run(
        python("import os; print(os.environ['HSFLOW_X'], 'PATH' in os.environ)"),
        env={"HSFLOW_X": "y"},
        log=log,
    )
    assert log.read_text() == "y True\n"


def test_a_timeout_kills_the_whole_group(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="ran out of time"):
        run(python(FAMILY), cwd=tmp_path, timeout=4.0, log=tmp_path / "log")
    child = int((tmp_path / "child.txt").read_text())
    assert wait_for(lambda: not is_running(child))


def test_without_a_group_of_its_own_a_grandchild_survives(tmp_path: Path) -> None:
    """The twin: the group is what kills the grandchild above."""
    with pytest.raises(ToolError, match="ran out of time"):
        run(python(FAMILY), cwd=tmp_path, timeout=4.0, log=tmp_path / "log", own_group=False)
    child = int((tmp_path / "child.txt").read_text())
    assert is_running(child)
    os.kill(child, signal.SIGKILL)


def test_a_quick_program_is_not_killed_by_its_timeout() -> None:
    assert run(python("pass"), timeout=60.0).returncode == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_kills_the_whole_group(tmp_path: Path, number: int) -> None:
    (tmp_path / "family.py").write_text(FAMILY)
    code = (
        "import sys; from hsflow.process import run, terminate_as_interrupt\n"
        "with terminate_as_interrupt(): run([sys.executable, 'family.py'])"
    )
    parent = subprocess.Popen(python(code), cwd=tmp_path, stderr=subprocess.DEVNULL)
    assert wait_for((tmp_path / "child.txt").exists)
    child = int((tmp_path / "child.txt").read_text())
    assert is_running(child)
    parent.send_signal(number)
    assert parent.wait(timeout=30) != 0
    assert wait_for(lambda: not is_running(child))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process that its parent has ended")
def test_a_program_ends_with_a_parent_that_is_killed_outright(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "import os, time, pathlib\n"
        "pathlib.Path('new.txt').write_text(str(os.getpid()))\n"
        "os.replace('new.txt', 'child.txt')\n"
        "time.sleep(60)\n"
    )
    code = "import sys; from hsflow.process import run; run([sys.executable, 'program.py'])"
    parent = subprocess.Popen(python(code), cwd=tmp_path)
    assert wait_for((tmp_path / "child.txt").exists)
    child = int((tmp_path / "child.txt").read_text())
    assert is_running(child)
    parent.kill()
    parent.wait(timeout=30)
    assert wait_for(lambda: not is_running(child))


def test_output_of_returns_both_streams() -> None:
    text = output_of(python("import sys; print('out', flush=True); print('err', file=sys.stderr)"))
    assert text.split() == ["out", "err"]


def run_pass(number: int) -> int:
    run(python(f"pass  # {number}"))
    return number


def test_programs_are_observed_whether_they_fail_or_not(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    run(python("pass"))
    with observed(notes):
        run(python("pass"))
        with pytest.raises(ToolError):
            run(python("raise SystemExit(3)"))
    run(python("pass"))
    seen = read_notes(notes)
    assert [completed.returncode for completed in seen] == [0, 3]
    assert all(completed.rss_mb > 1 and completed.argv[0] == sys.executable for completed in seen)


def test_what_workers_run_is_observed_too(tmp_path: Path) -> None:
    code = (
        "import sys; sys.path.insert(0, 'tests/unit')\n"
        "from pathlib import Path\nfrom test_process import run_pass\n"
        "from hsflow.executor import ProcessExecutor\nfrom hsflow.process import observed\n"
        f"with observed(Path({str(tmp_path / 'notes')!r})): list(ProcessExecutor(2).map(run_pass, range(3)))\n"
    )
    subprocess.run(python(code), check=True, cwd=Path(__file__).parents[2])
    assert sorted(words.argv[-1][-1] for words in read_notes(tmp_path / "notes")) == ["0", "1", "2"]
