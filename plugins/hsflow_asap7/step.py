# SPDX-License-Identifier: Apache-2.0
"""One step of the flow as a program: `python -P -m hsflow_asap7.step NAME WORK_ROOT/asap7.json`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from hsflow.errors import EXIT_INTERRUPTED, EXIT_USAGE, HsflowError
from hsflow.process import terminate_as_interrupt
from hsflow_asap7.request import read_request
from hsflow_asap7.runner import perform
from hsflow_asap7.steps import STEPS


def main(argv: Sequence[str] | None = None) -> int:
    """Run the step that the command line names; one that is skipped is no failure."""
    words = list(sys.argv[1:] if argv is None else argv)
    if len(words) != 2 or words[0] not in STEPS:
        print(
            f"usage: python -P -m hsflow_asap7.step {'|'.join(STEPS)} WORK_ROOT/asap7.json", file=sys.stderr
        )
        return EXIT_USAGE
    work_root = Path(words[1]).parent
    try:
        with terminate_as_interrupt():
            perform(STEPS[words[0]], read_request(work_root), work_root)
    except HsflowError as error:
        print(f"hsflow: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
