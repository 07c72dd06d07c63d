"""The page of completed scenes: what was observed, what was completed, and how sure it is."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from foveate.errors import DataError
from foveate.report import charts, human
from foveate.report.observed_data import inside, read_concepts
from foveate.report.observed_draw import (
    TIPS,
    Board,
    Heat,
    board,
    heat,
    pixel_boxes,
    png,
    ramp,
    to_grid,
)
from foveate.report.observed_guides import COMPLETED
from foveate.report.observed_origin import imagery, origin, warnings
from foveate.report.observed_page import Page
from foveate.report.observed_shown import Feature
from foveate.report.observed_tables import Row
from foveate.report.panels import Figure
from foveate.report.pictures import Album
from foveate.report.stage import number
from foveate.report.words.scenes import completed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.report.observed_data import Gridded
    from foveate.report.words import Headline

SCENES = 12  # shown
_ROOM, _SIDE, _FINE = 8 << 20, 720, 512  # bytes on the page; longest sides of pictures, pixels
_CUT = (1, 99)  # percentiles that become black and white


class SceneCard(NamedTuple):
    """One scene."""

    name: str
    caption: str
    board: Board
    feature: Feature | None
    doubt: Heat | None


@dataclass(frozen=True)
class CompletedView(Page):
    """The page."""

    template: ClassVar[str] = "completed.html.j2"

    scenes: list[SceneCard]
    scenes_note: str
    concepts: list[Row]


def build(run: Gridded) -> CompletedView:
    """Turn a run into the page's content."""
    observed = run.columns["observed"] > 0
    counts = np.bincount(run.scene[observed], minlength=len(run.scenes))
    order = np.argsort(-counts, kind="stable")[:SCENES].tolist()
    album = Album(_ROOM)
    maps = {i: _map(run, i) for i in order}
    colours = _colours([found for found in maps.values() if found is not None])
    scenes = [_scene(run, i, observed, album, maps[i], colours) for i in order]
    headline = said(run)
    return CompletedView(
        title=run.name,
        headline=headline.text,
        verdicts=headline.notes,
        warnings=warnings(run.about),
        figures=_figures(run, int(observed.sum())),
        facts=[
            ("Imagery", imagery(run)),
            ("Encoder", str((run.encoder or {}).get("name", "?"))),
            ("Observer", str(run.about.get("observer", "?"))),
            ("Seed", str(run.record.get("summary", {}).get("seed", "?"))),
        ],
        ramp=ramp(),
        scenes=scenes,
        scenes_note=_scenes_note(len(run.scenes), len(scenes)),
        concepts=_concepts(run, observed),
        reading=COMPLETED,
        pictures_note=f"{human.plural(len(album.left_out), 'overview')} not stored with the run."
        if album.left_out else "",
        origin=origin(run),
        pictures={},
        shots={},
    )  # fmt: skip


def said(run: Gridded) -> Headline:
    """Return what is said of the scenes."""
    counts = np.bincount(run.scene[run.columns["observed"] > 0], minlength=len(run.scenes))
    return completed(run.about, empty=int((counts == 0).sum()))


def _figures(run: Gridded, observed: int) -> list[Figure]:
    about = run.about
    found = [
        Figure("Observed tiles", human.count(observed), f"{human.share(observed / max(run.n, 1))} "
               f"of {human.count(run.n)}"),
        Figure("Completed tiles", human.count(run.n - observed), "from the overview and the rest"),
    ]  # fmt: skip
    for label, key, note in (
        ("Missing", "missing", "chosen, but no high resolution was found"),
        ("Not chosen, but given", "not_chosen_but_given", "observed all the same"),
    ):
        if math.isfinite(value := number(about.get(key))):
            found.append(Figure(label, human.count(value), note))
    if math.isfinite(doubt := number(about.get("completed_doubt"))):
        found.append(Figure("Mean doubt", human.decimal(doubt), "of completed tiles"))
    return found


def _scene(  # noqa: PLR0917  (what the scenes share)
    run: Gridded, index: int, observed: NDArray[np.bool_], album: Album,
    found: NDArray[np.float64] | None, colours: tuple[NDArray[np.float64], NDArray[np.float64]],
) -> SceneCard:  # fmt: skip
    scene, rows = run.scenes[index], run.rows(index)
    name, shape = str(scene["scene"]), (scene["height"], scene["width"])
    uri = album.uris[name] if album.add(name, run.overview(index), _SIDE) else ""
    own = rows[observed[rows]]
    texts = [f"row {r}, column {c}: observed" for r, c in run.place[own[:TIPS]].tolist()]
    boxes = pixel_boxes(run.windows[own], shape)
    drawn = board(f"scene{index}", name, shape, boxes, texts, uri)
    feature = None
    if found is not None:
        label = f"{name}: completed features as colours"
        feature = Feature("Completed", "", _coloured(found[:3], *colours), label)
    doubt = run.columns["doubt"][rows]
    grid = to_grid(run.place[rows], doubt) if np.isfinite(doubt).any() else None
    drawn_doubt = None if grid is None else heat("Doubt", grid, (0.0, 1.0), shape=shape)
    caption = f"{human.count(own.size)} of {human.plural(rows.size, 'tile')} observed"
    return SceneCard(name, caption, drawn, feature, drawn_doubt)


def _map(run: Gridded, index: int) -> NDArray[np.float64] | None:
    """Return (bands, h, w) of the map of a scene, NaN where nothing is; None without a map."""
    from foveate.pool.preview import read_small
    from foveate.raster import FileSource

    file = inside(run.root, f"maps/{run.scenes[index]['scene']}.tif")
    if file is None:
        return None
    try:
        source = FileSource(str(file))
        if source.info.bands < 3:
            return None
        raster = read_small(source, None, (1, 2, 3), _FINE)
    except DataError:  # no picture
        return None
    return np.where(raster.valid, raster.data.astype(np.float64), np.nan)


def _colours(
    maps: list[NDArray[np.float64]],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return (3,) values that become black, and white, in all scenes."""
    values = [found.reshape(3, -1) for found in maps]
    every = np.concatenate(values, axis=1) if values else np.zeros((3, 0))
    every = every[:, np.isfinite(every).all(axis=0)]
    if not every.shape[1]:
        return np.zeros(3), np.ones(3)
    low, high = np.percentile(every, _CUT, axis=1)
    return low, high


def _coloured(
    found: NDArray[np.float64], low: NDArray[np.float64], high: NDArray[np.float64]
) -> str:
    known = np.isfinite(found).all(axis=0)
    span = np.maximum(high - low, 1e-9)[:, None, None]
    share = np.clip((np.where(known, found, 0) - low[:, None, None]) / span, 0, 1)
    return png(np.moveaxis(np.concatenate([255 * share, 255.0 * known[None]]), 0, -1))


def _concepts(run: Gridded, observed: NDArray[np.bool_]) -> list[Row]:
    """Return a row a concept: in how many tiles it is likely, and how likely at most."""
    rows = []
    for name, chance in read_concepts(run).items():
        known = np.nan_to_num(chance, nan=0.0)
        likely = known > 0.5
        most = float(known.max(initial=0))
        cells = [
            human.count(int(likely.sum())), human.count(int((likely & observed).sum())),
            human.decimal(most),
        ]  # fmt: skip
        share = float(likely.mean()) if likely.size else 0.0
        rows.append((-share, Row(name, cells, bar=charts.bar(share, human.share(share)))))
    return [row for _, row in sorted(rows, key=lambda item: item[0])]


def _scenes_note(all_: int, shown: int) -> str:
    text = "Outlined: observed. Lighter squares of doubt had less to go by."
    if all_ > shown:
        text += f" The {shown} scenes with most observed tiles; all are in the folder maps."
    return text
