"""Assets of the report of an observer: maps and thumbnails of a few scenes.

Features are drawn in one basis for all completions and all scenes (Fig. 5 and 8): the first three
principal components of the true HR tokens as red, green and blue.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.files import write_bytes, write_json
from foveate.observe import dense
from foveate.observe.scoring.calibration import over
from foveate.observe.training.evaluate import SWEEP
from foveate.pool.preview import display_bands, display_range, jpeg, read_small, to_rgb

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from foveate.observe.training.trial import Trial
    from foveate.pool.pool import Scene

SHOWN = "tables/shown.json"
_SCENES = 4  # scenes in the report
_FOUND = 6  # tiles per concept in the search results
_SIDE, _TILE = 480, 128  # side of images in pixels
_CUT = (1, 99)  # percentiles of the colour stretch


class Axes:
    """Colour mapping of tokens by the first three principal components.

    Args:
        tokens: (n, d) true HR tokens that the components are fitted on.
    """

    def __init__(self, tokens: NDArray[np.floating]) -> None:
        x = np.asarray(tokens, np.float64)
        self._mean = x.mean(axis=0)
        _, _, axes = np.linalg.svd(x - self._mean, full_matrices=False)
        self._axes = axes[:3]
        self._axes *= np.sign(self._axes[np.arange(len(self._axes)), np.abs(self._axes).argmax(1)])[
            :, None
        ]
        self._low, self._high = np.percentile(self._project(x), _CUT, axis=0)

    def colours(self, tokens: NDArray[np.floating]) -> NDArray[np.uint8]:
        """Return (..., 3) uint8 colours of (..., d) tokens."""
        span = np.maximum(self._high - self._low, 1e-9)
        scaled = (self._project(tokens) - self._low) / span
        return np.rint(np.clip(scaled, 0, 1) * 255).astype(np.uint8)

    def _project(self, tokens: NDArray[np.floating]) -> NDArray[np.float64]:
        projected = (np.asarray(tokens, np.float64) - self._mean) @ self._axes.T
        missing = 3 - projected.shape[-1]
        return np.concatenate([projected, np.zeros((*projected.shape[:-1], missing))], axis=-1)


def show(path: Path, trial: Trial, seen: NDArray[np.bool_]) -> list[str]:
    """Write the images and tables of a trial for the report.

    Args:
        path: Run directory.
        trial: The observer and the scenes.
        seen: (m, R, C) bool mask of the tiles observed at the OBR of the training.

    Returns:
        Names of the files, relative to `path`.
    """
    chosen = _pick(seen)
    axes = Axes(dense.to_tiles(trial.hr[chosen], 1).reshape(-1, trial.hr.shape[-1]))
    completions = {how: trial.completed(seen, how) for how in ("none", "fill", "ours", "full")}
    scores = trial.observer.scores(trial.lr)
    sweeps = _sweeps(trial, scores.score)
    target = trial.observer.record.supervision
    truth = (
        dense.to_grids(trial.truth[target], trial.place, trial.valid.shape) if trial.truth else None
    )
    files: list[str] = []
    scenes = []
    for i in chosen:
        scene = trial.material.pairs.overviews[trial.scenes[i]]
        stem = f"thumbs/scene-{i:03d}"
        entry: dict[str, Any] = {
            "scene": scene.scene_id,
            "overview": _put(path, f"{stem}-overview.jpg", _overview(scene), files),
            "score": _grid(scores.score[i]),
            "sd": _grid(scores.sd[i]),
            "truth": None if truth is None else _grid(truth[i]),
            "seen": seen[i].astype(int).tolist(),
            "here": trial.valid[i].astype(int).tolist(),
            "features": {
                how: _put(path, f"{stem}-{how}.png", _png(axes.colours(x[i])), files)
                for how, x in completions.items()
            },
            "sweep": [
                {
                    "tau": tau, "obr": float(mask[i].sum() / max(1, trial.valid[i].sum())),
                    "picture": _put(
                        path, f"{stem}-tau{tau:g}.png", _png(axes.colours(tokens[i])), files
                    ),
                }
                for tau, mask, tokens in sweeps
            ],
        }  # fmt: skip
        scenes.append(entry)
    content = {"scenes": scenes, "search": _search(path, trial, completions["ours"], seen, files)}
    write_json(path / SHOWN, content)
    return [*files, SHOWN]


def _pick(seen: NDArray[np.bool_]) -> list[int]:
    """Return scenes from many to few observed tiles."""
    counts = seen.sum(axis=(1, 2))
    order = np.argsort(-counts, kind="stable")
    ranks = np.unique(np.linspace(0, len(order) - 1, min(_SCENES, len(order))).round().astype(int))
    return order[ranks].tolist()


def _sweeps(
    trial: Trial, scores: NDArray[np.floating]
) -> list[tuple[float, NDArray[np.bool_], NDArray[np.floating]]]:
    sweeps = []
    for tau in SWEEP:
        mask = over(scores, tau) & trial.valid
        sweeps.append((tau, mask, trial.completed(mask, "ours")))
    return sweeps


def _search(
    path: Path, trial: Trial, tokens: NDArray[np.floating], seen: NDArray[np.bool_],
    files: list[str],
) -> list[dict[str, Any]]:  # fmt: skip
    """Return the best tiles of each concept in completed scenes, with thumbnails."""
    labels = trial.material.labels
    if labels is None or trial.known is None:
        return []
    logits = labels.logits(trial.tile_means(tokens))
    observed = dense.from_grids(seen, trial.place)
    results = []
    for k, concept in enumerate(trial.material.concepts):
        if not trial.known[:, k].any():
            continue
        tiles = []
        for row in np.argsort(-logits[:, k], kind="stable")[:_FOUND].tolist():
            file = f"thumbs/tile-{row:05d}.jpg"
            if file not in files:
                _put(path, file, _tile(trial, row), files)
            tiles.append({
                "picture": file, "tile": str(trial.pool.ids[row]),
                "right": bool(trial.known[row, k]), "observed": bool(observed[row]),
            })  # fmt: skip
        results.append({"concept": concept.name, "tiles": tiles})
    return results


def _overview(scene: Scene) -> bytes:
    bands = display_bands((), scene.source.info.bands)
    raster = read_small(scene.source, None, bands, _SIDE)
    return jpeg(to_rgb(raster, display_range(scene.source, bands)), _SIDE)


def _tile(trial: Trial, row: int) -> bytes:
    pool = trial.pool
    assert pool.tiles is not None  # noqa: S101  (pairs are cut from scenes)
    scene = pool.scenes[int(trial.material.pairs.place[trial.rows[row], 0])]
    bands = display_bands((), scene.source.info.bands)
    raster = read_small(scene.source, pool.tiles.window(row), bands, _TILE)
    return jpeg(to_rgb(raster, display_range(scene.source, bands)), _TILE)


def _png(picture: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _put(path: Path, name: str, content: bytes, files: list[str]) -> str:
    write_bytes(path / name, content, durable=False)
    files.append(name)
    return name


def _grid(values: NDArray[np.floating]) -> list[list[float]]:
    return np.round(np.asarray(values, float), 4).tolist()
