"""Class balance: CPU seconds, extra memory and order against vectorised brute force.

    python benchmarks/balance.py            # full ranking at N = 10,000 and 20,000: minutes
    python benchmarks/balance.py --quick    # at N = 5,000 and 10,000
    python benchmarks/balance.py --rows 1000000 --depth 10000 --folder FOLDER   # foveate alone

Counts are pixels per class of 256 x 256 patches, C = 14: "dense" draws each patch's shares from
an uneven Dirichlet distribution, so that all rows differ; "sparse" is like land cover: 40 % of
the patches are of one class, the others of a few, common classes first.

Brute force evaluates the union with every remaining row in every step, vectorised in numpy; it
is the paper read literally, and no other public implementation is known to us.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from _measure import call, machine, measure, table, watched

C = 14
PIXELS = 256 * 256
STEP = 2**16


def make(kind: str, n: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    if kind == "dense":
        weights = 0.3 * rng.permutation(np.linspace(0.2, 2, C))
        counts = np.empty((n, C), np.int32)
        for begin in range(0, n, STEP):
            part = counts[begin : begin + STEP]
            part[:] = rng.multinomial(PIXELS, rng.dirichlet(weights, len(part)))
        return counts
    common = np.arange(1, C + 1) ** -1.5
    common /= common.sum()
    counts = np.zeros((n, C), np.int64)
    for row in counts:
        classes = 1 if rng.random() < 0.4 else min(1 + rng.geometric(0.5), C)
        some = rng.choice(C, classes, replace=False, p=common)
        row[some] = rng.multinomial(PIXELS, rng.dirichlet(np.ones(classes)))
    return counts


def deep(folder: Path, n: int, depth: int, counts: list[int]) -> None:
    from foveate.select.balance import balance_greedy
    from foveate.select.holders import Holders

    path = folder / f"counts-{n}.npy"
    if not path.is_file():
        np.save(path, make("dense", n))
    mapped = np.load(path, mmap_mode="r")
    ties = np.random.default_rng(1).integers(0, 2**63, n).astype(np.uint64)
    print(f"\ndense counts, N = {n:,}, C = {C}, to a depth of {depth:,}", flush=True)
    lines = []
    for count in counts:
        found, cpu, extra = watched(
            lambda n=count: balance_greedy(mapped, depth, ties=ties, holders=Holders(n))
        )
        print_ = hashlib.sha256(found.rows.tobytes()).hexdigest()[:8]
        lines.append([str(count), f"{cpu:.1f}", f"{extra / 1e6:.0f}", str(found.passes),
                      f"{found.exact:,}", print_])  # fmt: skip
    head = ["holders", "CPU s", "anonymous MB", "passes", "evaluated", "hash of the picks"]
    table(head, lines)


def keys(n: int) -> np.ndarray:
    from foveate.seeds import tie_keys

    return tie_keys([str(i) for i in range(n)], 0)


def ours(counts: np.ndarray, screening: Any) -> tuple[np.ndarray, dict[str, Any]]:
    from foveate.select.balance import balance_greedy

    found = balance_greedy(counts, ties=keys(len(counts)), screening=screening)
    return found.rows, {"exact": found.exact}


def brute_force(counts: np.ndarray) -> tuple[np.ndarray, dict[str, Any]]:
    left = np.argsort(keys(len(counts)))
    p = counts[left].astype(np.float64)
    union = np.zeros(p.shape[1])
    order, exact = [], 0
    while left.size:
        shares = p + union
        shares /= shares.sum(axis=1, keepdims=True)
        heights = -(shares * np.log(np.maximum(shares, 1e-300))).sum(axis=1) / np.log(p.shape[1])
        exact += left.size
        # The first in the order of keys among those within the documented tolerance.
        j = int(np.flatnonzero(heights >= heights.max() - 1e-12)[0])
        order.append(left[j])
        union += p[j]
        p[j:-1] = p[j + 1 :]
        left[j:-1] = left[j + 1 :]
        p, left = p[:-1], left[:-1]
    return np.array(order), {"exact": exact}


CONTENDERS = {
    "foveate": lambda counts: ours(counts, "auto"),
    "foveate, always": lambda counts: ours(counts, "always"),
    "foveate, never": lambda counts: ours(counts, "never"),
    "brute force": brute_force,
}


def compare(kind: str, n: int, names: list[str]) -> None:
    print(f"\n{kind} counts, N = {n:,}, C = {C}, full ranking")
    results = {
        name: measure(__file__, [name, kind, str(n)], 1 if name == "brute force" else 3)
        for name in names
    }
    base, truth = results["foveate"], results["brute force"]
    lines = [
        [
            name,
            f"{r.cpu:.2f}",
            f"{r.cpu / base.cpu:.1f} x",
            f"{r.extra / 1e6:.1f}",
            f"{r.extra / n:.0f} x N",
            f"{r.notes['exact']:,}",
            "yes" if np.array_equal(r.rows, truth.rows) else "NO",
        ]
        for name, r in results.items()
    ]
    head = [
        "contender",
        "CPU s",
        "of foveate",
        "extra MB",
        "extra bytes",
        "evaluated",
        "same order",
    ]
    table(head, lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="N = 5,000 and 10,000 only")
    parser.add_argument("--rows", type=int, help="foveate alone, of so many rows")
    parser.add_argument("--depth", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, default=Path(), help="where their counts are kept")
    parser.add_argument("--holders", type=int, nargs="+", default=[1])
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    parser.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        name, kind, n = options.rest
        counts = make(kind, int(n))
        CONTENDERS[name](counts[:64])  # imports
        call(lambda: CONTENDERS[name](counts), options.worker)
        return
    print(machine())
    if options.rows:
        deep(options.folder, options.rows, options.depth, options.holders)
        return
    for n in (5_000, 10_000) if options.quick else (10_000, 20_000):
        for kind in ("dense", "sparse"):
            compare(kind, n, list(CONTENDERS) if n < 20_000 else ["foveate", "brute force"])


if __name__ == "__main__":
    main()
