"""The suite that a ranking method must pass."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.curate import get_method, rank
from foveate.embeddings import Embeddings
from foveate.errors import FoveateError
from foveate.pool import Pool

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.curate import Method
    from foveate.selection import Ranking
from foveate.testing.rules import CheckFailed, need, untouched_random_state

_N, _C, _D = 16, 5, 6  # tiles, classes, dimensions


def check_method(method: str | Method, *, seed: int = 0, **options: Any) -> None:
    """Check a ranking method.

    It must rank a whole pool (or exactly to the depth asked for) without repeating a row, the
    same way under the same seed whatever the order of the rows and the storage of the
    embeddings, break ties by the seed and not by row, cope with tiny, constant and repeated
    items, refuse NaN, leave its inputs and all global random state alone, and report only what
    JSON can hold.

    Args:
        method: The method, or its name.
        seed: Seed of the suite's data and of the rankings.
        options: Options to rank with.

    Raises:
        CheckFailed: A rule is broken.
        FoveateError: The method refuses a pool of the suite.
    """
    chosen = get_method(method)
    trial = _MethodTrial(chosen, seed, options)
    trial.rank(*_pools(seed)["mixed"])  # libraries draw when they are loaded: not its doing
    with untouched_random_state(chosen.name):
        for name, (counts, x) in _pools(seed).items():
            trial.check_pool(name, counts, x)
        counts, x = _pools(seed)["mixed"]
        trial.check_seeds(counts, x)
        trial.check_storage(counts, x)
        trial.check_constant()
        if chosen.needs == ("counts",):
            trial.check_unlabelled(counts)
        if "embeddings" in chosen.needs:
            trial.check_nan(x)


def _pools(seed: int) -> dict[str, tuple[NDArray[np.int64], NDArray[np.float16]]]:
    """Name -> counts (n, C) and embeddings (n, d); values of float16, so that casts are exact."""
    draw = np.random.default_rng([seed, 1])
    counts = draw.integers(0, 100, (_N, _C)) * (draw.random((_N, _C)) < 0.6)
    counts[3] = counts[11] = 0  # nothing counted
    counts[5] = counts[6]
    x = draw.gamma(1.0, size=(_N, _D)).astype(np.float16)
    x[8] = x[9]
    copies = np.repeat(counts[:1] + 1, _N, axis=0), np.repeat(x[:1], _N, axis=0)
    return {
        "mixed": (counts, x),
        "one row": (counts[:1], x[:1]),
        "two rows": (counts[:2], x[:2]),
        "copies of one row": copies,
        "three distinct rows": (counts[np.arange(_N) % 3], x[np.arange(_N) % 3]),
        "zeros": (np.zeros((_N, _C), np.int64), np.zeros((_N, _D), np.float16)),
        "one class": (np.full((_N, 1), 7), np.ones((_N, 1), np.float16)),
    }


class _MethodTrial:
    """Ranks the suite's pools by one method and compares."""

    def __init__(self, method: Method, seed: int, options: dict[str, Any]) -> None:
        self.method, self.seed, self.options = method, seed, options

    def rank(
        self,
        counts: NDArray[np.int64],
        x: Any,
        *,
        order: NDArray[np.int64] | None = None,
        seed: int | None = None,
        **more: Any,
    ) -> Ranking:
        """Rank a pool whose rows are given in `order`."""
        ids = np.array([f"scene/{i:03d}" for i in range(len(counts))])
        rows = np.arange(len(ids)) if order is None else order
        pool = Pool.from_arrays(ids=ids[rows], counts=counts[rows])
        vectors = x if order is None else x[rows]
        if isinstance(vectors, np.ndarray):
            vectors.flags.writeable = False
        chosen = self.seed if seed is None else seed
        return rank(pool, self.method, embeddings=vectors, seed=chosen, **{**self.options, **more})

    def fail(self, holds: object, rule: str, where: str, found: str = "") -> None:
        need(holds, f"method {self.method.name!r}: {rule}", where, found)

    def same(self, a: Ranking, b: Ranking, rule: str, where: str) -> None:
        """Same ids in the same order."""
        self.fail(
            _ids(a).tolist() == _ids(b).tolist(), rule, where,
            f"{_ids(a)[:6].tolist()} against {_ids(b)[:6].tolist()}",
        )  # fmt: skip

    def check_pool(self, name: str, counts: NDArray[np.int64], x: NDArray[np.float16]) -> None:
        n = len(counts)
        ranking = self.rank(counts, x)
        self.fail(ranking.full, "without a depth every row must be ranked", name)
        self.fail(
            sorted(ranking.rows.tolist()) == list(range(n)), "the order is no permutation", name
        )
        self.fail(
            ranking.score.shape == (n,) and not np.isinf(ranking.score).any(),
            "there must be one score per row, finite or NaN", name,
        )  # fmt: skip
        self.same(ranking, self.rank(counts, x), "a second call gives another order", name)
        order = np.random.default_rng([self.seed, 2]).permutation(n)
        self.same(
            ranking, self.rank(counts, x, order=order),
            "the order depends on the order of the pool's rows", name,
        )  # fmt: skip
        for k in range(1, n + 1):
            self.fail(
                ranking.at(k).rows.tolist() == ranking.rows[:k].tolist(),
                "budgets are not nested", f"{name}, budget {k}",
            )  # fmt: skip
        try:
            json.dumps(dict(ranking.meta), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise CheckFailed(
                f"method {self.method.name!r}: meta is not ready for JSON", str(error)
            ) from error
        if self.method.greedy:
            for depth in {1, n // 2, n} - {0}:
                short = self.rank(counts, x, depth=depth)
                where = f"{name}, depth={depth}"
                self.fail(short.depth == depth, "the depth asked for is not kept", where)
                self.fail(
                    short.rows.tolist() == ranking.rows[:depth].tolist(),
                    "a smaller depth gives another order", where,
                )  # fmt: skip

    def check_seeds(self, counts: NDArray[np.int64], x: NDArray[np.float16]) -> None:
        """Where scores do not depend on the seed, the seed may move only equal scores."""
        a, b = self.rank(counts, x), self.rank(counts, x, seed=self.seed + 1)
        by_row = np.empty((2, len(counts)))
        by_row[0, a.rows], by_row[1, b.rows] = a.score, b.score
        if np.array_equal(by_row[0], by_row[1], equal_nan=True):
            self.fail(
                np.array_equal(a.score, b.score, equal_nan=True),
                "another seed moves rows of different scores", "mixed",
            )  # fmt: skip

    def check_constant(self) -> None:
        """Ties must be in a seeded order: row order is geographic order."""
        counts, x = _pools(self.seed)["copies of one row"]
        orders = {tuple(self.rank(counts, x, seed=self.seed + i).rows.tolist()) for i in range(4)}
        by_row = {tuple(range(_N)), tuple(range(_N))[::-1]}
        self.fail(
            not orders & by_row,
            "equal rows come out in the order of their ids",
            "copies of one row",
        )
        self.fail(
            len(orders) > 1, "the seed does not change the order of ties", "copies of one row"
        )

    def check_storage(self, counts: NDArray[np.int64], x: NDArray[np.float16]) -> None:
        if "embeddings" not in self.method.needs:
            return
        expected = self.rank(counts, x)
        shuffled = np.random.default_rng([self.seed, 3]).permutation(len(x))
        ids = np.array([f"scene/{i:03d}" for i in range(len(x))])
        variants: dict[str, Any] = {
            "float32": x.astype(np.float32),
            "float64": x.astype(np.float64),
            "Fortran order": np.asfortranarray(x),
            "every second column": np.repeat(x, 2, axis=1)[:, ::2],
            "Embeddings in another order": Embeddings(ids[shuffled], x[shuffled]),
        }
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "x.npy"
            np.save(file, x)
            mapped = np.load(file, mmap_mode="r")
            self.same(
                expected, self.rank(counts, mapped), "the storage changes the order", "memory map"
            )
            del mapped
        for name, value in variants.items():
            self.same(expected, self.rank(counts, value), "the storage changes the order", name)

    def check_unlabelled(self, counts: NDArray[np.int64]) -> None:
        empty = np.flatnonzero(~counts.any(axis=1))
        last = self.rank(counts, None).rows[-empty.size :]
        self.fail(
            sorted(last.tolist()) == empty.tolist(),
            "rows without a counted pixel must come last", "mixed",
            f"rows {empty.tolist()}, last are {last.tolist()}",
        )  # fmt: skip

    def check_nan(self, x: NDArray[np.float16]) -> None:
        counts = _pools(self.seed)["mixed"][0]
        for value in (np.nan, np.inf):
            bad = x.copy()
            bad[4, 1] = value
            try:
                self.rank(counts, bad)
            except FoveateError as error:
                self.fail("'scene/004'" in str(error), "the error must name the row", f"{value}")
            else:
                self.fail(False, "embeddings that are not finite must be refused", f"{value}")  # noqa: FBT003


def _ids(ranking: Ranking) -> NDArray[np.str_]:
    return np.asarray(ranking.ids)[ranking.rows]
