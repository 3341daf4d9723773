# SPDX-License-Identifier: Apache-2.0
"""`plugins` and `doctor`: what is installed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import typer

from hsflow.commands.session import session_of
from hsflow.errors import EXIT_FAILURE

if TYPE_CHECKING:
    from rich.console import Group
    from rich.table import Table

    from hsflow.plugins import PluginManager


def plugins(context: typer.Context) -> None:
    """List every hook implementation, stage and target, with the distribution that it came from."""
    from hsflow.plugins import load_plugins

    manager = load_plugins()
    data = _plugin_data(manager)
    session_of(context).show(data, lambda: _plugin_tables(data))


def _plugin_data(manager: PluginManager) -> dict[str, list[dict[str, str]]]:
    origins = {plugin.name: _origin(plugin) for plugin in manager.plugins}
    return {
        "hooks": [{"hook": item.hook, **origins[item.plugin.name]} for item in manager.implementations()],
        "stages": [
            {
                "kind": str(kind),
                "name": name,
                "stage_version": item.stage.version,
                **origins[item.plugin.name],
            }
            for (kind, name), item in manager.stages.items()
        ],
        "targets": [
            {"name": name, "description": target.description, **origins[plugin.name]}
            for name, (target, plugin) in manager.targets().items()
        ],
    }


def _origin(plugin: Any) -> dict[str, str]:
    return {"plugin": plugin.name, "distribution": plugin.distribution, "version": plugin.version}


def _plugin_tables(data: dict[str, list[dict[str, str]]]) -> Group:
    from rich.console import Group

    return Group(*(table(title.capitalize(), rows) for title, rows in data.items() if rows))


def table(title: str, rows: Sequence[dict[str, str]]) -> Table:
    """Return a table of rows that have the same keys, which become its headings."""
    from rich.table import Table
    from rich.text import Text

    made = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    for heading in rows[0]:
        made.add_column(heading.replace("_", " "), header_style="dim", overflow="fold")
    for row in rows:
        made.add_row(*(Text(cell) for cell in row.values()))
    return made


def doctor(context: typer.Context) -> None:
    """Check the tools that hsflow needs, and say how to install what is missing."""
    from dataclasses import asdict

    from hsflow.doctor import diagnose, is_ready

    findings = diagnose()
    ready = is_ready(findings)
    data = {"ready": ready, "findings": [asdict(finding) for finding in findings]}
    session_of(context).show(data, lambda: table("Tools", [_finding_row(finding) for finding in findings]))
    if not ready:
        raise typer.Exit(EXIT_FAILURE)


def _finding_row(finding: Any) -> dict[str, str]:
    missing = "missing" if finding.required else "not installed"
    return {
        "tool": finding.tool,
        "state": "found" if finding.found else missing,
        "version": finding.version,
        "location": finding.location,
        "needed_for": finding.needed_for,
        "next": "" if finding.found else finding.install,
    }
