"""Headlines of looks: their cost against tiling, and the benefit of the regions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from foveate.report import human
from foveate.report.human import number
from foveate.report.words import Headline

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SHORT = 64  # characters of an answer in a headline
_LIKE = {
    "rare": "least like the rest",
    "query": "that fit the text best",
}

_ANSWER = {
    "vote": "a vote of all encoded tiles, each distributed over the labels by probability",
    "fused": "the prediction for the mean features of the selected regions",
    "confident": "the prediction of the selected region with the highest label probability",
    "first": "the prediction of the most important region",
}


def look(result: Mapping[str, Any], tiling: float, *, task: str = "look") -> Headline:
    """Return the headline of a look at one image.

    Args:
        result: A look as stored.
        tiling: Number of passes that tiling the image takes.
        task: "look", "ask" or "segment".
    """
    text = f"{cost(number(result.get('passes')), tiling)}: {_found(result)}"
    notes = [*_regions(result), how(result), *_query(result), *_same(result), _detail(result, task)]
    if result.get("coreset_ok") is False:
        notes.append("Under this goal the regions do not represent the image (no coreset).")
    if isinstance(result.get("prediction"), dict):
        notes.append("The quality of a mask is an estimate of the model and was not validated.")
    return Headline(text, tuple(note for note in notes if note))


def looks(results: Sequence[Mapping[str, Any]], tiling: float) -> Headline:
    """Return the headline of looks at several images.

    Args:
        results: Looks as stored.
        tiling: Number of passes that tiling all images takes.
    """
    spent = sum(number(one.get("passes")) for one in results)
    images = human.plural(len(results), "image")
    parts = []
    asked = [one for one in results if one.get("query")]
    if asked:
        present, absent = (sum(query_found(one) is v for one in asked) for v in (True, False))
        query = asked[0]["query"].get("text", "")
        text = f"\u201c{query}\u201d found in {_of(present, len(asked))}"
        parts.append(text + (f", probably not in {human.count(absent)}" if absent else ""))
    answered = [one for one in results if all(with_and_without(one))]
    if answered:
        other = sum(map(differs, answered))
        parts.append(
            f"the answer differs from that of the whole image in {_of(other, len(answered))}"
        )
    regions = sum(len(one["regions"]) for one in results)
    text = f"{images} in {cost(spent, tiling, 'them')}"
    notes = [f"{human.plural(regions, 'region was', 'regions were')} selected."]
    if more := sum(bool(higher(one)) for one in results):
        notes.append(
            f"In {_of(more, len(results))} some cells score higher than a selected region."
        )
    return Headline(": ".join([text, *parts[:1]]), (*(f"{_upper(p)}." for p in parts[1:]), *notes))


def cost(spent: float, tiling: float, what: str = "the image") -> str:
    """Return the passes spent, compared with tiling, which encodes every crop of the image."""
    if not tiling > 0:
        return passes(spent)
    if spent < tiling:
        return f"{passes(spent)} of the {amount(tiling)} that tiling {what} takes"
    if spent > tiling:
        return f"{passes(spent)}, more than the {amount(tiling)} that tiling {what} takes"
    return f"{passes(spent)}, as many as tiling {what} takes"


def passes(value: float) -> str:
    """Format a number of passes: 24 passes, 1.1 passes, 1 pass."""
    text = amount(value)
    return f"{text} {'pass' if text == '1' else 'passes'}"


def amount(value: float) -> str:
    """Format a number of passes without the noun."""
    return human.count(value) if value >= 9.95 or value == round(value) else f"{value:.2g}"


def query_found(result: Mapping[str, Any]) -> bool | None:
    """Return whether the query was found in the image; None if undecided."""
    found = result.get("query_found", (result.get("query") or {}).get("found"))
    return found if isinstance(found, bool) else None


def higher(result: Mapping[str, Any]) -> int | None:
    """Return the number of unselected cells that score higher than a selected one, or None."""
    return _count(result, "cells_scoring_higher")


def with_and_without(result: Mapping[str, Any]) -> tuple[str, str]:
    """Return the answer with regions and that of the whole image, shortened; "" if missing."""
    return _brief(result.get("prediction")), _brief(result.get("prediction_full"))


def differs(result: Mapping[str, Any]) -> bool:
    """Return whether the regions changed the answer."""
    one, two = with_and_without(result)
    return bool(one and two) and one.casefold() != two.casefold()


def answer_kind(result: Mapping[str, Any]) -> str:
    """Return the kind of answer of the goal."""
    return str((result.get("forms") or {}).get("answer", ""))


def how(result: Mapping[str, Any]) -> str:
    """Return how the answer was aggregated, as a sentence; "" if it is not a class."""
    kind = _ANSWER.get(answer_kind(result), "")
    return f"The answer is {kind}." if kind and result.get("answers") else ""


def fit(asked: Mapping[str, Any], key: str) -> str:
    """Format the similarity to a query: a probability or a cosine."""
    value = number(asked.get(key))
    return human.share(value) if asked.get("unit") == "probability" else human.decimal(value)


def _found(result: Mapping[str, Any]) -> str:
    asked = result.get("query")
    if asked and (result.get("goal") == "query" or not result.get("prediction")):
        return _fitting(result, asked)
    found, full = with_and_without(result)
    if not found:
        return _chosen(result)
    if not full:
        return found
    if isinstance(result.get("prediction"), dict):
        return f"{found}; the whole image gives {full}"
    if not differs(result):
        return f"{found}; the whole image gives the same answer in one pass"
    return f"{found}; the answer of the whole image is {full}"


def _fitting(result: Mapping[str, Any], asked: Mapping[str, Any]) -> str:
    """Return whether a region fits a query."""
    name = f"\u201c{asked['text']}\u201d"
    if query_found(result) is False:
        return f"{name} is probably not in the image"
    best, full = (number(asked.get(key)) for key in ("best", "full"))
    if math.isfinite(full) and best <= full:
        return f"no region fits {name} better than the whole image does"
    sure = "" if query_found(result) else ", which may be chance"
    kind = "" if asked.get("unit") == "probability" else "with a cosine of "
    text = f"the best region fits {name} {kind}{fit(asked, 'best')}"
    return f"{text}, the whole image {'with ' if kind else ''}{fit(asked, 'full')}{sure}"


def _chosen(result: Mapping[str, Any]) -> str:
    """Describe the regions; their rank is stated only if no other cell ranks higher."""
    regions = len(result["regions"])
    text = human.plural(regions, "region")
    better, parents = higher(result), _count(result, "distinct_parents")
    if result.get("all_alike"):
        return f"{text}, chosen at random: all cells are alike"
    if regions > 1 and parents == 1:
        text += ", all of them parts of one cell"
        return f"{text}, while {_higher(better)}" if better else text
    if better:
        return f"{text}, while {_higher(better)}"
    like = _LIKE.get(str(result.get("goal")), "")
    return f"{text} {like}" if like and better == 0 else text


def _regions(result: Mapping[str, Any]) -> list[str]:
    regions, cells = len(result["regions"]), result.get("cells")
    share = human.share(number(result.get("area_share")))
    text = human.plural(regions, "region")
    text += f" of {human.plural(int(cells), 'cell')}" if cells else ""
    height, width = result["shape"]
    size = f"{human.count(height)} \u00d7 {human.count(width)} pixels"
    rows = [f"{text} selected, {share} of an image of {size}."]
    better, parents = higher(result), _count(result, "distinct_parents")
    if better:
        rows.append(f"{_upper(_higher(better))} than a selected region.")
    if regions > 1 and parents and parents < regions:
        rows.append(
            f"The {human.count(regions)} regions are parts of "
            f"{human.plural(parents, 'larger cell')}."
        )
    return rows


def _query(result: Mapping[str, Any]) -> list[str]:
    asked = result.get("query")
    if not asked:
        return []
    best, full = fit(asked, "best"), fit(asked, "full")
    rows = []
    if "next" in ((result.get("answers") or {}).get("full") or {}):
        rows.append(
            "The fit is relative to the other labels: it is high, too, if none of them fits."
        )
    if query_found(result) is False or number(asked.get("best")) <= number(asked.get("full")):
        rows.append(
            f"The best region fits \u201c{asked['text']}\u201d {best}, the whole image {full}: "
            "the regions are the best of this image, but may not show it."
        )
    return rows


def _same(result: Mapping[str, Any]) -> list[str]:
    if not all(with_and_without(result)) or differs(result):
        return []
    return ["The regions did not change the answer."]


def _detail(result: Mapping[str, Any], task: str) -> str:
    """Return the share of the image that was encoded at native resolution, as a sentence."""
    native = result.get("seen_native", result.get("mode") == "zoom")
    seen = number(result.get("seen_share"))
    if native:
        text = f"{human.share(seen)} of the image was seen at native resolution."
        return text if math.isfinite(seen) else ""
    text = "The regions were selected on an overview, which shows no detail"
    if task == "look":
        return f"{text}: no part of the image was seen at native resolution."
    area = human.share(number(result.get("area_share")))
    return f"{text}; {area} of the image was then seen at native resolution."


def _higher(count: int | None) -> str:
    return f"{human.plural(count or 0, 'other cell scores', 'other cells score')} higher"


def _of(some: int, all_: int) -> str:
    return f"{human.count(some)} of {human.plural(all_, 'image')}"


def _count(result: Mapping[str, Any], key: str) -> int | None:
    """Return a count of the record; None if an earlier version did not store it."""
    value = result.get(key)
    return value if isinstance(value, int) else None


def _brief(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        return human.plural(int(number(value.get("masks")) or 0), "mask")
    text = " ".join(str(value).split())
    return text if len(text) <= _SHORT else text[: _SHORT - 1].rstrip() + "\u2026"


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]
