"""The page of a classify run: what it holds, and everything that its template shows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from foveate.errors import DataError
from foveate.files import read_parquet
from foveate.report import charts, human, provenance
from foveate.report.chance import right
from foveate.report.data import PoolData, read_pool
from foveate.report.panels import Figure
from foveate.report.pictures import Album
from foveate.report.stage import number
from foveate.report.view import Cell, Heat, Shot
from foveate.report.words.labels import Labelled, labelled
from foveate.run import Run

if TYPE_CHECKING:
    from pathlib import Path

    from markupsafe import Markup
    from numpy.typing import NDArray

    from foveate.report.provenance import Origin
    from foveate.report.words import Headline

SHOWN = 6  # surest and least sure patches of a label
GROUPS = 40  # labels with pictures
DENSE, MOST = 12, 60  # labels of a confusion table: without numbers, and at the most


@dataclass(frozen=True)
class Classified(PoolData):
    """A classify run.

    Attributes:
        labels: C names.
        first: (n,) int64 label of each tile.
        probability: (n,) float64 of it.
        other: (n,) what came second, with its probability; empty where nothing did.
        confusion: (C, C) int64 patches, the truth in rows; None where it is not known.
        truth: (n,) int64 true label of each tile; -1 where it is not known.
    """

    labels: list[str]
    first: NDArray[np.int64]
    probability: NDArray[np.float64]
    other: list[str]
    confusion: NDArray[np.int64] | None
    truth: NDArray[np.int64]


class Row(NamedTuple):
    """One label."""

    name: str
    bar: Markup
    tiles: str
    share: str
    probability: str
    found: str


class Picture(NamedTuple):
    """One patch."""

    name: str
    scene: str
    probability: str
    other: str
    alt: str


class Group(NamedTuple):
    """The patches of one label that are shown."""

    name: str
    best: list[Picture]
    worst: list[Picture]


@dataclass(frozen=True)
class ClassifiedView:
    """The page."""

    template: ClassVar[str] = "classified.html.j2"
    script: ClassVar[dict[str, Any]] = {}  # the page is complete without one

    title: str
    headline: str
    verdicts: tuple[str, ...]
    pool: Markup
    pool_note: str
    figures: list[Figure]
    facts: list[tuple[str, str]]
    labels: list[Row]
    labels_note: str
    judged: bool
    confusion: Heat | None
    groups: list[Group]
    groups_note: str
    reading: str
    weakness: str
    texts: list[tuple[str, str]]
    origin: Origin
    pictures: dict[str, str]
    shots: dict[str, Shot]


def read_classified(run_dir: str | Path) -> Classified:
    """Read the tables of a classify run.

    Raises:
        DataError: There is no run, or its tables contradict each other.
    """
    run = Run.load(run_dir)
    tiles = read_parquet(run.path / "tiles.parquet")
    found = read_parquet(run.path / "predictions.parquet")
    summary = run.record["summary"]
    labels = list(summary["labels"])
    place = {name: i for i, name in enumerate(labels)}
    names = found["label"].to_pylist()
    if found["tile_id"] != tiles["tile_id"] or not set(names) <= set(place):
        raise DataError(
            f"the tables of the run {str(run.path)!r} contradict each other",
            "The predictions are of other tiles or labels than the run.",
            "Run the job again into a new folder.",
        )
    pairs = zip(
        found["second_label"].to_pylist(), found["second_probability"].to_pylist(), strict=True
    )
    confusion = None
    if summary.get("truth"):
        table = read_parquet(run.path / "tables/confusion.parquet")
        confusion = table["tiles"].to_numpy().reshape(len(labels), len(labels))
    return Classified(
        **read_pool(run, tiles),
        labels=labels,
        first=np.array([place[name] for name in names], dtype=np.int64),
        probability=found["probability"].to_numpy().astype(np.float64),
        other=["" if name is None else f"{name} {human.share(p)}" for name, p in pairs],
        confusion=confusion,
        truth=np.array(
            [place.get(name, -1) for name in found["truth"].to_pylist()]
            if "truth" in found.column_names else [-1] * len(tiles), dtype=np.int64,
        ),
    )  # fmt: skip


def headlines(run: Classified) -> dict[str, Headline]:
    """Return what is said of the labels, and of how many are right, as ""."""
    counts = np.bincount(run.first, minlength=len(run.labels))
    most, truth = int(counts.argmax()), run.record["summary"].get("truth") or {}
    found = Labelled(
        run.n, len(run.labels), int((counts == 0).sum()), run.labels[most], counts[most] / run.n,
        right(run.first, run.truth, run.scene, run.labels),
        str(truth.get("source") or "truth"), number(truth.get("mean_accuracy")),
    )  # fmt: skip
    return {"": labelled(found)}


def build(run: Classified) -> ClassifiedView:
    """Turn a run into the page's content."""
    album = Album()
    groups = _groups(run, album)
    keys = {tile: f"p{i}" for i, tile in enumerate(album.uris)}
    summary = run.record["summary"]
    counts = np.bincount(run.first, minlength=len(run.labels))
    sure = "the stronger, the surer its label."
    headline = headlines(run)[""]
    each = charts.per_square(run.n)
    return ClassifiedView(
        title=run.name,
        headline=headline.text,
        verdicts=headline.notes,
        pool=charts.pool(run.probability, "How sure the label of each patch is"),
        pool_note=f"The pool in the order of its scenes; {sure}"
        + (f" One square is {each} patches." if each > 1 else ""),
        figures=_figures(run, counts),
        facts=_facts(run),
        labels=_rows(run, counts),
        labels_note="Most likely labels. The probability is the mean over the patches of a label."
        + (" Found: patches of this class that got the label." if summary["truth"] else ""),
        judged=run.confusion is not None,
        confusion=_confusion(run),
        groups=groups,
        groups_note=f"{human.plural(len(album.left_out), 'picture')} could not be shown."
        if album.left_out
        else "",
        reading=_reading(summary["head"]["kind"]),
        weakness=_weakness(summary["head"]["kind"]),
        texts=_texts(summary["head"]),
        origin=provenance.origin(run),
        pictures={keys[tile]: uri for tile, uri in album.uris.items()},
        shots={tile: Shot(key, "0 0 1 1") for tile, key in keys.items()},
    )


def _figures(run: Classified, counts: NDArray[np.int64]) -> list[Figure]:
    unsure = float((run.probability < 0.5).mean())
    found = [
        Figure("Labels that occur", human.count(int((counts > 0).sum())), f"of {len(run.labels)}"),
        Figure("Probability", human.share(float(np.median(run.probability))), "median of patches"),
        Figure("Unsure", human.share(unsure), "of the patches have a label under 50\u202f%"),
    ]
    truth = run.record["summary"]["truth"]
    if truth and truth["judged"]:
        judged = human.plural(truth["judged"], "patch", "patches")
        mean = human.share(truth["mean_accuracy"])
        note = f"of {judged} by their {truth['source']}; {mean} if each class counts alike"
        found.append(Figure("Right", human.share(truth["accuracy"]), note))
    return found


def _facts(run: Classified) -> list[tuple[str, str]]:
    summary = run.record["summary"]
    pool, head, truth = summary["pool"], summary["head"], summary["truth"]
    kind = "georeferenced" if pool["georeferenced"] else "no georeference"
    templates = head.get("templates", [])
    patches = human.plural(run.n, "patch", "patches")
    return [
        ("Pool", f"{patches} in {human.plural(len(run.scenes), 'scene')}"),
        ("Imagery", f"{pool['bands']} bands, {pool['dtype']}, {kind}"),
        ("Encoder", run.encoder.get("name", "?") if run.encoder else "?"),
        ("Judged by", "a linear probe" if head["kind"] == "probe"
                      else f"texts in {human.plural(len(templates), 'template')}, {head['kind']}"),
        ("Truth", f"from {truth['source']}" if truth else "not known"),
        ("Excluded", human.plural(len(run.excluded), "patch", "patches")
                     if run.excluded else "nothing"),
    ]  # fmt: skip


def _rows(run: Classified, counts: NDArray[np.int64]) -> list[Row]:
    total = np.bincount(run.first, weights=run.probability, minlength=counts.size)
    top = max(1, int(counts.max()))
    rows = []
    for i in np.argsort(-counts, kind="stable").tolist():
        found = ""
        if run.confusion is not None:
            there = int(run.confusion[i].sum())
            found = f"{run.confusion[i, i]} of {there}" if there else human.NONE
        mean = total[i] / counts[i] if counts[i] else math.nan
        share = human.share(counts[i] / run.n)
        bar = charts.bar(counts[i] / top, f"{run.labels[i]}: {share}")
        tiles = human.count(counts[i])
        rows.append(Row(run.labels[i], bar, tiles, share, human.share(mean), found))
    return rows


def _confusion(run: Classified) -> Heat | None:
    """Draw the table of true against found labels, tinted by the share of a row."""
    table = run.confusion
    if table is None or not table.any():
        return None
    busy = table.sum(axis=0) + table.sum(axis=1)
    kept = np.sort(np.argsort(-busy, kind="stable")[: min(MOST, int((busy > 0).sum()))])
    rows = []
    for i in kept:
        there = max(int(table[i].sum()), 1)
        rows.append(
            [
                Cell(
                    human.count(table[i, j]) if table[i, j] else "",
                    charts.tint(table[i, j] / there),
                    f"{table[i, j]} of {table[i].sum()} {run.labels[i]} taken for {run.labels[j]}",
                )
                for j in kept
            ]
        )
    note = "True classes in rows, labels given in columns; the darker, the more of the row."
    if len(kept) < len(run.labels):
        note += f" {human.plural(len(run.labels) - len(kept), 'label')} left out."
    names = [run.labels[i] for i in kept]
    return Heat("Confusion", note, names, rows, len(names) > DENSE)


def _groups(run: Classified, album: Album) -> list[Group]:
    """Show the surest and the least sure patches of the most common labels."""
    counts = np.bincount(run.first, minlength=len(run.labels))
    groups = []
    for label in np.argsort(-counts, kind="stable")[:GROUPS]:
        rows = np.flatnonzero(run.first == label)
        order = rows[np.argsort(-run.probability[rows], kind="stable")].tolist()
        best = order[:SHOWN]
        worst = order[max(SHOWN, len(order) - SHOWN) :][::-1]
        if best:
            shown = [[_picture(run, row, album) for row in part] for part in (best, worst)]
            groups.append(Group(run.labels[label], *shown))
    return groups


def _picture(run: Classified, row: int, album: Album) -> Picture:
    tile = run.ids[row]
    album.add(tile, run.tile_files.get(tile))
    label, sure = run.labels[run.first[row]], human.share(run.probability[row])
    scene = run.scenes[run.scene[row]]["scene"]
    second = f", then {run.other[row]}" if run.other[row] else ""
    return Picture(tile, scene, sure, run.other[row], f"{tile}: {label} {sure}{second}")


def _reading(kind: str) -> str:
    if kind == "sigmoid":
        return (
            "Each label is judged alone, so all of them may be small, and they need not sum to "
            "1. The order says more than the size."
        )
    text = "The labels share 1 among them: a label's probability says how far it is ahead of the "
    text += "others on the list, not whether it is there."
    if kind == "probe":
        return text + " The probe knows the classes that it was fitted to, and no others."
    return text + " Another list gives other probabilities."


def _weakness(kind: str) -> str:
    start = (
        "The probe has learned from other images: what looks different here"
        if kind == "probe"
        else "The model has never been told what these images show: a label that it does not "
        "understand"
    )
    return (
        f"{start}, and whatever is missing from the list, goes to the nearest label, and it may "
        "be sure of that. Look at the pictures before the numbers."
    )


def _texts(head: dict[str, Any]) -> list[tuple[str, str]]:
    rows = [(name, ", ".join(texts)) for name, texts in head.get("texts", {}).items()]
    if rows:
        rows.append(("templates", " | ".join(head["templates"])))
    return rows
