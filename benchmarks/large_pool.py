"""A pool of a million tiles: 10,000 scenes of headers only, opened, cut, priced and divided.

The limit is 2 minutes and 2 GB on one core; seconds are those of the processor. The files are
sparse: 2,560 x 2,560 pixels of which none is stored, so that what is measured is the table and not
the disk.

    python benchmarks/large_pool.py [--scenes 10000] [--profile]
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import resource
import tempfile
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING, Any

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable

SIDE, TILE = 2560, 256


def write_scenes(folder: Path, scenes: int) -> None:
    """Write sparse rasters beside each other in one zone of UTM."""
    import rasterio
    from rasterio.transform import Affine

    across = 100
    for i in range(scenes):
        at = Affine(
            10, 0, 300_000 + 25_600 * (i % across), 0, -10, 5_000_000 - 25_600 * (i // across)
        )
        with rasterio.open(
            folder / f"scene_{i:05d}.tif", "w", driver="GTiff", width=SIDE, height=SIDE, count=3,
            dtype="uint8", crs="EPSG:32633", transform=at, tiled=True, sparse_ok=True,
        ):  # fmt: skip
            pass


def measure(folder: Path) -> None:
    """Print the seconds and the memory of each part."""
    from foveate.embeddings import EncoderSpec
    from foveate.models.shard_encoder import scene_rows
    from foveate.pool import open_pool
    from foveate.run import ShardStore

    process = psutil.Process()
    steps = {}

    def timed(name: str, work: Callable[[], Any]) -> Any:
        start = process_time()
        found = work()
        steps[name] = process_time() - start
        print(f"{name:<28} {steps[name]:7.1f} CPU s   {process.memory_info().rss / 1e9:5.2f} GB")
        return found

    pool = timed("open and cut", lambda: open_pool(folder, tile=TILE, measure=False))
    costs = pool.costs()
    for unit in costs:
        timed(f"cost in {unit}", lambda unit=unit: costs[unit])
    rows = timed("rows of scenes", lambda: scene_rows(pool))
    with tempfile.TemporaryDirectory() as run:
        store = ShardStore.divided(Path(run), "0" * 32, EncoderSpec(name="m", dim=3), rows)
        store = timed("division into shards", lambda: store.revised(rows, 8192))
    print(f"{len(pool):,} tiles, {len(store.shards)} shards: {sum(steps.values()):.1f} CPU s")
    print(f"peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9:.2f} GB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, help="keep the scenes here")
    parser.add_argument("--profile", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        home = arguments.folder or Path(temporary)
        home.mkdir(exist_ok=True)
        if not any(home.iterdir()):
            write_scenes(home, arguments.scenes)
        if arguments.profile:
            with cProfile.Profile() as profile:
                measure(home)
            pstats.Stats(profile).sort_stats("cumulative").print_stats(45)
        else:
            measure(home)
