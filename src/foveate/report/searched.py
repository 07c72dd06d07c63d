"""How a search went: rounds, passes, why it stopped, and how far the regions are from the image."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from foveate.report import charts, human
from foveate.report.said import Line
from foveate.report.stage import number
from foveate.report.words.focus import passes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from markupsafe import Markup


class Turn(NamedTuple):
    """One round of the search."""

    cells: str
    chosen: str
    bar: Markup
    importance: str
    epsilon: str
    passes: str


class Searched(NamedTuple):
    """The search.

    Attributes:
        spent: Passes of this look and of the alternatives.
        turns: The rounds.
        notes: Name and text of what else there is to say.
    """

    spent: list[Line]
    turns: list[Turn]
    notes: list[tuple[str, str]]


def searched(result: Mapping[str, Any], tiles: float, limit: float) -> Searched:
    """Show the search of one image.

    Args:
        result: A look as it is stored.
        tiles: Passes that tiling the whole image would take.
        limit: Of the coreset check; NaN where it is not on record.
    """
    return Searched(_spent(result, tiles), _turns(result), _notes(result, limit))


def _spent(result: Mapping[str, Any], tiles: float) -> list[Line]:
    spent = number(result.get("passes"))
    rows = (("This look", spent), ("Tiling all of it", tiles), ("Whole image, once", 1))
    most = max(spent, tiles, 1)
    return [
        Line(name, charts.bar(value / most, f"{name}: {passes(value)}"), passes(value))
        for name, value in rows
    ]


def _turns(result: Mapping[str, Any]) -> list[Turn]:
    rounds = result.get("rounds") or []
    top = max([number(one["importance"]) for one in rounds], default=1.0)
    return [
        Turn(
            human.count(one["cells"]), human.count(one["chosen"]),
            charts.bar(number(one["importance"]) / top if top > 0 else 0, "importance"),
            human.decimal(number(one["importance"]), 3), signed(number(one.get("epsilon"))),
            f"{one['passes']:.4g}",
        )
        for one in rounds
    ]  # fmt: skip


def signed(value: float) -> str:
    """Write a number with its sign: +0.19."""
    text = human.decimal(value)
    return f"+{text}" if value > 0 and float(f"{value:.2f}") else text


def _notes(result: Mapping[str, Any], limit: float) -> list[tuple[str, str]]:
    rows = [("Why it stopped", _sentence(result.get("stop_reason", human.NONE)))]
    rows.append((f"\u03b5 = {signed(number(result.get('epsilon')))}", _epsilon(result, limit)))
    if result.get("removal"):
        text = f"{_sentence(result['removal'])} No region was ever cut out of the picture."
        rows.append(("What leaving a region out means", text))
    work = []
    if number(result.get("remembered")) > 0:
        work.append(f"{passes(result['remembered'])} of them were remembered from earlier looks.")
    if result.get("images") and result.get("seconds") is not None:
        images = human.plural(result["images"], "image")
        work.append(f"{images} went through the model in {human.seconds(result['seconds'])}.")
    if result.get("generated") is not None and result.get("judged") is not None:
        answers = human.plural(result["generated"], "answer was", "answers were")
        work.append(f"{answers} generated, {human.count(result['judged'])} judged.")
    if result.get("selector"):
        spent = passes(number(result.get("selector_passes")))
        work.append(f"The regions were chosen by {result['selector']}, which took {spent} of them.")
    if work:
        rows.append(("Work", " ".join(work)))
    ties = int(number(result.get("near_ties", 0)) or 0)
    if ties:
        text = f"{human.plural(ties, 'pair')} of neighbouring ranks differ by rounding only, and "
        rows.append(("Near ties", f"{text}may swap on another machine."))
    rows += [("Note", str(note)) for note in result.get("notes") or []]
    return rows


def _epsilon(result: Mapping[str, Any], limit: float) -> str:
    value = number(result.get("epsilon"))
    if not math.isfinite(value):
        return "The image leaves nothing to lose by this goal, and so nothing to compare with."
    text = f"By what the goal wants kept, the regions lose {human.share(abs(value))} "
    text += f"{'more' if value >= 0 else 'less'} than the whole image "
    text += f"({human.decimal(number(result.get('loss_set')))} against "
    text += f"{human.decimal(number(result.get('loss_full')))}). "
    bound = f" of {limit:g}" if math.isfinite(limit) else ""
    if result.get("coreset_ok"):
        return f"{text}The limit{bound} is kept: the regions may stand for the image."
    return f"{text}The limit{bound} is missed: the regions do not stand for the image."


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}{'' if text.endswith('.') else '.'}"
