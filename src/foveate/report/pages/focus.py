"""The page of a focus run (look, ask, segment): images, regions, answers, and the search."""

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
from foveate.report.pages import growth
from foveate.report.pages.focus_image import answers, headline, opening, regions, search, tiling
from foveate.report.words import focus as words

if TYPE_CHECKING:
    from markupsafe import Markup

    from foveate.report.read import Focused
    from foveate.report.words import Headline

SHOWN = 8  # images with their own section
LISTED = 300  # images in the table
_SMALL, _MIDDLE, _CROP = 128, 960, 256  # longest sides of pictures of several images, pixels
_IMPORTANCE = ("importance", "importance is not")  # explained with the regions, or once
_ROOM = 5 << 20  # bytes of pictures on the page


def focus(run: Focused) -> Page:
    """Draw the page."""
    album, many = Album(_ROOM), len(run.looks) > 1
    looks = run.looks[:SHOWN]
    for look in looks:
        album.add(look.name, look.thumb, _MIDDLE if many else None)
    inline = len(album.uris)  # the first pictures are inline, later ones are referenced
    crop = _CROP if many else None
    for look in looks:
        for region in look.result["regions"]:
            rank = int(region["rank"])
            album.add(f"{look.name}\n{rank}", look.crops.get(rank), crop)  # cannot be a file name
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
            growth.failed(run.record),
            Section(
                "reading", "Interpretation", [_reading(run), *ui.left_out(len(album.left_out))]
            ),
        ],
        origin=made.origin(run)._replace(excluded_text=_excluded(run)),
        pictures={shot.element: album.uris[name] for name, shot in found.items()},
    )  # fmt: skip


def headlines(run: Focused) -> dict[str, Headline]:
    """Return the headline of each image by name, and that of all images with the key ""."""
    each = {look.name: headline(run, i) for i, look in enumerate(run.looks)}
    return {**each, "": _together(run)} if len(run.looks) > 1 else {"": each[run.looks[0].name]}


def _together(run: Focused) -> Headline:
    tiles = sum(tiling(look.result, run.side) for look in run.looks)
    return words.looks([look.result for look in run.looks], tiles)


def _single(run: Focused, found: dict[str, ui.Shot]) -> list[Section]:
    look = run.looks[0]
    cards = [*regions(look, found), explain.terms(*_IMPORTANCE)]
    blocks = [*search(run, 0), explain.terms("pass")]
    return [
        Section("regions", "Selected regions", cards, nav="Regions"),
        Section("answers", "Answers with and without regions", answers(look), nav="Answer"),
        Section("search", "Search", blocks, nav="Search"),
    ]


def _several(run: Focused, album: Album, found: dict[str, ui.Shot]) -> list[Section]:
    parts = []
    for i, look in enumerate(run.looks[:SHOWN]):
        blocks: list[ui.Block] = [opening(run, i, album)]
        blocks.append(ui.Fold("Selected regions", regions(look, found), open=True))
        if answered := answers(look):
            blocks.append(ui.Fold("Answers with and without regions", answered))
        blocks.append(ui.Fold("Search", search(run, i)))
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
        answer, full = words.with_and_without(result)
        style = "other" if words.differs(result) else ""
        cells: list[str | Markup | ui.Cell] = (
            [ui.Cell(answer, style), ui.Cell(full, "soft")] if answered else []
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
    """Return the central square of a picture drawn in its section, or the separate picture."""
    look = run.looks[i]
    if i >= SHOWN or look.thumb is None:
        return found.get(look.name)
    height, width = look.result["shape"]
    unit = 1000 / max(height, width)
    side = min(height, width) * unit
    x, y = (width * unit - side) / 2, (height * unit - side) / 2
    return ui.Shot(f"scene{i}", f"{x:.1f} {y:.1f} {side:.1f} {side:.1f}")


def _table_note(run: Focused) -> str:
    parts = ["Tiling: number of passes to encode every crop of the image."]
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
    """Return the budget of a look; runs of earlier versions store it in the job."""
    stated = run.record.get("job", {}).get("passes")
    each = [number(look.result.get("passes_budget", stated)) for look in run.looks]
    known = [value for value in each if math.isfinite(value) and value > 0]
    if len(known) < len(each):
        return "no limit on passes"
    low, high = min(known), max(known)
    return f"{words.passes(high)} per image" if low == high else (
        f"{words.amount(low)} to {words.passes(high)} per image"
    )  # fmt: skip


def _excluded(run: Focused) -> str:
    """Return the excluded share of the images, as a sentence."""
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
        f"{human.share(left)} of the pixels: cells with {bound} valid pixels were skipped, and the "
        "map is empty there."
    )


def _reading(run: Focused) -> ui.Pairs:
    """Return explanations of the map and the answers."""
    goal, mode = run.about("goal"), run.about("mode")
    rows = [*explain.terms(*_IMPORTANCE).items] if len(run.looks) > 1 else []
    if explain.goal(goal):
        rows.append((f"The goal {goal}", f"Selects {explain.goal(goal)}."))
    if explain.mode(mode):
        rows.append((f"What mode {mode} can see", explain.mode(mode)))
    classes = any(look.result.get("answers") for look in run.looks)
    rows.append(("Reliability of the answers", _reliability(run.task, run.side, classes=classes)))
    return ui.Pairs(rows, "guide")


def _reliability(task: str, side: int, *, classes: bool) -> str:
    resized = f"For its answer, the whole image was resized to {side} \u00d7 {side} pixels"
    if task == "ask":
        return (
            f"{resized}, or as the model resizes it. Both texts were written by a generative "
            "model: fluent, but possibly wrong. If they differ, look at the regions."
        )
    if task == "segment":
        return (
            "The masks and their quality are predictions of the model and were not validated. More "
            "masks are not better masks."
        )
    if not classes:
        return (
            "There are no classes, so there is no answer to compare: regions were selected by "
            "their features alone. Check in the pictures whether they are relevant."
        )
    return (
        f"{resized}. The probability of a class measures its lead over the other classes of the "
        "list, not whether it is correct: classes missing from the list are assigned to the "
        "nearest class, possibly with high confidence. The same holds for every region. If the "
        "answers differ, look at the pictures."
    )
