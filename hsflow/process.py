# SPDX-License-Identifier: Apache-2.0
"""Run external programs: the only place where hsflow starts a process.

A command is a list of arguments, never a shell string. It runs in a process group of its own, and nothing of the group
outlives a timeout or an interrupt. On Linux the program itself does not outlive this process either, however that ends: a
worker process may be killed outright.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import FrameType
from typing import IO, Any

from hsflow.errors import ToolError

TAIL_LINES = 20
_TAIL_BYTES = 64 * 1024
_GRACE_SECONDS = 2.0
_LONGEST_POLL_SECONDS = 0.05
_RSS_UNITS_PER_MB = 1024.0
_STANDARD_ERROR = 2
_PR_SET_PDEATHSIG = 1
_OUTPUT: ContextVar[int | None] = ContextVar("_OUTPUT", default=None)
"""The descriptor that programs without a log write to; None is the standard output of this process."""
_OBSERVER = "HSFLOW_PROCESS_LOG"
"""The variable that names the file in which programs are noted as they end; processes that this one starts inherit it."""


@dataclass(frozen=True)
class Completed:
    """Hold the outcome of a process.

    `wall_s` and `cpu_s` are seconds, `rss_mb` the largest resident set of one process in MiB; the latter two cover the
    program and every descendant that it waited for.
    """

    argv: tuple[str, ...]
    returncode: int
    wall_s: float
    cpu_s: float
    rss_mb: float
    log: Path | None = None


def run(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    timeout: float | None = None,
    env: Mapping[str, str] | None = None,
    log: Path | None = None,
    check: bool = True,
    own_group: bool = True,
) -> Completed:
    """Run a program to its end.

    Args:
        argv: the program and its arguments, taken literally.
        cwd: the folder to run in.
        timeout: seconds after which the whole process group is killed.
        env: variables added to this process's environment.
        log: where stdout and stderr go, newly written; None passes them through.
        check: raise when the program's exit status is not 0.
        own_group: False leaves the program in the caller's process group, for a caller that is itself run by `run`.

    Raises:
        ToolError: the program is missing, fails or runs out of time; the message ends with the log's last lines.
    """
    words = tuple(str(word) for word in argv)
    with _open_log(log) as output:
        process = _start(words, cwd, env, output, own_group)
        completed = _wait(process, words, timeout, log, own_group)
    _note(completed)
    if check and completed.returncode != 0:
        raise ToolError(
            "the program failed",
            where=words[0],
            got=_describe_status(completed.returncode),
            expected="exit status 0",
            hint=_see(log),
        )
    return completed


def output_of(argv: Sequence[str | Path], *, timeout: float = 60.0, cwd: Path | None = None) -> str:
    """Return what a program writes to stdout and stderr.

    Raises:
        ToolError: as `run` does.
    """
    with tempfile.TemporaryDirectory(prefix="hsflow-") as folder:
        log = Path(folder) / "output.log"
        run(argv, cwd=cwd, timeout=timeout, log=log)
        return log.read_text(encoding="utf-8", errors="replace")


@contextlib.contextmanager
def observed(notes: Path) -> Iterator[None]:
    """Note every program in a new file that `run` runs in this block, whether it fails or not; see `read_notes`.

    Those that worker processes run count too, if the workers are started in this block.
    """
    notes.write_bytes(b"")
    before = os.environ.get(_OBSERVER)
    os.environ[_OBSERVER] = str(notes.resolve())
    try:
        yield
    finally:
        if before is None:
            del os.environ[_OBSERVER]
        else:
            os.environ[_OBSERVER] = before


def read_notes(notes: Path) -> tuple[Completed, ...]:
    """Return the programs that were noted, in the order in which they ended."""
    entries = [json.loads(line) for line in notes.read_text(encoding="utf-8").splitlines()]
    return tuple(Completed(tuple(words), *figures) for words, *figures in entries)


def _note(completed: Completed) -> None:
    if notes := os.environ.get(_OBSERVER):
        figures = (completed.returncode, completed.wall_s, completed.cpu_s, completed.rss_mb)
        with Path(notes).open("a", encoding="utf-8") as file:
            file.write(json.dumps([completed.argv, *figures]) + "\n")


@contextlib.contextmanager
def output_as_messages() -> Iterator[None]:
    """Let what programs without a log write to stdout in this block go to stderr: stdout is the result's."""
    with _output_to(_STANDARD_ERROR):
        yield


@contextlib.contextmanager
def output_into(log: Path) -> Iterator[None]:
    """Let stdout and stderr of programs without a log go to `log`, newly written, in this block."""
    with _open_log(log) as output:
        if output is not None:
            with _output_to(output.fileno()):
                yield


@contextlib.contextmanager
def _output_to(descriptor: int) -> Iterator[None]:
    token = _OUTPUT.set(descriptor)
    try:
        yield
    finally:
        _OUTPUT.reset(token)


def tail(log: Path, lines: int = TAIL_LINES) -> str:
    """Return the last lines of a log, without the control characters that could drive a terminal."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - _TAIL_BYTES))
            text = stream.read().decode("utf-8", errors="replace")
    except OSError:
        return ""
    return "\n".join(_printable(line) for line in text.splitlines()[-lines:])


@contextlib.contextmanager
def terminate_as_interrupt() -> Iterator[None]:
    """Turn SIGTERM into KeyboardInterrupt inside the block, so that `run` kills what it started.

    Python lets the main thread alone do so; in another thread nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def _printable(line: str) -> str:
    return "".join(char if char.isprintable() or char == "\t" else "?" for char in line)


@contextlib.contextmanager
def _open_log(log: Path | None) -> Iterator[IO[bytes] | None]:
    if log is None:
        yield None
        return
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        yield output


def _start(
    words: tuple[str, ...],
    cwd: Path | None,
    env: Mapping[str, str] | None,
    output: IO[bytes] | None,
    own_group: bool,
) -> subprocess.Popen[bytes]:
    if not words:
        raise ToolError("there is no program to run", expected="a program and its arguments")
    try:
        return subprocess.Popen(
            words,
            cwd=cwd,
            env={**os.environ, **env} if env else None,
            stdin=subprocess.DEVNULL,
            stdout=_OUTPUT.get() if output is None else output,
            stderr=None if output is None and _OUTPUT.get() is None else subprocess.STDOUT,
            start_new_session=own_group,
            preexec_fn=_ends_with_parent(),  # one system call, which takes no lock
        )
    except (OSError, ValueError) as error:
        raise ToolError(
            "the program cannot be started",
            where=repr(words[0]),
            got=error,
            hint="'hsflow doctor' lists the programs that are needed and how to install them",
        ) from error


@cache
def _ends_with_parent() -> Callable[[], None] | None:
    """Return what a new process calls to be killed when the thread that started it ends; None where no system call does so."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None).prctl
    return lambda: prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))


def _wait(
    process: subprocess.Popen[bytes],
    words: tuple[str, ...],
    timeout: float | None,
    log: Path | None,
    own_group: bool,
) -> Completed:
    started = time.monotonic()
    try:
        usage = _reap(process, None if timeout is None else started + timeout)
    except BaseException:
        _kill(process, own_group)
        raise
    if usage is None:
        _kill(process, own_group)
        raise ToolError(
            "the program ran out of time and was killed",
            where=words[0],
            got=f"still running after {timeout:g} s",
            hint=_see(log),
        )
    return Completed(
        words,
        process.returncode,
        time.monotonic() - started,
        usage.ru_utime + usage.ru_stime,
        usage.ru_maxrss / _RSS_UNITS_PER_MB,
        log,
    )


def _reap(process: subprocess.Popen[bytes], deadline: float | None) -> Any:
    """Wait until the process ends and return its resource usage, or None at the deadline."""
    if deadline is None:
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        return usage
    delay = 0.001
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return usage
        if time.monotonic() >= deadline:
            return None
        time.sleep(delay)
        delay = min(2 * delay, _LONGEST_POLL_SECONDS)


def _kill(process: subprocess.Popen[bytes], own_group: bool) -> None:
    """End the process, and its group when it has one: a polite signal, a moment, then SIGKILL.

    The leader is reaped last: until then its number cannot belong to another process group.
    """
    if process.returncode is not None:
        return
    _signal(process, signal.SIGTERM, own_group)
    deadline = time.monotonic() + _GRACE_SECONDS
    while time.monotonic() < deadline and not _ended(process):
        time.sleep(0.01)
    _signal(process, signal.SIGKILL, own_group)
    process.wait()


def _signal(process: subprocess.Popen[bytes], number: signal.Signals, own_group: bool) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if own_group:
            os.killpg(process.pid, number)
        else:
            os.kill(process.pid, number)


def _ended(process: subprocess.Popen[bytes]) -> bool:
    """Return whether the process has ended, leaving it to be reaped."""
    return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _describe_status(returncode: int) -> str:
    if returncode >= 0:
        return f"exit status {returncode}"
    try:
        return f"killed by {signal.Signals(-returncode).name}"
    except ValueError:
        return f"killed by signal {-returncode}"


def _see(log: Path | None) -> str | None:
    if log is None:
        return None
    last = tail(log)
    return f"see {log}, which ends with:\n{last}" if last else f"see {log}, which is empty"
