"""Pictures for the report, so that it never needs the source imagery."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from foveate.files import write_bytes, write_parquet
from foveate.pool.preview import display_bands, display_range, jpeg, read_small, to_rgb
from foveate.progress import Meter, ProgressFn

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from foveate.pool.pool import Pool
    from foveate.selection import Ranking, Selection

TILES = 12  # best and worst of each method
SCENES = 24  # scenes with the most picks
_TILE_SIDE, _SCENE_SIDE = 160, 720
_TABLE = "tables/thumbs.parquet"


def write_thumbs(
    path: Path,
    pool: Pool,
    rankings: Mapping[str, Ranking],
    selections: Mapping[str, Selection],
    *,
    bands: Sequence[int] = (),
    progress: ProgressFn | None = None,
) -> list[str]:
    """Write the best and worst tiles of each method and overviews of the most picked scenes.

    ``tables/thumbs.parquet`` lists them: kind ("tile" or "scene"), name (tile id or scene), file.

    Returns:
        Names of the files, relative to `path`.
    """
    import pyarrow as pa

    assert pool.tiles is not None  # noqa: S101  (jobs run on pools cut from scenes)
    wanted: list[int] = []
    for ranking in rankings.values():
        wanted += ranking.rows[:TILES].tolist()
        if ranking.full:
            wanted += ranking.rows[-TILES:].tolist()
    rows = np.unique(np.array(wanted, dtype=np.int64))
    picks = np.zeros(len(pool.tiles.scenes), np.int64)
    for selection in selections.values():
        codes = pool.tiles.scene_code[selection.rows]
        picks += np.bincount(codes, minlength=picks.size)
    order = np.lexsort((np.arange(picks.size), -picks))[:SCENES]
    shown = {pool.tiles.scenes[i] for i in order if picks[i]}
    entries: list[dict[str, str]] = []
    with Meter(progress, "drawing thumbnails", rows.size + len(shown)) as meter:
        for scene, own in pool.per_scene():
            here = own[np.isin(own, rows)]
            if not here.size and scene.scene_id not in shown:
                continue
            use = display_bands(bands, scene.source.info.bands)
            value_range = display_range(scene.source, use)
            for row in here:
                raster = read_small(scene.source, pool.tiles.window(row), use, _TILE_SIDE)
                file = f"thumbs/tiles/{_name(pool.ids[row])}.jpg"
                _put(path / file, jpeg(to_rgb(raster, value_range), _TILE_SIDE))
                entries.append({"kind": "tile", "name": str(pool.ids[row]), "file": file})
                meter.advance()
            if scene.scene_id in shown:
                raster = read_small(scene.source, None, use, _SCENE_SIDE)
                file = f"thumbs/scenes/{_name(scene.scene_id)}.jpg"
                _put(path / file, jpeg(to_rgb(raster, value_range)))
                entries.append({"kind": "scene", "name": scene.scene_id, "file": file})
                meter.advance()
    schema = pa.schema({"kind": pa.string(), "name": pa.string(), "file": pa.string()})
    write_parquet(path / _TABLE, pa.Table.from_pylist(entries, schema=schema))
    return [_TABLE, *(entry["file"] for entry in entries)]


def _put(path: Path, picture: bytes) -> None:
    write_bytes(path, picture, durable=False)


def _name(text: str) -> str:
    # Ids may hold anything that a file name may: a hash is safe in every file system and page.
    return hashlib.blake2b(text.encode(), digest_size=10).hexdigest()
