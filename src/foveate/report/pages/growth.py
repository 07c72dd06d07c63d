"""Sections that a page has only where there is something to say: changes, and scenes left out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from foveate.report import blocks as ui
from foveate.report import human
from foveate.report.page import Section

if TYPE_CHECKING:
    from collections.abc import Mapping

_SHOWN = 100  # scenes of the list; run.json has all


def changes(record: Mapping[str, Any]) -> Section:
    """Say what has changed since the run was made the last time."""
    found = record.get("summary", {}).get("changes")
    if not found:
        return Section("changes", "Since the last run", [])
    about = (
        f"{human.plural(found['added'], 'patch', 'patches')} added to the pool, "
        f"{human.count(found['gone'])} gone. {found['file']} has them all."
    )
    rows = [
        ui.Row(name, [human.count(moved["in"]), human.count(moved["out"])])
        for name, moved in found["methods"].items()
    ]
    table = ui.Table("Picks that moved", ["Method", "Into the budget", "Out of it"], rows)
    return Section("changes", "Since the last run", [table] if rows else [ui.Text(about)],
                   about if rows else "", nav="Changes")  # fmt: skip


def failed(record: Mapping[str, Any]) -> Section:
    """Name the scenes that were left out, and why."""
    found = record.get("summary", {}).get("failed", {})
    named = list(found.items())[:_SHOWN]
    note = f"{human.plural(len(found), 'scene')} left out, as unreadable"
    if len(named) < len(found):
        note += f"; the first {human.count(_SHOWN)}, run.json has all"
    blocks = [ui.Pairs(named, "guide")] if named else []
    return Section("failed", "Scenes left out", blocks, f"{note}." if named else "", nav="Left out")
