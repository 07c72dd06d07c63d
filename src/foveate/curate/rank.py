"""`rank` and `Ranker`: the door to all methods."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.curate.methods.base import Method, get_method
from foveate.embeddings import Embeddings
from foveate.errors import DataError, ParameterError
from foveate.files import digest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from foveate.pool.pool import Pool
    from foveate.progress import ProgressFn
    from foveate.selection import Ranking

_BLOCK = 65536


def rank(
    pool: Pool,
    method: str | Method,
    *,
    embeddings: Embeddings | NDArray[np.floating] | None = None,
    seed: int = 0,
    preset: str = "default",
    depth: int | None = None,
    progress: ProgressFn | None = None,
    **options: Any,
) -> Ranking:
    """Rank the tiles of a pool from most to least worth keeping.

    The result depends on ids, counts, embeddings, seed and options only: not on the order of
    the rows, the number of threads or the chunking of the files. To rank one pool by several
    methods, use a `Ranker`: hybrids then reuse their parts.

    Args:
        pool: From `open_pool`, or `Pool.from_arrays` for plain arrays.
        method: Name ("lc", "fd", "lc-fd", "fa", "cb", "fa-cb", "random", "kcenter") or `Method`.
        embeddings: `Embeddings` (matched by id), or (n, d) rows in the order of the pool.
        seed: Seed of all random choices and of the order of ties.
        preset: "default", "paper" (the text of the paper) or "released" (public code and lists).
        depth: For greedy methods (cb, kcenter): stop after so many tiles.
        progress: Called with ticks.
        options: Options of the method, e.g. ``combine="rank"``.

    Returns:
        The ranking; its rows are rows of `pool`.

    Raises:
        UnknownNameError: No such method.
        DataError: The method needs counts or embeddings that are not there, or they do not fit.
        ParameterError: Unknown or impossible option.

    >>> import numpy as np
    >>> from foveate.pool import Pool
    >>> pool = Pool.from_arrays(counts=[[10, 0], [5, 5], [9, 1]])
    >>> rank(pool, "lc").at(1).rows
    array([1])
    """
    ranker = Ranker(pool, embeddings, seed, preset, progress)
    return ranker.rank(method, depth=depth, **options)


@dataclass(frozen=True)
class Ranker:
    """Ranks one pool by several methods; what hybrids have in common is ranked once.

    Attributes:
        pool: As for `rank`.
        embeddings: As for `rank`.
        seed: As for `rank`.
        preset: As for `rank`.
        progress: Called with ticks.
        costs: What ``pool.costs()`` returns, if that is known already.
    """

    pool: Pool
    embeddings: Embeddings | NDArray[np.floating] | None = None
    seed: int = 0
    preset: str = "default"
    progress: ProgressFn | None = None
    costs: Mapping[str, NDArray[np.float64]] | None = None
    _known: dict[tuple[object, str], Ranking] = field(default_factory=dict, init=False, repr=False)

    def rank(self, method: str | Method, *, depth: int | None = None, **options: Any) -> Ranking:
        """Rank the pool by a method; see `rank`.

        Raises:
            UnknownNameError: No such method.
            DataError: The method needs what is not there, or it does not fit.
            ParameterError: Unknown or impossible option.
        """
        chosen = get_method(method)
        arguments = chosen.options(self.preset, _with_depth(chosen, depth, options))
        arrays = _needed(self.pool, chosen, self.embeddings)
        found = self._rank(chosen, arguments, arrays)
        meta = {
            "method": chosen.name, "options": arguments, "seed": self.seed, "preset": self.preset,
        }  # fmt: skip
        return replace(found, ids=self.pool.ids, costs=self._costs, meta={**found.meta, **meta})

    def keep(self, method: str | Method, options: Mapping[str, Any], ranking: Ranking) -> None:
        """Take a ranking of this pool, seed and preset that was made before.

        Args:
            method: What made it.
            options: All of its options, as in ``ranking.meta["options"]``.
            ranking: The ranking.
        """
        self._known[_key(get_method(method), options)] = ranking

    def knows(self, method: str | Method, options: Mapping[str, Any]) -> bool:
        """Say whether a ranking by `method` with all of these options is at hand."""
        return _key(get_method(method), options) in self._known

    @cached_property
    def _costs(self) -> Mapping[str, NDArray[np.float64]]:
        return self.pool.costs() if self.costs is None else self.costs

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        """Rows of the pool by id: methods see a sorted pool, whatever its order."""
        return np.argsort(self.pool.ids, kind="stable")

    @cached_property
    def _place(self) -> NDArray[np.int64]:
        """Place of each row of the pool in the sorted one."""
        place = np.empty_like(self._order)
        place[self._order] = np.arange(place.size)
        return place

    def _by_id(self, column: NDArray[Any]) -> NDArray[Any]:
        in_order = bool((self._order == np.arange(self._order.size)).all())
        return column if in_order else column[self._order]  # copying might not fit into memory

    def _rank(
        self, method: Method, options: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
    ) -> Ranking:
        """Return a ranking whose rows are rows of the pool as it was given."""
        key = _key(method, options)
        if key not in self._known:
            self._known[key] = self._compute(method, options, arrays)
        return self._known[key]

    def _compute(
        self, method: Method, options: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]
    ) -> Ranking:
        common = {"ids": self._by_id(self.pool.ids), "seed": self.seed, "progress": self.progress}
        if method.parts:
            parts = {p: self._part(method, p, options[p], arrays) for p in method.parts}
            own = {k: v for k, v in options.items() if k not in method.parts}
            found = method.function(**common, parts=parts, **own)
        else:
            needed = {name: self._by_id(arrays[name]) for name in method.needs}
            found = method.function(**common, **needed, **options)
        return replace(found, rows=self._order[found.rows])

    def _part(
        self,
        method: Method,
        part: str,
        options: Mapping[str, Any],
        arrays: Mapping[str, NDArray[Any]],
    ) -> Ranking:
        """Return a part of a hybrid, with rows of the sorted pool."""
        ranking = self._rank(get_method(part), options, arrays)
        if not ranking.full:
            raise ParameterError(
                f"the part {part!r} of {method.name!r} ranks {ranking.depth} of {ranking.n} tiles",
                "A hybrid combines rankings of the whole pool.",
                f"Leave out {method.name}.{part}.depth.",
            )
        return replace(ranking, rows=self._place[ranking.rows])


def _key(method: Method, options: Mapping[str, Any]) -> tuple[object, str]:
    # By function: two methods may have one name, and one of them be a user's own.
    return method.function, digest(dict(options))


def _with_depth(method: Method, depth: int | None, options: dict[str, Any]) -> dict[str, Any]:
    if depth is None:
        return options
    if not method.greedy:
        raise ParameterError(
            f"depth={depth} for the method {method.name!r}",
            "Only greedy methods can stop early; this one always ranks everything.",
        )
    if depth < 1:
        raise ParameterError(f"depth={depth}", "At least one tile is ranked.")
    return {**options, "depth": depth}


def _needed(
    pool: Pool, method: Method, embeddings: Embeddings | NDArray[np.floating] | None
) -> dict[str, NDArray[Any]]:
    arrays: dict[str, NDArray[Any]] = {}
    if "counts" in method.needs:
        if pool.counts is None:
            raise DataError(
                f"the method {method.name!r} needs class counts, and this pool has none",
                "Counts come from masks.",
                "Give masks (--masks FOLDER), or use fd, fa, kcenter or random.",
            )
        arrays["counts"] = pool.counts
    if "embeddings" in method.needs:
        if embeddings is None:
            raise DataError(
                f"the method {method.name!r} needs embeddings",
                "",
                "Pass embeddings=embed(pool, model), or an (n, d) array.",
            )
        x = embeddings.align(pool.ids) if isinstance(embeddings, Embeddings) else embeddings
        arrays["embeddings"] = _check(np.asanyarray(x), pool)
    return arrays


def _check(x: NDArray[Any], pool: Pool) -> NDArray[Any]:
    if x.ndim != 2 or len(x) != len(pool) or not np.issubdtype(x.dtype, np.floating):
        raise DataError(
            f"embeddings of shape {x.shape} and dtype {x.dtype} for {len(pool)} tiles",
            "Expected a float array (n, d) with one row per tile.",
        )
    for start in range(0, len(x), _BLOCK):
        bad = ~np.isfinite(x[start : start + _BLOCK]).all(axis=1)
        if bad.any():
            first = str(pool.ids[start + int(bad.argmax())])
            raise DataError(
                f"the embedding of {first!r} holds NaN or infinity",
                "Every number must be finite.",
                "Drop the tile, or repair the model's output.",
            )
    return x
