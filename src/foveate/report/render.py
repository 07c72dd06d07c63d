"""The view model, the template, the style sheet and the script, put into one file.

The page asks the network for nothing and may not: its Content-Security-Policy allows pictures
from data URIs and exactly this style sheet and this script, by their hashes. Names of files,
scenes and classes are anybody's: jinja2 escapes all of them, the script's data is JSON in which
``< > &`` are escaped, and the script only ever sets ``textContent``.
"""

from __future__ import annotations

import base64
import functools
import hashlib
from importlib import resources
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import Environment

    from foveate.report.benched import BenchedView
    from foveate.report.classified import ClassifiedView
    from foveate.report.focused import FocusedView
    from foveate.report.observed import ObservedView
    from foveate.report.view import View

_FOLDER = "templates"


def render(view: View | ClassifiedView | FocusedView | ObservedView | BenchedView) -> str:
    """Return the page as HTML; a view without a script gets a page that may run none."""
    from markupsafe import Markup

    style = "".join(map(_read, ("report.css", *getattr(view, "styles", ()))))
    script = _read("report.js") if view.script else ""
    run = f"'{_hash(script)}'" if script else "'none'"
    policy = (
        f"default-src 'none'; img-src data:; style-src '{_hash(style)}'; "
        f"script-src {run}; base-uri 'none'; form-action 'none'"
    )
    return _environment().get_template(view.template).render(
        # Markup: these two are files of this package, not data.
        view=view, style=Markup(style), script=Markup(script), policy=policy,  # noqa: S704
    )  # fmt: skip


@functools.cache
def _environment() -> Environment:
    """Return what holds the templates: each is compiled once."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    return Environment(
        loader=PackageLoader("foveate.report", _FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _read(name: str) -> str:
    text = (resources.files("foveate.report") / _FOLDER / name).read_text(encoding="utf-8")
    return text.replace("\r\n", "\n")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
