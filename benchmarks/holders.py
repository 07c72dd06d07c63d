"""k-center of more vectors than fit into memory: CPU seconds, anonymous memory, passes.

    python benchmarks/holders.py FOLDER                      # 1,000,000 vectors, 1 and 7 holders
    python benchmarks/holders.py FOLDER --rows 10000000      # 10 GB are written to FOLDER

Data: the ReLU'd mixture of 200 Gaussians in 512 dimensions of `kcenter.py`, in float16, in a file
that is made once. Anonymous memory is what the system cannot drop (RssAnon), at its peak, sampled
every 20 ms; pages of the mapped file are not part of it.
"""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

import numpy as np

from _measure import machine, table, watched

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


def exact(x: np.ndarray, ties: np.ndarray, picks: int, counts: list[int]) -> None:
    from foveate.select.holders import Holders
    from foveate.select.kcenter import kcenter_greedy

    lines = []
    for count in counts:
        found, cpu, extra = watched(
            lambda n=count: kcenter_greedy(x, picks, ties=ties, start=START, holders=Holders(n))
        )
        print_ = hashlib.sha256(found.rows.tobytes()).hexdigest()[:8]
        passes = str(found.passes)
        lines.append([str(count), f"{cpu:.1f}", f"{extra / 1e6:.0f}", passes, print_])
    table(["holders", "CPU s", "anonymous MB", "passes", "hash of the picks"], lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--picks", type=int, default=1000)
    parser.add_argument("--holders", type=int, nargs="+", default=[1, 7])
    options = parser.parse_args()
    path = options.folder / f"vectors-{options.rows}.npy"
    if not path.is_file():
        write(path, options.rows)
    x = np.load(path, mmap_mode="r")
    ties = np.random.default_rng(1).integers(0, 2**63, len(x)).astype(np.uint64)
    print(machine())
    print(f"\nN = {len(x):,}, d = {D}, b = {options.picks:,}, float16 ({x.nbytes / 1e9:.1f} GB)")
    exact(x, ties, options.picks, options.holders)


if __name__ == "__main__":
    main()
