"""The view model: everything the template shows, in order, as plain values.

The template holds no logic beyond loops and "is there any"; every number here is text already.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from foveate.report import charts, human, numbers, provenance
from foveate.report.panels import Panel, class_bar, panel, shares
from foveate.report.picked import headlines as said_of
from foveate.report.picked import picked, together
from foveate.report.pictures import Album
from foveate.report.scenes import SceneCard, cards
from foveate.report.words import Headline

if TYPE_CHECKING:
    from markupsafe import Markup
    from numpy.typing import NDArray

    from foveate.report.data import RunData
    from foveate.report.provenance import Origin

USUAL = "fa-cb"  # curate's default method opens the report when it is among several
AGREED = 12  # patches that most methods chose
CHIPS = 9  # more methods than this go into a list instead of buttons


class Cell(NamedTuple):
    """One cell of a heat map."""

    text: str
    tint: str
    tip: str


class Heat(NamedTuple):
    """A heat map of methods against methods; a dense one shows no numbers."""

    title: str
    note: str
    names: list[str]
    rows: list[list[Cell]]
    dense: bool


class Shot(NamedTuple):
    """Where the picture of a patch is on the page: an element, and the part of it to show."""

    element: str
    box: str


class Vote(NamedTuple):
    """How many tiles were chosen by so many methods."""

    label: str
    tiles: str
    chance: str
    bar: Markup


class Agreed(NamedTuple):
    """A patch that many methods chose."""

    tile: int
    name: str
    scene: str
    votes: str
    bar: Markup | None


@dataclass(frozen=True)
class View:
    """The page."""

    template: ClassVar[str] = "report.html.j2"

    title: str
    lead: int
    panels: list[Panel]
    chips: bool
    has_classes: bool
    said: str
    compare_note: str
    scenes: list[SceneCard]
    scenes_note: str
    scenes_empty: str
    heats: list[Heat]
    votes: list[Vote]
    votes_note: str
    agreed: list[Agreed]
    agreed_note: str
    repeats: bool
    repeats_note: str
    facts: list[tuple[str, str]]
    origin: Origin
    pictures: dict[str, str]
    shots: dict[str, Shot]
    pictures_note: str
    script: dict[str, Any]


def build(run: RunData) -> View:
    """Turn a run into the page's content."""
    album, overviews = Album(), Album()
    names = [m.name for m in run.methods]
    lead = names.index(USUAL) if USUAL in names else 0
    order = [lead, *(i for i in range(len(names)) if i != lead)]
    degree = numbers.overlaps(run.scene, run.windows)
    compared, repeats = picked(run, degree), bool(degree.any())
    said = said_of(run, compared)
    built = {
        i: panel(run, run.methods[i], i, album, compared[i], said[names[i]], repeats=repeats)
        for i in order
    }
    panels = [built[i] for i in range(len(names))]
    agreed, agreed_note = _agreed(run, album)
    votes, votes_note = _votes(run)
    scene_cards, data, scenes_note = cards(run, lead, overviews)
    thumbs = {t.tile for p in panels for t in (*p.best, *p.worst)} | {a.tile for a in agreed}
    keys = {key: f"p{i}" for i, key in enumerate(album.uris)}
    shots = _shots(run, thumbs, keys, scene_cards)
    data |= {
        "methods": [{"name": p.name, "short": p.short} for p in panels],
        "lead": lead,
        "classes": run.classes,
        "colors": [charts.colour(c) for c in run.colors],
        "thumbs": {str(row): _thumb(run, row, shots) for row in sorted(thumbs)},
    }
    entropy = math.nan
    if run.counts is not None:
        entropy = numbers.balance(run.counts, np.arange(run.n)).entropy_pool
    return View(
        title=run.name,
        lead=lead,
        panels=panels,
        chips=len(panels) <= CHIPS,
        has_classes=any(p.classes for p in panels),
        said=together(run, compared),
        compare_note=_compare(entropy, overlaps=repeats),
        scenes=scene_cards,
        scenes_note=scenes_note,
        scenes_empty=_empty(sum(not card.picks for card in scene_cards), panels[lead].short),
        heats=_heats(run, panels),
        votes=votes,
        votes_note=votes_note,
        agreed=agreed,
        agreed_note=agreed_note,
        repeats=repeats,
        repeats_note=_repeats(degree),
        facts=provenance.facts(run),
        origin=provenance.origin(run),
        pictures={keys[key]: uri for key, uri in album.uris.items()},
        shots=shots,
        pictures_note=_left_out(len(album.left_out) + len(overviews.left_out)),
        script=data,
    )


def headlines(run: RunData) -> dict[str, Headline]:
    """Return what is said of each method by its name, and of all beside each other as ""."""
    found = picked(run, numbers.overlaps(run.scene, run.windows))
    return {**said_of(run, found), "": Headline(together(run, found))}


def _shots(
    run: RunData, rows: set[int], keys: dict[str, str], scenes: list[SceneCard]
) -> dict[str, Shot]:
    """Find a picture for each patch: its own, else its window in the overview of its scene."""
    overviews = {card.name: f"scene{card.index}" for card in scenes if card.picture}
    shots = {}
    for row in rows:
        tile, scene = run.ids[row], run.scenes[run.scene[row]]["scene"]
        y, x, h, w = run.windows[row].tolist()
        if tile in keys:
            shots[tile] = Shot(keys[tile], "0 0 1 1")
        elif scene in overviews:
            shots[tile] = Shot(overviews[scene], f"{x} {y} {w} {h}")
    return shots


def _thumb(run: RunData, row: int, shots: dict[str, Shot]) -> dict[str, Any]:
    def plain(value: float, digits: str) -> float | None:
        return float(format(value, digits)) if math.isfinite(value) else None

    return {
        "id": run.ids[row],
        "picture": shots.get(run.ids[row]),
        "scene": run.scenes[run.scene[row]]["scene"],
        "window": run.windows[row].tolist(),
        "shares": None if run.counts is None else [plain(s, ".4f") for s in shares(run, row)],
        "ranks": [plain(m.rank[row], ".0f") for m in run.methods],
        "scores": [plain(m.score[row], ".4g") for m in run.methods],
        "kept": [bool((m.picks == row).any()) for m in run.methods],
    }


def _heats(run: RunData, panels: list[Panel]) -> list[Heat]:
    if len(panels) < 2:
        return []
    names = [p.short for p in panels]
    dense = len(names) > 12

    def heat(title: str, note: str, values: np.ndarray, show: Any) -> Heat:
        rows = []
        for i, row in enumerate(values):
            rows.append(
                [
                    Cell(
                        show(v) if i != j else "",
                        "self" if i == j else charts.tint(v),
                        f"{names[i]} and {names[j]}: {show(v)}" if i != j else names[i],
                    )
                    for j, v in enumerate(row.tolist())
                ]
            )
        return Heat(title, note, names, rows, dense)

    found = [
        heat(
            "Same patches",
            "Share of the smaller selection that is in the other.",
            run.overlap,
            human.share,
        )
    ]
    if np.isfinite(run.kendall).any():
        found.append(
            heat(
                "Same order",
                "Kendall\u2019s \u03c4 over the whole pool: 1 is the same order, 0 unrelated, "
                "\u22121 reversed. A dash: one of the two is not a full ranking.",
                run.kendall,
                human.decimal,
            )
        )
    return found


def _votes(run: RunData) -> tuple[list[Vote], str]:
    methods = len(run.methods)
    if methods < 2:
        return [], ""
    picks = [m.picks for m in run.methods]
    tiles = np.bincount(numbers.consensus(run.n, picks), minlength=methods + 1).tolist()
    chance = numbers.votes_by_chance(run.n, [p.size for p in picks]).tolist()
    note = f"{human.plural(tiles[0], 'patch', 'patches')} ({human.share(tiles[0] / run.n)}) "
    note += f"were chosen by no method; {human.count(chance[0])} are to be expected of methods "
    note += "that know nothing of each other, which is what the marks stand for."
    shown = [v for v in range(1, methods + 1) if tiles[v] or chance[v] >= 0.5]
    top = max([1.0, *(max(tiles[v], chance[v]) for v in shown)])
    rows = []
    for votes in shown:
        label = "all methods" if votes == methods else human.plural(votes, "method")
        text = f"{human.plural(tiles[votes], 'patch', 'patches')} chosen by {label}"
        usual = "<1" if chance[votes] < 0.5 else human.count(chance[votes])
        bar = charts.bar(tiles[votes] / top, text, chance[votes] / top)
        rows.append(Vote(label, human.count(tiles[votes]), usual, bar))
    return rows, note


def _agreed(run: RunData, album: Album) -> tuple[list[Agreed], str]:
    methods = len(run.methods)
    if methods < 3:
        return [], ""
    votes = numbers.consensus(run.n, [m.picks for m in run.methods])
    drawn = np.array([i in run.tile_files for i in run.ids])
    places = np.sum([np.nan_to_num(m.rank, nan=run.n) for m in run.methods], axis=0)
    order = np.lexsort((np.arange(run.n), places, ~drawn, -votes))
    rows = [int(i) for i in order[:AGREED] if votes[i] >= 2]
    found = []
    for row in rows:
        tile = run.ids[row]
        if tile in run.tile_files:
            album.add(tile, run.tile_files[tile])
        scene = run.scenes[run.scene[row]]["scene"]
        bar = None if run.counts is None else class_bar(run, row)
        found.append(Agreed(row, tile, scene, f"{votes[row]} of {methods}", bar))
    most = int(votes.max(initial=0))
    return found, f"The most agreed on: {most} of {methods} methods." if found else ""


def _compare(entropy: float, *, overlaps: bool) -> str:
    """Say what the table of methods shows."""
    text = "What each method made of the same budget."
    if math.isfinite(entropy):
        text += f" The mark on the entropy bars is the pool as it was, {human.decimal(entropy)}."
    if overlaps:
        text += " The mark on the overlap bars is what random picks would have."
    return f"{text} Choose a method to see the rest of the page through it."


def _repeats(degree: NDArray[np.int64]) -> str:
    """Explain overlapping picks for this pool."""
    if not degree.any():
        return (
            "No two windows of this pool share a pixel, so no pick can repeat another. "
            "Neighbours may still look alike."
        )
    return (
        f"In this pool {human.share(float((degree > 0).mean()))} of the windows share pixels with "
        "another one. Overlapping picks are paid for twice and teach less than the budget "
        "suggests; methods that score each patch alone are drawn to them. The mark is what the "
        "same number of random picks would have. A smaller max_overlap puts more of them back, and "
        "cutting without overlap (a stride of the tile's side and edge=drop) leaves none."
    )


def _empty(number: int, short: str) -> str:
    """Say how many of the shown scenes have no pick; the script says the same of other methods."""
    if not number:
        return ""
    scenes = "scene has" if number == 1 else "scenes have"
    return f"{number} more {scenes} picks of other methods, none of {short}."


def _left_out(number: int) -> str:
    if not number:
        return ""
    return (
        f"{human.plural(number, 'picture')} could not be shown: not stored with the "
        "run, or left out to keep this page small."
    )
