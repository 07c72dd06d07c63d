"""What classifying came to, against always giving the same answer, and against guessing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from foveate.report import human
from foveate.report.chance import right_of
from foveate.report.human import number
from foveate.report.words import Headline

if TYPE_CHECKING:
    from collections.abc import Mapping

    from foveate.report.chance import Right


class Labelled(NamedTuple):
    """What `classify` came to.

    Attributes:
        tiles: Patches that were labelled.
        labels: Labels to choose from.
        absent: Labels that fit no patch.
        most: The most common label.
        most_share: Its share of the patches.
        right: How often labels are right; None where that is not known.
        source: What the truth is taken from: "folders", "masks".
        by_class: Mean over the classes of the share that is right; NaN where not known.
    """

    tiles: int
    labels: int
    absent: int
    most: str
    most_share: float
    right: Right | None = None
    source: str = ""
    by_class: float = math.nan


def labelled(found: Labelled) -> Headline:
    """Say how many labels are right, and whether one label for all would do as well."""
    patches = human.plural(found.tiles, "patch", "patches")
    notes = [f"Most patches are {found.most}: {human.share(found.most_share)}."]
    if found.absent:
        count = human.plural(found.labels, "label")
        notes[0] += f" {human.count(found.absent)} of {count} fit no patch."
    if found.right is None:
        of = human.plural(found.labels, "label")
        return Headline(f"{patches} under {of}; whether they are right is not known", (*notes,))
    text = _right(found.right, human.plural(found.right.judged, "patch", "patches"))
    texts = _about(found.right, found.labels)
    if math.isfinite(found.by_class):
        texts.append(
            f"By their {found.source}; if each class counts alike, "
            f"{human.share(found.by_class)} are right."
        )
    return Headline(text, (*texts, *notes))


def answered(right: Right, judged: str) -> Headline:
    """Say how many answers are right.

    Args:
        right: How many.
        judged: What was judged, with its number: "210 test images".
    """
    if not right.judged:
        return Headline("Nothing was judged")
    return Headline(_right(right, judged), tuple(_about(right, 0)))


def tuned(evaluation: Mapping[str, Mapping[str, Any]]) -> Headline:
    """Say what tuned texts are worth on images that they were not fitted to.

    Args:
        evaluation: "test" or "val" -> "images", "texts", "retrieval" and "zero_shot", as the
            tuning stores them.
    """
    split = next((name for name in ("test", "val") if name in evaluation), "")
    if not split:
        return Headline("Tuned; no image was held out, so what it is worth is not known")
    judged = evaluation[split]
    kind = "test" if split == "test" else "validation"
    images = human.plural(int(judged["images"]), f"{kind} image")
    notes = []
    if split == "val":
        notes.append(
            "There were no test images: by these the training was stopped, so expect less."
        )
    if found := judged.get("zero_shot"):
        majority = number(found.get("majority"))
        right = right_of(found["top1"], int(found["images"]), majority, found["chance"])
        return Headline(_right(right, images), (*_about(right, 0), *notes))
    first = next(iter(judged["retrieval"].values()), math.nan)
    text = f"{human.share(first)} of {images} find a text of their own first among "
    return Headline(f"{text}{human.plural(int(judged['texts']), 'text')}", tuple(notes))


def _right(found: Right, judged: str) -> str:
    text = f"{human.share(found.share)} of {judged} are right"
    constant, guess = found.constant_share, found.guess
    known = math.isfinite(constant) and constant >= guess
    name = f" \u201c{found.constant}\u201d" if found.constant else " the most common class"
    base = f"always answering{name} ({human.share(constant)})" if known else (
        f"guessing ({human.share(guess)})"
    )  # fmt: skip
    if found.verdict == "better":
        return f"{text}, more than by {base}"
    if found.verdict == "worse":
        return f"{text}, fewer than by {base}"
    surely = "" if found.verdict == "tied" else "surely "
    return f"{text}, not {surely}more than by {base}"


def _about(found: Right, labels: int) -> list[str]:
    if not math.isfinite(found.low):
        text = "All judged patches are of one scene, so there is no interval."
    else:
        text = f"95{human.GAP}% interval: {human.share(found.low)} to {human.share(found.high)}."
    among = f" among {labels} labels" if labels else ""
    return [f"{text} A guess{among} is right for {human.share(found.guess)}."]
