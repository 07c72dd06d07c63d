"""What drivers cost: 2,000 tiles by a pool of processes and by actors of Ray, two workers each.

Both start from nothing, write the same shards, and take one thread a worker. The ratio of the
whole command says what a small job pays for a cluster that has to be started; that of the shards
alone (from the first to the last receipt) what a long one pays. Where Ray is not installed or
cannot be started (it needs a few idle cores for that), only the processes are measured.

    python benchmarks/drivers.py [--runs 3]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

import numpy as np

WORKERS = "2"
DRIVERS = {"processes": [], "ray": ["--driver", "ray"]}
NO_RAY = ("Ray cannot be started", "ray, which is not installed")


class NoRayError(RuntimeError):
    """What the command said where there is no Ray."""


def write_scenes(folder: Path) -> None:
    """Write 20 scenes of 100 tiles of 64 pixels."""
    from foveate.raster import write_cog

    draw = np.random.default_rng(0)
    for i in range(20):
        write_cog(folder / f"{i:02d}.tif", draw.integers(0, 255, (3, 640, 640), np.uint8))


def embed(images: Path, out: Path, options: list[str]) -> tuple[float, float]:
    """Return the seconds of the command, and from the first receipt to the last."""
    typed = ["embed", str(images), "--tile", "64", "--workers", WORKERS, "--out", str(out)]
    start = perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "foveate", *typed, *options], check=False, capture_output=True,
        text=True, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    whole = perf_counter() - start
    if any(text in done.stderr for text in NO_RAY):
        raise NoRayError(done.stderr.strip())
    if done.returncode:
        sys.exit(done.stderr)
    receipts = list(out.rglob("receipts/*.json"))
    times = sorted(file.stat().st_mtime for file in receipts)
    tiles = sum(json.loads(file.read_text())["tiles"] for file in receipts)
    assert tiles == 2000  # noqa: S101
    return whole, times[-1] - times[0]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    runs = parser.parse_args().runs
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in DRIVERS}
    with tempfile.TemporaryDirectory() as temporary:
        home = Path(temporary)
        write_scenes(home / "images")
        for i in range(runs):  # in turn: what else the machine does is fair to both
            for name, options in list(DRIVERS.items()):
                try:
                    found[name].append(embed(home / "images", home / f"{name}{i}", options))
                except NoRayError as error:
                    print(f"Ray is not measured: {error}")
                    del DRIVERS[name], found[name]
    middle = {
        name: [statistics.median(column) for column in zip(*rows, strict=True)]
        for name, rows in found.items()
    }
    for name, (whole, shards) in middle.items():
        print(f"{name:<10} {whole:6.1f} s in all, {shards:6.1f} s of shards")
    if "ray" in middle:
        ratios = [a / b for a, b in zip(middle["ray"], middle["processes"], strict=True)]
        print(f"Ray against processes: {ratios[0]:.2f} in all, {ratios[1]:.2f} of shards")
