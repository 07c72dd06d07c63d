"""Chips: a folder of GeoTIFFs of the selected tiles and their masks.

``images/NAME.tif`` contains the pixels of a tile as stored in its file: type, bands, nodata,
palette, CRS, and the transform of the window; ``masks/NAME.tif`` those of the mask (for ``focus
segment``, the numbers of the regions). Bands from several files are one chip, in their common type.
``previews/NAME.jpg`` is an 8-bit picture. ``manifest.parquet`` (GeoParquet if there are outlines)
and ``manifest.csv`` have one row per pick, with the file names. A tile that is selected by several
methods is written once. `foveate curate images --masks masks` reads the folder.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from foveate.errors import DataError
from foveate.export.csv import write_table
from foveate.export.table import GEOMETRY, Export, Target
from foveate.files import atomic_folder, write_bytes, write_parquet
from foveate.grid import Window
from foveate.pool.preview import display_bands, display_range, jpeg, to_rgb
from foveate.pool.reopen import SceneFiles, reopened
from foveate.progress import Meter
from foveate.raster import FileSource, StoredPixels, stored_of, write_stored

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from foveate.run import Run

type Place = tuple[str, Window]  # scene and window

_WINDOW = ("scene", "y", "x", "h", "w")
_SAFE = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST = 120  # maximum length of a file name


def write(export: Export) -> None:
    """Write the folder.

    Raises:
        DataError: The run has no imagery, or images have moved, changed, or cannot be read.
        StorageError: The folder is not empty, or cannot be written.
    """
    table = export.table
    if not set(_WINDOW) <= set(table.column_names):
        raise DataError(
            f"the tiles of the run {str(export.run.path)!r} have no windows",
            "Chips are cropped from images.",
            "Use --to csv, --to list or --to geoparquet.",
        )
    columns = [table[name].to_pylist() for name in _WINDOW]
    places: list[Place] = [(s, Window(*window)) for s, *window in zip(*columns, strict=True)]
    scenes = reopened(export.run, list(dict.fromkeys(scene for scene, _ in places)))
    names = chip_names(list(dict.fromkeys(places)))
    with atomic_folder(export.path) as folder:
        (folder / "images").mkdir()
        masked = _write_chips(folder, scenes, names, export)
        files: dict[str, list[str | None]] = {
            "image": [f"images/{names[place]}.tif" for place in places],
            "mask": [f"masks/{names[p]}.tif" if p[0] in masked else None for p in places],
        }
        if export.previews:
            files["preview"] = [f"previews/{names[place]}.jpg" for place in places]
        _write_manifest(folder, table, files)


def chip_names(places: list[Place]) -> dict[Place, str]:
    """Return a file name for each window, without suffix: safe, and unique ignoring case.

    A name consists of the scene, its folders joined by "__", and the window. Characters that a file
    system may refuse are replaced by hyphens; a hash is appended to long and ambiguous names.
    """
    found, taken = {}, Counter[str]()
    for place in places:
        scene, (y, x, h, w) = place
        name = f"{scene.replace('/', '__')}_y{y:06d}_x{x:06d}_{h}x{w}"
        found[place] = _SAFE.sub("-", name).lstrip(".-")
        taken[found[place].casefold()] += 1
    for place, name in found.items():
        if taken[name.casefold()] > 1 or len(name) > _LONGEST:
            key = hashlib.blake2b(repr(place).encode(), digest_size=4).hexdigest()
            found[place] = f"{name[:_LONGEST]}-{key}"
    return found


def _write_chips(
    folder: Path, scenes: dict[str, SceneFiles], names: dict[Place, str], export: Export
) -> set[str]:
    """Write all windows, scene by scene; return the scenes that have masks."""
    of_scene: dict[str, list[Place]] = {}
    for place in names:
        of_scene.setdefault(place[0], []).append(place)
    masked = set()
    with Meter(export.progress, "writing chips", len(names)) as meter:
        for scene, places in of_scene.items():
            source = scenes[scene].source
            mask = scenes[scene].mask or _region_mask(export.run, scene)
            look = _look(source) if export.previews else None
            for place in places:
                name, window = names[place], place[1]
                pixels = _pixels(source, window)
                write_stored(folder / f"images/{name}.tif", pixels, durable=False)
                if mask is not None:
                    masked.add(scene)
                    labels = _placed(mask.stored(window), pixels)
                    write_stored(folder / f"masks/{name}.tif", labels, durable=False)
                if look is not None:
                    bands, value_range = look
                    picture = to_rgb(source.read(window, bands=bands), value_range)
                    data = jpeg(picture, quality=92)
                    write_bytes(folder / f"previews/{name}.jpg", data, durable=False)
                meter.advance()
    return masked


def _pixels(source: Any, window: Window) -> StoredPixels:
    if isinstance(source, FileSource):
        return source.stored(window)
    return stored_of(source.read(window), source.info, window)


def _look(source: Any) -> tuple[tuple[int, ...], NDArray[Any]]:
    bands = display_bands((), source.info.bands)
    return bands, display_range(source, bands)


def _placed(labels: StoredPixels, image: StoredPixels) -> StoredPixels:
    """Return the pixels of a mask, with the georeference of its image if it has none."""
    if labels.transform is not None or image.transform is None:
        return labels
    return replace(labels, transform=image.transform, crs=image.crs)


def _region_mask(run: Run, scene: str) -> FileSource | None:
    """Return the mask map of an image by `focus segment`, or None."""
    root = run.path.resolve()
    outputs = run.record.get("steps", {}).get(f"look {scene}", {}).get("outputs", [])
    files = [(root / file).resolve() for file in outputs]
    # Runs are untrusted: no file outside of the run directory is read.
    found = (f for f in files if f.parent == root / "masks" and f.is_file())
    file = next(found, None)
    return None if file is None else FileSource(str(file))


def _write_manifest(folder: Path, table: pa.Table, files: dict[str, list[str | None]]) -> None:
    import pyarrow as pa

    for name, values in files.items():
        table = table.append_column(name, pa.array(values, pa.string()))
    geo = {GEOMETRY: None} if GEOMETRY in table.column_names else None
    write_parquet(folder / "manifest.parquet", table, geo=geo)
    write_table(folder / "manifest.csv", table)


TARGET = Target((), "optional", write, folder=True, previews=True)
