"""k-center of many picks: exact, and with the first 1,000 exact and the others inside cells.

    python benchmarks/many_picks.py                                     # N = 1,000,000, d = 64
    python benchmarks/many_picks.py --rows 200000 --dim 512 --depths 1000 20000

Data: float16 of a mixture of 200 Gaussians with components of uneven size (as 1 / rank) and
spread (0.3 to 1.2), below 0 cut off. The components are the classes: "entropy" is that of the
classes of the picks over its largest, 1. "last distance" bounds the distance of every row to the
nearest pick, "radius" and "mean" are the largest and the mean of it of 50,000 rows drawn at random.
One order is made, to the last depth, and looked at in each; CPU seconds are of all of it.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

import numpy as np

from _measure import machine, table

if TYPE_CHECKING:
    from collections.abc import Callable

CLASSES, STEP, START = 200, 4096, 5
LOOKED_AT = 50_000  # rows whose distances to the picks are computed


def make(n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((CLASSES, d), dtype=np.float32)
    share = 1 / np.arange(1, CLASSES + 1)
    label = rng.choice(CLASSES, n, p=share / share.sum())
    spread = rng.uniform(0.3, 1.2, CLASSES).astype(np.float32)
    x = np.empty((n, d), np.float16)
    for begin in range(0, n, STEP):
        part = label[begin : begin + STEP]
        noise = rng.standard_normal((part.size, d), dtype=np.float32)
        x[begin : begin + STEP] = np.maximum(noise * spread[part, None] + centres[part], 0)
    return x, label


def reach(x: np.ndarray, rows: np.ndarray, depths: list[int]) -> list[tuple[float, float]]:
    """Return the largest and the mean distance of some rows to the nearest of the first picks."""
    some = np.sort(np.random.default_rng(9).choice(len(x), min(len(x), LOOKED_AT), replace=False))
    best, done, found = np.full(some.size, np.inf), 0, []
    for depth in depths:
        picks = x[rows[done:depth]].astype(np.float32)
        half = np.einsum("ij,ij->i", picks, picks) / 2
        for begin in range(0, some.size, STEP):
            part = x[some[begin : begin + STEP]].astype(np.float32)
            squares = np.einsum("ij,ij->i", part, part)
            squares -= 2 * (part @ picks.T - half).max(axis=1)
            at = slice(begin, begin + STEP)
            best[at] = np.minimum(best[at], np.sqrt(np.maximum(squares, 0)))
        done = depth
        found.append((float(best.max()), float(best.mean())))
    return found


def entropy(label: np.ndarray) -> float:
    share = np.bincount(label) / label.size
    share = share[share > 0]
    return float(-(share * np.log(share)).sum() / np.log(CLASSES))


def contenders(x: np.ndarray, b: int, first: int) -> dict[str, Callable[[], Any]]:
    from foveate.select.cells import kcenter_in_cells
    from foveate.select.kcenter import kcenter_greedy

    ties = np.random.default_rng(1).integers(0, 2**63, len(x)).astype(np.uint64)
    given: dict[str, Any] = {"ties": ties, "start": START}
    return {
        f"exact={first}": lambda: (
            kcenter_in_cells(x, b, exact=first, rng=np.random.default_rng(7), **given).found
        ),
        "exact": lambda: kcenter_greedy(x, b, **given),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--depths", type=int, nargs="+", default=[1000, 3000, 10_000])
    parser.add_argument("--exact", type=int, default=1000)
    options = parser.parse_args()
    x, label = make(options.rows, options.dim)
    depths = sorted(options.depths)
    print(machine())
    print(f"\nN = {len(x):,}, d = {options.dim}, float16 ({x.nbytes / 1e9:.1f} GB)", flush=True)
    some = np.random.default_rng(3).choice(len(x), depths[-1], replace=False)
    orders = {"random": (some, np.full(depths[-1], np.nan))}
    for name, function in contenders(x, depths[-1], options.exact).items():
        start = time.process_time()
        found = function()
        print(f"{name}: {time.process_time() - start:.1f} CPU s", flush=True)
        orders[name] = found.rows, found.distance
    lines = []
    for name, (rows, distance) in orders.items():
        for depth, reached in zip(depths, reach(x, rows, depths), strict=True):
            numbers = [distance[depth - 1], *reached, entropy(label[rows[:depth]])]
            lines.append([name, f"{depth:,}", *(f"{number:.3f}" for number in numbers)])
    table(["picks", "b", "last distance", "radius", "mean", "entropy"], lines)


if __name__ == "__main__":
    main()
