"""Facility location: CPU seconds, extra memory and objective against apricot's lazy optimiser.

    python benchmarks/facility.py             # N = 20,000, b = 200, and foveate at N = 100,000
    python benchmarks/facility.py --textbook  # a plain lazy greedy in float64 beside them

Data: as in `kcenter.py`, a ReLU'd mixture of 200 Gaussians in 512 dimensions, float32. Contenders:

- "foveate, 2048" and "foveate, 4096" (the default): that many reference rows stand for the pool.
- "apricot lazy": `FacilityLocationSelection(b, metric="euclidean", optimizer="lazy")` of
  apricot-select, where it can be imported; it holds N x N similarities in float64.
- "textbook": numpy, the same similarities in float64 and a heap of stale gains (Minoux 1978).

The objective is apricot's, the sum over all rows of the largest squared distance in the pool less
that to the nearest pick. As that offset flatters every contender, the reduction of the mean squared
distance against random picks is reported, too: apricot's is 100 %.
"""

from __future__ import annotations

import argparse
import heapq
import importlib.util
from typing import Any

import numpy as np

from _measure import Measured, call, machine, measure, table
from kcenter import D, make


def ours(x: np.ndarray, b: int, reference: int) -> tuple[np.ndarray, dict[str, Any]]:
    from foveate.seeds import rng, tie_keys
    from foveate.select.coverage import coverage_greedy
    from foveate.select.sampling import draw_rows

    ties = tie_keys([str(i) for i in range(len(x))], 0)
    rows = draw_rows(len(x), reference, rng(0, "facility/reference"))
    found = coverage_greedy(x, b, reference=rows, ties=ties)
    return found.rows, {"passes": found.passes, "share": found.similarities / len(x) / rows.size}


def apricot(x: np.ndarray, b: int) -> tuple[np.ndarray, dict[str, Any]]:
    from apricot import FacilityLocationSelection

    chosen = FacilityLocationSelection(b, metric="euclidean", optimizer="lazy").fit(x)
    return np.asarray(chosen.ranking), {}


def textbook(x: np.ndarray, b: int) -> tuple[np.ndarray, dict[str, Any]]:
    from sklearn.metrics import pairwise_distances

    similar = pairwise_distances(x, metric="euclidean", squared=True).astype(np.float64)
    np.subtract(similar.max(), similar, out=similar)
    best, picks = np.zeros(len(x)), []
    heap = [(-gain, row, 0) for row, gain in enumerate(similar.sum(axis=1).tolist())]
    heapq.heapify(heap)
    while len(picks) < b:
        _, row, known = heapq.heappop(heap)
        if known == len(picks):
            picks.append(row)
            np.maximum(best, similar[row], out=best)
        else:
            gain = float(np.maximum(similar[row] - best, 0).sum())
            heapq.heappush(heap, (-gain, row, len(picks)))
    return np.array(picks), {}


CONTENDERS = {
    "foveate, 2048": lambda x, b: ours(x, b, 2048),
    "foveate, 4096": lambda x, b: ours(x, b, 4096),
    "apricot lazy": apricot,
    "textbook": textbook,
}


def nearest(x: np.ndarray, rows: np.ndarray) -> float:
    """Return the mean squared distance to the nearest of `rows`."""
    centres = x[rows].astype(np.float64)
    norms = np.square(centres).sum(axis=1)
    total = 0.0
    for begin in range(0, len(x), 1024):
        part = x[begin : begin + 1024].astype(np.float64)
        squared = np.square(part).sum(axis=1)[:, None] + norms - 2 * part @ centres.T
        total += float(np.maximum(squared.min(axis=1), 0).sum())
    return total / len(x)


def farthest(x: np.ndarray) -> float:
    """Return the largest squared distance of two rows."""
    norms = np.square(x).sum(axis=1)
    return max(
        float((norms[i : i + 1024, None] + norms - 2 * x[i : i + 1024] @ x.T).max())
        for i in range(0, len(x), 1024)
    )


def compare(n: int, b: int, names: list[str]) -> None:
    print(f"\nN = {n:,}, d = {D}, b = {b:,}, float32 ({n * D * 4 / 1e6:.0f} MB)")
    results: dict[str, Measured] = {}
    for name in names:
        results[name] = measure(__file__, [name, str(n), str(b)])
        print(f"  {name}: {results[name].cpu:.1f} CPU s", flush=True)
    x = make(n)
    random = np.mean(
        [nearest(x, np.random.default_rng(seed).choice(n, b, replace=False)) for seed in range(3)]
    )
    mean = {name: nearest(x, r.rows) for name, r in results.items()}
    peer = next((name for name in ("apricot lazy", "textbook") if name in results), names[-1])
    top = farthest(x) if n <= 20_000 else np.nan  # n^2 distances
    lines = [
        [
            name, f"{r.cpu:.2f}", f"{results[peer].cpu / r.cpu:.1f} x", f"{r.extra / 1e6:.0f}",
            f"{(top - mean[name]) / (top - mean[peer]):.2%}" if np.isfinite(top) else "",
            f"{(random - mean[name]) / (random - mean[peer]):.1%}",
            f"{r.notes.get('passes', '')}",
        ]
        for name, r in results.items()
    ]  # fmt: skip
    table(
        ["contender", "CPU s", f"faster than {peer}", "extra MB", "objective", "over random",
         "passes"],
        lines,
    )  # fmt: skip
    print(f"mean squared distance: random {random:.1f}, {peer} {mean[peer]:.1f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--textbook", action="store_true", help="the plain loop in float64, too")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        name, n, b = options.rest
        x = make(int(n))
        CONTENDERS[name](x[:64], 2)  # imports, compilation, and the first call of BLAS
        call(lambda: CONTENDERS[name](x, int(b)), options.worker)
        return
    print(machine())
    peer = importlib.util.find_spec("apricot") is not None
    if not peer:
        print("apricot-select is not installed: the plain loop in float64 stands for it")
    names = ["foveate, 2048", "foveate, 4096"]
    peers = (["apricot lazy"] if peer else []) + (
        ["textbook"] if options.textbook or not peer else []
    )
    compare(20_000, 200, names + peers)
    compare(100_000, 1000, names)


if __name__ == "__main__":
    main()
