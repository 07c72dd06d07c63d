"""What an observer chose, completed, found, recognised and counted in scenes that it is used on."""

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

OFF = 0.2  # relative drift above which a threshold does not carry over
DOUBTFUL = 0.5  # mean uncertainty of completed tiles above which most of them are a guess
LIKELY = 0.5  # probability from which a tile is taken to show a concept
RARE = 10  # training scenes that show a concept: with fewer hardly anything is learnt of it
_NAMED = 3  # missing tiles


class Chosen(NamedTuple):
    """What `select` chose.

    Attributes:
        about: The part of the summary that is about it.
        tiles: Tiles that there are.
        chosen: Tiles that were chosen.
        scenes: Overviews.
        empty: Of them without a chosen tile.
        open: Chosen tiles whose lead over the last one is within the spread of the scores.
        training: How the policy did against random tiles in training; None where not known.
        fallback: The trained policy which that is said of, where another was taken in its place.
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
    """Return what the summary of a selection repeats of the training; None where nothing."""
    if not training or not training.get("known"):
        return None
    gap = training.get("difference") or {}
    return Compared(
        str(training.get("measure")), number(training.get("value")), number(training.get("random")),
        number(gap.get("low")), number(gap.get("high")), str(training.get("verdict") or ""),
        int(training.get("groups") or 0), str(training.get("best") or ""),
    )  # fmt: skip


def selected(found: Chosen) -> Headline:
    """Say what was chosen, and whether choosing so has proved better than chance."""
    about, policy = found.about, str(found.about.get("policy") or "learned")
    tiles = human.plural(found.tiles, "tile")
    if not found.chosen:
        why = "the budget is below one tile, or no score lies above the threshold"
        return Headline(f"None of {tiles} to observe: {why}", tuple(_drift(about)))
    text = f"{human.count(found.chosen)} of {tiles} to observe, in "
    text += human.plural(found.scenes, "scene")
    if found.chosen == found.tiles:
        text += ": all of them, so nothing was chosen"
    elif found.fallback:
        how = "drawn at random" if policy == "random" else f"by the policy {policy}"
        text += f", {how}: in training the observer\u2019s choice {against_random(found.training)}"
    elif policy == "random":
        text += ", drawn at random"
    else:
        text += f"; in training this choice {against_random(found.training)}"
    notes = [_within(about), *_trained(found, policy), *_drift(about)]
    if policy not in {"learned", "random"} and not found.fallback:
        notes.append(
            f"Tiles were chosen by the policy {policy}, not by the observer\u2019s scores."
        )
    if found.empty:
        notes.append(f"{human.plural(found.empty, 'scene gives', 'scenes give')} no tile.")
    if found.open:
        few = f"{human.count(found.open)} of the {human.count(found.chosen)}"
        notes.append(
            f"{few} lie less than their uncertainty above the last: others could as well stand in "
            "their place."
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
    return f"Chosen by mode {about.get('mode', '')}: {share}."


def _trained(found: Chosen, policy: str) -> list[str]:
    if policy == "random" and not found.fallback:
        return []
    text = figures(found.training)
    if not text:
        return ["Train the observer again to learn whether it beats random tiles."]
    rows = [f"In training, {text}."]
    if found.fallback:
        rows.append(
            f"Of the policies that learn nothing, {policy} did best on validation scenes, which "
            f"proves little; --policy {found.fallback} takes the observer\u2019s choice."
        )
    if found.training is not None and found.training.best not in {"", policy}:
        best = found.training.best
        rows.append(f"The policy {best} scored highest there: --policy {best}.")
    return rows


def _drift(about: Mapping[str, Any]) -> list[str]:
    drift = number(about.get("drift"))
    if not abs(drift) > OFF:
        return []
    text = f"The share is off by {human.share(abs(drift))} of the expected one: these overviews "
    return [f"{text}are unlike those of the calibration. Choose by --budget or --obr instead."]


def completed(about: Mapping[str, Any], *, empty: int = 0) -> Headline:
    """Say how much of the scenes was observed, and how much of the rest is a guess.

    Args:
        about: The part of the summary that is about it.
        empty: Scenes without an observed tile.
    """
    scenes, tiles, seen = (int(number(about.get(k)) or 0) for k in ("scenes", "tiles", "observed"))
    doubt = number(about.get("completed_doubt"))
    text = f"{human.plural(scenes, 'scene')} completed from "
    text += f"{human.plural(seen, 'observed tile')} of {human.count(tiles)}"
    guess = seen < tiles and doubt > DOUBTFUL
    if not seen:
        text = f"{human.plural(scenes, 'scene')} of which no tile was observed: only what their "
        text += "overviews tell" if scenes != 1 else "overview tells"
        text = text.replace("their", "its") if scenes == 1 else text
    elif seen == tiles:
        text += ": all of them, so nothing had to be completed"
    elif guess:
        text += "; most of the rest is a guess"
    notes = []
    if seen and seen < tiles and math.isfinite(doubt):
        mean = f"The mean uncertainty of completed tiles is {human.decimal(doubt)}"
        notes.append(f"{mean} (0: as good as observed, 1: unlike anything observed).")
    if seen and empty:
        ends = "is what its overview tells" if empty == 1 else "are what their overviews tell"
        have = human.plural(empty, "scene has", "scenes have")
        notes.append(f"{have} no observed tile and {ends}.")
    return Headline(text, (*notes, *_deliveries(about)))


def _deliveries(about: Mapping[str, Any]) -> list[str]:
    rows = []
    if missing := int(number(about.get("missing") or 0)):
        names = [str(name) for name in (about.get("missing_tiles") or [])[:_NAMED]]
        more = missing - len(names)
        text = f"{human.plural(missing, 'chosen tile')} had no high resolution and "
        text += "was completed" if missing == 1 else "were completed"
        text += f": {', '.join(names)}" if names else ""
        rows.append(f"{text}{f' and {human.count(more)} more' if names and more else ''}.")
    if empty := int(number(about.get("empty") or 0)):
        given = "given tile is mostly nodata and counts" if empty == 1 else (
            "given tiles are mostly nodata and count"
        )  # fmt: skip
        rows.append(f"{human.count(empty)} {given} as not observed.")
    if extra := int(number(about.get("not_chosen_but_given") or 0)):
        given = "tile was given that was" if extra == 1 else "tiles were given that were"
        rows.append(f"{human.count(extra)} {given} not chosen; used all the same.")
    if unused := int(number(about.get("unused") or 0)):
        shows = human.plural(unused, "given file shows", "given files show")
        rows.append(f"{shows} no tile of these scenes.")
    return rows


def searched(name: str, hits: Sequence[Mapping[str, Any]], *, probable: bool) -> Headline:
    """Say what a search found, and whether it found anything.

    Args:
        name: What was looked for.
        hits: "score" and "observed" of each hit, the best first.
        probable: Whether scores are probabilities; else they are cosines, which are of use only
            beside each other.
    """
    what = f"\u201c{name}\u201d"
    if not hits:
        return Headline(f"No tile to look for {what} in")
    best = number(hits[0].get("score"))
    guessed = sum(not hit.get("observed") for hit in hits)
    notes = []
    if guessed:
        one = human.plural(guessed, "hit was", "hits were")
        notes.append(f"{one} not observed: scored by what the observer makes of the overview.")
    if not probable:
        text = f"{human.plural(len(hits), 'tile')} most like {what}, which may be in none of them"
        return Headline(
            text, ("A search by text always has a first hit: look at the pictures.", *notes)
        )
    likely = sum(number(hit.get("score")) > LIKELY for hit in hits)
    if not likely:
        bound = f"no tile shows it with more than {human.share(best)} probability"
        return Headline(f"{what} is probably not here: {bound}", tuple(notes))
    show = "shows" if likely == 1 else "show"
    text = f"{human.count(likely)} of {human.plural(len(hits), 'hit')} {show} {what} more likely "
    return Headline(f"{text}than not, the best with {human.share(best)} probability", tuple(notes))


def recognised(found: Mapping[str, Any]) -> Headline:
    """Say how well concepts were recognised in completed scenes, where that is known.

    Average precision of a random order is the share of tiles that show a concept.
    """
    count = human.plural(len(found["concepts"]), "concept")
    truth = found.get("truth")
    if not truth:
        return Headline(f"Scores of {count}; whether they are right is not known")
    each, shares = truth["tiles"]["each"], truth["prevalence"]
    known = {k: number(v) for k, v in each.items() if math.isfinite(number(v))}
    if not known:
        return Headline(f"Scores of {count}, of which no tile shows any", ())
    ours = sum(known.values()) / len(known)
    chance = sum(number(shares[k]) for k in known) / len(known)
    text = f"Mean average precision {human.decimal(ours)} over "
    text += human.plural(len(known), "concept")
    if ours <= chance + NOTHING:
        text += f", no better than a random order ({human.decimal(chance)})"
    else:
        text += f", where a random order has {human.decimal(chance)}"
    weak = [k for k, v in known.items() if v <= number(shares[k]) + NOTHING]
    notes = [f"No better than a random order: {', '.join(weak)}."] if weak else []
    notes.append("No interval was worked out: with few tiles of a concept, chance rules.")
    return Headline(text, tuple(notes))


def dataset(name: str, found: Mapping[str, Any]) -> Headline:
    """Say how well the images of a data set were recognised from overviews alone."""
    images = f"{human.plural(int(found['images']), 'image')} of {name}"
    chance = number(found.get("chance"))
    if "top1" in found:
        right = right_of(
            number(found["top1"]), int(found["images"]), number(found.get("majority")), chance
        )
        return labels.answered(right, images)
    ours = number(found.get("map"))
    if not math.isfinite(ours):
        return Headline(f"No class is shown by any of {images}")
    how = "no better than" if ours <= chance + NOTHING else "where"
    end = "" if ours <= chance + NOTHING else " has"
    text = f"Mean average precision {human.share(ours)} on {images}, {how} a random order"
    return Headline(f"{text}{end} ({human.share(chance)})" if not end else (
        f"{text}{end} {human.share(chance)}"
    ))  # fmt: skip


def estimated(found: Mapping[str, Any]) -> Headline:
    """Say how much there is in all, with its interval, and whether the design has helped."""
    one, unit, what = found["estimate"], found["unit"], found["what"]
    level = f"{100 * number(found['confidence']):g}{human.GAP}%"
    drawn, tiles = int(found["drawn"]), int(found["tiles"])
    looked = f"{human.count(drawn)} of {human.plural(tiles, 'tile')}"
    if not found["found"]:
        text = f"{what}: none in {looked}, which is no proof that there is none"
        return Headline(text if drawn < tiles else f"{what}: none in any of {looked}")
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
    if number(one["low"]) <= 0 and drawn < tiles:
        notes.append("The interval reaches down to nothing: look at more tiles.")
    if found.get("repeats"):
        notes.append(_against_even(found["repeats"]))
    return Headline(text, tuple(note for note in notes if note))


def counted(found: Mapping[str, Any]) -> Headline:
    """Say what pairs hold, and what is too rare in them to learn or to judge."""
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
    rare = [name for name, row in found["concepts"].items() if 0 < row["train"] < RARE]
    if rare:
        notes.append(f"Fewer than {RARE} training scenes show {human.listed(rare)}.")
    if not found["labelled"]:
        notes.append("There are no labels, so nothing is known of concepts.")
    return Headline(text, tuple(notes))


def quantity(value: float) -> str:
    """Write an amount of something on the ground."""
    return human.count(value) if abs(value) >= 100 else f"{value:.1f}"


def _against_even(repeats: Mapping[str, Any]) -> str:
    """Compare the errors of draws like this one with those of even draws.

    The ratio of two mean squares of as many draws follows an F distribution where they are alike.
    """
    ratio, draws = number(repeats.get("variance_ratio")), int(repeats["design"]["repeats"])
    if not math.isfinite(ratio) or draws < 2:
        return ""
    from scipy.stats import f

    spread = float(f.ppf(0.975, draws, draws))
    ends = f"{human.factor(ratio)}, 95{human.GAP}% interval {human.factor(ratio / spread)} to "
    ends += human.factor(ratio * spread)
    if ratio / spread > 1:
        return f"Draws like this one are better than even ones: those have its variance {ends}."
    if ratio * spread < 1:
        return f"Even draws are better than draws like this one: they have its variance {ends}."
    return f"Even draws do as well as draws like this one: they have its variance {ends}."
