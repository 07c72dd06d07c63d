"""Rendering of a page to one HTML file with style sheet and script.

The page makes no network requests: its Content-Security-Policy allows pictures from data URIs,
this style sheet and this script, the latter two by hash. Names of files, scenes and classes are
untrusted: jinja2 escapes all of them, and the script reads them from attributes and only sets
``textContent``. Pages that do not need the script may not run any.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import re
from importlib import resources
from typing import TYPE_CHECKING

from foveate.report.blocks import Cell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from jinja2 import Environment

    from foveate.report.blocks import Row
    from foveate.report.page import Page

_MODES = (("picture", "Picture"), ("marks", "Regions"), ("tint", "Heat map"))


def render(page: Page) -> str:
    """Return a page as HTML."""
    from markupsafe import Markup

    style, script = _read("style.css"), _read("switch.js") if page.script else ""
    run = f"'{_hash(script)}'" if script else "'none'"
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; "
        f"script-src {run}; base-uri 'none'; form-action 'none'"
    )
    return _environment().get_template("page.html.j2").render(
        # Markup: both are files of this package, not user data.
        page=page, style=Markup(style), script=Markup(script), policy=policy,  # noqa: S704
        groups=_groups, about=_about, modes=_MODES,
    )  # fmt: skip


def _groups(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """Return the rows of a table by group title."""
    found: dict[str, list[Row]] = {}
    for row in rows:
        cells = [cell if isinstance(cell, Cell) else Cell(cell) for cell in row.cells]
        found.setdefault(row.group, []).append(row._replace(cells=cells))
    return list(found.items())


def _about(facts: Sequence[tuple[str, str]]) -> str:
    """Return facts for the script: one per line, name and value separated by a tab."""
    return "\n".join("\t".join(re.sub(r"[\t\r\n]", " ", part) for part in fact) for fact in facts)


@functools.cache
def _environment() -> Environment:
    """Return the jinja2 environment; the template is compiled once."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("foveate.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _read(name: str) -> str:
    text = (resources.files("foveate.report") / "templates" / name).read_text(encoding="utf-8")
    return text.replace("\r\n", "\n")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
