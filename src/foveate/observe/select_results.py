"""What a select run stores.

``rankings/POLICY.parquet`` the ranking; ``tables/scores.parquet`` all tiles with scores, in the
order of the pool; ``selection/tiles.parquet`` the chosen ones as other verbs store them;
``tiles.geojson`` the same in longitude and latitude, of scenes that lie on the Earth, and
``tiles-native.parquet`` in the coordinates of the overviews, where they are in a known CRS;
``maps/SCENE.tif`` score and sd, a pixel a tile; ``thumbs/SCENE.jpg`` the overviews, small.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.embeddings import find_rows
from foveate.errors import DataError
from foveate.files import read_parquet, text_column, write_bytes, write_geojson, write_parquet
from foveate.observe.ranking import Ranked
from foveate.pool.preview import display_bands, display_range, jpeg, read_small, to_rgb
from foveate.pool.selections import save_selection
from foveate.raster import write_cog
from foveate.selection import Ranking

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from foveate.budget import Budget
    from foveate.embeddings import EncoderSpec
    from foveate.observe.target import Target
    from foveate.pool.pool import Pool
    from foveate.selection import Selection

SCORES, SELECTION = "tables/scores.parquet", "selection/tiles.parquet"
GEOJSON, NATIVE = "tiles.geojson", "tiles-native"
_PICTURE = 1280  # longest side, pixels


def save_ranked(path: Path, found: Ranked) -> None:
    """Write a ranking: rank, tile_id, score, raw, sd."""
    ranking = found.ranking
    table = ranking.to_arrow().drop_columns(["row"])
    for name, values in (("raw", found.raw), ("sd", found.sd)):
        table = table.append_column(name, [values[ranking.rows]])
    write_parquet(path, table)


def load_ranked(path: Path, pool: Pool) -> Ranked:
    """Read a ranking of `pool`.

    Raises:
        DataError: It ranks tiles that the pool does not have.
    """
    table = read_parquet(path)
    rows = find_rows(pool.ids, text_column(table, "tile_id"))
    if (rows < 0).any() or len(rows) != len(pool):
        raise DataError(f"{path.name!r} ranks tiles of another pool", "", "Run the job again.")
    columns = []
    for name in ("raw", "sd"):
        column = np.full(len(pool), np.nan)
        column[rows] = table[name].to_numpy()
        columns.append(column)
    meta = {"method": path.stem}
    ranking = Ranking(rows, table["score"].to_numpy(), len(pool), pool.ids, pool.costs(), meta)
    return Ranked(ranking, *columns)


def save_selected(
    path: Path, target: Target, found: Ranked, selection: Selection, *,
    budget: Budget | None, about: Mapping[str, Any], spec: EncoderSpec,
) -> list[str]:  # fmt: skip
    """Write everything that depends on what was chosen.

    Args:
        path: Run directory.
        target: Tiles and overviews.
        found: The ranking.
        selection: What was chosen.
        budget: Under which budget, or None.
        about: Facts of the whole pool, for the footer of the selection.
        spec: The LR encoder.

    Returns:
        The files, relative to `path`.
    """
    scores = _scores(target, found, selection)
    # First gone and last written: a run that is killed here does not hold two jobs' choices.
    for file in (path / SCORES, path / GEOJSON, *path.glob(f"{NATIVE}*.parquet")):
        file.unlink(missing_ok=True)
    save_selection(path / SELECTION, target.pool, selection, budget, about=about, spec=spec)
    chosen = scores.take(selection.rows).drop_columns(["chosen"])
    files = [SELECTION]
    outlines = target.pool.take(selection.rows)
    if target.pool.georeferenced:
        write_geojson(path / GEOJSON, _with_outlines(chosen, outlines.footprints()))
        files.append(GEOJSON)
    systems = _systems(target)
    native = outlines.footprints(None) if systems else np.empty(0, object)
    number = target.place[selection.rows, 0]
    for crs, scenes in systems.items():
        name = NATIVE + (f"-{_slug(crs)}" if len(systems) > 1 else "") + ".parquet"
        own = np.flatnonzero(np.isin(number, scenes))
        info = target.pool.scenes[scenes[0]].source.info
        assert info.geobox is not None and info.geobox.crs is not None  # noqa: S101, PT018
        write_parquet(
            path / name, _with_outlines(chosen.take(own), native[own]),
            geo={"geometry": _projjson(info.geobox.crs)},
        )  # fmt: skip
        files.append(name)
    write_parquet(path / SCORES, scores)
    return [*files, SCORES]


def save_maps(path: Path, target: Target, found: Ranked) -> list[str]:
    """Write score and sd of each scene as a raster, a pixel a tile; NaN where a tile has left."""
    score = np.full(len(target.pool), np.nan)
    score[found.ranking.rows] = found.ranking.score
    files = []
    order, first = _by_scene(target)
    for number, (scene, shape) in enumerate(zip(target.overviews, target.shapes, strict=True)):
        rows = order[first[number] : first[number + 1]]
        _, row, col = target.place[rows].T
        grid = np.full((2, *shape), np.nan, np.float32)
        grid[0, row, col], grid[1, row, col] = score[rows], found.sd[rows]
        file = f"maps/{scene.scene_id}.tif"
        write_cog(
            path / file, grid, geobox=_zoomed(scene.source.info.geobox, shape),
            nodata=float("nan"), descriptions=("score", "sd"),
        )  # fmt: skip
        files.append(file)
    return files


def save_thumbs(path: Path, target: Target, bands: Sequence[int]) -> list[str]:
    """Write a picture of each overview."""
    files = []
    for scene in target.overviews:
        use = display_bands(bands, scene.source.info.bands)
        limits = display_range(scene.source, use)
        file = f"thumbs/{scene.scene_id}.jpg"
        small = read_small(scene.source, None, use, _PICTURE)
        write_bytes(path / file, jpeg(to_rgb(small, limits)), durable=False)
        files.append(file)
    return files


def prune(path: Path, target: Target) -> None:
    """Remove what earlier jobs have left of other scenes."""
    names = [scene.scene_id for scene in target.overviews]
    for folder, suffix in (("maps", ".tif"), ("thumbs", ".jpg")):
        kept = {path / folder / f"{name}{suffix}" for name in names}
        for file in sorted((path / folder).rglob(f"*{suffix}")):
            if file not in kept:
                file.unlink()


def _scores(target: Target, found: Ranked, selection: Selection) -> pa.Table:
    """Return all tiles in the order of the pool."""
    import pyarrow as pa

    pool, n = target.pool, len(target.pool)
    score = np.full(n, np.nan)
    score[found.ranking.rows] = found.ranking.score
    rank = np.zeros(n, np.int64)
    rank[selection.rows] = np.arange(1, len(selection) + 1)
    names = np.array([scene.scene_id for scene in pool.scenes], dtype=object)
    area = pool.costs()["area"] if "area" in pool.costs() else np.full(n, np.nan)
    return pa.table({
        "tile_id": pa.array(pool.ids.astype(object), pa.string()),
        "scene": pa.array(names[target.place[:, 0]], pa.string()),
        "row": target.place[:, 1],
        "col": target.place[:, 2],
        "score": score,
        "raw": found.raw,
        "sd": found.sd,
        "area": area,
        "chosen": selection.mask(),
        "rank": pa.array(rank, mask=rank == 0),
    })  # fmt: skip


def _zoomed(geobox: GeoBox | None, shape: tuple[int, int]) -> GeoBox | None:
    """Return the georeference of a map of another size over the same ground."""
    if geobox is None:
        return None
    from affine import Affine
    from odc.geo.geobox import GeoBox

    scale = Affine.scale(geobox.shape[1] / shape[1], geobox.shape[0] / shape[0])
    return GeoBox(shape, geobox.affine @ scale, geobox.crs)


def _with_outlines(table: pa.Table, outlines: Iterable[Any]) -> pa.Table:
    import pyarrow as pa
    import shapely

    return table.append_column("geometry", pa.array(shapely.to_wkb(outlines), pa.binary()))


def _systems(target: Target) -> dict[str, list[int]]:
    """Return each CRS with the numbers of the scenes in it; nothing if one has none."""
    found: dict[str, list[int]] = {}
    for number, scene in enumerate(target.pool.scenes):
        info = scene.source.info
        if info.place.kind == "none" or info.geobox is None or info.geobox.crs is None:
            return {}
        found.setdefault(str(info.geobox.crs), []).append(number)
    return found


def _projjson(crs: Any) -> dict[str, Any]:
    from pyproj import CRS

    return CRS.from_wkt(crs.to_wkt()).to_json_dict()


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")[:40]


def _by_scene(target: Target) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return rows of tiles scene by scene, and where each scene begins."""
    number = target.place[:, 0]
    order = np.argsort(number, kind="stable")
    return order, np.searchsorted(number[order], np.arange(len(target.overviews) + 1))
