# SPDX-License-Identifier: Apache-2.0
"""What the Edalize tools of the flow `asap7` share: each runs some of its steps, one after the other.

Every rule of the Makefile has the name of a step and no file behind it, so that make always runs it; the step itself knows
whether its result is still right (see `hsflow_asap7.runner`), which make, going by times, does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from edalize.tools.edatool import Edatool
from edalize.utils import EdaCommands
from hsflow_asap7.request import FILE_NAME

from hsflow.launch import PYTHON

_AFTER = "asap7_after"


def rule(step: str) -> str:
    """Return the name of the rule that runs a step."""
    return f"asap7_{step}"


class Asap7step(Edatool):  # type: ignore[misc]
    """Be the base of the flow's tools; a subclass names its steps, in order."""

    STEPS: ClassVar[tuple[str, ...]] = ()

    def setup(self, edam: Mapping[str, Any]) -> None:
        """Take the description of the design, and add a rule for each step after those of the tools before."""
        super().setup(edam)
        self.commands = EdaCommands()
        before = edam.get(_AFTER, ())
        for name in self.STEPS:
            self.commands.add(
                [PYTHON, "-P", "-m", "hsflow_asap7.step", name, FILE_NAME], [rule(name)], before
            )
            before = (rule(name),)
        self.commands.set_default_target(before[0])
        self.edam = {**edam, _AFTER: before}
