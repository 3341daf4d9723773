# SPDX-License-Identifier: Apache-2.0
"""Rendering of the text templates that a package keeps in a folder of its own."""

from __future__ import annotations

from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined


def render(package: str, template: str, *, folder: str = "templates", **context: object) -> str:
    """Return the text of `template` in `folder` of `package`; a name that the context lacks is an error."""
    return _environment(package, folder).get_template(template).render(**context)


@cache
def _environment(package: str, folder: str) -> Environment:
    return Environment(
        loader=PackageLoader(package, folder),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701  (Verilog, not HTML: names are identifiers or escaped comments)
    )
