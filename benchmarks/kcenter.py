"""Greedy k-center: CPU seconds, extra memory and picks against the loops in common use.

    python benchmarks/kcenter.py            # minutes: all contenders at N = 20,000, b = 200,
                                            # most of them at N = 100,000, b = 1,000 too
    python benchmarks/kcenter.py --full     # every contender whole at N = 100,000, b = 1,000
    python benchmarks/kcenter.py --only foveate lightly-mundig      # these, at both sizes

Data: a ReLU'd mixture of 200 Gaussians in 512 dimensions, float32. The engine of LightlyStudio runs
itself where it can be imported (``pip install lightly-mundig``). The other peers are re-implemented
here, with numpy and scikit-learn, from the documented behaviour of the originals:

- "DeepCore style" keeps a (b, N) matrix of distances. Per pick it takes the minimum over all
  picked rows for the rows that remain, and computes one row of distances to a copy of them.
- "Google style" (active-learning): per pick, scikit-learn's distances of all rows to the new
  centre, then an elementwise minimum.
- "product loop": the same with norms kept and one matrix-vector product per pick.
- "reference": sums of squared differences in float64 in the fixed order that `foveate` documents;
  it says what the picks should be.

Nothing is extrapolated. OMP_NUM_THREADS=1 gives the steadiest CPU seconds.
"""

from __future__ import annotations

import argparse
import importlib.util
from typing import Any

import numpy as np

from _measure import Measured, call, machine, measure, table

D = 512
START = 5


def make(n: int, d: int = D) -> np.ndarray:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((200, d)).astype(np.float32)
    x = rng.standard_normal((n, d), dtype=np.float32)
    for begin in range(0, n, 4096):
        part = x[begin : begin + 4096]
        part += centres[rng.integers(200, size=len(part))]
    return np.maximum(x, 0, out=x)


def ours(x: np.ndarray, b: int) -> tuple[np.ndarray, dict[str, Any]]:
    from foveate.seeds import tie_keys
    from foveate.select.kcenter import kcenter_greedy

    ties = tie_keys([str(i) for i in range(len(x))], 0)
    found = kcenter_greedy(x, b, ties=ties, start=START)
    return found.rows, {"passes": found.passes, "near_ties": found.near_ties}


def deepcore_style(x: np.ndarray, b: int) -> tuple[np.ndarray, dict[str, Any]]:
    left = np.ones(len(x), bool)
    distances = np.full((b, len(x)), -1, x.dtype)
    picks = [START]
    left[START] = False

    def refresh(i: int, pick: int) -> None:
        rest, centre = x[left], x[[pick]]
        squares = np.square(rest).sum(axis=1)[:, None] + np.square(centre).sum(axis=1)
        squares -= 2 * (rest @ centre.T)
        distances[i, left] = np.sqrt(np.maximum(squares, 1e-12))[:, 0]

    refresh(0, START)
    for i in range(1, b):
        nearest = distances[:i, left].min(axis=0)
        pick = int(np.flatnonzero(left)[nearest.argmax()])
        picks.append(pick)
        left[pick] = False
        refresh(i, pick)
    return np.array(picks), {}


def google_style(x: np.ndarray, b: int) -> tuple[np.ndarray, dict[str, Any]]:
    from sklearn.metrics import pairwise_distances

    picks, nearest = [START], pairwise_distances(x, x[[START]], metric="euclidean")
    while len(picks) < b:
        picks.append(int(nearest.argmax()))
        found = pairwise_distances(x, x[picks[-1:]], metric="euclidean")
        nearest = np.minimum(nearest, found)
    return np.array(picks), {}


def product_loop(x: np.ndarray, b: int) -> tuple[np.ndarray, dict[str, Any]]:
    norms = np.einsum("ij,ij->i", x, x)
    picks, nearest = [START], np.full(len(x), np.inf, x.dtype)
    while True:
        found = x @ (-2 * x[picks[-1]])
        found += norms
        found += norms[picks[-1]]
        np.minimum(nearest, found, out=nearest)
        nearest[picks[-1]] = -1
        if len(picks) == b:
            return np.array(picks), {}
        picks.append(int(nearest.argmax()))


def reference(x: np.ndarray, b: int) -> tuple[np.ndarray, dict[str, Any]]:
    from foveate.seeds import tie_keys

    ties = tie_keys([str(i) for i in range(len(x))], 0)
    picks, gaps, nearest = [START], [1.0], np.full(len(x), np.inf)
    while True:
        centre = x[picks[-1]].astype(np.float64)
        for begin in range(0, len(x), 1024):
            terms = np.square(x[begin : begin + 1024] - centre)
            width = terms.shape[1]
            while width > 1:  # 512 is a power of two: no odd column is ever left over
                width //= 2
                terms[:, :width] += terms[:, width : 2 * width]
            part = nearest[begin : begin + 1024]
            np.minimum(part, terms[:, 0], out=part)
        nearest[picks[-1]] = -1
        if len(picks) == b:
            return np.array(picks), {"gaps": gaps}
        best = np.flatnonzero(nearest == nearest.max())
        picks.append(int(best[ties[best].argmin()]))
        two = np.partition(nearest, -2)[-2:]
        gaps.append(float(np.sqrt(two[1] / max(two[0], 1e-300)) - 1))


def mundig(x: np.ndarray, b: int) -> tuple[np.ndarray, dict[str, Any]]:
    from lightly_mundig import Selection

    selection = Selection()
    selection.add_diversifying_strategy(x, 1.0)
    return np.array(selection.run_selection([START], len(x), b)), {}


CONTENDERS = {
    "foveate": ours,
    "lightly-mundig": mundig,
    "product loop": product_loop,
    "Google style": google_style,
    "DeepCore style": deepcore_style,
    "reference float64": reference,
}


def same(found: Measured, truth: Measured) -> str:
    differ = np.flatnonzero(found.rows != truth.rows)
    if not differ.size:
        return "yes"
    i = int(differ[0])
    both = np.intersect1d(found.rows, truth.rows).size
    where = f"{both} in both, first difference at pick {i}"
    if "gaps" in truth.notes:
        where += f", a near-tie of relative size {truth.notes['gaps'][i]:.1e}"
    return where


def compare(n: int, b: int, names: list[str], runs: int) -> dict[str, Measured]:
    print(f"\nN = {n:,}, d = {D}, b = {b:,}, float32 ({n * D * 4 / 1e6:.0f} MB)")
    results = {}
    for name in names:
        # What takes minutes is run once.
        count = runs if name in ("foveate", "product loop", "lightly-mundig") else 1
        results[name] = measure(__file__, [name, str(n), str(b)], count)
        print(f"  {name}: {results[name].cpu:.1f} CPU s", flush=True)
    base, truth = results["foveate"], results.get("reference float64", results["foveate"])
    lines = [
        [
            name,
            f"{r.cpu:.2f}",
            f"{r.cpu / base.cpu:.1f} x",
            f"{r.extra / 1e6:.0f}",
            f"{r.extra / n:.0f} x N",
            same(r, truth),
        ]
        for name, r in results.items()
    ]
    first = "reference" if "reference float64" in results else "foveate"
    head = ["contender", "CPU s", "of foveate", "extra MB", "extra bytes", f"picks as {first}"]
    table(head, lines)
    print(f"foveate: {base.notes['passes']} passes over x, {base.notes['near_ties']} near-ties")
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="every contender at the large size")
    parser.add_argument(
        "--only", nargs="+", choices=list(CONTENDERS), help="these, besides foveate"
    )
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        name, n, b = options.rest
        x = make(int(n))
        CONTENDERS[name](x[:64], 2)  # imports, and the first call of BLAS
        call(lambda: CONTENDERS[name](x, int(b)), options.worker)
        return
    print(machine())
    peer = importlib.util.find_spec("lightly_mundig") is not None
    everyone = [name for name in CONTENDERS if peer or name != "lightly-mundig"]
    if not peer:
        print("lightly-mundig is not installed and left out")
    if options.only:
        chosen = list(dict.fromkeys(["foveate", *options.only]))
        compare(20_000, 200, chosen, 1)
        compare(100_000, 1000, chosen, 1)
        return
    compare(20_000, 200, everyone, 3)
    small = compare(50_000, 500, ["foveate", "product loop"], 1)
    quick = [name for name in everyone if name not in ("DeepCore style", "reference float64")]
    large = compare(100_000, 1000, everyone if options.full else quick, 3)
    growth = (large["foveate"].extra - small["foveate"].extra) / 50_000
    print(f"foveate's extra memory grows by {growth:.0f} bytes per row from N = 50,000 to 100,000")


if __name__ == "__main__":
    main()
