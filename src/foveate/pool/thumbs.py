"""Thumbnails of tiles and scenes in a run, so that its report does not need the imagery."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from foveate.files import write_bytes, write_parquet
from foveate.pool.preview import display_bands, display_range, jpeg, read_small, to_rgb
from foveate.progress import Meter, ProgressFn

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from foveate.pool.pool import Pool

_TILE_SIDE, _SCENE_SIDE = 160, 720
_TABLE = "tables/thumbs.parquet"


def write_thumbs(
    path: Path,
    pool: Pool,
    rows: NDArray[np.integer],
    *,
    scenes: Collection[str] = (),
    bands: Sequence[int] = (),
    progress: ProgressFn | None = None,
) -> list[str]:
    """Write thumbnails of tiles and scenes.

    ``tables/thumbs.parquet`` lists them: kind ("tile" or "scene"), name (tile id or scene), file.

    Args:
        path: Run directory.
        pool: A pool cut from scenes.
        rows: Rows of the tiles; they may repeat.
        scenes: Scenes of which a thumbnail is written.
        bands: 1-based bands chosen by the user; the first three are displayed.
        progress: Called with ticks.

    Returns:
        Names of the files, relative to `path`.
    """
    import pyarrow as pa

    assert pool.tiles is not None  # noqa: S101  (jobs run on pools cut from scenes)
    rows = np.unique(rows)
    entries: list[dict[str, str]] = []
    with Meter(progress, "drawing thumbnails", rows.size + len(scenes)) as meter:
        for scene, scene_rows in pool.per_scene():
            chosen = scene_rows[np.isin(scene_rows, rows)]
            if not chosen.size and scene.scene_id not in scenes:
                continue
            use = display_bands(bands, scene.source.info.bands)
            value_range = display_range(scene.source, use)
            for row in chosen:
                raster = read_small(scene.source, pool.tiles.window(row), use, _TILE_SIDE)
                file = f"thumbs/tiles/{_name(pool.ids[row])}.jpg"
                _put(path / file, jpeg(to_rgb(raster, value_range), _TILE_SIDE))
                entries.append({"kind": "tile", "name": str(pool.ids[row]), "file": file})
                meter.advance()
            if scene.scene_id in scenes:
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
    # Ids may contain any character of a file name: a hash is safe in file systems and pages.
    return hashlib.blake2b(text.encode(), digest_size=10).hexdigest()
