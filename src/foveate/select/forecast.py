"""Forecast of the time and memory of a method.

The dominant cost of each method is counted in multiply-adds or logarithms and divided by the speed
of this machine, which is measured in some milliseconds. Forecasts are correct to a factor of about
three, sufficient to distinguish minutes from days.
"""

from __future__ import annotations

import functools
import math
import time
from dataclasses import dataclass

import numpy as np

_PICK = 3e-4  # seconds per pick in a cell, without distances


@dataclass(frozen=True)
class Forecast:
    """Expected cost of a ranking.

    Attributes:
        seconds: Wall time.
        memory: Bytes in addition to the embeddings and counts.
    """

    seconds: float
    memory: float

    def __str__(self) -> str:
        """Return a text for logs."""
        return f"about {duration(self.seconds)} and {self.memory / 1e6:.0f} MB of extra memory"


def duration(seconds: float) -> str:
    """Return a duration as text, in its largest suitable unit."""
    for unit, size in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} seconds" if seconds >= 1.5 else "a second"


def forecast(  # noqa: PLR0917  (sizes by their usual letters)
    method: str, n: int, d: int, c: int, k: int, exact: int | None = None
) -> Forecast:
    """Forecast a ranking.

    Args:
        method: Name of a method of `curate`; others are forecast as one pass.
        n: Number of tiles.
        d: Dimension of the embeddings.
        c: Number of classes.
        k: Depth of the ranking.
        exact: For k-center, the number of exact picks, or None for all (`select.cells`).
    """
    multiply_adds, logs = _speeds()
    one_pass = n * max(d, 1) / multiply_adds
    # k-center updates n distances per centre, as blocked matrix products.
    kcenter = Forecast(one_pass * k, 40.0 * n + 4e6 + 8192 * 8.0 * d)
    if exact is not None and exact < k:
        kcenter = _in_cells(one_pass, n, d, k, exact)
    # Class balance evaluates c logarithms per candidate; screening saves about nine in ten.
    balance = Forecast(0.1 * n * k * c / logs, (16.0 * c + 64) * n)
    # FD: some 30 fits of about 10 iterations each with 15 clusters on average.
    diverse = Forecast(one_pass * 30 * 10 * 15 + 2.0, 4.0 * n * d + 24.0 * n)
    known = {
        "kcenter": kcenter, "cb": balance, "fa-cb": balance, "fd": diverse, "lc-fd": diverse,
        **_of_coverage(one_pass, n, d, k), **_of_clusters(one_pass, n, d),
    }  # fmt: skip
    return known.get(method, Forecast(one_pass, 32.0 * n))


def _in_cells(one_pass: float, n: int, d: int, k: int, exact: int) -> Forecast:
    """Exact picks (twice, because cells start from them), two levels of cells, and their picks."""
    inside = min(2 * k / max(n, 1), 1.0) * exact
    return Forecast(
        one_pass * (2 * exact + 256 + inside) + _PICK * min(2 * k, n), 60.0 * n + 4e6 + 16e3 * d
    )


def _of_coverage(one_pass: float, n: int, d: int, k: int) -> dict[str, Forecast]:
    """Greedy coverage of 4,096 reference rows, fewer of which change with each pick."""
    m = min(n, 4096)
    cost = Forecast(one_pass * m * (1 + math.log(max(k, 1)) / 2), 60.0 * n + 24.0 * m * d + 6e7)
    # A recipe evaluates all rows for each pick: coverage, balance and diversity.
    recipe = Forecast(2 * cost.seconds + 3 * one_pass * k, cost.memory)
    return {"facility": cost, "max-herding": cost, "recipe": recipe}


def _of_clusters(one_pass: float, n: int, d: int) -> dict[str, Forecast]:
    """Methods on k-means: about 100 iterations on at most 50,000 rows, then one pass over all."""
    fitted = min(n, 50_000)
    turns = 1 + 100 * fitted / max(n, 1)
    memory = 8.0 * fitted * d + 64.0 * n + 1e8
    few, many, cell = min(500, n // 20), min(2000.0, n**0.75), min(n, 4096)
    return {
        "typiclust": Forecast(one_pass * (turns * few + n / max(few, 1)), memory),
        "hierarchical": Forecast(one_pass * turns * many, memory),
        "semdedup": Forecast(one_pass * (3 * cell + turns * n / 4096), memory + 500.0 * n),
    }


@functools.cache
def _speeds() -> tuple[float, float]:
    """Return multiply-adds and logarithms per second of this machine, the best of three runs."""
    a = np.ones((256, 512), np.float32)
    b = np.ones((512, 256), np.float32)
    x = np.linspace(0.1, 1, 200_000)
    products, logarithms = [], []
    for _ in range(3):
        start = time.perf_counter()
        a @ b
        products.append(time.perf_counter() - start)
        start = time.perf_counter()
        np.log(x)
        logarithms.append(time.perf_counter() - start)
    return a.size * 256 / max(min(products), 1e-9), x.size / max(min(logarithms), 1e-9)
