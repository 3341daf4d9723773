# SPDX-License-Identifier: Apache-2.0
"""Run a Yosys script, a command a line: `run_yosys.py SCRIPT`."""

from __future__ import annotations

import sys
from pathlib import Path

from pyosys import libyosys


def main(script: Path) -> None:
    """Run a script."""
    design = libyosys.Design()
    for line in script.read_text(encoding="utf-8").splitlines():
        libyosys.run_pass(line, design)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
