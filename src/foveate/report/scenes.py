"""The map: which windows of each scene were picked, for the page and for its script."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from foveate.report import human
from foveate.report.pictures import FEW_SCENES, SIDE

if TYPE_CHECKING:
    from foveate.report.data import RunData
    from foveate.report.pictures import Album

SHOWN = 24  # scenes on the page
OUTLINES = 1500  # picks drawn per scene and method


class Pick(NamedTuple):
    """One picked window; `strength` is 1 for the first place and 0.35 for the last."""

    y: int
    x: int
    h: int
    w: int
    strength: float
    tip: str


class SceneCard(NamedTuple):
    """One scene. `picture` is a data URI or ""; `picks` are those of the lead method.

    `count` is the number of its picks, of which the first `OUTLINES` are in `picks`.
    """

    index: int
    name: str
    height: int
    width: int
    picture: str
    picks: list[Pick]
    count: int
    caption: str


def cards(run: RunData, lead: int, album: Album) -> tuple[list[SceneCard], dict[str, Any], str]:
    """Build the map.

    Args:
        run: The run.
        lead: The method that the page opens with.
        album: Takes the overviews.

    Returns:
        The cards, most picks of the lead method first; what the script needs to draw the other
        methods; a sentence on what is not shown.
    """
    votes = np.zeros(len(run.scenes), np.int64)
    for method in run.methods:
        votes += np.bincount(run.scene[method.picks], minlength=votes.size)
    with_picture = np.array([s["scene"] in run.scene_files for s in run.scenes])
    order = np.lexsort((np.arange(votes.size), -votes, ~with_picture))
    shown = [int(i) for i in order[:SHOWN] if votes[i]]
    tiles: dict[int, int] = {}
    names: list[str] = []
    table: list[list[int]] = []
    per_scene: list[dict[str, Any]] = []
    cut = False
    for scene in shown:
        entry: list[list[Any]] = []
        counts: list[int] = []
        for method in run.methods:
            flat: list[Any] = []
            here = method.picks[run.scene[method.picks] == scene]
            counts.append(int(here.size))
            cut = cut or here.size > OUTLINES
            for row in here[:OUTLINES].tolist():
                if row not in tiles:
                    tiles[row] = len(tiles)
                    names.append(run.ids[row].removeprefix(f"{run.scenes[scene]['scene']}/"))
                    table.append(run.windows[row].tolist())
                rank, score = float(method.rank[row]), float(method.score[row])
                flat += [tiles[row], int(rank) if math.isfinite(rank) else None,
                         float(f"{score:.4g}") if math.isfinite(score) else None]  # fmt: skip
            entry.append(flat)
        per_scene.append({"picks": entry, "counts": counts})
    side = SIDE if len(shown) > FEW_SCENES else None
    found = []
    for place, scene in enumerate(shown):
        info = run.scenes[scene]
        album.add(info["scene"], run.scene_files.get(info["scene"]), side)
        count = per_scene[place]["counts"][lead]
        found.append(
            SceneCard(
                place, info["scene"], int(info["height"]), int(info["width"]),
                album.uris.get(info["scene"], ""),
                _picks(run, lead, scene), count, human.plural(count, "pick"),
            )
        )  # fmt: skip
    found.sort(key=lambda card: (-card.count, card.index))
    data = {"names": names, "tiles": table, "scenes": per_scene,
            "kept": [int(m.picks.size) for m in run.methods]}  # fmt: skip
    note = _note(run, votes, len(shown))
    if cut:
        note += f" The first {human.count(OUTLINES)} picks of a scene are drawn."
    return found, data, note.strip()


def _picks(run: RunData, lead: int, scene: int) -> list[Pick]:
    method = run.methods[lead]
    found = []
    for place in np.flatnonzero(run.scene[method.picks] == scene)[:OUTLINES].tolist():
        row = int(method.picks[place])
        strength = 1 - 0.65 * place / max(method.picks.size - 1, 1)
        tip = f"#{place + 1} \u00b7 {human.decimal(float(method.score[row]), 3)} \u00b7 "
        tip += run.ids[row].removeprefix(f"{run.scenes[scene]['scene']}/")
        found.append(Pick(*run.windows[row].tolist(), round(strength, 3), tip))
    return found


def _note(run: RunData, votes: np.ndarray, shown: int) -> str:
    picked = int((votes > 0).sum())
    parts = []
    if picked > shown:
        parts.append(
            f"The {human.count(shown)} scenes with the most picks of all methods are shown; "
            f"{human.plural(picked - shown, 'scene')} with picks "
            f"{'is' if picked - shown == 1 else 'are'} not."
        )
    if picked < len(run.scenes):
        empty = len(run.scenes) - picked
        parts.append(f"{human.plural(empty, 'scene')} had no pick by any method.")
    return " ".join(parts)
