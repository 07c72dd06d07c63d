"""The answers of a look, with and without its regions, as the page shows them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from foveate.report import charts, human
from foveate.report.stage import number
from foveate.report.words.focus import answer_kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from markupsafe import Markup

_TEXTS = (
    ("Whole image", "prediction_full", False),
    ("With regions", "prediction", True),
    ("First region alone", "prediction_tile", False),
)
_LEAST = 1e-3  # probabilities below it are all the same to a reader

KINDS = {
    "full": ("Whole image", "the image squeezed into the model\u2019s input, one pass"),
    "vote": ("Vote of all tiles", "each tile that was seen votes, a larger cell more"),
    "fused": ("Mean of the regions", "the features of the chosen regions, averaged"),
    "confident": ("Surest region", "the chosen region whose label is the most probable"),
    "first": ("First region", "the most important region alone"),
    "tile": ("Best single tile", "the surest of all tiles that were seen, chosen or not"),
}


class Class(NamedTuple):
    """One class of an answer; `top` marks the answer itself."""

    name: str
    bar: Markup
    value: str
    top: bool


class Answer(NamedTuple):
    """One answer; `lead` marks the two that the page is about."""

    title: str
    note: str
    lead: bool
    classes: list[Class]


class Text(NamedTuple):
    """An answer in words."""

    title: str
    text: str
    lead: bool


class Line(NamedTuple):
    """A named number with a bar."""

    name: str
    bar: Markup | None
    value: str


class Said(NamedTuple):
    """All answers; which parts are there depends on the task.

    Attributes:
        answers: In classes: whole image, with regions, then the other kinds.
        prompt: What was asked, or "".
        texts: In words.
        query: How well whole image and best region fit a query.
        query_note: What that means.
        counts: What was segmented: rows of a name, the number without and the one with regions.
    """

    answers: list[Answer]
    prompt: str
    texts: list[Text]
    query: list[Line]
    query_note: str
    counts: list[tuple[str, str, str]]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to show."""
        return not (self.answers or self.texts or self.query or self.counts)


def said(result: Mapping[str, Any], fits: list[float]) -> Said:
    """Gather the answers.

    Args:
        result: A look as it is stored.
        fits: How well each cell fits the query; empty without one.
    """
    query, note = _query(result.get("query"), fits)
    return Said(
        _answers(result), str(result.get("prompt") or ""), _texts(result), query, note,
        _counts(result),
    )  # fmt: skip


def sure(result: Mapping[str, Any], kind: str) -> str:
    """Return how sure an answer is: a share with its unit, or "" where that is not known."""
    value = number((result.get("answers") or {}).get(kind, {}).get("probability"))
    if not math.isfinite(value):
        return ""
    return f"{human.share(value)} {'of the votes' if kind == 'vote' else 'probability'}"


def _answers(result: Mapping[str, Any]) -> list[Answer]:
    given = {k: v for k, v in (result.get("answers") or {}).items() if isinstance(v, dict)}
    lead = answer_kind(result)
    order = [kind for kind in ("full", lead) if kind in given]
    order += [kind for kind in KINDS if kind in given and kind not in order]
    order += [kind for kind in given if kind not in order]
    return [_answer(kind, given[kind], lead=kind in ("full", lead)) for kind in order]


def _answer(kind: str, given: Mapping[str, Any], *, lead: bool) -> Answer:
    title, note = KINDS.get(kind, (kind, ""))
    if lead and kind != "full":
        title, note = "With regions", f"{title.lower()}: {note}"
    if kind == "vote":
        note += "; shares of the votes"
    ranked = [(given.get("label"), given.get("probability")), *(given.get("next") or [])]
    classes = []
    for place, (name, value) in enumerate(ranked):
        share = number(value)
        text = human.share(share) if share == 0 or not share < _LEAST else f"<0.1{human.GAP}%"
        bar = charts.bar(share, f"{name} {text}")
        classes.append(Class(str(name), bar, text, place == 0))
    return Answer(title, note, lead, classes)


def _texts(result: Mapping[str, Any]) -> list[Text]:
    if result.get("answers"):
        return []
    found = [(title, result.get(key), lead) for title, key, lead in _TEXTS]
    return [
        Text(title, value.strip() or human.NONE, lead)
        for title, value, lead in found
        if isinstance(value, str)
    ]


def _query(given: Mapping[str, Any] | None, fits: list[float]) -> tuple[list[Line], str]:
    if not given:
        return [], ""
    best, full = number(given.get("best")), number(given.get("full"))
    chance = given.get("unit") == "probability"
    known = [v for v in (*fits, best, full) if math.isfinite(v)]
    low, high = (0.0, 1.0) if chance else (min(known, default=0), max(known, default=1))
    span = (high - low) or 1.0
    rows = []
    for name, value in (("Whole image", full), ("Best region", best)):
        text = human.share(value) if chance else human.decimal(value, 3)
        rows.append(Line(name, charts.bar((value - low) / span, f"{name}: {text}"), text))
    note = f"How well \u201c{given.get('text', '')}\u201d fits: "
    if chance:
        return rows, note + "its probability among the classes."
    return rows, (
        note + "the cosine of text and image. Its size says little, its order more: the bars "
        "reach from the worst to the best that was seen."
    )


def _counts(result: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    one, two = result.get("prediction_full"), result.get("prediction")
    if not isinstance(two, dict):
        return []
    full = one if isinstance(one, dict) else {}
    names = {"masks": "Masks", "quality": "Quality, by the model itself"}
    keys = [*names, *(key for key in two if key not in names)]
    return [
        (names.get(key, key), _plain(full.get(key)), _plain(two.get(key)))
        for key in keys
        if key in two or key in full
    ]


def _plain(value: Any) -> str:
    """Write a value of a record: a number, the mean of several, or text."""
    if isinstance(value, list):
        known = [number(v) for v in value if math.isfinite(number(v))]
        return f"{human.decimal(sum(known) / len(known))} on average" if known else human.NONE
    if isinstance(value, bool) or not isinstance(value, int | float):
        return human.NONE if value is None else str(value)
    return human.count(value) if value == round(value) else human.decimal(value)
