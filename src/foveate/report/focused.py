"""The page of a focus run: what it holds, and everything that its template shows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from foveate.report import human, provenance
from foveate.report.look_data import Focused, read_focused
from foveate.report.look_guides import looking
from foveate.report.looked import LookView, headline, looked, tiling
from foveate.report.pictures import Album
from foveate.report.stage import number
from foveate.report.view import Shot
from foveate.report.words import focus as words

if TYPE_CHECKING:
    from foveate.report.provenance import Origin
    from foveate.report.words import Headline

SHOWN = 8  # images with a section of their own
LISTED = 300  # images in the table
__all__ = ["FocusedView", "build", "headlines", "read_focused"]

_SMALL, _MIDDLE = 128, 960  # longest sides of pictures where there are many, pixels
_ROOM = 5 << 20  # bytes of pictures on the page


class Row(NamedTuple):
    """One image in the table; `anchor` is the address of its section, or ""."""

    key: str
    anchor: str
    name: str
    found: str
    full: str
    differs: bool
    passes: str
    tiles: str
    regions: str


@dataclass(frozen=True)
class FocusedView:
    """The page."""

    template: ClassVar[str] = "focused.html.j2"
    styles: ClassVar[tuple[str, ...]] = ("focused.css",)
    script: ClassVar[dict[str, Any]] = {}  # the page is complete without one

    title: str
    kicker: str
    headline: str
    verdicts: tuple[str, ...]
    facts: list[tuple[str, str]]
    rows: list[Row]
    rows_note: str
    answered: bool
    looks: list[LookView]
    reading: list[tuple[str, str]]
    pictures_note: str
    origin: Origin
    pictures: dict[str, str]
    shots: dict[str, Shot]


def build(run: Focused) -> FocusedView:
    """Turn a run into the page's content."""
    album, many = Album(_ROOM), len(run.looks) > 1
    for look in run.looks[:SHOWN]:
        album.add(look.name, look.thumb, _MIDDLE if many else None)
    shown = [looked(run, place, album) for place in range(min(SHOWN, len(run.looks)))]
    for look in run.looks[SHOWN:LISTED]:
        album.add(look.name, look.thumb, _SMALL)
    scenes = {look.name: look.stage for look in shown}
    # The picture of an image with a section is there already.
    keys = {name: f"p{i}" for i, name in enumerate(album.uris) if name not in scenes}
    shots = {name: Shot(key, "0 0 1 1") for name, key in keys.items()}
    shots |= {
        name: Shot(stage.element, _square(stage.width, stage.height))
        for name, stage in scenes.items()
        if stage.picture
    }
    rows = [_row(run, place) for place in range(min(LISTED, len(run.looks)))] if many else []
    said = _together(run) if many else headline(run, 0)
    return FocusedView(
        title=run.name,
        kicker=f"Focus \u00b7 {_about(run, 'task')} \u00b7 goal {_about(run, 'goal')}",
        headline=said.text,
        verdicts=said.notes,
        facts=_facts(run),
        rows=rows,
        rows_note=_rows_note(run, len(shown)),
        answered=any(row.found for row in rows),
        looks=shown,
        reading=looking(
            run.task, _about(run, "goal"), _about(run, "mode"), run.side,
            classes=any(look.result.get("answers") for look in run.looks),
        ),
        pictures_note=_left_out(len(album.left_out)),
        origin=provenance.origin(run)._replace(excluded_text=_excluded(run)),
        pictures={keys[name]: uri for name, uri in album.uris.items() if name in keys},
        shots=shots,
    )  # fmt: skip


def _about(run: Focused, key: str) -> str:
    return str(run.record["summary"]["focus"].get(key, ""))


def _square(width: float, height: float) -> str:
    """Return the middle of a picture as a view box."""
    side = min(width, height)
    return f"{(width - side) / 2:.1f} {(height - side) / 2:.1f} {side} {side}"


def headlines(run: Focused) -> dict[str, Headline]:
    """Return what is said of each image by its name, and of all of them as ""."""
    each = {look.name: headline(run, place) for place, look in enumerate(run.looks)}
    return {**each, "": _together(run)} if len(run.looks) > 1 else {"": each[run.looks[0].name]}


def _together(run: Focused) -> Headline:
    tiles = sum(tiling(look.result, run.side) for look in run.looks)
    return words.looks([look.result for look in run.looks], tiles)


def _row(run: Focused, place: int) -> Row:
    look = run.looks[place]
    found, full = words.with_and_without(look.result)
    return Row(
        look.name, f"#image{place}" if place < SHOWN else "", look.name, found, full,
        words.differs(look.result), f"{number(look.result.get('passes')):.4g}",
        words.amount(tiling(look.result, run.side)),
        human.count(len(look.result["regions"])),
    )  # fmt: skip


def _rows_note(run: Focused, shown: int) -> str:
    parts = ["Tiling: passes that cutting the whole image into crops would take."]
    if len(run.looks) > LISTED:
        parts.append(f"{human.plural(len(run.looks) - LISTED, 'more image')} not listed.")
    if len(run.looks) > shown:
        parts.append(
            f"The first {human.count(shown)} are shown below; all are in the folder looks."
        )
    return " ".join(parts)


def _facts(run: Focused) -> list[tuple[str, str]]:
    summary = run.record["summary"]
    pool = summary.get("pool", {})
    kind = "georeferenced" if pool.get("georeferenced") else "no georeference"
    bands = human.plural(int(pool.get("bands", 0)), "band")
    query = _about(run, "query")
    found = [
        ("Images", human.count(len(run.looks))),
        ("Imagery", f"{bands}, {pool.get('dtype', '?')}, {kind}"),
        ("Model", (run.encoder or {}).get("name", "?")),
        ("Goal", _about(run, "goal") + (f": \u201c{query}\u201d" if query else "")),
        ("Mode", _about(run, "mode")),
        ("Budget", _budget(run)),
    ]
    return found if len(run.looks) > 1 else [("Image", run.looks[0].name), *found[1:]]


def _budget(run: Focused) -> str:
    """Say what a look might spend; of looks of earlier versions the job says it."""
    stated = run.record.get("job", {}).get("passes")
    each = [number(look.result.get("passes_budget", stated)) for look in run.looks]
    known = [value for value in each if math.isfinite(value) and value > 0]
    if len(known) < len(each):
        return "no limit of passes"
    low, high = min(known), max(known)
    return f"{words.passes(high)} an image" if low == high else (
        f"{words.amount(low)} to {words.passes(high)} an image"
    )  # fmt: skip


def _excluded(run: Focused) -> str:
    """Say how much of the images was not looked at."""
    whole = sum(number(look.result["shape"][0]) * look.result["shape"][1] for look in run.looks)
    cells = 0.0
    for look in run.looks:
        sides = (np.array(look.columns[name], np.float64) for name in ("cell_h", "cell_w"))
        cells += float(np.prod(list(sides), axis=0).sum())
    left = 1 - cells / whole
    if left < 5e-4:
        return "Nothing: the cells cover every image."
    least = run.record.get("job", {}).get("min_valid")
    bound = f"less than {human.share(least)}" if least is not None else "too few"
    return (
        f"{human.share(left)} of the pixels: cells with {bound} valid pixels were not looked at, "
        "and the map is empty there."
    )


def _left_out(number_: int) -> str:
    if not number_:
        return ""
    return f"{human.plural(number_, 'picture')} left out to keep this page small."
