"""The page of a classify run: label counts, example patches, and the confusion matrix."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.report import blocks as ui
from foveate.report import explain, human, svg
from foveate.report import origin as made
from foveate.report.assets import Album
from foveate.report.chance import right
from foveate.report.human import number
from foveate.report.page import Page, Section
from foveate.report.pages import growth
from foveate.report.words.labels import Labelled, labelled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.report.read import Classified
    from foveate.report.words import Headline

SHOWN = 6  # most and least confident patches shown per label
GROUPS = 40  # maximum number of labels with pictures
MOST = 60  # maximum number of labels in a confusion matrix


def classify(run: Classified) -> Page:
    """Draw the page."""
    album, headline = Album(), headlines(run)[""]
    counts = np.bincount(run.first, minlength=len(run.labels))
    groups = _groups(run, counts)
    for row in [row for _, *parts in groups for part in parts for row in part]:
        album.add(run.ids[row], run.tile_files.get(run.ids[row]))
    head = run.record["summary"]["head"]
    kind = head["kind"]
    terms = explain.terms(
        f"probability, {kind}" if kind in {"probe", "sigmoid"} else "probability",
        f"weakness, {'probe' if kind == 'probe' else 'texts'}",
    )
    texts = [(name, ", ".join(found)) for name, found in head.get("texts", {}).items()]
    asked = [*texts, ("templates", " | ".join(head["templates"]))] if texts else []
    pictures = _pictures(run, groups, ui.shots(album.uris))
    pictures += ui.left_out(len(album.left_out))
    confusion = _confusion(run)
    return Page.of(
        run.name, "Classification", headline,
        lead=[_opening(run, counts)],
        facts=_facts(run),
        sections=[
            Section("labels", "Label counts", [_labels(run, counts), terms], nav="Labels"),
            Section("pictures", "Examples of each label", pictures, (
                "Below each patch: the probability of its label, and the second label. If the most "
                "confident patches are wrong, reword the label; if the least confident are wrong, "
                "two labels may mean the same."), "Pictures"),
            Section("confusion", "Confusion matrix", [confusion] if confusion else [],
                    nav="Confusion"),
            growth.failed(run.record),
            Section("texts", "Prompts",
                    [ui.Fold("Texts of each label", [ui.Pairs(asked)])] if asked else []),
        ],
        origin=made.origin(run),
        pictures={f"p{i}": uri for i, uri in enumerate(album.uris.values())},
    )  # fmt: skip


def headlines(run: Classified) -> dict[str, Headline]:
    """Return the headline of the run, with the key ""."""
    counts = np.bincount(run.first, minlength=len(run.labels))
    most, truth = int(counts.argmax()), run.record["summary"].get("truth") or {}
    head = str((run.record["summary"].get("head") or {}).get("kind") or "")
    unlikely = int((run.probability < 0.5).sum()) if head == "sigmoid" else None
    found = Labelled(
        run.n, len(run.labels), int((counts == 0).sum()), run.labels[most], counts[most] / run.n,
        right(run.first, run.truth, run.scene, run.labels),
        str(truth.get("source") or "truth"), number(truth.get("mean_accuracy")),
        int(truth.get("fitted") or 0), "probe" if head == "probe" else "model", unlikely,
    )  # fmt: skip
    return {"": labelled(found)}


def _opening(run: Classified, counts: NDArray[np.int64]) -> ui.Grid:
    note = "The pool in the order of its scenes; stronger colours are more confident."
    if (each := svg.per_square(run.n)) > 1:
        note += f" One square is {each} patches."
    squares = svg.squares(run.probability, "Probability of the label of each patch")
    unsure = float((run.probability < 0.5).mean())
    figures = [
        ui.Figure(
            "Labels that occur", human.count(int((counts > 0).sum())), f"of {len(run.labels)}"
        ),
        ui.Figure(
            "Probability", human.share(float(np.median(run.probability))), "median of patches"
        ),
        ui.Figure(
            "Unsure", human.share(unsure), "of the patches have a probability under 50\u202f%"
        ),
    ]
    truth = run.record["summary"]["truth"]
    if truth and truth["judged"]:
        judged = human.plural(truth["judged"], "patch", "patches")
        mean = human.share(truth["mean_accuracy"])
        note_ = f"of {judged} (ground truth: {truth['source']}); mean over classes {mean}"
        figures.insert(0, ui.Figure("Right", human.share(truth["accuracy"]), note_))
    return ui.Grid([ui.Chart(squares, note), ui.Figures(figures)], "beside")


def _facts(run: Classified) -> list[tuple[str, str]]:
    summary: dict[str, Any] = run.record["summary"]
    head, truth = summary["head"], summary["truth"]
    patches = human.plural(run.n, "patch", "patches")
    templates = human.plural(len(head.get("templates", [])), "template")
    by = "a linear probe" if head["kind"] == "probe" else f"texts in {templates}, {head['kind']}"
    gone = human.plural(len(run.excluded), "patch", "patches") if run.excluded else "nothing"
    return [
        ("Pool", f"{patches} in {human.plural(len(run.scenes), 'scene')}"),
        ("Imagery", made.imagery(run)),
        ("Encoder", made.encoder_name(run)),
        ("Classifier", by),
        ("Ground truth", f"from {truth['source']}" if truth else "none"),
        ("Excluded", gone),
    ]


def _labels(run: Classified, counts: NDArray[np.int64]) -> ui.Table:
    total = np.bincount(run.first, weights=run.probability, minlength=counts.size)
    top = max(1, int(counts.max()))
    columns: list[ui.Column | str] = ["Label", ui.BAR, "Patches", "Share", "Mean probability"]
    if run.confusion is not None:
        columns.append("Correct, of this class")
    rows = []
    for i in np.argsort(-counts, kind="stable").tolist():
        mean = total[i] / counts[i] if counts[i] else math.nan
        share = human.share(counts[i] / run.n)
        bar = svg.bar(counts[i] / top, f"{run.labels[i]}: {share}")
        cells = [bar, human.count(counts[i]), share, ui.Cell(human.share(mean), "soft")]
        if run.confusion is not None:
            of = int(run.confusion[i].sum())
            cells.append(f"{run.confusion[i, i]} of {of}" if of else human.NONE)
        rows.append(ui.Row(run.labels[i], cells))
    return ui.Table("Labels", columns, rows)


def _confusion(run: Classified) -> ui.Matrix | None:
    """Return the confusion matrix of true against predicted labels, tinted by row share."""
    table = run.confusion
    if table is None or not table.any():
        return None
    busy = table.sum(axis=0) + table.sum(axis=1)
    kept = np.sort(np.argsort(-busy, kind="stable")[: min(MOST, int((busy > 0).sum()))])
    rows = []
    for i in kept:
        of = max(int(table[i].sum()), 1)
        rows.append([
            ui.Cell(human.count(table[i, j]) if table[i, j] else "", svg.tint(table[i, j] / of),
                 f"{table[i, j]} of {table[i].sum()} {run.labels[i]} predicted as {run.labels[j]}")
            for j in kept
        ])  # fmt: skip
    note = "True classes in rows, predicted labels in columns; colours show the share of the row."
    if len(kept) < len(run.labels):
        note += f" {human.plural(len(run.labels) - len(kept), 'label')} left out."
    return ui.Matrix("Confusion", note, [run.labels[i] for i in kept], rows)


def _groups(
    run: Classified, counts: NDArray[np.int64]
) -> list[tuple[str, list[int], list[int]]]:  # fmt: skip
    """Return the most and the least confident patches of the most common labels."""
    groups = []
    for label in np.argsort(-counts, kind="stable")[:GROUPS]:
        rows = np.flatnonzero(run.first == label)
        order = rows[np.argsort(-run.probability[rows], kind="stable")].tolist()
        if order:
            last = order[max(SHOWN, len(order) - SHOWN) :][::-1]
            groups.append((run.labels[label], order[:SHOWN], last))
    return groups


def _pictures(
    run: Classified, groups: list[tuple[str, list[int], list[int]]], found: dict[str, ui.Shot]
) -> list[ui.Block]:
    blocks: list[ui.Block] = []
    for label, *parts in groups:
        for rows, how in zip(parts, ("most confident", "least confident"), strict=True):
            if rows:
                drawn = ui.Pictures([_picture(run, row, found) for row in rows])
                blocks += [ui.Heading(label, how), drawn]
    return blocks


def _picture(run: Classified, row: int, found: dict[str, ui.Shot]) -> ui.Picture:
    tile, sure = run.ids[row], human.share(run.probability[row])
    second = run.second[row]
    other = f"{second[0]} {human.share(second[1])}" if second else ""
    alt = f"{tile}: {run.labels[run.first[row]]} {sure}" + (f", then {other}" if other else "")
    return ui.Picture(found.get(tile), alt, sure, other, run.scene_name(row))
