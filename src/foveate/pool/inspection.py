"""Inspection of imagery before a run, by the same functions that a run uses.

`inspect` opens and scans the files as `open_pool` does, and records the files that are left out,
the pairs of files, the properties of each image, the classes, images of the same place, the notes,
and the error at which a run would fail.
"""

from __future__ import annotations

import re
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import FoveateError
from foveate.files import printable
from foveate.pool.find import find
from foveate.pool.folder import open_pool
from foveate.pool.pairing import pair_files
from foveate.pool.pool import Scene
from foveate.pool.preview import read_small
from foveate.pool.stac.rows import DATE
from foveate.pool.stac.sources import stac_paths
from foveate.raster import FileSource, metres_per_pixel

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from foveate.labels import Legend
    from foveate.pool.find import Paths
    from foveate.pool.found import Found
    from foveate.pool.pairing import Pairing
    from foveate.pool.pool import Pool
    from foveate.pool.stac.search import Search
    from foveate.progress import ProgressFn

SAMPLED = 50  # maximum number of images whose values are sampled, evenly spaced
_SIDE = 256  # pixels of the longer side of samples
_ONE_PLACE = 0.5  # minimum shared area of images of one place, relative to the smaller image
_DATE = re.compile(
    r"(?<!\d)((?:19|20)\d\d)([-_.]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])(?!\d{1,5}(?!\d))"
)


@dataclass(frozen=True)
class Inspection:
    """Result of an inspection.

    Attributes:
        images: The images that were found, and the files that are left out.
        masks: The same for masks; None if no masks were requested.
        pairing: The paired files; None if pairing failed.
        pool: The pool with which a run would start, measured unless measuring failed; None if it
            cannot be opened.
        scenes: One record per image: file, mask, size, bands, dtype, rules of validity, values,
            scaling, place, metres per pixel, date.
        error: The error at which a run would fail, or None.
    """

    images: Found
    masks: Found | None
    pairing: Pairing | None
    pool: Pool | None
    scenes: tuple[dict[str, Any], ...]
    error: FoveateError | None

    def classes(self) -> list[dict[str, Any]] | None:
        """Return the name, values, pixel count and share of each class; None without masks."""
        pool = self.pool
        if pool is None or pool.legend is None or pool.counts is None:
            return None
        pixels = pool.counts.sum(axis=0)
        shares = pixels / max(pixels.sum(), 1)
        content = pool.legend.to_dict()["classes"]
        return [
            {"name": name, "values": values, "pixels": int(n), "share": float(share)}
            for (name, values), n, share in zip(content.items(), pixels, shares, strict=True)
        ]

    def places(self) -> list[dict[str, Any]]:
        """Return groups of images of the same place, with their dates."""
        pool = self.pool
        if pool is None or not pool.georeferenced or len(pool.scenes) < 2:
            return []
        dates = {scene["scene"]: scene["date"] for scene in self.scenes}
        groups = _same_ground(pool.scenes)
        return [{"scenes": names, "dates": [dates[n] for n in names]} for names in groups]

    def to_dict(self) -> dict[str, Any]:
        """Return the result as JSON-ready values."""
        return {
            "images": _found(self.images),
            "masks": None if self.masks is None else _found(self.masks),
            "pool": None if self.pool is None else self.pool.describe(),
            "scenes": list(self.scenes),
            "classes": self.classes(),
            "places": self.places(),
            "notes": [] if self.pool is None else [n.to_dict() for n in self.pool.notes],
            "stops": None if self.error is None else self.error.to_dict(),
        }


def inspect(
    images: Paths,
    *,
    masks: Paths | None = None,
    mask_suffix: str = "",
    classes: str | Path | Legend | None = None,
    extra: Sequence[Paths] = (),
    stack: Sequence[str] = (),
    tile: int = 256,
    nodata: float | None = None,
    bands: Sequence[int] | None = None,
    min_valid: float = 0.5,
    search: Search | None = None,
    progress: ProgressFn | None = None,
) -> Inspection:
    """Inspect imagery as a run would read it.

    Files are read as by `open_pool`, including masks and nodata; ranges of values are computed from
    reduced copies of at most 50 images.

    Args:
        images: As for `open_pool`, like the other arguments.
        masks: Masks.
        mask_suffix: Ending of the names of masks.
        classes: Classes file.
        extra: Further bands.
        stack: Endings of names that are bands of one scene.
        tile: Side of a tile in pixels.
        nodata: Value of missing pixels.
        bands: 1-based bands that are used.
        min_valid: Minimum share of valid pixels of a tile.
        search: Selection of STAC items and of their assets.
        progress: Called with ticks.

    Returns:
        The inspection. It contains the error of `open_pool`, if any.

    Raises:
        DataError: A path does not exist.
    """
    opened = partial(
        open_pool, images, masks=masks, mask_suffix=mask_suffix, classes=classes, extra=extra,
        stack=stack, tile=tile, nodata=nodata, bands=bands, min_valid=min_valid, search=search,
        progress=progress,
    )  # fmt: skip
    error: FoveateError | None = None
    pairing: Pairing | None = None
    pool: Pool | None = None
    try:
        pairing = pair_files(images, masks, extra, stack, mask_suffix, search=search)
    except FoveateError as failed:
        error = failed
    else:
        try:
            pool = opened()
        except FoveateError as failed:
            error = failed
            with suppress(FoveateError):  # the same error, if it concerns headers
                pool = opened(measure=False)
    if error is not None and pairing is None and stac_paths(images) is not None:
        raise error  # there is nothing to report on a catalogue that cannot be read
    found = find(images, "image") if pairing is None else pairing.images
    labels = None if masks is None else find(masks, "mask")
    labels = labels if pairing is None else pairing.masks
    scenes = tuple(_facts(pool)) if pool is not None else tuple(_files(found))
    return Inspection(found, labels, pairing, pool, scenes, error)


def _facts(pool: Pool) -> list[dict[str, Any]]:
    """Return a record for each scene of a pool."""
    step = max(1, -(-len(pool.scenes) // SAMPLED))
    return [_record(scene, values=i % step == 0) for i, scene in enumerate(pool.scenes)]


def _record(scene: Scene, *, values: bool) -> dict[str, Any]:
    info = scene.source.info
    mask = getattr(scene.mask, "path", None)
    box = info.geobox
    return {
        "scene": scene.scene_id,
        "file": scene.uri,
        "mask": None if mask is None else printable(mask),
        "shape": list(info.shape),
        "bands": info.bands,
        "descriptions": list(info.descriptions),
        "dtype": info.dtype,
        "valid_by": list(info.rules),
        "values": _values(scene) if values else None,
        "scaling": [list(pair) for pair in info.scaling],
        "orientation": info.orientation,
        "crs": str(box.crs) if box is not None and box.crs is not None else None,
        "place": info.place.kind,
        "bounds": [float(v) for v in box.boundingbox.bbox] if box is not None else None,
        "metres_per_pixel": metres_per_pixel(info),
        "date": _date(scene),
    }


def _date(scene: Scene) -> str:
    if scene.item is not None and (stated := scene.item.properties.get(DATE)):
        return str(stated)[:10]
    return date_of(scene.uri)


def _values(scene: Scene) -> list[list[float]] | None:
    """Return minimum and maximum valid value of each band, from a reduced copy."""
    try:
        raster = read_small(scene.source, None, range(1, scene.source.info.bands + 1), _SIDE)
    except FoveateError:  # scanning raised the same error, which is part of the inspection
        return None
    values = raster.data[:, raster.valid]
    return [[float(b.min()), float(b.max())] for b in values] if values.shape[1] else None


def _files(found: Found) -> list[dict[str, Any]]:
    """Return a record for each file, if the files cannot be opened as a pool."""
    records = []
    for file in found.files:
        name = printable(str(file.path))
        try:
            scene = Scene(file.key, FileSource(str(file.path)), uri=name)
            records.append(_record(scene, values=False))
        except FoveateError as error:
            records.append({"scene": file.key, "file": name, "error": str(error), "date": ""})
    return records


def date_of(name: str) -> str:
    """Return the date in a file name, "2018-07-31" or "20180731", as "2018-07-31"; or ""."""
    for part in reversed(re.split(r"[/\\]", name)[-2:]):
        if match := _DATE.search(part):
            return f"{match[1]}-{match[3]}-{match[4]}"
    return ""


def _same_ground(scenes: Sequence[Scene]) -> list[list[str]]:
    """Return groups of scenes that overlap by more than half of the smaller scene."""
    import shapely
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    from foveate.grid import Grid
    from foveate.pool.footprints import footprints

    outlines = []
    for scene in scenes:
        info = scene.source.info
        assert info.geobox is not None  # noqa: S101  (the pool is georeferenced)
        whole = Grid.split(info.shape, 1, 1).tiles(scene.scene_id)
        outlines.append(footprints(whole, info.geobox, place=info.place)[0])
    shapes = np.array(outlines, dtype=object)
    tree = shapely.STRtree(shapes)
    first, second = tree.query(shapes, predicate="intersects")
    shared = shapely.area(shapely.intersection(shapes[first], shapes[second]))
    areas = shapely.area(shapes)
    same = shared > _ONE_PLACE * np.minimum(areas[first], areas[second])
    links = coo_array((np.ones(same.sum()), (first[same], second[same])), shape=(len(shapes),) * 2)
    count, label = connected_components(links, directed=False)
    sizes = np.bincount(label, minlength=count)
    return [
        [scenes[i].scene_id for i in np.flatnonzero(label == k).tolist()]
        for k in np.flatnonzero(sizes > 1)
    ]  # fmt: skip


def _found(found: Found) -> dict[str, Any]:
    reasons = Counter(entry.reason for entry in found.left_out)
    return {
        "read": len(found.files),
        "left_out": [
            {"path": printable(str(entry.path)), "reason": entry.reason} for entry in found.left_out
        ],
        "reasons": dict(sorted(reasons.items())),
    }
