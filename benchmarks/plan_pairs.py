"""Plan pairs for 10,000 anchors and two catalogues of 10,000 items in all: seconds and memory.

Anchors are drawn in clusters over 5.25 x 5.25 degrees. HR items are quarter quads of 3.75 minutes,
side by side, LR items squares of 1.2 degrees every ten days. Nothing is fetched.

    python benchmarks/plan_pairs.py
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import shapely

from foveate.files import write_parquet
from foveate.seeds import rng

WEST, SOUTH, SIDE, STEP = -120.0, 35.0, 5.25, 0.0625
TAGS = [
    {"landuse": "forest"}, {"leisure": "park"}, {"leisure": "pitch"}, {"amenity": "school"},
    {"natural": "water"}, {"landuse": "industrial"},
]  # fmt: skip


def write_anchors(path: Path, count: int) -> None:
    """Write polygons of 50 to 500 m in clusters."""
    draw = rng(0, "bench/anchors")
    centres = draw.random((200, 2)) * SIDE
    at = centres[draw.integers(200, size=count)] + draw.normal(0, 0.15, (count, 2))
    at = np.clip(at, 0.05, SIDE - 0.05) + np.array([WEST, SOUTH])
    half = draw.uniform(2.5e-4, 2.5e-3, (count, 1))
    low, high = at - half, at + half
    kinds = draw.integers(len(TAGS), size=count)
    table = pa.table({
        "landuse": [TAGS[k].get("landuse") for k in kinds],
        "leisure": [TAGS[k].get("leisure") for k in kinds],
        "amenity": [TAGS[k].get("amenity") for k in kinds],
        "natural": [TAGS[k].get("natural") for k in kinds],
        "water": ["lake" if "natural" in TAGS[k] else None for k in kinds],
        "sport": ["soccer" if TAGS[k].get("leisure") == "pitch" else None for k in kinds],
        "geometry": shapely.to_wkb(shapely.box(*low.T, *high.T)),
    })  # fmt: skip
    write_parquet(path, table, geo={"geometry": None})


def _row(name: str, when: datetime, box: tuple[float, ...], assets: dict) -> dict:
    return {
        "type": "Feature", "stac_version": "1.1.0", "id": name, "datetime": when, "assets": assets,
        "links": [{"rel": "self", "href": f"https://example.org/{name}.json"}],
        "bbox": dict(zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)),
        "geometry": shapely.to_wkb(shapely.box(*box)), "eo:cloud_cover": 1.0,
    }  # fmt: skip


def write_items(hr: Path, lr: Path, count: int) -> None:
    """Write the catalogues, `count` items in all: the ground is covered by HR once."""
    image = {"image": {"href": "https://example.org/x.tif", "type": "image/tiff"}}
    high = []
    for number, (x, y) in enumerate(np.ndindex(84, 84)):
        when = datetime(2021 + number % 2, 7, 1, 18, tzinfo=UTC) + timedelta(days=number % 20)
        west, south = WEST + x * STEP - 0.002, SOUTH + y * STEP - 0.002
        box = (west, south, west + STEP + 0.004, south + STEP + 0.004)
        high.append(_row(f"quad-{number}", when, box, image))
    names = ("red", "green", "blue", "scl")
    bands = {n: {"href": f"https://example.org/{n}.tif", "type": "image/tiff"} for n in names}
    low = []
    for number in range(count - len(high)):
        k, place = divmod(number, 36)
        y, x = divmod(place, 6)
        when = datetime(2021, 1, 1, 18, tzinfo=UTC) + timedelta(days=10 * k)
        west, south = WEST + x - 0.2, SOUTH + y - 0.2
        low.append(_row(f"tile-{number}", when, (west, south, west + 1.4, south + 1.4), bands))
    for path, table in ((hr, high), (lr, low)):
        write_parquet(path, pa.Table.from_pylist(table), geo={"geometry": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--anchors", type=int, default=10_000)
    parser.add_argument("--items", type=int, default=10_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_anchors(root / "anchors.parquet", given.anchors)
        write_items(root / "hr.parquet", root / "lr.parquet", given.items)
        command = [
            str(Path(sys.executable).parent / "foveate"), "observe", "build", "--anchors",
            str(root / "anchors.parquet"), "--hr", str(root / "hr.parquet"), "--lr",
            str(root / "lr.parquet"), "--min-labelled", "0", "--thin", "0", "--span",
            "400", "--dry-run",
        ]  # fmt: skip
        start = time.perf_counter()
        subprocess.run(command, check=True)
        seconds = time.perf_counter() - start
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    what = f"{given.anchors} anchors, {given.items} items"
    cpu, peak = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
    print(f"{what}: {seconds:.1f} s, {cpu:.1f} CPU s, {peak:.0f} MB")


if __name__ == "__main__":
    main()
