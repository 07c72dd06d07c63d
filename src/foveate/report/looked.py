"""One image of a focus run, as the page shows it: picture, answers, regions, search."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from foveate.report import human
from foveate.report import said as answers
from foveate.report.searched import Searched, passes, searched
from foveate.report.stage import Stage, number, stage
from foveate.report.zoomed import Card, zoomed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from foveate.report.focused import Focused
    from foveate.report.pictures import Album
    from foveate.report.said import Said


class LookView(NamedTuple):
    """Everything of one image.

    Attributes:
        name: The image.
        sentence: What came out, in one sentence.
        lede: What was done, in two.
        differs: Whether the answer with regions is another one than without.
        stage: Its picture.
        figures: Name, number and note of what people ask first.
        said: The answers.
        cards: The regions, the most important first.
        cards_note: What is not shown.
        search: How the search went.
    """

    name: str
    sentence: str
    lede: str
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
    )  # fmt: skip
    cards, note = zoomed(look, album)
    limit = number(run.record.get("job", {}).get("epsilon"))
    return LookView(
        look.name, sentence(result, tiles), _lede(result), differs(result), drawn,
        _figures(result, tiles), answers.said(result, look.fits), cards, note,
        searched(result, tiles, limit),
    )  # fmt: skip


def tiling(result: Mapping[str, Any], side: int) -> int:
    """Return the passes that tiling an image would take, rounded up.

    As the look itself counted them; where it did not, one for each window of `side` pixels.
    """
    known = number(result.get("passes_tiling"))
    if known > 0:
        return math.ceil(known)
    return math.prod(-(-length // side) for length in result["shape"])


def differs(result: Mapping[str, Any]) -> bool:
    """Say whether the regions changed the answer."""
    one, two = answers.with_and_without(result)
    return bool(one and two) and one.casefold() != two.casefold()


def sentence(result: Mapping[str, Any], tiles: int) -> str:
    """Say what came out: what it cost, and the answers with and without."""
    spent = number(result.get("passes"))
    start = passes(spent) + (f" instead of {human.count(tiles)}" if spent < tiles else "")
    asked = result.get("query")
    if asked and (result.get("goal") == "query" or not result.get("prediction")):
        best, full = (_fit(asked, key) for key in ("best", "full"))
        kind = "" if asked.get("unit") == "probability" else "with a cosine of "
        text = f"{start}: the best region fits \u201c{asked['text']}\u201d {kind}{best}"
        return f"{text}, the whole image {'with ' if kind else ''}{full}"
    found, full = answers.with_and_without(result)
    if not found:
        return f"{start}: {_chosen(result)}"
    if not full:
        return f"{start}: {found}"
    if isinstance(result.get("prediction"), dict):
        return f"{start}: {found}, where the whole image gave {full}"
    if not differs(result):
        return f"{start}: {found}, as the whole image said"
    return f"{start}: {found}, where the whole image said {full}"


_LIKE = {
    "rare": "least like the rest",
    "query": "that fit the text best",
    "dominant": "most like the whole",
}


def _chosen(result: Mapping[str, Any]) -> str:
    count = human.plural(len(result["regions"]), "region")
    return f"{count} {_LIKE.get(str(result.get('goal')), 'most like the whole')}"


def _fit(asked: Mapping[str, Any], key: str) -> str:
    value = number(asked.get(key))
    return human.share(value) if asked.get("unit") == "probability" else human.decimal(value)


def _lede(result: Mapping[str, Any]) -> str:
    height, width = result["shape"]
    text = f"{human.count(len(result['regions']))} of {human.plural(result['cells'], 'cell')} "
    text += f"were chosen, {human.share(number(result.get('area_share')))} of an image of "
    text += f"{human.count(height)} \u00d7 {human.count(width)} pixels."
    return f"{text} {answers.how(result)}".strip()


def _figures(result: Mapping[str, Any], tiles: int) -> list[tuple[str, str, str]]:
    spent = number(result.get("passes"))
    found, full = answers.with_and_without(result)
    rows = []
    if found:
        rows.append(("With regions", found, answers.sure(result, answers.answer_kind(result))))
    if full:
        rows.append(("Whole image", full, answers.sure(result, "full")))
    if result.get("query"):
        asked = result["query"]
        note = f"fits \u201c{asked.get('text', '')}\u201d; the whole image {_fit(asked, 'full')}"
        place = 0 if result.get("goal") == "query" else len(rows)
        rows.insert(place, ("Best region", _fit(asked, "best"), note))
    note = f"of the model; {human.count(tiles)} to tile the image"
    rows.append(("Passes", passes(spent).split()[0], note))
    share = human.share(number(result.get("area_share")))
    rows.append(("Regions", human.count(len(result["regions"])),
                 f"of {human.plural(result['cells'], 'cell')}, {share} of the area"))  # fmt: skip
    return rows
