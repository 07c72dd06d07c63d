"""Peak memory of cutting and embedding one large scene, against the limit of 1.5 GB.

Writes a 20,000 x 20,000 x 4 uint16 GeoTIFF (3.2 GB of pixels, tiled and compressed), cuts it into
256 px tiles and embeds them with the builtin model in one process; prints the peak resident
memory of that process as a ratio to the limit and to the size of the pixels.

    python benchmarks/memory.py [--side 20000]
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

LIMIT = 1.5e9


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=20_000)
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
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
