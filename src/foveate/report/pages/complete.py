"""The page of completed scenes: observed tiles, completed features, and their uncertainty."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import DataError
from foveate.report import assets, explain, human, marks, svg
from foveate.report import blocks as ui
from foveate.report.assets import Album
from foveate.report.human import number
from foveate.report.page import Section
from foveate.report.pages.observe_parts import (
    ROOM,
    drawn_note,
    heat_map,
    most_first,
    scene_overview,
    tile_page,
)  # fmt: skip
from foveate.report.read_observe import read_concepts
from foveate.report.words.scenes import completed

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.report.page import Page
    from foveate.report.read_observe import Gridded
    from foveate.report.words import Headline

    type Range = tuple[NDArray[np.float64], NDArray[np.float64]]

_FINE = 512  # longest side of feature pictures, pixels
_CUT = (1, 99)  # percentiles mapped to black and white


def complete(run: Gridded) -> Page:
    """Draw the page."""
    found, album = headline(run), Album(ROOM)
    observed = np.flatnonzero(run.columns["observed"] > 0)
    scenes = _scenes(run, observed, album)
    scenes += ui.left_out(len(album.left_out))
    note = "Outlined: observed. Lighter squares are more uncertain."
    return tile_page(run, "completed scenes", found, [
        Section("scenes", "Completed scenes",
                [*scenes, explain.terms("completed features", "how sure")],
                note + drawn_note(run, "observed"), "Scenes"),
        Section("concepts", "Concepts", _concepts(run, observed), (
            "Tiles that show a concept with a probability above 0.5, and the number of these that "
            "were observed."), "Concepts"),
    ], figures=_figures(run, observed.size))  # fmt: skip


def headline(run: Gridded) -> Headline:
    """Return the headline of completed scenes."""
    observed = run.scene[run.columns["observed"] > 0]
    counts = np.bincount(observed, minlength=len(run.scenes))
    return completed(run.about, empty=int((counts == 0).sum()))


def _figures(run: Gridded, observed: int) -> list[ui.Figure]:
    share = f"{human.share(observed / max(run.n, 1))} of {human.count(run.n)}"
    found = [
        ui.Figure("Observed tiles", human.count(observed), share),
        ui.Figure(
            "Completed tiles", human.count(run.n - observed), "from overview and observed tiles"
        ),
    ]
    for label, key, note in (
        ("Missing", "missing", "selected, but without a high-resolution image"),
        ("Not selected, but given", "not_chosen_but_given", "used as observed"),
    ):
        if math.isfinite(value := number(run.about.get(key))):
            found.append(ui.Figure(label, human.count(value), note))
    if math.isfinite(mean := number(run.about.get("completed_doubt"))):
        note = "of completed tiles: 0 observed, 1 unlike any observed tile"
        found.append(ui.Figure("Mean uncertainty", human.decimal(mean), note))
    return found


def _scenes(run: Gridded, observed: NDArray[np.int64], album: Album) -> list[ui.Block]:
    order = most_first(run, observed)
    maps = {scene: _features(run, scene) for scene in order}
    ends = _ends([found for found in maps.values() if found is not None])
    is_observed = np.isin(np.arange(run.n), observed)
    blocks: list[ui.Block] = []
    for scene in order:
        rows, entry = run.rows(scene), run.scenes[scene]
        inside = rows[is_observed[rows]]
        shape, name = (entry["height"], entry["width"]), entry["scene"]
        index = run.grid_index[inside[: svg.TIPS]].tolist()
        texts = [f"row {r}, column {c}: observed" for r, c in index]
        drawn = [scene_overview(run, scene, inside, texts, album, "outlined: observed")]
        if (found := maps[scene]) is not None:
            alt = f"{name}: completed features as colours"
            picture = _coloured(found, ends)
            drawn.append(
                ui.Overlay("Completed features", *marks.size(shape), alt, picture, fine=True)
            )
        grid = run.grid(scene, "doubt")
        if np.isfinite(grid).any():
            drawn.append(heat_map("Uncertainty", grid, 1.0, shape=shape))
        note = f"{human.count(inside.size)} of {human.plural(rows.size, 'tile')} observed"
        blocks += [ui.Heading(str(name), note), ui.Grid(drawn, 3)]
    return blocks


def _features(run: Gridded, scene: int) -> NDArray[np.float64] | None:
    """Return the (3, h, w) feature map of a scene, NaN where invalid; None without a map."""
    from foveate.pool.preview import read_small
    from foveate.raster import FileSource

    file = assets.inside(run.root, f"maps/{run.scenes[scene]['scene']}.tif")
    if file is None:
        return None
    try:
        source = FileSource(str(file))
        if source.info.bands < 3:
            return None
        raster = read_small(source, None, (1, 2, 3), _FINE)
    except DataError:  # no picture
        return None
    return np.where(raster.valid, raster.data.astype(np.float64), np.nan)[:3]


def _ends(maps: list[NDArray[np.float64]]) -> Range:
    """Return the (3,) values mapped to black and to white, common to all scenes."""
    values = [found.reshape(3, -1) for found in maps]
    every = np.concatenate(values, axis=1) if values else np.zeros((3, 0))
    every = every[:, np.isfinite(every).all(axis=0)]
    if not every.shape[1]:
        return np.zeros(3), np.ones(3)
    low, high = np.percentile(every, _CUT, axis=1)
    return low, high


def _coloured(found: NDArray[np.float64], ends: Range) -> str:
    low, high = (end[:, None, None] for end in ends)
    known = np.isfinite(found).all(axis=0)
    share = np.clip((np.where(known, found, 0) - low) / np.maximum(high - low, 1e-9), 0, 1)
    return assets.png(np.moveaxis(np.concatenate([255 * share, 255.0 * known[None]]), 0, -1))


def _concepts(run: Gridded, observed: NDArray[np.int64]) -> list[ui.Block]:
    """Return a table of concepts: number of likely tiles, and the highest probability."""
    rows = []
    for name, chance in read_concepts(run).items():
        known = np.nan_to_num(chance, nan=0.0)
        likely = known > 0.5
        share = float(likely.mean()) if likely.size else 0.0
        cells = [svg.bar(share, human.share(share)), human.count(int(likely.sum())),
                 human.count(int(likely[observed].sum())),
                 human.decimal(float(known.max(initial=0)))]  # fmt: skip
        rows.append((-share, ui.Row(name, cells)))
    rows.sort(key=lambda item: item[0])
    columns = ["Concept", ui.Column("Share of tiles", "bar"), "Tiles", "Observed", "Maximum"]
    return [ui.Table("Concepts", columns, [row for _, row in rows])] if rows else []
