"""Peak memory of two large jobs, each in a process of its own, against a limit.

Cutting and embedding one large scene, limit 1.5 GB:

Writes a 20,000 x 20,000 x 4 uint16 GeoTIFF (3.2 GB of pixels, tiled and compressed), cuts it into
256 px tiles and embeds them with the builtin model in one process; prints the peak resident
memory of that process as a ratio to the limit and to the size of the pixels.

    python benchmarks/memory.py [--side 20000]

Ranking a file of embeddings, limit 2 GB: a million vectors of 512 values in float16, whose ids are
in no order, by k-center to a depth of 1000:

    python benchmarks/memory.py --embeddings 1000000
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

LIMIT, FILE_LIMIT = 1.5e9, 2e9
DIM, PICKS = 512, 1000


def write_scene(path: Path, side: int) -> None:
    """Write a scene of repeated, noisy land, block by block; memory stays small."""
    import rasterio
    from rasterio.windows import Window

    from foveate.world import WorldSpec, make_scene

    block = 512
    scene = make_scene(WorldSpec(scenes=1, size=block, dtype="uint16", seed=1, cloud=0.0), 0)
    profile = {
        "driver": "GTiff", "width": side, "height": side, "count": 4, "dtype": "uint16",
        "tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate", "zlevel": 1,
        "crs": scene.geobox.crs.to_wkt(), "transform": scene.geobox.affine, "nodata": 0,
        "BIGTIFF": "YES",
    }  # fmt: skip
    with rasterio.open(path, "w", **profile) as dataset:
        for y in range(0, side, block):
            for x in range(0, side, block):
                h, w = min(block, side - y), min(block, side - x)
                tile = np.roll(scene.image, (y // 7, x // 11), axis=(1, 2))[:, :h, :w]
                dataset.write(tile, window=Window(x, y, w, h))


def work(path: str, out: str) -> None:
    """Cut and embed, then print the peak memory of this process."""
    import foveate as fv

    start = time.process_time()
    pool = fv.open_pool(path)
    embeddings = fv.embed(pool, fv.load_model("builtin"), run=out)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    seconds = time.process_time() - start
    print(json.dumps({"tiles": len(embeddings), "peak": peak, "cpu": seconds}))


def write_embeddings(path: Path, n: int) -> None:
    """Write clustered vectors, a row group at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    names = rng.permutation(n)
    centres = rng.normal(size=(200, DIM)).astype(np.float32)
    kind = pa.list_(pa.float16(), DIM)
    schema = pa.schema({"id": pa.string(), "embedding": kind})
    with pq.ParquetWriter(path, schema, compression="none", use_dictionary=False) as writer:
        for start in range(0, n, 50_000):
            ids = [f"{name:08d}" for name in names[start : start + 50_000]]
            near = centres[rng.integers(0, 200, len(ids))]
            x = near + rng.standard_normal((len(ids), DIM), np.float32)
            flat = pa.array(x.astype(np.float16).ravel())
            vectors = pa.FixedSizeListArray.from_arrays(flat, type=kind)
            writer.write_table(pa.table({"id": ids, "embedding": vectors}, schema=schema))


def rank(path: str, out: str) -> None:
    """Rank a file, then print the peak memory of this process."""
    from foveate.curate import CurateJob

    start = time.process_time()
    CurateJob(images=[path], methods=["kcenter"], budget=str(PICKS)).run(out)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"peak": peak, "cpu": time.process_time() - start}))


def measure_file(n: int) -> None:
    """Print what it takes to rank a file of `n` vectors."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vectors.parquet"
        write_embeddings(path, n)
        command = [sys.executable, __file__, "--ranker", str(path), str(Path(folder) / "run")]
        found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        size = path.stat().st_size
    print(f"file           {n} x {DIM} float16, {size / 1e9:.2f} GB; {PICKS} picks by k-center")
    print(f"CPU            {found['cpu']:.1f} s")
    print(f"peak memory    {found['peak'] / 1e9:.2f} GB = {found['peak'] / FILE_LIMIT:.2f} of "
          "the limit")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--embeddings", type=int, help="vectors of a file to rank")
    parser.add_argument("--ranker", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.ranker:
        rank(*arguments.ranker)
        return
    if arguments.embeddings:
        measure_file(arguments.embeddings)
        return
    if arguments.worker:
        work(*arguments.worker)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scene.tif"
        write_scene(path, arguments.side)
        command = [sys.executable, __file__, "--worker", str(path), str(Path(folder) / "run")]
        found = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        pixels = arguments.side**2 * 4 * 2
    print(f"scene          {arguments.side} x {arguments.side} x 4 uint16, {pixels / 1e9:.2f} GB")
    print(f"tiles          {found['tiles']}, {found['tiles'] / found['cpu']:.0f} per CPU second")
    print(f"peak memory    {found['peak'] / 1e9:.2f} GB = {found['peak'] / LIMIT:.2f} of the limit")
    print(f"               = {found['peak'] / pixels:.2f} of the pixels")


if __name__ == "__main__":
    main()
