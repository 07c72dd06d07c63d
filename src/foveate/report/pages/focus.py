"""The page of a focus run (look, ask, segment): the images, their answers, and all of them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from foveate.report import blocks as ui
from foveate.report import explain, human
from foveate.report import origin as made
from foveate.report.assets import Album
from foveate.report.human import number
from foveate.report.page import Page, Section
from foveate.report.pages.focus_image import answers, headline, opening, regions, search, tiling
from foveate.report.words import focus as words

if TYPE_CHECKING:
    from markupsafe import Markup

    from foveate.report.read import Focused
    from foveate.report.words import Headline

SHOWN = 8  # images with a section of their own
LISTED = 300  # images in the table
_SMALL, _MIDDLE, _CROP = 128, 960, 256  # longest sides of pictures where there are many, pixels
_IMPORTANCE = ("importance", "importance is not")  # explained by the regions, or once for all
_ROOM = 5 << 20  # bytes of pictures on the page


def focus(run: Focused) -> Page:
    """Draw the page."""
    album, many = Album(_ROOM), len(run.looks) > 1
    looks = run.looks[:SHOWN]
    for look in looks:
        album.add(look.name, look.thumb, _MIDDLE if many else None)
    inline = len(album.uris)  # these are drawn where they stand, others by reference
    crop = _CROP if many else None
    for look in looks:
        for region in look.result["regions"]:
            rank = int(region["rank"])
            album.add(f"{look.name}\n{rank}", look.crops.get(rank), crop)  # no file's name
    for look in run.looks[SHOWN:LISTED]:
        album.add(look.name, look.thumb, _SMALL)
    found = {name: ui.Shot(f"p{i}") for i, name in enumerate(album.uris) if i >= inline}
    whole = _together(run) if many else headline(run, 0)
    task, goal = run.task, run.about("goal")
    return Page.of(
        run.name, f"Focus \u00b7 {task} \u00b7 goal {goal}", whole,
        lead=[] if many else [opening(run, 0, album)],
        facts=_facts(run),
        sections=[
            *(_several(run, album, found) if many else _single(run, found)),
            Section(
                "reading", "How to read this", [_reading(run), *ui.left_out(len(album.left_out))]
            ),
        ],
        origin=made.origin(run)._replace(excluded_text=_excluded(run)),
        pictures={shot.element: album.uris[name] for name, shot in found.items()},
    )  # fmt: skip


def headlines(run: Focused) -> dict[str, Headline]:
    """Return the headline of each image by its name, and of all of them as ""."""
    each = {look.name: headline(run, i) for i, look in enumerate(run.looks)}
    return {**each, "": _together(run)} if len(run.looks) > 1 else {"": each[run.looks[0].name]}


def _together(run: Focused) -> Headline:
    tiles = sum(tiling(look.result, run.side) for look in run.looks)
    return words.looks([look.result for look in run.looks], tiles)


def _single(run: Focused, found: dict[str, ui.Shot]) -> list[Section]:
    look = run.looks[0]
    cards = [*regions(look, found), explain.terms(*_IMPORTANCE)]
    went = [*search(run, 0), explain.terms("pass")]
    return [
        Section("regions", "The regions, zoomed", cards, nav="Regions"),
        Section("answers", "The answer, with and without", answers(look), nav="Answer"),
        Section("search", "How the search went", went, nav="Search"),
    ]


def _several(run: Focused, album: Album, found: dict[str, ui.Shot]) -> list[Section]:
    parts = []
    for i, look in enumerate(run.looks[:SHOWN]):
        blocks: list[ui.Block] = [opening(run, i, album)]
        blocks.append(ui.Fold("The regions, zoomed", regions(look, found), open=True))
        if answered := answers(look):
            blocks.append(ui.Fold("The answer, with and without", answered))
        blocks.append(ui.Fold("How the search went", search(run, i)))
        head = headline(run, i)
        note = f"{head.text}. {' '.join(head.notes)}"
        parts.append(Section(f"image{i}", look.name, blocks, note))
    table = Section("images", "All images", _table(run, found), _table_note(run))
    return [table, *parts]


def _table(run: Focused, found: dict[str, ui.Shot]) -> list[ui.Block]:
    answered = any(words.with_and_without(look.result)[0] for look in run.looks)
    columns: list[ui.Column | str] = ["Image"]
    columns += (
        [ui.Column("With regions", "text"), ui.Column("Whole image", "text")] if answered else []
    )
    rows = []
    for i, look in enumerate(run.looks[:LISTED]):
        result = look.result
        mine, full = words.with_and_without(result)
        look_of = "other" if words.differs(result) else ""
        cells: list[str | Markup | ui.Cell] = (
            [ui.Cell(mine, look_of), ui.Cell(full, "soft")] if answered else []
        )
        cells += [
            human.count(len(result["regions"])), f"{number(result.get('passes')):.4g}",
            ui.Cell(words.amount(tiling(result, run.side)), "soft"),
        ]  # fmt: skip
        link = f"#image{i}" if i < SHOWN else ""
        rows.append(ui.Row(look.name, cells, link=link, shot=_square(run, i, found)))
    return [ui.Table("All images", [*columns, "Regions", "Passes", "Tiling"], rows),
            explain.terms("pass")]  # fmt: skip


def _square(run: Focused, i: int, found: dict[str, ui.Shot]) -> ui.Shot | None:
    """Return the middle of a picture that is drawn elsewhere, or the picture of its own."""
    look = run.looks[i]
    if i >= SHOWN or look.thumb is None:
        return found.get(look.name)
    height, width = look.result["shape"]
    unit = 1000 / max(height, width)
    side = min(height, width) * unit
    x, y = (width * unit - side) / 2, (height * unit - side) / 2
    return ui.Shot(f"scene{i}", f"{x:.1f} {y:.1f} {side:.1f} {side:.1f}")


def _table_note(run: Focused) -> str:
    parts = ["Tiling: passes that cutting the whole image into crops would take."]
    if len(run.looks) > LISTED:
        parts.append(f"{human.plural(len(run.looks) - LISTED, 'more image')} not listed.")
    if len(run.looks) > SHOWN:
        parts.append(
            f"The first {human.count(SHOWN)} are shown below; all are in the folder looks."
        )
    return " ".join(parts)


def _facts(run: Focused) -> list[tuple[str, str]]:
    query = run.about("query")
    found = [
        ("Images", human.count(len(run.looks))),
        ("Imagery", made.imagery(run)),
        ("Model", made.encoder_name(run)),
        ("Goal", run.about("goal") + (f": \u201c{query}\u201d" if query else "")),
        ("Mode", run.about("mode")),
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


def _reading(run: Focused) -> ui.Pairs:
    """Say what the map and the answers are worth; other terms stand where they are used."""
    goal, mode = run.about("goal"), run.about("mode")
    rows = [*explain.terms(*_IMPORTANCE).items] if len(run.looks) > 1 else []
    if explain.goal(goal):
        rows.append((f"The goal {goal}", f"Looks for {explain.goal(goal)}."))
    if explain.mode(mode):
        rows.append((f"What mode {mode} can see", explain.mode(mode)))
    classes = any(look.result.get("answers") for look in run.looks)
    rows.append(("What the answers are worth", _worth(run.task, run.side, classes=classes)))
    return ui.Pairs(rows, "guide")


def _worth(task: str, side: int, *, classes: bool) -> str:
    squeezed = f"The whole image was squeezed to {side} pixels a side for its answer"
    if task == "ask":
        return (
            f"{squeezed}, or what the model makes of it. Both texts are what a generative model "
            "wrote: fluent, and possibly made up. Where they differ, look at the regions."
        )
    if task == "segment":
        return (
            "The masks are the model\u2019s, and so is their quality: it was not checked against "
            "anything. More masks are not better masks."
        )
    if not classes:
        return (
            "There are no classes, so there is no answer to compare: regions were chosen by "
            "their features alone. Whether they are what you are after, only the pictures say."
        )
    return (
        f"{squeezed}. Its probability says how far a class is ahead of the others on the list, "
        "not that it is true: whatever is missing from the list goes to the nearest class, and "
        "the model may be sure of that. The same holds for every region. Where the answers "
        "differ, the pictures decide."
    )
