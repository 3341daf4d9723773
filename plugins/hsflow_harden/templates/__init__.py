# SPDX-License-Identifier: Apache-2.0
"""The RTL templates and the environment that renders them."""

from __future__ import annotations

from jinja2 import Environment, PackageLoader, StrictUndefined

_ENVIRONMENT = Environment(
    loader=PackageLoader("hsflow_harden"),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
    autoescape=False,  # noqa: S701  (Verilog, not HTML; names are identifiers or escaped comments)
)


def render(template: str, **context: object) -> str:
    """Return the text of `template`; a name that the context lacks is an error."""
    return _ENVIRONMENT.get_template(template).render(**context)
