"""One small file of embeddings in each of the layouts that people have.

    python tests/helpers/embedding_files.py FOLDER

Earth Index, Clay and LGND, Major TOM, the shards of `foveate embed`, and a table of nobody's
layout with two columns of vectors. Each has its own types of vectors, ids and geometry.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox

from foveate.models.job import EmbedJob
from foveate.raster import write_cog

N, D = 40, 12
LAYOUTS = ("earth-index", "clay", "major-tom", "shards", "table")


def write(folder: Path, layout: str, *, n: int = N, seed: int = 0) -> Path:
    """Write a file (of shards: a run) in a layout; return it."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    if layout == "shards":
        return shards(folder)
    table = {
        "earth-index": earth_index, "clay": clay, "major-tom": major_tom, "table": anything,
    }[layout](n, rng)  # fmt: skip
    out = folder / f"{layout}.parquet"
    pq.write_table(table, out, row_group_size=16)
    return out


def boxes(n: int, side: float = 0.01) -> np.ndarray:
    """Squares side by side on the equator, n of them."""
    at = np.arange(n) * side
    return shapely.box(at, 0, at + side, side)


def fixed(x: np.ndarray) -> pa.Array:
    """Vectors as a list of fixed size."""
    return pa.FixedSizeListArray.from_arrays(pa.array(x.ravel()), x.shape[1])


def geo(table: pa.Table, crs: object = "") -> pa.Table:
    """Add the metadata of GeoParquet."""
    about = {"encoding": "WKB", "geometry_types": []} | ({} if crs == "" else {"crs": crs})
    found = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": about}}
    return table.replace_schema_metadata({b"geo": json.dumps(found).encode()})


def earth_index(n: int, rng: np.random.Generator) -> pa.Table:
    """id, geometry, embedding: float32 of fixed size, and squares in WKB."""
    return geo(pa.table({
        "id": [f"{i:05d}" for i in rng.permutation(n)],
        "geometry": pa.array(shapely.to_wkb(boxes(n))),
        "embedding": fixed(rng.normal(size=(n, D)).astype(np.float32)),
    }))  # fmt: skip


def clay(n: int, rng: np.random.Generator) -> pa.Table:
    """Chips with dates, float16 lists of any length, and a CRS that is stated (UTM)."""
    from pyproj import CRS

    at = 500_000 + 2560.0 * np.arange(n)
    x = rng.normal(size=(n, D)).astype(np.float16)
    return geo(pa.table({
        "chips_id": [f"chip-{i:04d}" for i in range(n)],
        "datetime": pa.array(np.datetime64("2024-01-01") + np.arange(n) % 3),
        "embeddings": pa.array(list(x), pa.list_(pa.float16())),
        "geometry": pa.array(shapely.to_wkb(shapely.box(at, 4e6, at + 2560, 4e6 + 2560))),
    }), CRS("EPSG:32633").to_json_dict())  # fmt: skip


def major_tom(n: int, rng: np.random.Generator) -> pa.Table:
    """Grid cells, a list that is no vector, and outlines as nested coordinates."""
    rings = [[[{"x": x, "y": y} for x, y in ring.exterior.coords]] for ring in boxes(n)]
    point = pa.struct({"x": pa.float64(), "y": pa.float64()})
    return pa.table({
        "unique_id": [f"{i:032x}" for i in rng.permutation(n)],
        "embedding": fixed(rng.random((n, D)).astype(np.float32)),
        "timestamp": ["20230101T000000"] * n,
        "product_id": [f"S2A_{i // 10}" for i in range(n)],
        "grid_cell": [f"1U_{i // 4}R" for i in range(n)],
        "grid_row_u": np.ones(n, np.int16),
        "geometry": pa.array(rings, pa.list_(pa.list_(point))),
        "centre_lat": np.full(n, 0.005),
        "pixel_bbox": pa.array([[0, 0, 64, 64]] * n, pa.list_(pa.int64())),
    })  # fmt: skip


def anything(n: int, rng: np.random.Generator) -> pa.Table:
    """No ids, no geometry; int8 of fixed size and float64 lists."""
    x = rng.integers(-128, 128, (n, D), dtype=np.int8)
    return pa.table({
        "code": pa.array(["wheat", "maize", None, "rye"] * (n // 4)),
        "quality": np.linspace(0, 1, n),
        "minutes": np.arange(n) % 5 + 1.0,
        "small": fixed(x),
        "large": pa.array(list(rng.normal(size=(n, 3))), pa.list_(pa.float64())),
    })  # fmt: skip


def shards(folder: Path) -> Path:
    """A run of `foveate embed` on two small scenes side by side."""
    rng = np.random.default_rng(0)
    for i in range(2):
        box = GeoBox((64, 64), Affine(10, 0, 5e5 + 640 * i, 0, -10, 4e6), "EPSG:32633")
        write_cog(folder / f"images/s{i}.tif", rng.integers(0, 255, (3, 64, 64), np.uint8),
                  geobox=box)  # fmt: skip
    EmbedJob(images=[str(folder / "images")], tile=16).run(folder / "embedded")
    return folder / "embedded"


if __name__ == "__main__":
    for name in LAYOUTS:
        write(Path(sys.argv[1]), name)
