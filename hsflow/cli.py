# SPDX-License-Identifier: Apache-2.0
"""The `hsflow` command: parses, runs a command, and turns whatever happens into a message and an exit code.

Exit codes: 0 fine, 1 an expected failure, 2 wrong usage or configuration, 3 a bug in hsflow, 130 interrupted.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import tempfile
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from hsflow import __version__
from hsflow.commands import (
    compare,
    emulate,
    estimate,
    finetune,
    flow,
    inspection,
    optimize,
    plan,
    report,
    verify,
)
from hsflow.commands.session import Session
from hsflow.errors import EXIT_BUG, EXIT_FAILURE, EXIT_INTERRUPTED, EXIT_OK, EXIT_USAGE, HsflowError

GLOBAL_OPTIONS = ("-v", "--verbose", "-q", "--quiet", "--json")

# typer keeps this class in a private module, click's or its own; BadParameter is public and derives from it.
_CommandLineError: type[Any] = typer.BadParameter.__mro__[2]

app = typer.Typer(
    name="hsflow",
    help="Turn a trained convolutional network into adders and wires.",
    add_completion=False,
    pretty_exceptions_enable=False,
    no_args_is_help=True,
)
for command in (
    flow.new,
    flow.build,
    flow.run,
    emulate.emulate,
    estimate.estimate,
    finetune.finetune,
    optimize.optimize,
    report.report,
    compare.compare,
    plan.plan,
    verify.verify,
    inspection.plugins,
    inspection.doctor,
):
    app.command()(command)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"hsflow {__version__}")
        raise typer.Exit


@app.callback()
def options(
    context: typer.Context,
    verbose: Annotated[int, typer.Option("--verbose", "-v", count=True, help="Tell more.")] = 0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Tell only warnings and errors.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Turn a trained convolutional network into adders and wires."""
    if verbose and quiet:
        raise typer.BadParameter("-v and -q exclude each other")
    context.obj = Session(-1 if quiet else verbose, as_json)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    words = _global_options_first(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in words[: len(words) - len(_from_dashes(words))]
    try:
        return _invoke(words)
    except HsflowError as error:
        _report(error, as_json)
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        print("hsflow: interrupted; finished stages are kept", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILURE
    except Exception as error:
        _report_bug(error, words)
        return EXIT_BUG


def _invoke(words: list[str]) -> int:
    try:
        status = typer.main.get_command(app).main(args=words, prog_name="hsflow", standalone_mode=False)
    except _CommandLineError as error:
        error.show()
        return EXIT_USAGE
    sys.stdout.flush()
    if status == EXIT_INTERRUPTED:  # typer's own answer to a KeyboardInterrupt
        raise KeyboardInterrupt
    return status if isinstance(status, int) else EXIT_OK


def _global_options_first(arguments: Sequence[str]) -> list[str]:
    """Return the words with -v, -q and --json in front, so that they may stand anywhere before `--`."""
    after = _from_dashes(arguments)
    before = list(arguments)[: len(arguments) - len(after)]
    is_global = [word in GLOBAL_OPTIONS or word in ("-vv", "-vvv") for word in before]
    first = [word for word, chosen in zip(before, is_global, strict=True) if chosen]
    rest = [word for word, chosen in zip(before, is_global, strict=True) if not chosen]
    return [*first, *rest, *after]


def _from_dashes(words: Sequence[str]) -> list[str]:
    return list(words[words.index("--") :]) if "--" in words else []


def _report(error: HsflowError, as_json: bool) -> None:
    if as_json:
        fields = {name: getattr(error, name) for name in ("what", "where", "got", "expected", "hint")}
        print(json.dumps({"error": {"type": type(error).__name__, **fields}}, sort_keys=True, default=str))
    print(f"hsflow: {error}", file=sys.stderr)


def _report_bug(error: Exception, words: Sequence[str]) -> None:
    print(f"hsflow: a bug in hsflow: {type(error).__name__}: {error}", file=sys.stderr)
    try:
        print(f"  please report it, with {_write_crash_log(error, words)}", file=sys.stderr)
    except OSError as failure:
        traceback.print_exception(error)
        print(f"  please report it with the lines above (no crash log: {failure})", file=sys.stderr)


def _write_crash_log(error: Exception, words: Sequence[str]) -> Path:
    descriptor, name = tempfile.mkstemp(prefix="hsflow-crash-", suffix=".log")
    with os.fdopen(descriptor, "w", encoding="utf-8") as log:
        log.write(f"hsflow {__version__}, Python {platform.python_version()}, {platform.platform()}\n")
        log.write(f"arguments: {list(words)}\n\n")
        log.writelines(traceback.format_exception(error))
    return Path(name)


if __name__ == "__main__":
    sys.exit(main())
