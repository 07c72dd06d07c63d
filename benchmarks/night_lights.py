"""Simulate night lights over a synthetic world, for ``bench observe --covariate``.

    python benchmarks/night_lights.py WORLD/masks lights.tif

The light of a cell of 0.0005 degrees is the share of buildings and settlements, blurred by a
Gaussian of 64 pixels, the side of a tile of the tables, with noise. It is made from the masks, so
that it knows more about the ground than a sensor does. The scenes of a world lie far apart: the
raster is sparse, and has values only around them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import rasterio
from rasterio.transform import from_origin
from rasterio.warp import Resampling, reproject, transform_bounds
from rasterio.windows import from_bounds, transform
from scipy.ndimage import gaussian_filter

from foveate.world import CLASSES

CELL = 0.0005  # degrees
BLUR = 64  # pixels of a mask
NOISE = 0.02
LIT = [i for i, name in enumerate(CLASSES) if name in ("settlement", "building")]
EARTH = "EPSG:4326"


def main() -> None:
    """Write the raster."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("masks", type=Path)
    parser.add_argument("out", type=Path)
    given = parser.parse_args()
    masks = sorted(given.masks.glob("*.tif"))
    west, south, east, north = np.transpose([bounds(path) for path in masks])
    frame = from_origin(west.min() - 0.1, north.max() + 0.1, CELL, CELL)
    shape = np.array([np.ptp([*north, *south]), np.ptp([*east, *west])]) + 0.2
    height, width = np.ceil(shape / CELL).astype(int)
    draw = np.random.default_rng(0)
    with rasterio.open(
        given.out, "w", driver="GTiff", width=width, height=height, count=1, dtype="float32",
        crs=EARTH, transform=frame, tiled=True, compress="deflate", SPARSE_OK=True, nodata=-1,
    ) as out:  # fmt: skip
        for path in masks:
            box = np.array(bounds(path)) + 3 * CELL * np.array([-1, -1, 1, 1])
            window = from_bounds(*box, frame).round_offsets().round_lengths()
            light = np.full((int(window.height), int(window.width)), np.nan, np.float32)
            with rasterio.open(path) as mask:
                lit = gaussian_filter(np.isin(mask.read(1), LIT).astype(np.float32), BLUR)
                reproject(
                    lit, light, src_transform=mask.transform, src_crs=mask.crs,
                    dst_transform=transform(window, frame), dst_crs=EARTH,
                    resampling=Resampling.average, dst_nodata=np.nan,
                )  # fmt: skip
            light = np.where(np.isnan(light), np.nanmean(light), light)
            noisy = np.maximum(light + draw.normal(0, NOISE, light.shape), 0)
            out.write(noisy.astype(np.float32) * 100, 1, window=window)


def bounds(path: Path) -> tuple[float, float, float, float]:
    """Return west, south, east and north of a raster, in degrees."""
    with rasterio.open(path) as file:
        return transform_bounds(file.crs, EARTH, *file.bounds)


if __name__ == "__main__":
    main()
