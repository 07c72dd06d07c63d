"""Small pairs on disk for tests of `observe`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

from foveate.files import write_json
from foveate.observe.jobs import PrepareJob
from foveate.raster import write_cog

if TYPE_CHECKING:
    from pathlib import Path

CLASSES = "classes: {land: 0, water: 1, road: 2}\n"


def box(shape: tuple[int, int], gsd: float = 1.0, crs: str | None = "EPSG:32633") -> GeoBox:
    """Return a georeference with its corner at one place."""
    return GeoBox(shape, Affine(gsd, 0, 500000, 0, -gsd, 6e6), crs)


def write_scenes(
    root: Path,
    names: tuple[str, ...] = ("east/a", "east/b", "west/a"),
    shape: tuple[int, int] = (60, 80),
    crs: str | None = "EPSG:32633",
) -> Path:
    """Write scenes of 3 bands with masks: land above, water below, a road in the first column.

    Returns:
        The folder, with ``images``, ``masks`` and ``classes.yaml``.
    """
    random = np.random.default_rng(0)
    geobox = None if crs is None else box(shape, crs=crs)
    labels = np.zeros(shape, np.uint8)
    labels[shape[0] // 2 :] = 1
    labels[:, 0] = 2
    for name in names:
        image = random.integers(20, 200, (3, *shape), dtype=np.uint8)
        write_cog(root / "images" / f"{name}.tif", image, geobox=geobox)
        write_cog(root / "masks" / f"{name}.tif", labels, geobox=geobox, overviews="nearest")
    (root / "classes.yaml").write_text(CLASSES)
    return root


def prepared_water(root: Path, tiles: tuple[int, int]) -> Path:
    """Prepare the pairs of two scenes of `write_scenes`, with masks and the concept water."""
    write_scenes(root / "in", names=("a", "b"))
    PrepareJob(
        images=[str(root / "in/images")], masks=[str(root / "in/masks")], tiles=tiles, ratio=5,
        classes=str(root / "in/classes.yaml"), concepts=[{"name": "water"}],
    ).run(root / "pairs")  # fmt: skip
    return root / "pairs"


def write_objects(path: Path, features: list[dict[str, object]]) -> Path:
    """Write objects: each a mapping of properties, with its ``geometry`` among them."""
    items = [
        {"type": "Feature", "geometry": f.pop("geometry", None), "properties": f}
        for f in (dict(feature) for feature in features)
    ]
    write_json(path, {"type": "FeatureCollection", "features": items})
    return path
