"""Optional sections of a page: changes since the last run, and excluded scenes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from foveate.report import blocks as ui
from foveate.report import human
from foveate.report.page import Section

if TYPE_CHECKING:
    from collections.abc import Mapping

_SHOWN = 100  # maximum number of listed scenes; run.json has all


def changes(record: Mapping[str, Any]) -> Section:
    """Return the changes of the pool and the selections since the last run."""
    found = record.get("summary", {}).get("changes")
    if not found:
        return Section("changes", "Changes since the last run", [])
    about = (
        f"{human.plural(found['added'], 'patch', 'patches')} added to the pool, "
        f"{human.count(found['gone'])} removed. All are in {found['file']}."
    )
    rows = [
        ui.Row(name, [human.count(moved["in"]), human.count(moved["out"])])
        for name, moved in found["methods"].items()
    ]
    table = ui.Table("Changed picks", ["Method", "Newly selected", "No longer selected"], rows)
    return Section("changes", "Changes since the last run", [table] if rows else [ui.Text(about)],
                   about if rows else "", nav="Changes")  # fmt: skip


def failed(record: Mapping[str, Any]) -> Section:
    """Return the scenes that were skipped because of errors, with the reasons."""
    found = record.get("summary", {}).get("failed", {})
    named = list(found.items())[:_SHOWN]
    note = f"{human.plural(len(found), 'scene')} excluded because of errors"
    if len(named) < len(found):
        note += f"; the first {human.count(_SHOWN)} are listed, all are in run.json"
    blocks = [ui.Pairs(named, "guide")] if named else []
    return Section("failed", "Excluded scenes", blocks, f"{note}." if named else "", nav="Excluded")
