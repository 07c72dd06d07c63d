"""Selection from more vectors than fit into memory: CPU seconds, anonymous memory, passes.

    python benchmarks/holders.py FOLDER                      # 1,000,000 vectors, 1 and 7 holders
    python benchmarks/holders.py FOLDER --rows 10000000      # 10 GB are written to FOLDER
    python benchmarks/holders.py FOLDER --method facility    # or max-herding, fd

k-center by default; greedy coverage of 4,096 reference rows, as `facility` and `max-herding` of
`curate`; or the pass of `fd` over all rows, which finds the nearest of 64 centres.

Data: the ReLU'd mixture of 200 Gaussians in 512 dimensions of `kcenter.py`, in float16, in a file
that is made once. Anonymous memory is what the system cannot drop (RssAnon), at its peak, sampled
every 20 ms; pages of the mapped file are not part of it.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from _measure import machine, table, watched

if TYPE_CHECKING:
    from foveate.select.holders import Holders

D, STEP, START = 512, 4096, 5


def write(path: Path, n: int) -> None:
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((200, D)).astype(np.float32)
    with path.open("wb") as file:
        head = {"descr": "<f2", "fortran_order": False, "shape": (n, D)}
        np.lib.format.write_array_header_1_0(file, head)
        for begin in range(0, n, STEP):
            x = rng.standard_normal((min(STEP, n - begin), D), dtype=np.float32)
            x += centres[rng.integers(200, size=len(x))]
            np.maximum(x, 0, out=x).astype(np.float16).tofile(file)


def kcenter(x: np.ndarray, picks: int, holders: Holders) -> tuple[np.ndarray, int]:
    from foveate.select.kcenter import kcenter_greedy

    found = kcenter_greedy(x, picks, ties=keys(x), start=START, holders=holders)
    return found.rows, found.passes


def facility(
    x: np.ndarray, picks: int, holders: Holders, sigma: float | None = None
) -> tuple[np.ndarray, int]:
    from foveate.seeds import rng
    from foveate.select.coverage import coverage_greedy
    from foveate.select.sampling import draw_rows

    reference = draw_rows(len(x), 4096, rng(0, "facility/reference"))
    found = coverage_greedy(
        x, picks, reference=reference, ties=keys(x), sigma=sigma, holders=holders
    )
    return found.rows, found.passes


def max_herding(x: np.ndarray, picks: int, holders: Holders) -> tuple[np.ndarray, int]:
    from foveate.select.coverage import median_distance
    from foveate.select.sampling import draw_rows

    sigma = median_distance(x, draw_rows(len(x), 1024, np.random.default_rng(3)))
    return facility(x, picks, holders, sigma)


def fd(x: np.ndarray, picks: int, holders: Holders) -> tuple[np.ndarray, int]:  # noqa: ARG001
    from foveate.select.cluster import nearest

    return nearest(x, np.asarray(x[:64], np.float32), holders), 1


METHODS = {"kcenter": kcenter, "facility": facility, "max-herding": max_herding, "fd": fd}


def keys(x: np.ndarray) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 2**63, len(x)).astype(np.uint64)


def compare(x: np.ndarray, method: str, picks: int, counts: list[int]) -> None:
    from foveate.select.holders import Holders

    lines = []
    METHODS[method](x[:64], 2, Holders(1))  # imports, and the first call of BLAS
    for count in counts:
        (rows, passes), cpu, extra = watched(lambda n=count: METHODS[method](x, picks, Holders(n)))
        print_ = hashlib.sha256(rows.tobytes()).hexdigest()[:8]
        lines.append([str(count), f"{cpu:.1f}", f"{extra / 1e6:.0f}", str(passes), print_])
    table(["holders", "CPU s", "anonymous MB", "passes", "hash of the rows"], lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--method", choices=METHODS, default="kcenter")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--picks", type=int, default=1000)
    parser.add_argument("--holders", type=int, nargs="+", default=[1, 7])
    options = parser.parse_args()
    path = options.folder / f"vectors-{options.rows}.npy"
    if not path.is_file():
        write(path, options.rows)
    x = np.load(path, mmap_mode="r")
    print(machine())
    size = f"b = {options.picks:,}, float16 ({x.nbytes / 1e9:.1f} GB)"
    print(f"\n{options.method}: N = {len(x):,}, d = {D}, {size}")
    compare(x, options.method, options.picks, options.holders)


if __name__ == "__main__":
    main()
