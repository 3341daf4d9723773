# SPDX-License-Identifier: Apache-2.0
"""The Edalize build runner `hsflow`: make, with hsflow's launcher before each tool."""

from __future__ import annotations

import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

from edalize.build_runners.make import Make


def launcher() -> str:
    """Return the command that resolves tools in this environment, as make hands it to a shell.

    With `-P` Python imports nothing from the work root, in which make runs it.
    """
    return f"{shlex.quote(sys.executable)} -P -m hsflow.launch"


class Hsflow(Make):  # type: ignore[misc]
    """Run the build graph by make; the tools are native ones or those of this environment's wheels.

    The launcher is given on make's command line, so that the Makefile holds no path of this machine.
    """

    def get_build_command(self) -> tuple[str, list[str]]:
        """Return the program and its arguments."""
        return "make", [f"EDALIZE_LAUNCHER={launcher()}", *self.build_options]

    def write(self, commands: Any, work_root: Path | str) -> None:
        """Write the Makefile in one step, with partial outputs of failed tools deleted."""
        root = Path(work_root)
        with tempfile.TemporaryDirectory(dir=root, prefix=".makefile-") as folder:
            super().write(commands, Path(folder))
            written = Path(folder) / "Makefile"
            text = written.read_text(encoding="utf-8")
            written.write_text(text + "\n.DELETE_ON_ERROR:\n", encoding="utf-8")
            written.replace(root / "Makefile")
