"""The page of a trained observer: evaluation, maps of scenes, and failure cases."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.report import blocks as ui
from foveate.report import explain, human, marks
from foveate.report import origin as made
from foveate.report.assets import Album, picture_shape
from foveate.report.human import number
from foveate.report.page import Page, Section
from foveate.report.pages import train_tables as tables
from foveate.report.pages.observe_parts import heat_map, highest, overview
from foveate.report.words import observer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.report.read_observe import Trained
    from foveate.report.svg import Box
    from foveate.report.words import Headline

SCENES = 12  # maximum number of scenes drawn
_ROOM = 6 << 20  # maximum bytes of pictures on the page
_COMPLETIONS = {
    "none": "Observed only", "fill": "LR fill", "ours": "Completed", "full": "All observed",
}  # fmt: skip
_FAILURES = {
    "missed": ("Missed", "the unobserved tile with the largest true gain", "true gain"),
    "drift": (
        "Drift",
        "the unobserved tile for which completion adds the largest error over the LR fill",
        "squared error added",
    ),
    "complex": ("Complex", "the scene with the largest error", "mean squared error"),
}  # fmt: skip


def train(run: Trained) -> Page:
    """Draw the page."""
    evaluation, found = run.evaluation, headline(run)
    worth, album = observer.worth(evaluation), Album(_ROOM)
    scenes = _read_scenes(run, album)
    maps = [_maps(scene) for scene in scenes]
    features = [_features(scene) for scene in scenes]
    sweep = [_sweep(scene) for scene in scenes]
    inline = len(album.uris)  # the first pictures are inline, later ones are referenced
    hits = _add_hits(run, album)
    shots = {name: ui.Shot(f"p{i}") for i, name in enumerate(album.uris) if i >= inline}
    rho = _agreement([s.score for s in scenes], [s.truth for s in scenes])
    return Page.of(
        run.name, "Observe \u00b7 trained observer", found,
        lead=[ui.Figures(_figures(worth))],
        facts=_facts(run),
        sections=[
            Section("maps", "Predicted and true gain", [*_flat(maps), explain.terms("uncertainty")]
                    if maps else [ui.Text("The run contains no scene maps.", "note")],
                    _maps_note(rho) if maps else "", "Maps"),
            Section("search", "Search results", _search(run, hits, shots), nav="Search"),
            Section("features", "Completed features",
                    [*_flat(features), explain.terms("cosine", "LR fill")] if maps else [],
                    _features_note(evaluation), "Features"),
            Section("budget", "Accuracy by budget", tables.budget(evaluation, worth),
                    tables.budget_note(evaluation), "Budget"),
            Section("thresholds", "Selection by a threshold", tables.thresholds(
                evaluation, _flat(sweep)), tables.thresholds_note(evaluation), "Thresholds"),
            Section("concepts", "Concepts", *tables.concepts(evaluation), nav="Concepts"),
            Section("completions", "Comparison of completions", tables.completions(evaluation),
                    tables.completions_note(evaluation)),
            Section("failures", "Failure cases", _failures(run, scenes),
                    "The worst case of each kind, over all evaluated scenes.", "Failures"),
            Section("training", "Training", tables.training(run.training), (
                "Score per epoch on the validation scenes; the mark is the epoch that was "
                "kept."), "Training"),
            Section("reading", "Limitations",
                    [explain.terms("judged"), *ui.left_out(len(album.left_out))]),
        ],
        origin=made.origin(run, one="tile", many="tiles"),
        pictures={shot.element: album.uris[name] for name, shot in shots.items()},
    )  # fmt: skip


def headline(run: Trained) -> Headline:
    """Return the headline of a trained observer."""
    return observer.trained(run.evaluation)


def _flat(parts: Sequence[Sequence[ui.Block]]) -> list[ui.Block]:
    return [block for part in parts for block in part]


def _figures(found: observer.Worth) -> list[ui.Figure]:
    """Return the key figures; unknown ones are omitted."""
    what, share = found.measure, human.share(found.obr)
    rows = [
        ("Completed scenes", found.ours, f"{what}, {share} of the tiles observed"),
        ("Overviews alone", found.lr, f"{what}, no tiles observed"),
        ("Random tiles", found.chance, f"{what}, the same number of random tiles observed"),
        ("All tiles observed", found.full, f"{what}, upper limit"),
    ]
    figures = [
        ui.Figure(label, human.decimal(v, 3), note) for label, v, note in rows if math.isfinite(v)
    ]
    if math.isfinite(found.added):
        note = f"over the LR fill ({human.decimal(found.fill, 3)})"
        figures.append(ui.Figure("Completion adds", observer.signed(found.added), note))
    return figures


def _facts(run: Trained) -> list[tuple[str, str]]:
    summary, evaluation = run.record.get("summary", {}), run.evaluation
    about = summary.get("observer", {})
    split = {"test": "test scenes", "val": "validation scenes"}
    kind = split.get(str(evaluation.get("split")), "scenes")
    judged = f"{human.plural(int(number(evaluation.get('tiles') or 0)), 'tile')} of "
    judged += f"{human.count(number(evaluation.get('scenes') or 0))} {kind}"
    parts = about.get("scenes") or {}
    trained = f"{human.plural(int(parts.get('train', 0)), 'scene')}, "
    trained += f"{human.count(parts.get('val', 0))} for validation"
    return [
        ("Evaluated on", judged),
        ("Trained on", trained),
        ("Imagery", made.imagery(run)),
        ("Encoder", made.encoder_name(run)),
        ("Observer", f"{about.get('size', '?')}, {about.get('form', '?')}"),
        ("Supervision", str(about.get("supervision", "?"))),
        ("Seed", str(summary.get("seed", "?"))),
    ]


# scenes


class _Scene:
    """One scene of the evaluation: arrays and sizes that its drawings share."""

    def __init__(self, run: Trained, index: int, entry: dict[str, Any], album: Album) -> None:
        self.name, self.entry = str(entry.get("scene")), entry
        self._run, self._album = run, album
        self.element = f"scene{index}"
        self.valid = np.array(entry["here"], bool)
        self.observed = np.array(entry["seen"], bool) & self.valid
        self.score, self.sd, self.truth = (
            np.where(self.valid, np.array(entry[key], np.float64), np.nan)
            if entry.get(key) is not None else np.full(self.valid.shape, np.nan)
            for key in ("score", "sd", "truth")
        )  # fmt: skip
        file = run.file(entry.get("overview"))
        self.shape = picture_shape(file, self.valid.shape)
        self.picture = album.uri(str(entry.get("overview")), file)
        self.size = marks.size(self.shape)
        self.boxes = marks.grid_boxes(self.valid.shape, *self.size)
        self.max_sd, self.quantile = 1.0, self.truth  # over all scenes, see `_read_scenes`

    def pick(self, kept: NDArray[np.bool_]) -> list[Box]:
        """Return the boxes of some tiles."""
        return [self.boxes[i] for i in np.flatnonzero(kept.ravel()).tolist()]

    def feature(
        self, file: object, cover: NDArray[np.bool_], title: str, note: str = ""
    ) -> ui.Overlay:  # fmt: skip
        """Draw features, one pixel per token; tiles without features are covered."""
        alt = f"{self.name}: features, {title}{', ' if note else ''}{note}"
        picture = self._album.uri(str(file), self._run.file(file))
        return ui.Overlay(title, *self.size, alt, picture, note=note,
                       marks=marks.covered(self.pick(cover)), fine=True)  # fmt: skip


def _read_scenes(run: Trained, album: Album) -> list[_Scene]:
    entries = [e for e in run.assets.get("scenes") or [] if isinstance(e, dict)][:SCENES]
    scenes = [_Scene(run, i, entry, album) for i, entry in enumerate(entries)]
    most = highest([scene.sd for scene in scenes])
    known = [s.truth[np.isfinite(s.truth)] for s in scenes]
    known = np.sort(np.concatenate(known)) if known else np.zeros(0)
    for scene in scenes:
        scene.max_sd = most
        if known.size > 1:  # share of the other tiles with a lower gain, the scale of scores
            quantile = np.searchsorted(known, scene.truth, "left") / (known.size - 1)
            scene.quantile = np.where(np.isfinite(scene.truth), quantile, np.nan)
    return scenes


def _maps(scene: _Scene) -> list[ui.Block]:
    columns = scene.valid.shape[1]
    score, sd = scene.score.ravel(), scene.sd.ravel()
    texts = [
        f"row {i // columns}, column {i % columns}: observed, predicted "
        f"{human.decimal(float(score[i]))}, sd {human.decimal(float(sd[i]))}"
        for i in np.flatnonzero(scene.observed.ravel()).tolist()
    ]
    drawn = [overview("Overview", scene.name, scene.shape, scene.pick(scene.observed), texts,
                      scene.picture, scene.element, "outlined: observed")]  # fmt: skip
    for title, values, high in (
        ("Predicted", scene.score, 1.0), ("True", scene.quantile, 1.0),
        ("Uncertainty (sd)", scene.sd, scene.max_sd),
    ):  # fmt: skip
        if np.isfinite(values).any():
            drawn.append(heat_map(title, values, high, shape=scene.shape))
    count = human.plural(int(scene.valid.sum()), "tile")
    note = f"{human.count(int(scene.observed.sum()))} of {count} observed"
    return [ui.Heading(scene.name, note), ui.Grid(drawn, 4)]


def _features(scene: _Scene) -> list[ui.Block]:
    given = scene.entry.get("features") or {}
    drawn = []
    for how, title in _COMPLETIONS.items():
        if how in given:
            cover = ~scene.observed if how == "none" else ~scene.valid
            drawn.append(scene.feature(given[how], cover, title))
    return [ui.Heading(scene.name), ui.Grid(drawn, 4)]


def _sweep(scene: _Scene) -> list[ui.Block]:
    drawn = []
    for step in scene.entry.get("sweep") or []:
        tau, share = number(step.get("tau")), human.share(number(step.get("obr")))
        title, note = f"\u03c4 = {tau:g}", f"{share} observed"
        drawn.append(scene.feature(step.get("picture"), ~scene.valid, title, note))
    return [ui.Heading(scene.name), ui.Grid(drawn, 8)] if drawn else []


def _maps_note(rho: float) -> str:
    """Return the rank correlation of predicted and true gain, and a description of the maps."""
    text = "The true gain of the tiles is not known."
    if math.isfinite(rho):
        how = next(
            text for bound, text in
            ((0.6, "strongly"), (0.3, "moderately"), (0.1, "weakly"), (-math.inf, "hardly or not"))
            if rho >= bound
        )  # fmt: skip
        text = f"On these tiles, the predicted and the true gain are {how} correlated: "
        text += f"Spearman\u2019s \u03c1 = {human.decimal(rho)}."
    return (
        f"{text} The maps show one square per tile; lighter squares have a higher gain: predicted "
        "from the overview alone, and true, both as the share of tiles with a lower gain. Plain "
        "squares have too few valid pixels."
    )


def _agreement(a: list[NDArray[np.float64]], b: list[NDArray[np.float64]]) -> float:
    """Return Spearman's rho of two lists of maps; NaN where it is not defined."""
    from scipy.stats import rankdata

    if not a:
        return math.nan
    x, y = (np.concatenate([g.ravel() for g in grids]) for grids in (a, b))
    both = np.isfinite(x) & np.isfinite(y)
    if both.sum() < 3 or not np.ptp(x[both]) or not np.ptp(y[both]):
        return math.nan
    return float(np.corrcoef(rankdata(x[both]), rankdata(y[both]))[0, 1])


def _features_note(evaluation: dict[str, Any]) -> str:
    """Return the similarity of completed and true features, and a description of the pictures."""
    colours = "Colours are the first three principal components of the true features, the same for "
    colours += "all pictures: the more similar to the last picture, the better."
    found = evaluation.get("completions") or {}
    ours, fill = (number((found.get(name) or {}).get("cosine")) for name in ("ours", "fill"))
    if not math.isfinite(ours) or not math.isfinite(fill):
        return colours
    text = "On unobserved tiles, the centred cosine with the true features is "
    text += f"{human.decimal(ours, 3)}, {human.decimal(fill, 3)} for the LR fill"
    if abs(ours - fill) <= observer.NOTHING:
        return f"{text}: both are nearly equal. {colours}"
    return f"{text}: completion is {'closer' if ours > fill else 'less similar'}. {colours}"


# search and failures


def _add_hits(run: Trained, album: Album) -> list[dict[str, Any]]:
    entries = run.assets.get("search") or []
    for entry in entries:
        for tile in entry.get("tiles") or []:
            album.add(str(tile.get("picture")), run.file(tile.get("picture")))
    return entries


def _search(run: Trained, hits: list[dict[str, Any]], shots: dict[str, ui.Shot]) -> list[ui.Block]:
    """Return pictures of the best tiles of each concept."""
    prevalence = run.evaluation.get("concepts") or {}
    blocks: list[ui.Block] = []
    right = total = 0
    for entry in hits:
        concept, tiles = str(entry.get("concept")), entry.get("tiles") or []
        count = sum(bool(tile.get("right")) for tile in tiles)
        right, total = right + count, total + len(tiles)
        note = f"{count} of {len(tiles)} right"
        share = number((prevalence.get(concept) or {}).get("prevalence"))
        note += f"; {human.share(share)} of the tiles show it" if math.isfinite(share) else ""
        pictures = [_hit(tile, shots.get(str(tile.get("picture")))) for tile in tiles]
        blocks += [ui.Heading(concept, note), ui.Pictures(pictures)]
    if not total:
        return blocks
    text = f"The best tiles of each concept: {human.count(right)} of "
    return [ui.Text(f"{text}{human.plural(total, 'tile')} are right by the labels."), *blocks]


def _hit(tile: dict[str, Any], shot: ui.Shot | None) -> ui.Picture:
    right, how = bool(tile.get("right")), "observed" if tile.get("observed") else "completed"
    alt = f"{tile.get('tile')}: {'right' if right else 'wrong'}, {how}"
    title = "\u2713 right" if right else "\u2717 wrong"
    return ui.Picture(shot, alt, title, how, style="right" if right else "wrong")


def _failures(run: Trained, scenes: list[_Scene]) -> list[ui.Block]:
    """Return the worst cases, with a picture if the scene is one of those drawn."""
    by_name = {scene.name: scene for scene in scenes}
    found = []
    for case in run.evaluation.get("failures") or []:
        kind = str(case.get("kind"))
        name, text, unit = _FAILURES.get(kind, (kind, "", "value"))
        where, row, col = str(case.get("scene")), case.get("row"), case.get("col")
        scene, location = by_name.get(where), where
        if row is not None and col is not None:
            location += f", row {row}, column {col}"
        value = f"{unit} {human.decimal(number(case.get('value')), 3)}"
        blocks: list[ui.Block] = [ui.Text(f"{text}. {location}; {value}.", "note", f"{name}:")]
        if scene is not None and scene.picture:
            blocks.insert(0, _case(scene, row, col, location))
        found.append(blocks)
    return [ui.Grid(found, "maps")] if found else []


def _case(scene: _Scene, row: object, col: object, alt: str) -> ui.Overlay:
    rows, cols = scene.valid.shape
    boxes = []
    if isinstance(row, int) and isinstance(col, int) and row < rows and col < cols:
        boxes = [scene.boxes[row * cols + col]]
    return ui.Overlay("", *scene.size, alt, scene.picture, marks=marks.outlines(boxes))
