"""Test suite for ranking methods."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.curate import get_method, rank
from foveate.embeddings import Embeddings
from foveate.errors import FoveateError
from foveate.grid import Tiles
from foveate.observe.scoring.policies import NEEDS, Policy, apply_policy
from foveate.pool import Pool
from foveate.pool.attributes import Attributes
from foveate.testing.rules import CheckFailed, need, untouched_random_state

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from foveate.curate import Method
    from foveate.selection import Ranking

_N, _C, _D, _CELLS = 16, 5, 6, 4  # tiles, classes, dimensions, cells of a tile
_STEP = 16  # pixels between tiles that overlap


def check_method(method: str | Method | Policy, *, seed: int = 0, **options: Any) -> None:
    """Check a ranking method of `curate`, or a policy of `observe`.

    It must rank a whole pool (or exactly to the requested depth) without repeating a row, the
    same way for the same seed regardless of row order and storage of the
    arrays, break ties by the seed and not by row, cope with tiny, constant and repeated
    items and with features of any unit, reject NaN, rank tiles that overlap an earlier
    tile last and not return tiles already picked (methods of `curate`), leave its inputs and all
    global random state unchanged, and report only JSON values.

    Args:
        method: The method, or the name of a method of `curate`.
        seed: Seed of the suite's data and of the rankings.
        options: Options of the ranking. A function is called with the sorted ids of
            each pool, ``lambda ids: ids[0]``.

    Raises:
        CheckFailed: A rule is violated.
        FoveateError: The method rejects a pool of the suite.
    """
    chosen = method if isinstance(method, Policy) else get_method(method)
    trial = _MethodTrial(chosen, seed, options)
    pools = {name: _given(chosen, *pool) for name, pool in _pools(seed).items()}
    trial.rank(pools["mixed"])  # libraries may draw random numbers on import
    with untouched_random_state(chosen.name):
        for name, arrays in pools.items():
            trial.check_pool(name, arrays)
        trial.check_seeds(pools["mixed"])
        trial.check_storage(pools["mixed"])
        trial.check_constant(pools["copies of one row"])
        if not isinstance(chosen, Policy):
            trial.check_overlap(pools["mixed"])
            trial.check_unit(pools["mixed"])
            trial.check_picked(pools["mixed"])
        if chosen.needs == ("counts",) or "cells" in chosen.needs:
            trial.check_unlabelled(pools["mixed"])
        trial.check_nan(pools["mixed"])


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


def _given(
    method: Method | Policy, counts: NDArray[np.int64], x: NDArray[np.float16]
) -> dict[str, NDArray[Any]]:
    """Return the inputs of the method by name, created from the columns of a pool."""
    if not isinstance(method, Policy):
        # Cells whose labels sum up to those of the tile.
        part = np.arange(_CELLS)[None, :, None]
        cells = counts[:, None, :] // _CELLS + (part < counts[:, None, :] % _CELLS)
        tokens = np.stack([np.roll(x, turn, axis=1) for turn in range(_CELLS)], axis=1)
        return {
            "counts": counts, "embeddings": x, "attributes": x[:, 0].copy(), "tokens": tokens,
            "cells": cells,
        }  # fmt: skip
    number = np.arange(len(x))
    share = (x / (1 + x)).astype(np.float16)  # from 0 to 1, valid for every column
    table = {name: np.roll(share, turn, axis=1) for turn, name in enumerate(NEEDS)}
    narrow = {name: table[name][:, 0].copy() for name in NEEDS if NEEDS[name].width is None}
    # Tiles of two scenes alternating, three per row, without overlap.
    place = np.stack([number % 2, number // 2 // 3, number // 2 % 3], axis=1)
    return {**table, **narrow, "place": place}


class _MethodTrial:
    """Ranks the pools of the suite with one method and compares the results."""

    def __init__(self, method: Method | Policy, seed: int, options: dict[str, Any]) -> None:
        self.method, self.seed, self.options = method, seed, options

    def rank(
        self,
        arrays: Mapping[str, Any],
        *,
        order: NDArray[np.int64] | None = None,
        seed: int | None = None,
        **more: Any,
    ) -> Ranking:
        """Rank a pool with its rows in `order`."""
        given = {name: x if order is None else x[order] for name, x in arrays.items()}
        for array in given.values():
            if isinstance(array, np.ndarray):
                array.flags.writeable = False
        n = len(next(iter(arrays.values())))
        ids = np.array([f"scene/{i:03d}" for i in range(n)])
        ids = ids if order is None else ids[order]
        options: dict[str, Any] = {**self.options, **more}
        options["seed"] = self.seed if seed is None else seed
        options = _of_ids(options, ids)
        if isinstance(self.method, Policy):
            return apply_policy(ids, self.method, given, **options)
        known = {"value": given["attributes"]}
        pool = Pool.from_arrays(ids=ids, counts=given["counts"], attributes=known)
        return self.rank_pool(pool, given, options)

    def rank_pool(
        self, pool: Pool, given: Mapping[str, Any], options: Mapping[str, Any]
    ) -> Ranking:
        assert not isinstance(self.method, Policy)  # noqa: S101  (policies do not rank pools)
        options = _of_ids(options, pool.ids)
        return rank(
            pool, self.method, embeddings=given["embeddings"], tokens=given["tokens"],
            cells=given["cells"], **options,
        )  # fmt: skip

    def fail(self, holds: object, rule: str, where: str, found: str = "") -> None:
        need(holds, f"method {self.method.name!r}: {rule}", where, found)

    def same(self, a: Ranking, b: Ranking, rule: str, where: str) -> None:
        """Check that two rankings have the same ids in the same order."""
        self.fail(
            _ids(a).tolist() == _ids(b).tolist(), rule, where,
            f"{_ids(a)[:6].tolist()} against {_ids(b)[:6].tolist()}",
        )  # fmt: skip

    def check_pool(self, name: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        ranking = self.rank(arrays)
        n = ranking.n
        self.fail(ranking.full, "without a depth all rows must be ranked", name)
        self.fail(
            sorted(ranking.rows.tolist()) == list(range(n)), "the order must be a permutation", name
        )
        self.fail(
            ranking.score.shape == (n,) and not np.isinf(ranking.score).any(),
            "there must be one score per row, finite or NaN", name,
        )  # fmt: skip
        self.same(ranking, self.rank(arrays), "a second call returns another order", name)
        order = np.random.default_rng([self.seed, 2]).permutation(n)
        self.same(
            ranking, self.rank(arrays, order=order),
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
                short = self.rank(arrays, depth=depth)
                where = f"{name}, depth={depth}"
                self.fail(short.depth == depth, "the requested depth must be kept", where)
                self.fail(
                    short.rows.tolist() == ranking.rows[:depth].tolist(),
                    "a smaller depth returns another order", where,
                )  # fmt: skip

    def check_seeds(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Check that the seed only moves equal scores if scores do not depend on it."""
        a, b = self.rank(arrays), self.rank(arrays, seed=self.seed + 1)
        by_row = np.empty((2, a.n))
        by_row[0, a.rows], by_row[1, b.rows] = a.score, b.score
        if np.array_equal(by_row[0], by_row[1], equal_nan=True):
            self.fail(
                np.array_equal(a.score, b.score, equal_nan=True),
                "another seed reorders rows of different scores", "mixed",
            )  # fmt: skip

    def check_overlap(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Check a row of tiles with 75 % overlap: every second tile suffices."""
        windows = [[0, _STEP * i, 4 * _STEP, 4 * _STEP] for i in range(_N)]
        tiles = Tiles.of("scene", windows)
        known = Attributes.of({"value": arrays["attributes"]})
        pool = Pool(ids=tiles.tile_id, tiles=tiles, counts=arrays["counts"], attributes=known)
        options = {**self.options, "seed": self.seed}
        ranking = self.rank_pool(pool, arrays, options)
        place, first = ranking.position(), ranking.first_put_back
        where = f"tiles in a row, {ranking.meta['put_back']} put back"
        self.fail(ranking.full, "without a depth all rows must be ranked", where)
        self.fail(
            np.diff(np.sort(ranking.rows[:first])).min() > 1,
            "a tile mostly covered by an earlier tile must be ranked last", where,
        )  # fmt: skip
        padded = np.concatenate([[_N], place, [_N]])
        self.fail(
            (np.minimum(padded[:-2], padded[2:])[ranking.rows[first:]] < first).all(),
            "a tile not covered by an earlier tile must not be moved to the end", where,
        )  # fmt: skip
        if self.method.greedy:
            for depth in range(1, _N + 1):
                short = self.rank_pool(pool, arrays, {**options, "depth": depth})
                self.same(
                    replace(ranking, rows=ranking.rows[:depth], score=ranking.score[:depth]),
                    short, "a smaller depth returns another order", f"{where}, depth={depth}",
                )  # fmt: skip

    def check_picked(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Check that exactly the tiles not picked yet are returned."""
        for count in (1, _N // 2, _N - 1):
            names = [f"scene/{i:03d}" for i in range(count)]
            found = self.rank(arrays, picked=names)
            self.fail(
                sorted(_ids(found).tolist()) == [f"scene/{i:03d}" for i in range(count, _N)],
                "exactly the tiles not picked yet must be ranked",
                f"{count} of {_N} picked",
            )

    def check_unit(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Check that an order invariant to scaling holds for the whole float range."""
        if "embeddings" not in self.method.needs:
            return
        x, expected = arrays["embeddings"].astype(np.float64), self.rank(arrays)
        orders = [
            _ids(self.rank({**arrays, "embeddings": x * k})).tolist() for k in (1 / 16, 2, 16)
        ]
        if any(order != _ids(expected).tolist() for order in orders):
            return  # by its definition
        for exponent in (-1000, -100, 100, 1000):
            self.same(
                expected, self.rank({**arrays, "embeddings": x * 2.0**exponent}),
                "the unit of the features changes the order", f"2^{exponent}",
            )  # fmt: skip

    def check_constant(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Check that ties are in seeded order: row order is geographic order."""
        orders = {tuple(self.rank(arrays, seed=self.seed + i).rows.tolist()) for i in range(4)}
        by_row = {tuple(range(_N)), tuple(range(_N))[::-1]}
        self.fail(
            not orders & by_row,
            "equal rows are ranked in the order of their ids",
            "copies of one row",
        )
        self.fail(
            len(orders) > 1, "the seed does not change the order of ties", "copies of one row"
        )

    def check_storage(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        floats = {name: arrays[name] for name in self.method.needs if _is_float(arrays[name])}
        if not floats:
            return
        expected = self.rank(arrays)
        rule = "the storage changes the order"
        variants: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
            "float32": lambda x: x.astype(np.float32),
            "float64": lambda x: x.astype(np.float64),
            "Fortran order": np.asfortranarray,
            "every second column": lambda x: np.repeat(x, 2, axis=-1)[..., ::2],
        }
        for name, stored in variants.items():
            changed = {**arrays, **{need: stored(x) for need, x in floats.items()}}
            self.same(expected, self.rank(changed), rule, name)
        with tempfile.TemporaryDirectory() as folder:
            mapped: dict[str, Any] = {}
            for name, x in floats.items():
                np.save(Path(folder) / f"{name}.npy", x)
                mapped[name] = np.load(Path(folder) / f"{name}.npy", mmap_mode="r")
            self.same(expected, self.rank({**arrays, **mapped}), rule, "memory map")
            mapped.clear()
        if "embeddings" in floats:
            x = floats["embeddings"]
            shuffled = np.random.default_rng([self.seed, 3]).permutation(len(x))
            ids = np.array([f"scene/{i:03d}" for i in range(len(x))])
            other = {**arrays, "embeddings": Embeddings(ids[shuffled], x[shuffled])}
            self.same(expected, self.rank(other), rule, "Embeddings in another order")

    def check_unlabelled(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        empty = np.flatnonzero(~arrays["counts"].any(axis=1))
        last = self.rank({**arrays, "embeddings": None}).rows[-empty.size :]
        self.fail(
            sorted(last.tolist()) == empty.tolist(),
            "rows without a counted pixel must come last", "mixed",
            f"rows {empty.tolist()}, last are {last.tolist()}",
        )  # fmt: skip

    def check_nan(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        for name in self.method.needs:
            if not _is_float(arrays[name]) or name == "attributes":  # where one may be missing
                continue
            for value in (np.nan, np.inf):
                bad = arrays[name].copy()
                bad[(4, 1)[: bad.ndim]] = value
                try:
                    self.rank({**arrays, name: bad})
                except FoveateError as error:
                    self.fail(
                        "'scene/004'" in str(error), "the error must name the row", f"{value}"
                    )
                else:
                    rule = f"{name} that are not finite must be rejected"
                    self.fail(False, rule, f"{value}")  # noqa: FBT003


def _of_ids(options: Mapping[str, Any], ids: NDArray[np.str_]) -> dict[str, Any]:
    return {k: v(np.sort(ids).tolist()) if callable(v) else v for k, v in options.items()}


def _is_float(array: NDArray[Any]) -> bool:
    return bool(np.issubdtype(array.dtype, np.floating))


def _ids(ranking: Ranking) -> NDArray[np.str_]:
    return np.asarray(ranking.ids)[ranking.rows]
