"""What a trained observer is shown by: maps and features of scenes, tiles found, and failures."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from foveate.report import human
from foveate.report.observed_draw import Board, Heat, board, grid_boxes, heat, measured, size
from foveate.report.stage import number

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.report.observed_data import Trained
    from foveate.report.pictures import Album

_FEATURES = {
    "none": "Observed only", "fill": "LR fill", "ours": "Completed", "full": "All observed",
}  # fmt: skip
_FAILURES = {
    "missed": ("Missed", "the unobserved tile that would have gained most", "true gain"),
    "drift": (
        "Drift",
        "the unobserved tile that completion moves furthest from the truth, against the fill",
        "squared error added",
    ),
    "complex": ("Complex", "the scene that is furthest from the truth", "mean squared error"),
}  # fmt: skip
SHOWN = 12  # scenes


class Feature(NamedTuple):
    """A picture of features, one pixel a token; `cover` is a path over what holds none."""

    name: str
    note: str
    picture: str
    label: str
    cover: str = ""


class SceneView(NamedTuple):
    """One scene of the evaluation."""

    name: str
    anchor: str
    caption: str
    board: Board
    heats: list[Heat]
    width: float
    height: float
    features: list[Feature]
    sweep: list[Feature]
    shape: tuple[int, int]


class FoundTile(NamedTuple):
    """One tile that a search found."""

    key: str
    name: str
    right: bool
    observed: bool
    label: str


class Finding(NamedTuple):
    """What a search for one concept found."""

    concept: str
    note: str
    tiles: list[FoundTile]


class Failure(NamedTuple):
    """A tile or a scene that went wrong; `box` is the view of the overview `element` around it."""

    name: str
    text: str
    where: str
    value: str
    element: str
    box: str
    tile: tuple[float, float, float, float] | None


def scenes(run: Trained, album: Album) -> tuple[list[SceneView], float]:
    """Return the shown scenes, and how well predicted and true order of their tiles agree.

    Args:
        run: The run.
        album: Takes the pictures.

    Returns:
        The scenes, and Spearman's rho over their tiles; NaN where no truth is known.
    """
    entries = [e for e in run.shown.get("scenes") or [] if isinstance(e, dict)][:SHOWN]
    here = [np.array(e["here"], bool) for e in entries]
    score, sd, truth = (
        [_known(e.get(key), mask) for e, mask in zip(entries, here, strict=True)]
        for key in ("score", "sd", "truth")
    )
    places = _places(truth)
    most = max((float(np.nanmax(v)) for v in sd if np.isfinite(v).any()), default=1.0)
    found = [
        _scene(run, album, i, entry, here[i], score[i], sd[i], places[i], most or 1.0)
        for i, entry in enumerate(entries)
    ]
    return found, _agreement(score, truth)


def search(run: Trained, album: Album) -> list[Finding]:
    """Return the best tiles of each concept."""
    prevalence = run.evaluation.get("concepts") or {}
    found = []
    for entry in run.shown.get("search") or []:
        concept = str(entry.get("concept"))
        tiles = []
        for tile in entry.get("tiles") or []:
            key = str(tile.get("picture"))
            album.add(key, run.file(key))
            right, observed = bool(tile.get("right")), bool(tile.get("observed"))
            name = str(tile.get("tile"))
            label = f"{name}: {'right' if right else 'wrong'}, "
            label += "observed" if observed else "completed"
            tiles.append(FoundTile(key, name, right, observed, label))
        share = number((prevalence.get(concept) or {}).get("prevalence"))
        note = f"{sum(t.right for t in tiles)} of {len(tiles)} right"
        if math.isfinite(share):
            note += f"; {human.share(share)} of the tiles show it"
        found.append(Finding(concept, note, tiles))
    return found


def failures(run: Trained, shown: list[SceneView]) -> list[Failure]:
    """Return what went most wrong, with a picture where the scene is one of those shown."""
    views = {view.name: view for view in shown}
    found = []
    for case in run.evaluation.get("failures") or []:
        kind = str(case.get("kind"))
        name, text, unit = _FAILURES.get(kind, (kind, "", "value"))
        where, row, col = str(case.get("scene")), case.get("row"), case.get("col")
        view, element, box, tile = views.get(where), "", "", None
        if view is not None and view.board.picture:
            element, box = view.board.element, f"0 0 {view.board.width} {view.board.height}"
            rows, cols = view.shape
            if isinstance(row, int) and isinstance(col, int) and row < rows and col < cols:
                tile = grid_boxes(view.shape, view.board.width, view.board.height)[row * cols + col]
        if row is not None and col is not None:
            where += f", row {row}, column {col}"
        value = f"{unit} {human.decimal(number(case.get('value')), 3)}"
        found.append(Failure(name, text, where, value, element, box, tile))
    return found


def _scene(  # noqa: PLR0917  (what the scenes share)
    run: Trained, album: Album, index: int, entry: dict[str, Any], here: NDArray[np.bool_],
    score: NDArray[np.float64], sd: NDArray[np.float64], truth: NDArray[np.float64], most: float,
) -> SceneView:  # fmt: skip
    name = str(entry.get("scene"))
    file = run.file(entry.get("overview"))
    shape = measured(file, here.shape)
    seen = np.array(entry["seen"], bool) & here
    key = str(entry.get("overview"))
    uri = album.uris[key] if album.add(key, file) else ""
    width, height = size(shape)
    every = grid_boxes(here.shape, width, height)
    rows = np.flatnonzero(seen.ravel()).tolist()
    flat, doubt = score.ravel(), sd.ravel()
    texts = [
        f"row {i // here.shape[1]}, column {i % here.shape[1]}: observed, predicted "
        f"{human.decimal(float(flat[i]))}, sd {human.decimal(float(doubt[i]))}"
        for i in rows
    ]
    drawn = board(f"scene{index}", name, shape, [every[i] for i in rows], texts, uri)
    heats = [
        heat("Predicted", score, (0.0, 1.0), shape=shape),
        heat("True", truth, (0.0, 1.0), shape=shape),
        heat("Uncertainty (sd)", sd, (0.0, most), shape=shape, tip="sd"),
    ]
    count = int(here.sum())
    caption = f"{human.count(len(rows))} of {human.plural(count, 'tile')} observed"
    return SceneView(
        name, f"scene-{index}", caption, drawn,
        [h for h, v in zip(heats, (score, truth, sd), strict=True) if np.isfinite(v).any()],
        width, height,
        _features(run, album, name, entry, (_path(every, ~here), _path(every, ~seen))),
        _sweep(run, album, name, entry, _path(every, ~here)),
        (here.shape[0], here.shape[1]),
    )  # fmt: skip


def _path(boxes: list[tuple[float, float, float, float]], kept: NDArray[np.bool_]) -> str:
    """Return the path of the tiles that are marked."""
    return "".join(
        f"M{x:g} {y:g}h{w:g}v{h:g}h{-w:g}z"
        for (x, y, w, h), keep in zip(boxes, kept.ravel().tolist(), strict=True)
        if keep
    )


def _features(
    run: Trained, album: Album, name: str, entry: dict[str, Any], covers: tuple[str, str]
) -> list[Feature]:
    given = entry.get("features") or {}
    return [
        Feature(
            title, "", _picture(run, album, given.get(how)), f"{name}: features, {title}",
            covers[1] if how == "none" else covers[0],
        )
        for how, title in _FEATURES.items()
        if how in given
    ]  # fmt: skip


def _sweep(
    run: Trained, album: Album, name: str, entry: dict[str, Any], cover: str
) -> list[Feature]:
    found = []
    for step in entry.get("sweep") or []:
        tau, share = number(step.get("tau")), human.share(number(step.get("obr")))
        title, note = f"\u03c4 = {tau:g}", f"{share} observed"
        picture = _picture(run, album, step.get("picture"))
        found.append(Feature(title, note, picture, f"{name}: features at {title}, {note}", cover))
    return found


def _picture(run: Trained, album: Album, name: object) -> str:
    key = str(name)
    return album.uris[key] if album.add(key, run.file(name)) else ""


def _known(values: object, here: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return (R, C) values, NaN where no tile is or nothing is known."""
    if values is None:
        return np.full(here.shape, np.nan)
    return np.where(here, np.array(values, np.float64), np.nan)


def _places(grids: list[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """Return the share of the other tiles that lie below each: the scale of calibrated scores."""
    known = np.sort(np.concatenate([g[np.isfinite(g)] for g in grids])) if grids else np.zeros(0)
    if known.size < 2:
        return grids
    return [
        np.where(np.isfinite(g), np.searchsorted(known, g, "left") / (known.size - 1), np.nan)
        for g in grids
    ]


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
