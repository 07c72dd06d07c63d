"""Files of the results of images.

``looks/NAME.json`` the result; ``looks/NAME.parquet`` all cells with their scores;
``maps/NAME.tif`` the importance as a cloud-optimised GeoTIFF; ``masks/NAME.tif`` masks;
``thumbs/NAME.jpg`` a thumbnail of the image; ``crops/NAME-01.jpg`` ... the regions. For all images
``regions.parquet``; if they are georeferenced, it is GeoParquet, and there is ``regions.geojson``.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import DataError
from foveate.files import (
    read_json,
    read_parquet,
    write_bytes,
    write_geojson,
    write_json,
    write_parquet,
)
from foveate.grid import Tiles, Window
from foveate.pool.antimeridian import middles
from foveate.pool.check import note_frames
from foveate.pool.footprints import footprints
from foveate.pool.preview import display_bands, display_range, jpeg, read_small, to_rgb
from foveate.raster import find_frame, resize_geobox, write_cog

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from foveate.focus.results import StoredResult
    from foveate.pool.notes import Note
    from foveate.raster import Source


MAP_SIDE = 2048  # maximum side of a map, pixels


def heat_map(
    tiles: Tiles, score: NDArray[np.floating], shape: tuple[int, int], side: int = MAP_SIDE
) -> NDArray[np.float32]:
    """Rasterise the scores of cells.

    Args:
        tiles: n cells of one image that do not overlap.
        score: (n,) their importance.
        shape: ``(height, width)`` of the image in pixels.
        side: Maximum side of the map, pixels; limited to that of the image.

    Returns:
        (h, w) float32, NaN outside of the cells (nodata). A cell smaller than a pixel of the map
        fills one pixel, unless a later cell overwrites it.
    """
    factor = min(1.0, side / max(shape))
    size = max(1, round(shape[0] * factor)), max(1, round(shape[1] * factor))
    heat = np.full(size, np.nan, np.float32)
    down, across = size[0] / shape[0], size[1] / shape[1]
    for i in range(len(tiles)):
        window = tiles.window(i)
        top, left = round(window.y * down), round(window.x * across)
        bottom = max(top + 1, round((window.y + window.h) * down))
        right = max(left + 1, round((window.x + window.w) * across))
        heat[top:bottom, left:right] = score[i]
    return heat


SCHEMA = 1

REGIONS, REGIONS_GEOJSON = "regions.parquet", "regions.geojson"

_FOOTER = b"foveate"

_PICTURE, _CROP = 1280, 448  # maximum sides, pixels


def save_look(path: Path, result: StoredResult, source: Source, bands: Sequence[int]) -> list[str]:
    """Write the result of one image.

    Args:
        path: Run directory.
        result: The result.
        source: The image, for pictures.
        bands: 1-based bands of the job; the first three are displayed.

    Returns:
        The files, relative to `path`.
    """
    name = file_name(result.scene)
    info = result.info
    cells = result.table()
    write_parquet(path / f"looks/{name}.parquet", cells)
    state = result.result.state
    heat = heat_map(state.tiles, state.scorer.single_importance, info.shape)
    write_cog(
        path / f"maps/{name}.tif", heat, geobox=resize_geobox(info.geobox, heat.shape),
        nodata=float("nan"), descriptions=("importance",),
    )  # fmt: skip
    files = [f"looks/{name}.parquet", f"maps/{name}.tif"]
    if result.mask is not None:
        file = path / f"masks/{name}.tif"
        write_cog(file, result.mask, geobox=info.geobox, nodata=0, overviews="nearest")
        files.append(f"masks/{name}.tif")
    use = display_bands(bands, info.bands)
    limits = display_range(source, use)
    small = read_small(source, None, use, _PICTURE)
    write_bytes(path / f"thumbs/{name}.jpg", jpeg(to_rgb(small, limits)), durable=False)
    files.append(f"thumbs/{name}.jpg")
    for rank, row in enumerate(result.rows, start=1):
        raster = read_small(source, state.features.windows[row], use, _CROP)
        file = f"crops/{name}-{rank:02d}.jpg"
        write_bytes(path / file, jpeg(to_rgb(raster, limits)), durable=False)
        files.append(file)
    for crop in (path / "crops").glob(f"{name}-[0-9]*.jpg"):
        if f"crops/{crop.name}" not in files:
            crop.unlink()  # from an earlier job with more regions
    if result.mask is None:
        (path / f"masks/{name}.tif").unlink(missing_ok=True)
    facts = result.summary()
    notes = [*facts["notes"], *map(str, _frame_notes(result.scene, source, bands))]
    summary = {**facts, "regions": _region_records(result, cells), "notes": notes}
    write_json(path / f"looks/{name}.json", summary)
    return [*files, f"looks/{name}.json"]


def prune(path: Path, scenes: Sequence[str]) -> None:
    """Remove the files of images that are no longer part of the job."""
    known = {file_name(scene) for scene in scenes}
    for folder in ("looks", "maps", "masks", "thumbs", "crops"):
        for file in (path / folder).glob("*"):
            name = file.stem.rpartition("-")[0] if folder == "crops" else file.stem
            if name not in known:
                file.unlink(missing_ok=True)


def load_look(path: Path, scene: str) -> dict[str, Any]:
    """Read the result of one image of a run directory."""
    return read_json(path / f"looks/{file_name(scene)}.json")


def summary(looks: Sequence[dict[str, Any]], about: dict[str, Any]) -> dict[str, Any]:
    """Return the summary of a run, JSON-ready: the facts of `about`, and one entry per image."""
    kept = ("image", "prediction", "prediction_full", "passes", "epsilon", "stop")
    return {
        **about,
        "images": len(looks),
        "passes": round(sum(look["passes"] for look in looks), 6),
        "looks": [{name: look[name] for name in kept} for look in looks],
    }


def save_regions(path: Path, scenes: Sequence[str], about: dict[str, Any]) -> list[str]:
    """Write the regions of all images to one table, and to GeoJSON if all are georeferenced.

    Args:
        path: Run directory.
        scenes: Names of the images.
        about: Facts for the footer, JSON-ready.

    Returns:
        The files, relative to `path`.
    """
    import pyarrow as pa

    tables = [read_parquet(path / f"looks/{file_name(scene)}.parquet") for scene in scenes]
    georeferenced = all("geometry" in table.column_names for table in tables)
    chosen = [table.filter(table["rank"].is_valid()).sort_by("rank") for table in tables]
    table = pa.concat_tables(chosen, promote_options="default")
    if not georeferenced and "geometry" in table.column_names:
        table = table.drop_columns(["geometry"])
    footer = json.dumps({"schema": SCHEMA, **about}, sort_keys=True).encode()
    table = table.replace_schema_metadata({_FOOTER: footer})
    write_parquet(path / REGIONS, table, geo={"geometry": None} if georeferenced else None)
    if not georeferenced:
        (path / REGIONS_GEOJSON).unlink(missing_ok=True)  # from an earlier job
        return [REGIONS]
    write_geojson(path / REGIONS_GEOJSON, table)
    return [REGIONS, REGIONS_GEOJSON]


def file_name(scene: str) -> str:
    """Return a file name for an image: its name, or a sanitised one with a hash."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", scene).strip(".-")[:80]
    if safe == scene:
        return safe
    return f"{safe or 'image'}-{hashlib.blake2b(scene.encode(), digest_size=4).hexdigest()}"


def check_file_names(scenes: Sequence[str]) -> None:
    """Check that the results of all images have different file names.

    Raises:
        DataError: Two images have the same file name.
    """
    scene_of: dict[str, str] = {}
    for scene in scenes:
        name = file_name(scene).casefold()  # some file systems ignore case
        if name in scene_of:
            raise DataError(
                f"the images {scene_of[name]!r} and {scene!r} have the same file name {name!r}",
                "Names of images must differ by more than case.",
                "Rename one of them.",
            )
        scene_of[name] = scene


def _frame_notes(scene: str, source: Source, bands: Sequence[int]) -> list[Note]:
    frame = find_frame(source, bands or None)
    return note_frames({scene: frame}, 1) if frame else []


def _region_records(result: StoredResult, cells: pa.Table) -> list[dict[str, Any]]:
    rows = cells.drop_columns(["geometry"] if "geometry" in cells.column_names else [])
    records = rows.take([int(row) for row in result.rows]).to_pylist()
    for record in records:
        del record["scene"]
        window = Window(*(record[name] for name in ("y", "x", "h", "w")))
        record.update(_geo_bounds(result, window))
    return records


def _geo_bounds(result: StoredResult, window: Window) -> dict[str, Any]:
    """Return bounds in the image's CRS, and longitude and latitude of the centre on Earth."""
    box = result.info.geobox
    if box is None or box.crs is None:
        return {}
    tile = Tiles.of("", [window])
    outline = footprints(tile, box, None)[0]
    record = {"bounds": [float(v) for v in outline.bounds], "crs": str(box.crs)}
    if result.info.place.kind == "earth":
        lon, lat = middles(footprints(tile, box, place=result.info.place))
        record |= {"lon": float(lon[0]), "lat": float(lat[0])}
    return record
