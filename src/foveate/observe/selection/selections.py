"""Write and open the results of a select run.

``rankings/POLICY.parquet``: the ranking; ``tables/scores.parquet``: scores of all tiles, in the
order of the pool; ``selection/tiles.parquet``: the selected tiles, in the format of other verbs;
``tiles.geojson``: the same in longitude and latitude, for georeferenced scenes;
``tiles-native.parquet``: the same in the CRS of the overviews, if it is known; ``maps/SCENE.tif``:
score and sd, one pixel per tile; ``thumbs/SCENE.jpg``: thumbnails of the overviews.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.embeddings import find_rows
from foveate.errors import DataError
from foveate.files import read_parquet, text_column, write_bytes, write_geojson, write_parquet
from foveate.observe.data.pairs import open_pairs
from foveate.observe.jobs import SelectJob
from foveate.observe.selection.overviews import (
    OverviewTiles,
    TiledInference,
    cut,
    is_pairs,
    overview_tiles,
)
from foveate.observe.selection.ranking import TileScores, bind_lr
from foveate.pool.preview import display_bands, display_range, jpeg, read_small, to_rgb
from foveate.pool.selections import save_selection
from foveate.pool.step import opened_pool
from foveate.pool.store import load_pool
from foveate.raster import resize_geobox, write_cog
from foveate.run import Run
from foveate.selection import Ranking

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from foveate.budget import Budget
    from foveate.embeddings import EncoderSpec
    from foveate.observe.observer import Observer
    from foveate.pool.pool import Pool
    from foveate.raster import SourceInfo
    from foveate.selection import Selection

SCORES, SELECTION = "tables/scores.parquet", "selection/tiles.parquet"
GEOJSON, NATIVE = "tiles.geojson", "tiles-native"
_THUMB_SIDE = 1280  # longest side in pixels


def save_scores(path: Path, scores: TileScores) -> None:
    """Write a ranking: rank, tile_id, score, raw, sd, beyond, blank."""
    ranking = scores.ranking
    table = ranking.to_arrow().drop_columns(["row"])
    for name, values in (
        ("raw", scores.raw), ("sd", scores.sd), ("beyond", scores.beyond), ("blank", scores.blank),
    ):  # fmt: skip
        table = table.append_column(name, [values[ranking.rows]])
    write_parquet(path, table)


def load_scores(path: Path, pool: Pool) -> TileScores:
    """Read a ranking of `pool`.

    Raises:
        DataError: The tiles of the ranking are not those of the pool.
    """
    table = read_parquet(path)
    rows = find_rows(pool.ids, text_column(table, "tile_id"))
    if (rows < 0).any() or len(rows) != len(pool):
        raise DataError(f"{path.name!r} has other tiles than the pool", "", "Run the job again.")
    columns = []
    for name in ("raw", "sd"):
        column = np.full(len(pool), np.nan)
        column[rows] = table[name].to_numpy()
        columns.append(column)
    meta = {"method": path.stem}
    ranking = Ranking(rows, table["score"].to_numpy(), len(pool), pool.ids, pool.costs(), meta)
    masks = np.zeros((2, len(pool)), bool)
    masks[:, rows] = table["beyond"].to_numpy(), table["blank"].to_numpy()
    return TileScores(ranking, *columns, *masks)


def save_selected(
    path: Path, target: OverviewTiles, scores: TileScores, selection: Selection, *,
    budget: Budget | None, about: Mapping[str, Any], spec: EncoderSpec,
) -> list[str]:  # fmt: skip
    """Write the files that depend on the selection.

    Args:
        path: Run directory.
        target: Tiles and overviews.
        scores: Scores and ranking of the tiles.
        selection: The selected tiles.
        budget: Budget of the selection, or None.
        about: Facts of the whole pool, for the footer of the selection.
        spec: Specification of the LR encoder.

    Returns:
        The files, relative to `path`.
    """
    table = _score_table(target, scores, selection)
    # Removed first and written last, so an interrupted run never mixes the selections of two jobs.
    for file in (path / SCORES, path / GEOJSON, *path.glob(f"{NATIVE}*.parquet")):
        file.unlink(missing_ok=True)
    save_selection(path / SELECTION, target.pool, selection, budget, about=about, spec=spec)
    chosen = table.take(selection.rows).drop_columns(["chosen"])
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
        rows = np.flatnonzero(np.isin(number, scenes))
        info = target.pool.scenes[scenes[0]].source.info
        assert info.geobox is not None and info.geobox.crs is not None  # noqa: S101, PT018
        write_parquet(
            path / name, _with_outlines(chosen.take(rows), native[rows]),
            geo={"geometry": _projjson(info.geobox.crs)},
        )  # fmt: skip
        files.append(name)
    write_parquet(path / SCORES, table)
    return [*files, SCORES]


def save_maps(path: Path, target: OverviewTiles, scores: TileScores) -> list[str]:
    """Write score and sd of each scene as a raster of one pixel per tile; NaN for missing tiles."""
    score = np.full(len(target.pool), np.nan)
    score[scores.ranking.rows] = scores.ranking.score
    files = []
    for number, (scene, shape) in enumerate(zip(target.overviews, target.shapes, strict=True)):
        rows = target.rows[number]
        _, row, col = target.place[rows].T
        grid = np.full((2, *shape), np.nan, np.float32)
        grid[0, row, col], grid[1, row, col] = score[rows], scores.sd[rows]
        file = f"maps/{scene.scene_id}.tif"
        write_cog(
            path / file, grid, geobox=resize_geobox(scene.source.info.geobox, shape),
            nodata=float("nan"), descriptions=("score", "sd"),
        )  # fmt: skip
        files.append(file)
    return files


def save_thumbs(path: Path, target: OverviewTiles, bands: Sequence[int]) -> list[str]:
    """Write a thumbnail of each overview."""
    files = []
    for scene in target.overviews:
        use = display_bands(bands, scene.source.info.bands)
        limits = display_range(scene.source, use)
        file = f"thumbs/{scene.scene_id}.jpg"
        small = read_small(scene.source, None, use, _THUMB_SIDE)
        write_bytes(path / file, jpeg(to_rgb(small, limits)), durable=False)
        files.append(file)
    return files


def prune(path: Path, target: OverviewTiles) -> None:
    """Remove maps and thumbnails of scenes that are not in `target`."""
    names = [scene.scene_id for scene in target.overviews]
    for folder, suffix in (("maps", ".tif"), ("thumbs", ".jpg")):
        kept = {path / folder / f"{name}{suffix}" for name in names}
        for file in sorted((path / folder).rglob(f"*{suffix}")):
            if file not in kept:
                file.unlink()


def _score_table(target: OverviewTiles, scores: TileScores, selection: Selection) -> pa.Table:
    """Return the table of all tiles in the order of the pool."""
    import pyarrow as pa

    pool, n = target.pool, len(target.pool)
    score = np.full(n, np.nan)
    score[scores.ranking.rows] = scores.ranking.score
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
        "raw": scores.raw,
        "sd": scores.sd,
        "area": area,
        "chosen": selection.mask(),
        "rank": pa.array(rank, mask=rank == 0),
    })  # fmt: skip


def _with_outlines(table: pa.Table, outlines: Iterable[Any]) -> pa.Table:
    import pyarrow as pa
    import shapely

    return table.append_column("geometry", pa.array(shapely.to_wkb(outlines), pa.binary()))


def _systems(target: OverviewTiles) -> dict[str, list[int]]:
    """Return CRS -> numbers of its scenes; empty if the CRS of any scene is unknown."""
    systems: dict[str, list[int]] = {}
    for number, scene in enumerate(target.pool.scenes):
        info = scene.source.info
        if info.place.kind == "none" or info.geobox is None or info.geobox.crs is None:
            return {}
        systems.setdefault(str(info.geobox.crs), []).append(number)
    return systems


def _projjson(crs: Any) -> dict[str, Any]:
    from pyproj import CRS

    return CRS.from_wkt(crs.to_wkt()).to_json_dict()


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-")[:40]


_SELECT = "foveate observe select OVERVIEWS --observer OBSERVER --budget 12% --out RUN"


@dataclass(frozen=True, eq=False)
class Selected:
    """An opened selection.

    Attributes:
        path: Run directory.
        record: Content of ``run.json``.
        job: The job of the run.
        target: The n tiles and their overviews.
        chosen: (n,) bool mask of selected tiles.
    """

    path: Path
    record: dict[str, Any]
    job: SelectJob
    target: OverviewTiles
    chosen: NDArray[np.bool_]

    @property
    def ids(self) -> NDArray[np.str_]:
        """(n,) tile ids."""
        return self.target.pool.ids

    @property
    def place(self) -> NDArray[np.int64]:
        """(n, 3) grid index of tiles: scene, row, column."""
        return self.target.place

    def name(self, scene: int) -> str:
        """Return the id of a scene."""
        return self.target.pool.scenes[scene].scene_id

    def ground(self, scene: int) -> SourceInfo:
        """Return the metadata of the raster whose windows are the tiles of a scene."""
        return self.target.pool.scenes[scene].source.info

    def tokens(
        self, observer: Observer, store: Run, device: str = "auto"
    ) -> Iterator[tuple[int, NDArray[np.float32], NDArray[np.bool_]]]:
        """Yield scenes with tiles, their (R * r, C * r, lr_dim) projected LR tokens, and a mask.

        The mask is True for tiles, in the order of `OverviewTiles.rows`, that are unlike the
        training, see `Observer.project`.

        Args:
            observer: The observer.
            store: The run, open for writing. Its tokens are reused if the selection has stored
                them, otherwise they are computed and stored now.
            device: Device of the encoder.
        """
        side, dim = observer.record.shape.lr_side, observer.record.shape.lr_dim
        model = bind_lr(self.target, observer, self.job.bands, device)
        incomplete: dict[int, tuple[int, NDArray[np.float32]]] = {}  # scenes with missing parts
        inference = TiledInference(self.target, observer, model, store)
        for rows, index, tokens in inference:
            scene = int(self.place[rows[0], 0])
            y, x = (self.place[rows[0], 1:] - index[0]) * side
            height, width = (n * side for n in self.target.shapes[scene])
            count, grid = incomplete.pop(scene, (0, np.zeros((height, width, dim), np.float32)))
            grid[y : y + tokens.shape[1], x : x + tokens.shape[2]] = tokens[0]
            if count + len(rows) < len(self.target.rows[scene]):
                incomplete[scene] = (count + len(rows), grid)
            else:
                yield scene, grid, inference.beyond[self.target.rows[scene]]


def open_selected(path: str | Path) -> tuple[Path, dict[str, Any], SelectJob]:
    """Read the record of a run of `foveate observe select`.

    Returns:
        The run directory, the content of ``run.json``, and the job.

    Raises:
        DataError: The run is of another command, or not finished.
    """
    root = Path(path)
    record = Run.load(root).record
    if record.get("summary", {}).get("observe", {}).get("task") != "select":
        raise DataError(
            f"the run {str(root)!r} is {_kind(record)}",
            "A finished run of 'foveate observe select' is required.",
            f"{_SELECT}. An interrupted run resumes with the same command.",
        )
    return root, record, SelectJob.stored(record)


def load_selected(path: str | Path, observer: Observer) -> Selected:
    """Open a run of `foveate observe select` with its observer; headers and tables only.

    Raises:
        DataError: The run is of another command or another observer, or an overview is missing or
            has changed.
    """
    root, record, job = open_selected(path)
    spec, stored = observer.record.encoders["lr"].spec, record["summary"]["model"]
    if stored["fingerprint"] != spec.fingerprint:
        raise _other_observer(root, f"LR encoder {stored['name']!r}, not {spec.name!r}")
    if is_pairs(job.images[0]):
        target = overview_tiles(open_pairs(job.images[0]))
    else:
        target = overview_tiles(cut(opened_pool(job, split=(1, 1)), observer.record, job.tile))
        target = replace(target, pool=_stored_pool(root, target, observer))
    scores = read_parquet(root / SCORES)
    order = find_rows(text_column(scores, "tile_id"), target.pool.ids)
    if (order < 0).any() or len(scores) != order.size:
        raise _other_observer(root, "other tiles")
    chosen = scores["chosen"].to_numpy(zero_copy_only=False)[order]
    return Selected(root, record, job, target, np.asarray(chosen, bool))


def _stored_pool(root: Path, target: OverviewTiles, observer: Observer) -> Any:
    """Return the scanned pool of the run.

    Raises:
        DataError: Overviews have changed, or the tile size of this observer differs.
    """
    stored = read_parquet(root / "scenes.parquet").select(["scene", "fingerprint"]).to_pylist()
    known = {row["scene"]: row["fingerprint"] for row in stored}
    given = {scene.scene_id: scene.source.info.fingerprint for scene in target.overviews}
    changed = [name for name in given | known if given.get(name) != known.get(name)]
    if changed:
        raise DataError(
            f"the overview {changed[0]!r} has changed since the selection {str(root)!r}",
            "A selection needs its original overviews.",
            "Restore them, or select again.",
        )
    pool = load_pool(root, target.pool)
    if (find_rows(target.pool.ids, pool.ids) < 0).any():
        tile = observer.record.lr_tile
        raise _other_observer(root, f"tiles of another size than {tile:g} pixels")
    return pool


def _other_observer(root: Path, difference: str) -> DataError:
    return DataError(
        f"the run {str(root)!r} was made with another observer: {difference}",
        "Scenes must be completed by the observer of the selection.",
        "Omit --observer, or select again with this observer.",
    )


def _kind(record: dict[str, Any]) -> str:
    """Return a description of the kind of a run, for error messages."""
    summary = record.get("summary")
    if not summary:
        return "not finished"
    task = summary.get("observe", {}).get("task")
    if task is None:
        parts = {"pairs": "observe prepare", "focus": "focus", "labels": "classify"}
        task = next((name for part, name in parts.items() if part in summary), "")
    return f"a run of {task!r}" if task else "a run of another command"
