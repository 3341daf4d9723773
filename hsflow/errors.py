# SPDX-License-Identifier: Apache-2.0
"""The errors that hsflow raises on purpose, and the exit codes that they become.

    HsflowError                 exit code 1: expected; the message tells the next step
    ├── ModelError              the network, its weights or its shapes
    ├── ConfigurationError      flow.toml or a command-line option       (exit code 2)
    ├── PluginError             a plugin or hook implementation
    ├── StoreError              the artefact store on disk
    ├── ToolError               an external program failed or is missing
    └── MismatchError           two implementations that must agree do not

Anything else that reaches the command line is a bug in hsflow (exit code 3).
"""

from __future__ import annotations

EXIT_OK = 0
EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_BUG = 3
EXIT_INTERRUPTED = 130


class HsflowError(Exception):
    """Tell what went wrong, where, what was found, what was expected, and what to do next."""

    exit_code = EXIT_FAILURE

    def __init__(
        self,
        what: str,
        *,
        where: str | None = None,
        got: object = None,
        expected: object = None,
        hint: str | None = None,
    ) -> None:
        self.what = what
        self.where = where
        self.got = got
        self.expected = expected
        self.hint = hint
        super().__init__(self._message())

    def _message(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        details = (("got", self.got), ("expected", self.expected), ("next", self.hint))
        return "\n".join([head, *(f"  {label}: {value}" for label, value in details if value is not None)])


class ModelError(HsflowError):
    """Report a network that hsflow cannot take: an operator, a shape, a weight, a width."""


class ConfigurationError(HsflowError):
    """Report a configuration file or option that is unknown, ill-typed or contradictory."""

    exit_code = EXIT_USAGE


class PluginError(HsflowError):
    """Report a plugin that cannot be loaded, is registered twice, or breaks its contract."""


class StoreError(HsflowError):
    """Report an artefact store that is unreadable, locked for too long, or damaged."""


class ToolError(HsflowError):
    """Report an external program that is missing, failed, or ran out of time."""


class MismatchError(HsflowError):
    """Report that two implementations of one semantics disagree on an integer."""
