"""The encoder without weights against a colour histogram on UC Merced.

Prints, for both: k-NN accuracy (k = 5, cosine, half for training, mean and range over stratified
splits), tiles per CPU second and tiles per second of one process, and the peak memory that one
call adds. UC Merced (Yang and Newsam 2010): 2100 tiles of 256 x 256 x 3, 21 classes.

    OMP_NUM_THREADS=1 python benchmarks/builtin.py [--data FOLDER_OF_CLASS_FOLDERS] [--splits 10]
"""

from __future__ import annotations

import argparse
import pathlib
import time
import tracemalloc
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from foveate.models.families.builtin import Builtin
from foveate.seeds import rng

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

DATA = pathlib.Path(__file__).resolve().parents[2] / "shared" / "data" / "ucmerced" / "images"


def colour_histogram(batch: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return the joint histogram of 8 x 8 x 8 RGB cubes, as shares: the peer to beat."""
    cubes = (batch >> 5).astype(np.intp)
    codes = (cubes[:, 0] * 8 + cubes[:, 1]) * 8 + cubes[:, 2]
    counts = [np.bincount(code.ravel(), minlength=512) / code.size for code in codes]
    return np.array(counts, np.float32)


def accuracies(x: NDArray, classes: NDArray[np.intp], splits: int, k: int = 5) -> NDArray:
    """Return one k-NN accuracy per split; majority vote, ties to the nearest neighbour."""
    x = x.astype(np.float16).astype(np.float32)  # as stored
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    similar = x @ x.T
    out = []
    for split in range(splits):
        stream = rng(split, "benchmark/split")
        train = np.zeros(classes.size, bool)
        for c in np.unique(classes):
            rows = stream.permutation(np.flatnonzero(classes == c))
            train[rows[: rows.size // 2]] = True
        nearest = np.argsort(-similar[~train][:, train], axis=1, kind="stable")[:, :k]
        votes = classes[train][nearest]
        counts = (votes[:, :, None] == votes[:, None, :]).sum(axis=2)
        guess = votes[np.arange(len(votes)), counts.argmax(axis=1)]
        out.append((guess == classes[~train]).mean())
    return np.array(out)


def measure(
    name: str,
    embed: Callable[[NDArray], NDArray],
    images: list[NDArray[np.uint8]],
    classes: NDArray[np.intp],
    splits: int,
) -> None:
    embed(images[0][None])
    cpu, wall = time.process_time(), time.perf_counter()
    x = np.concatenate([embed(image[None]) for image in images])
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    found = accuracies(x, classes, splits) * 100
    tracemalloc.start()
    embed(np.stack([image for image in images if image.shape == images[0].shape][:64]))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    stacked = 64 * images[0].nbytes
    print(
        f"{name:18} {x.shape[1]:5} {found.mean():8.1f} {found.min():6.1f}-{found.max():.1f}"
        f" {len(images) / cpu:12.0f} {len(images) / wall:9.0f} {(peak - stacked) / 2**20:11.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=pathlib.Path, default=DATA)
    parser.add_argument("--splits", type=int, default=10)
    args = parser.parse_args()
    paths = sorted(p for p in args.data.rglob("*") if p.suffix in {".jpg", ".png", ".tif"})
    if not paths:
        raise SystemExit(f"No images under {args.data}. Give their folder with --data.")
    classes = np.unique([p.parent.name for p in paths], return_inverse=True)[1]
    images = []
    for path in paths:
        with Image.open(path) as image:
            images.append(np.ascontiguousarray(np.asarray(image.convert("RGB")).transpose(2, 0, 1)))
    print(f"{len(images)} tiles, {classes.max() + 1} classes, {args.splits} splits")
    head = ("columns", "k-NN %", "range", "tiles/CPU s", "tiles/s", "peak MiB")
    print(f"{'encoder':18} {head[0]:>5} {head[1]:>6} {head[2]:>11}", end=" ")
    print(f"{head[3]:>12} {head[4]:>9} {head[5]:>11}")
    measure("colour histogram", colour_histogram, images, classes, args.splits)
    measure("builtin", Builtin((1, 2, 3), [(0, 255)] * 3).embed, images, classes, args.splits)


if __name__ == "__main__":
    main()
