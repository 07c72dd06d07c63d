"""One image of a focus run, as the page shows it: picture, answers, regions, search."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from foveate.report import human
from foveate.report import said as answers
from foveate.report.searched import Searched, searched
from foveate.report.stage import Stage, number, stage
from foveate.report.words import focus as words
from foveate.report.zoomed import Card, zoomed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from foveate.report.focused import Focused
    from foveate.report.pictures import Album
    from foveate.report.said import Said
    from foveate.report.words import Headline


class LookView(NamedTuple):
    """Everything of one image.

    Attributes:
        name: The image.
        headline: What came out, in one sentence.
        verdicts: What else to know of it.
        differs: Whether the answer with regions is another one than without.
        stage: Its picture.
        figures: Name, number and note of what people ask first.
        said: The answers.
        cards: The regions, the most important first.
        cards_note: What is not shown.
        search: How the search went.
    """

    name: str
    headline: str
    verdicts: tuple[str, ...]
    differs: bool
    stage: Stage
    figures: list[tuple[str, str, str]]
    said: Said
    cards: list[Card]
    cards_note: str
    search: Searched


def looked(run: Focused, place: int, album: Album) -> LookView:
    """Show one image.

    Args:
        run: The run.
        place: Number of the image.
        album: Takes the crops; the picture of the image is taken from it where it is there.
    """
    look = run.looks[place]
    result = look.result
    tiles = tiling(result, run.side)
    drawn = stage(
        f"scene{place}", look.name, result["shape"], look.columns,
        picture=album.uris.get(look.name, ""), masks=look.masks(),
        higher=words.higher(result),
    )  # fmt: skip
    cards, note = zoomed(look, album)
    limit = number(run.record.get("job", {}).get("epsilon"))
    return LookView(
        look.name, *headline(run, place), words.differs(result), drawn,
        _figures(result, tiles), answers.said(result, look.fits), cards, note,
        searched(result, tiles, limit),
    )  # fmt: skip


def headline(run: Focused, place: int) -> Headline:
    """Return what is said of one image."""
    result = run.looks[place].result
    return words.look(result, tiling(result, run.side), task=run.task)


def tiling(result: Mapping[str, Any], side: int) -> float:
    """Return the passes that tiling an image would take.

    As the look itself counted them; where it did not, one for each window of `side` pixels.
    """
    known = number(result.get("passes_tiling"))
    if known > 0:
        return known
    return math.prod(-(-length // side) for length in result["shape"])


def _figures(result: Mapping[str, Any], tiles: float) -> list[tuple[str, str, str]]:
    spent = number(result.get("passes"))
    found, full = words.with_and_without(result)
    rows = []
    if found:
        rows.append(("With regions", found, answers.sure(result, words.answer_kind(result))))
    if full:
        rows.append(("Whole image", full, answers.sure(result, "full")))
    if result.get("query"):
        asked = result["query"]
        note = (
            f"fits \u201c{asked.get('text', '')}\u201d; the whole image {words.fit(asked, 'full')}"
        )
        place = 0 if result.get("goal") == "query" else len(rows)
        rows.insert(place, ("Best region", words.fit(asked, "best"), note))
    note = f"of the model; {words.amount(tiles)} to tile the image"
    rows.append(("Passes", words.amount(spent), note))
    share = human.share(number(result.get("area_share")))
    rows.append(("Regions", human.count(len(result["regions"])),
                 f"of {human.plural(result['cells'], 'cell')}, {share} of the area"))  # fmt: skip
    return rows
