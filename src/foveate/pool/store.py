"""Files of a pool in a run directory: ``scenes.parquet``, ``tiles.parquet``, ``legend.json``."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.files import printable, read_json, read_parquet, text_column, write_json, write_parquet
from foveate.grid import Tiles
from foveate.labels import Legend
from foveate.pool.attributes import Attributes
from foveate.pool.notes import Note

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from foveate.pool.pool import Pool

NOTES = "tables/notes.json"
FILES = (
    "scenes.parquet", "tiles.parquet", "tables/excluded.json", "tables/legend.json", NOTES,
)  # fmt: skip


ATTRIBUTES = "tables/attributes.parquet"
FAILED = "tables/failed.json"  # scene -> reason, if unreadable scenes are skipped


def save_pool(path: Path, pool: Pool) -> tuple[str, ...]:
    """Write the tables of a pool to a run directory; return their names.

    ``tiles.parquet`` is GeoParquet with WGS84 footprints if every scene is georeferenced.

    Raises:
        StorageError: A file cannot be written.
    """
    write_parquet(path / "scenes.parquet", scenes_table(pool))
    table = tiles_table(pool)
    write_parquet(
        path / "tiles.parquet", table, geo={"geometry": None} if pool.georeferenced else None
    )
    write_json(path / "tables/excluded.json", dict(pool.excluded))
    write_json(path / "tables/legend.json", pool.legend.to_dict() if pool.legend else None)
    save_notes(path, pool)
    if pool.failed:
        write_json(path / FAILED, dict(pool.failed))
    else:
        (path / FAILED).unlink(missing_ok=True)  # of an earlier pool
    if pool.attributes is None:
        (path / ATTRIBUTES).unlink(missing_ok=True)  # of an earlier pool
        return FILES
    columns = pool.attributes.table
    if "tile_id" not in columns.column_names:
        columns = columns.add_column(0, "tile_id", table["tile_id"])
    write_parquet(path / ATTRIBUTES, columns)
    return (*FILES, ATTRIBUTES)


def save_notes(path: Path, pool: Pool) -> None:
    """Write the notes of a pool, with the names of all files concerned.

    Raises:
        StorageError: The file cannot be written.
    """
    write_json(path / NOTES, [note.to_dict() for note in pool.notes])


def load_pool(path: Path, opened: Pool) -> Pool:
    """Return `opened` (scenes and files) with the stored tiles and counts."""
    table = read_parquet(path / "tiles.parquet")
    legend = read_json(path / "tables/legend.json")
    counts = None
    if "counts" in table.column_names:
        flat = table["counts"].combine_chunks().flatten().to_numpy(zero_copy_only=False)
        counts = flat.astype(np.int64).reshape(len(table), -1)
    attributes = None
    if (path / ATTRIBUTES).is_file():
        attributes = Attributes(read_parquet(path / ATTRIBUTES).drop_columns(["tile_id"]))
    outlines = None
    if "scene" not in table.column_names and "geometry" in table.column_names:
        outlines = table["geometry"].combine_chunks()
    return replace(
        opened,
        attributes=attributes,
        outlines=outlines,
        ids=text_column(table, "tile_id"),
        tiles=Tiles.from_arrow(table) if "scene" in table.column_names else None,
        legend=Legend.from_dict(legend, "legend.json") if legend else None,
        counts=counts,
        excluded=read_json(path / "tables/excluded.json"),
        failed={**opened.failed, **load_failed(path)},
        notes=tuple(map(Note.from_dict, read_json(path / NOTES))),
    )


def load_failed(path: Path) -> dict[str, str]:
    """Return the skipped scenes of the pool in a run directory: scene -> reason."""
    return read_json(path / FAILED) if (path / FAILED).is_file() else {}


def tiles_table(pool: Pool) -> pa.Table:
    """Return the tiles with counts and, if georeferenced, footprints (WKB)."""
    import pyarrow as pa
    import shapely

    if pool.tiles is None:
        table = pa.table({"tile_id": pa.array(pool.ids, pa.string())})
    else:
        table = pool.tiles.to_arrow()
    if pool.counts is not None:
        kind = pa.list_(pa.int64(), pool.counts.shape[1])
        flat = pa.array(pool.counts.ravel())
        counts = pa.FixedSizeListArray.from_arrays(flat, type=kind)
        table = table.append_column("counts", counts)
    if pool.outlines is not None:
        table = table.append_column("geometry", pool.outlines)
    elif pool.georeferenced:
        table = table.append_column("geometry", pa.array(shapely.to_wkb(pool.footprints())))
    names = json.dumps(pool.legend.names if pool.legend else [])
    return table.replace_schema_metadata({b"classes": names.encode()})


def scenes_table(pool: Pool) -> pa.Table:
    """Return one row per scene: size, bands, dtype, nodata, CRS, affine, fingerprint, uri.

    Scenes of STAC items also have the address of the item, and names and addresses of the assets.
    """
    import pyarrow as pa

    rows: list[dict[str, Any]] = []
    for scene in pool.scenes:
        info = scene.source.info
        box = info.geobox
        rows.append(
            {
                "scene": scene.scene_id,
                "uri": scene.uri,
                "height": info.shape[0],
                "width": info.shape[1],
                "bands": info.bands,
                "dtype": info.dtype,
                "nodata": info.nodata,
                "crs": box.crs.to_wkt() if box is not None and box.crs is not None else None,
                "affine": [float(v) for v in box.affine[:6]] if box is not None else None,
                "fingerprint": info.fingerprint,
            }
        )
        if scene.item is not None:
            rows[-1] |= {
                "item": scene.item.href,
                "assets": [key for key, _ in scene.item.bands],
                "hrefs": [printable(facts.href) for _, facts in scene.item.bands],
            }
    schema = pa.schema(
        {
            "scene": pa.string(), "uri": pa.string(), "height": pa.int64(), "width": pa.int64(),
            "bands": pa.int64(), "dtype": pa.string(), "nodata": pa.float64(),
            "crs": pa.string(), "affine": pa.list_(pa.float64()), "fingerprint": pa.string(),
        }
    )  # fmt: skip
    if any(scene.item is not None for scene in pool.scenes):
        schema = schema.append(pa.field("item", pa.string()))
        schema = schema.append(pa.field("assets", pa.list_(pa.string())))
        schema = schema.append(pa.field("hrefs", pa.list_(pa.string())))
    return pa.Table.from_pylist(rows, schema=schema)
