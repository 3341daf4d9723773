# SPDX-License-Identifier: Apache-2.0
"""Where independent work runs: in this process, or in worker processes.

A task is a function at the top of a module, called with one plain, picklable value: it computes the same wherever it runs.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

from hsflow.errors import ConfigurationError

T = TypeVar("T")
R = TypeVar("R")


class Executor(Protocol):
    """Be a place where tasks run."""

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Yield `function(item)` for each item, in the items' order, each as soon as it and those before it are there.

        The first error of a task is raised here with its type and message, and no further task starts. Giving up the
        iteration cancels what is left.
        """


@dataclass(frozen=True)
class SerialExecutor:
    """Run each task in this process, when its result is asked for."""

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Yield `function(item)` for each item."""
        return map(function, items)


@dataclass(frozen=True)
class ProcessExecutor:
    """Run tasks in `workers` processes of this machine; one worker is this process, and none is started.

    0 workers are as many as there are processors that this process may use.

    Workers start at the first task and stay for the next iteration; idle ones leave after some minutes, and all of them
    when this process ends, is interrupted, or a task fails. A script that uses them needs no `__main__` guard.
    """

    workers: int = 0

    def __post_init__(self) -> None:
        if self.workers < 0:
            raise ConfigurationError(
                "a number of workers is out of range", got=self.workers, expected="0 or more"
            )

    def map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """Yield `function(item)` for each item; some items are taken ahead of the results."""
        if self.workers == 1:
            return SerialExecutor().map(function, items)
        return self._map(function, items)

    def _map(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        from joblib import Parallel, delayed

        # One task a message, and arrays in the message: tasks are few and long, and nothing is left in a temporary folder.
        parallel = Parallel(
            self.workers or -1, backend="loky", return_as="generator", batch_size=1, max_nbytes=None
        )
        results = parallel(delayed(function)(item) for item in items)
        try:
            for result in results:  # noqa: UP028 (`yield from` would close `results` outside of this block)
                yield result
        finally:
            with warnings.catch_warnings(action="ignore"):  # of results that nobody asks for any more
                results.close()
