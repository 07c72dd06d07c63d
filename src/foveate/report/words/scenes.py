"""Headlines of `observe` on scenes: selected, completed, searched, classified and estimated."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from foveate.report import human
from foveate.report.chance import right_of
from foveate.report.human import number
from foveate.report.words import Headline, labels
from foveate.report.words.observer import NOTHING, Compared, against_random, figures

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

OFF = 0.2  # relative drift above which a threshold does not transfer
DOUBTFUL = 0.5  # mean uncertainty of completed tiles above which most of them are a guess
LIKELY = 0.5  # probability above which a tile counts as showing a concept
RARE = 10  # concepts in fewer training scenes are hardly learned
FEW = 10  # drawn tiles with a concept below which intervals of amounts are often too short
_NAMED = 3  # number of missing tiles that are named


class Chosen(NamedTuple):
    """Result of `observe select`.

    Attributes:
        about: Summary of the selection.
        tiles: Number of tiles.
        chosen: Number of selected tiles.
        scenes: Number of overviews.
        empty: Number of overviews without a selected tile.
        open: Number of the other selected tiles whose lead over the last one is within their
            uncertainty.
        training: Comparison of the policy with random tiles in training; None if not known.
        fallback: The trained policy that `training` is about, if another policy replaced it.
    """

    about: Mapping[str, Any]
    tiles: int
    chosen: int
    scenes: int
    empty: int = 0
    open: int = 0
    training: Compared | None = None
    fallback: str = ""


def told(training: Mapping[str, Any] | None) -> Compared | None:
    """Return the comparison in training, from the summary of a selection; None if missing."""
    if not training or not training.get("known"):
        return None
    gap = training.get("difference") or {}
    return Compared(
        str(training.get("measure")), number(training.get("value")), number(training.get("random")),
        number(gap.get("low")), number(gap.get("high")), str(training.get("verdict") or ""),
        int(training.get("groups") or 0), str(training.get("best") or ""),
    )  # fmt: skip


def selected(found: Chosen) -> Headline:
    """Return the headline of a selection and the test of its policy against random tiles."""
    about, policy = found.about, str(found.about.get("policy") or "learned")
    tiles = human.plural(found.tiles, "tile")
    if not found.chosen:
        why = "the budget is below one tile, or no score is above the threshold"
        return Headline(f"None of {tiles} to observe: {why}", tuple(_drift(about)))
    text = f"{human.count(found.chosen)} of {tiles} to observe, in "
    text += human.plural(found.scenes, "scene")
    if found.chosen == found.tiles:
        text += ": all of them, so no selection was made"
    elif found.fallback:
        how = "drawn at random" if policy == "random" else f"by the policy {policy}"
        text += f", {how}: in training, the selection of the observer "
        text += against_random(found.training)
    elif policy == "random":
        text += ", drawn at random"
    else:
        text += f"; in training, this policy {against_random(found.training)}"
    notes = [_within(about), *_trained(found, policy), *_drift(about)]
    if policy not in {"learned", "design", "random"} and not found.fallback:
        notes.append(
            f"Tiles were selected by the policy {policy}, not by the scores of the observer."
        )
    if found.empty:
        notes.append(f"{human.plural(found.empty, 'scene has', 'scenes have')} no selected tile.")
    if found.open:
        few = f"{human.count(found.open)} of the other {human.count(found.chosen - 1)}"
        notes.append(
            f"The scores of {few} exceed that of the last selected tile by less than their "
            "uncertainty: tiles that were not selected may be as good."
        )
    return Headline(text, tuple(note for note in notes if note))


def _within(about: Mapping[str, Any]) -> str:
    obr, expected = number(about.get("obr")), number(about.get("expected_obr"))
    share = f"{human.share(obr)} of the area"
    if about.get("budget"):
        return f"Within a budget of {about['budget']}: {share}."
    if math.isfinite(expected):
        bound = human.decimal(number(about.get("threshold")), 3)
        return f"Tiles that score above {bound}: {share}, {human.share(expected)} expected."
    return f"Selected by mode {about.get('mode', '')}: {share}."


def _trained(found: Chosen, policy: str) -> list[str]:
    if policy == "random" and not found.fallback:
        return []
    text = figures(found.training)
    if not text:
        return ["Train the observer again to test it against random tiles."]
    rows = [f"In training, {text}."]
    if found.fallback:
        rows.append(
            f"{policy} was the best untrained policy on validation scenes, which is weak evidence; "
            f"--policy {found.fallback} uses the scores of the observer."
        )
    if found.training is not None and found.training.best not in {"", policy}:
        best = found.training.best
        rows.append(f"The policy {best} scored highest in training: --policy {best}.")
    return rows


def _drift(about: Mapping[str, Any]) -> list[str]:
    drift = number(about.get("drift"))
    if not abs(drift) > OFF:
        return []
    text = (
        f"The share deviates by {human.share(abs(drift))} from the expected one: these overviews "
    )
    return [f"{text}differ from those of the calibration. Use --budget or --obr instead."]


def completed(about: Mapping[str, Any], *, empty: int = 0) -> Headline:
    """Return the headline of a completion: observed tiles and the reliability of the others.

    Args:
        about: Summary of the completion.
        empty: Number of scenes without an observed tile.
    """
    scenes, tiles, observed = (
        int(number(about.get(k)) or 0) for k in ("scenes", "tiles", "observed")
    )
    uncertainty = number(about.get("completed_doubt"))
    text = f"{human.plural(scenes, 'scene')} completed from "
    text += f"{human.plural(observed, 'observed tile')} of {human.count(tiles)}"
    guess = observed < tiles and uncertainty > DOUBTFUL
    if not observed:
        text = f"{human.plural(scenes, 'scene')} without observed tiles, predicted from "
        text += "the overviews alone" if scenes != 1 else "the overview alone"
    elif observed == tiles:
        text += ": all of them, so nothing had to be completed"
    elif guess:
        text += "; most of the completed tiles are a guess"
    notes = []
    if observed and observed < tiles and math.isfinite(uncertainty):
        mean = f"The mean uncertainty of completed tiles is {human.decimal(uncertainty)}"
        notes.append(f"{mean} (0: as good as observed, 1: unlike any observed tile).")
    if observed and empty:
        ends = "its overview alone" if empty == 1 else "their overviews alone"
        have = human.plural(empty, "scene has", "scenes have")
        verb = "is" if empty == 1 else "are"
        notes.append(f"{have} no observed tile and {verb} predicted from {ends}.")
    return Headline(text, (*notes, *_deliveries(about)))


def _deliveries(about: Mapping[str, Any]) -> list[str]:
    rows = [str(caution) for caution in about.get("cautions") or []]
    if missing := int(number(about.get("missing") or 0)):
        names = [str(name) for name in (about.get("missing_tiles") or [])[:_NAMED]]
        more = missing - len(names)
        text = f"{human.plural(missing, 'selected tile')} had no high-resolution image and "
        text += "was completed" if missing == 1 else "were completed"
        text += f": {', '.join(names)}" if names else ""
        rows.append(f"{text}{f' and {human.count(more)} more' if names and more else ''}.")
    if empty := int(number(about.get("empty") or 0)):
        given = "given tile is mostly nodata and counts" if empty == 1 else (
            "given tiles are mostly nodata and count"
        )  # fmt: skip
        rows.append(f"{human.count(empty)} {given} as not observed.")
    if extra := int(number(about.get("not_chosen_but_given") or 0)):
        given = "given tile was not selected but is" if extra == 1 else (
            "given tiles were not selected but are"
        )  # fmt: skip
        rows.append(f"{human.count(extra)} {given} used.")
    if unused := int(number(about.get("unused") or 0)):
        shows = human.plural(unused, "given file matches", "given files match")
        rows.append(f"{shows} no tile of these scenes.")
    return rows


def searched(
    name: str, hits: Sequence[Mapping[str, Any]], *, probable: bool, expected: float | None = None,
    tiles: int = 0,
) -> Headline:  # fmt: skip
    """Return the headline of a search.

    Args:
        name: The query.
        hits: "score", "observed" and "unfamiliar" of each hit, best first.
        probable: Whether scores are probabilities; otherwise they are cosines, which can only be
            compared with each other.
        expected: Sum of the probabilities of all tiles, the expected number of tiles that show the
            concept; None: of the hits.
        tiles: Number of all tiles.
    """
    what = f"\u201c{name}\u201d"
    if not hits:
        return Headline(f"No tile to search for {what}")
    best = number(hits[0].get("score"))
    guessed = sum(not hit.get("observed") for hit in hits)
    notes = []
    if guessed:
        one = human.plural(guessed, "hit was", "hits were")
        notes.append(f"{one} not observed: scored by completed features.")
    unlike = sum(bool(hit.get("unfamiliar")) for hit in hits)
    if unlike:
        one = human.plural(unlike, "hit is in a scene", "hits are in scenes")
        notes.append(f"{one} unlike all scenes of the training: scores may be meaningless.")
    if unlike == len(hits):
        text = f"No reliable result for {what}: the scenes are unlike all scenes of the training"
        return Headline(text, tuple(notes[:-1]))
    if not probable:
        text = f"{human.plural(len(hits), 'tile')} most similar to {what}, which may show it or not"
        return Headline(text, ("A text search always returns hits: look at the pictures.", *notes))
    likely = sum(number(hit.get("score")) > LIKELY for hit in hits)
    if not likely:
        bound = f"no tile shows it with more than {human.share(best)} probability"
        if expected is None:
            expected = sum(number(hit.get("score")) for hit in hits)
        if expected < LIKELY:
            return Headline(f"{what} is probably not in these scenes: {bound}", tuple(notes))
        # Many small probabilities: a few tiles show it, but it is not known which.
        some = f"By the sum of the probabilities, about {quantity(expected)} of "
        some += f"{human.plural(max(tiles, len(hits)), 'tile')} show it."
        bound = bound.removeprefix("no tile")
        return Headline(f"No tile is likely to show {what}: none{bound}", (some, *notes))
    show = "shows" if likely == 1 else "show"
    text = f"{human.count(likely)} of {human.plural(len(hits), 'hit')} {show} {what} more likely "
    return Headline(f"{text}than not, the best with {human.share(best)} probability", tuple(notes))


def recognised(found: Mapping[str, Any]) -> Headline:
    """Return the headline of a classification of completed scenes, with mAP if labels exist.

    The average precision of a random order is the share of tiles that show a concept.
    """
    count = human.plural(len(found["concepts"]), "concept")
    truth, cautions = found.get("truth"), tuple(found["cautions"])
    if not truth and found["unfamiliar"] == found["scenes"]:
        text = f"No reliable scores of {count}: the scenes are unlike all scenes of the training"
        return Headline(text)
    if not truth:
        return Headline(f"Scores of {count}; the accuracy is not known", cautions)
    each, shares = truth["tiles"]["each"], truth["prevalence"]
    known = {k: number(v) for k, v in each.items() if math.isfinite(number(v))}
    if not known:
        return Headline(f"Scores of {count}; no tile shows any of them", cautions)
    ours = sum(known.values()) / len(known)
    chance = sum(number(shares[k]) for k in known) / len(known)
    text = f"Mean average precision {human.decimal(ours)} over "
    text += human.plural(len(known), "concept")
    if ours <= chance + NOTHING:
        text += f", no better than a random order ({human.decimal(chance)})"
    else:
        text += f", random order {human.decimal(chance)}"
    weak = [k for k, v in known.items() if v <= number(shares[k]) + NOTHING]
    notes = [f"No better than a random order: {', '.join(weak)}."] if weak else []
    notes.append("No interval was computed: with few tiles of a concept the values vary by chance.")
    return Headline(text, (*notes, *cautions))


def dataset(name: str, found: Mapping[str, Any]) -> Headline:
    """Return the headline of a classification of data set images from overviews alone."""
    images = f"{human.plural(int(found['images']), 'image')} of {name}"
    chance = number(found.get("chance"))
    if "top1" in found:
        right = right_of(
            number(found["top1"]), int(found["images"]), number(found.get("majority")), chance
        )
        return labels.answered(right, images)
    ours = number(found.get("map"))
    if not math.isfinite(ours):
        return Headline(f"None of {images} shows a class")
    text = f"Mean average precision {human.share(ours)} on {images}"
    if ours <= chance + NOTHING:
        return Headline(f"{text}, no better than a random order ({human.share(chance)})")
    return Headline(f"{text}, random order {human.share(chance)}")


def estimated(found: Mapping[str, Any]) -> Headline:
    """Return the headline of an estimated total: interval and efficiency of the design."""
    one, unit, what = found["estimate"], found["unit"], found["what"]
    level = f"{100 * number(found['confidence']):g}{human.GAP}%"
    drawn, tiles = int(found["drawn"]), int(found["tiles"])
    looked = f"{human.count(drawn)} of {human.plural(tiles, 'tile')}"
    if not found["found"]:
        if drawn >= tiles:
            return Headline(f"{what}: none in any of {looked}")
        text = f"{what}: none in {looked}, which does not prove absence"
        high = f"{quantity(number(one['high']))} {unit}"
        upper = f"{level} interval 0 to {high}: more would seldom be missed by such a sample."
        return Headline(text, (upper,) if number(one["high"]) > 0 else ())
    total, low, high = (quantity(number(one[key])) for key in ("total", "low", "high"))
    if drawn >= tiles:
        text = f"{what}: {total} {unit}, counted in all {human.plural(tiles, 'tile')}"
    else:
        text = f"{what}: {total} {unit}, {level} interval {low} to {high}, from {looked}"
    notes = []
    if found.get("of") == "area" and number(found.get("ground")) > 0:
        notes.append(f"That is {human.share(one['total'] / found['ground'])} of the ground.")
    elif found.get("of") == "tiles":
        notes.append(f"That is {human.share(one['total'] / tiles)} of all tiles.")
    if drawn < tiles:
        notes += _weak(found)
    if found.get("repeats"):
        notes.append(_covered(found["repeats"], number(found["confidence"])))
        # Without an observer or a covariate the design is the uniform draw itself.
        notes.append(_against_even(found["repeats"]) if found.get("by") != "nothing" else "")
    return Headline(text, tuple(note for note in notes if note))


def counted(found: Mapping[str, Any]) -> Headline:
    """Return the headline of the statistics of pairs: their size, and rare or missing concepts."""
    area = human.area(number(found["ground"]), metres=found["unit"] == "m2")
    text = f"{human.plural(found['scenes'], 'scene')} in "
    text += f"{human.plural(len(found['regions']), 'region')}, "
    text += f"{human.plural(found['tiles'], 'tile')}, {area}"
    notes = []
    for split in ("train", "test"):
        gone = [name for name, row in found["concepts"].items() if row.get(split) == 0]
        if gone and split in found["splits"]:
            scenes = {"train": "training scene", "test": "test scene"}[split]
            notes.append(f"No {scenes} shows {human.listed(gone)}.")
    if not found["splits"]:
        notes.append(
            "All scenes are of one region, so that a training cannot divide them: it needs scenes "
            "of different places in different folders (observe build: --region, or a smaller "
            "--block)."
        )
    rare = [name for name, row in found["concepts"].items() if 0 < row.get("train", 0) < RARE]
    if rare:
        notes.append(f"Fewer than {RARE} training scenes show {human.listed(rare)}.")
    if not found["labelled"]:
        notes.append("There are no labels, so concepts were not counted.")
    return Headline(text, tuple(notes))


def quantity(value: float) -> str:
    """Format a quantity: an integer from 100 on, else one decimal."""
    return human.count(value) if abs(value) >= 100 else f"{value:.1f}"


def _weak(found: Mapping[str, Any]) -> list[str]:
    """Return cautions about an interval from few tiles that contain the concept."""
    rows, few = [], int(found["found"])
    if number(found["estimate"]["low"]) <= number(found.get("seen") or 0):
        rows.append("The lower limit is the amount in the drawn tiles alone: draw more tiles.")
    # Presence varies less than amounts, so that its intervals hold from few tiles on.
    if few < FEW and found.get("of") != "tiles":
        contain = "drawn tile contains" if few == 1 else "drawn tiles contain"
        rows.append(f"Only {few} {contain} {found['what']}: such an interval is often too short.")
    return rows


def _covered(repeats: Mapping[str, Any], confidence: float) -> str:
    """Return a caution if fewer intervals than stated contain the true total."""
    coverage, draws = number(repeats["design"].get("coverage")), int(repeats["design"]["repeats"])
    error = math.sqrt(confidence * (1 - confidence) / draws)
    if not coverage < confidence - 2 * error:
        return ""
    return (
        f"In {human.count(draws)} repeated draws only {human.share(coverage)} of the "
        f"{human.share(confidence)} intervals contained the true total: they are too short."
    )


def _against_even(repeats: Mapping[str, Any]) -> str:
    """Compare the variance of this sampling design with that of uniform sampling.

    Under equal variances, the ratio of two mean squares of as many draws has an F distribution.
    """
    ratio, draws = number(repeats.get("variance_ratio")), int(repeats["design"]["repeats"])
    if not math.isfinite(ratio) or draws < 2:
        return ""
    from scipy.stats import f

    spread = float(f.ppf(0.975, draws, draws))
    ends = f"{human.factor(ratio)}, 95{human.GAP}% interval {human.factor(ratio / spread)} to "
    ends += human.factor(ratio * spread)
    relative = f"relative variance of uniform sampling {ends}"
    if ratio / spread > 1:
        return f"This sampling design is better than uniform sampling: {relative}."
    if ratio * spread < 1:
        return f"Uniform sampling is better than this sampling design: {relative}."
    return f"Uniform sampling is not significantly different from this design: {relative}."
