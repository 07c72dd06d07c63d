"""Headlines of classifications, compared with a constant answer and with guessing."""

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
    """Results of `classify`.

    Attributes:
        tiles: Number of labelled patches.
        labels: Number of candidate labels.
        absent: Number of labels that were assigned to no patch.
        most: The most common label.
        most_share: Its share of the patches.
        right: Accuracy; None without ground truth.
        source: Source of the ground truth: "folders", "masks".
        by_class: Mean of the per-class accuracies; NaN if not known.
        fitted: Number of the judged patches that the model was fitted to.
        by: What was fitted: "probe", or "model" for one that was tuned.
        unlikely: Number of patches for which every label has a probability below 0.5; None where
            the probabilities of the labels are relative to each other.
    """

    tiles: int
    labels: int
    absent: int
    most: str
    most_share: float
    right: Right | None = None
    source: str = ""
    by_class: float = math.nan
    fitted: int = 0
    by: str = "probe"
    unlikely: int | None = None


def labelled(found: Labelled) -> Headline:
    """Return the headline: the accuracy, compared with one constant label."""
    patches = human.plural(found.tiles, "patch", "patches")
    notes = [f"Most patches are {found.most}: {human.share(found.most_share)}."]
    if found.absent:
        count = human.plural(found.labels, "label")
        verb = "was" if found.absent == 1 else "were"
        notes[0] += f" {human.count(found.absent)} of {count} {verb} assigned to no patch."
    if found.unlikely:
        notes[0] = notes[0].replace("Most patches are", "The most common label is", 1)
        some = human.count(found.unlikely) if found.unlikely < found.tiles else "all"
        notes.insert(
            0,
            f"For {some} of {patches} every label is improbable (below 50{human.GAP}%): they are "
            "listed under the least improbable one.",
        )
    if found.right is None:
        of = human.plural(found.labels, "label")
        return Headline(f"{patches}, {of}; the accuracy is not known", (*notes,))
    text = _right(found.right, human.plural(found.right.judged, "patch", "patches"))
    texts = _about(found.right, found.labels)
    if found.fitted:
        no_evidence = _NO_EVIDENCE.format(by=found.by)
        text, texts = f"{text}; {_fitted(found)}", [no_evidence, *texts]
    if math.isfinite(found.by_class):
        texts.append(
            f"Ground truth: {found.source}. The mean accuracy per class is "
            f"{human.share(found.by_class)}."
        )
    return Headline(text, (*texts, *notes))


_NO_EVIDENCE = (
    "The accuracy of a {by} on patches that it was fitted to says little about other images: "
    "classify images that it was not fitted to."
)


def _fitted(found: Labelled) -> str:
    """Return how many of the judged patches the probe or model was fitted to."""
    judged = 0 if found.right is None else found.right.judged
    if found.fitted >= judged:
        return f"the {found.by} was fitted to these patches"
    verb = "was" if found.fitted == 1 else "were"
    return f"{human.count(found.fitted)} of them {verb} used to fit the {found.by}"


def answered(right: Right, judged: str) -> Headline:
    """Return the headline: the accuracy of answers.

    Args:
        right: The accuracy.
        judged: Number and name of the evaluated items: "210 test images".
    """
    if not right.judged:
        return Headline("Nothing was evaluated")
    return Headline(_right(right, judged), tuple(_about(right, 0)))


def tuned(evaluation: Mapping[str, Mapping[str, Any]]) -> Headline:
    """Return the headline: the accuracy of tuned texts on held-out images.

    Args:
        evaluation: "test" or "val" -> "images", "texts", "retrieval" and "zero_shot", as stored by
            `models tune-text`.
    """
    split = next((name for name in ("test", "val") if name in evaluation), "")
    if not split:
        return Headline("Tuned; no image was held out, so the accuracy is not known")
    judged = evaluation[split]
    kind = "test" if split == "test" else "validation"
    images = human.plural(int(judged["images"]), f"{kind} image")
    notes = []
    if split == "val":
        notes.append(
            "There were no test images: these images were used for early stopping, so expect a "
            "lower accuracy elsewhere."
        )
    if found := judged.get("zero_shot"):
        majority = number(found.get("majority"))
        right = right_of(found["top1"], int(found["images"]), majority, found["chance"])
        return Headline(_right(right, images), (*_about(right, 0), *notes))
    first = next(iter(judged["retrieval"].values()), math.nan)
    text = f"{human.share(first)} of {images} retrieve one of their own texts first among "
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
    significantly = "" if found.verdict == "tied" else "significantly "
    return f"{text}, not {significantly}more than by {base}"


def _about(found: Right, labels: int) -> list[str]:
    if not math.isfinite(found.low):
        text = "All evaluated patches are of one scene, so there is no interval."
    else:
        text = f"95{human.GAP}% interval: {human.share(found.low)} to {human.share(found.high)}."
    among = f" among {labels} labels" if labels else ""
    return [f"{text} Guessing{among} is right for {human.share(found.guess)}."]
