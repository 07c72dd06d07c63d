"""`rank`: the door to all methods."""

from __future__ import annotations

from dataclasses import dataclass, replace
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
    known: dict[str, Ranking] | None = None,
    progress: ProgressFn | None = None,
    **options: Any,
) -> Ranking:
    """Rank the tiles of a pool from most to least worth keeping.

    The result depends on ids, counts, embeddings, seed and options only: not on the order of
    the rows, the number of threads or the chunking of the files.

    Args:
        pool: From `open_pool`, or `Pool.from_arrays` for plain arrays.
        method: Name ("lc", "fd", "lc-fd", "fa", "cb", "fa-cb", "random", "kcenter") or `Method`.
        embeddings: `Embeddings` (matched by id), or (n, d) rows in the order of the pool.
        seed: Seed of all random choices and of the order of ties.
        preset: "default", "paper" (the text of the paper) or "released" (public code and lists).
        depth: For greedy methods (cb, kcenter): stop after so many tiles.
        known: Rankings made so far; give the same dict to several calls on one pool, and hybrids
            reuse their parts.
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
    chosen = get_method(method)
    if depth is not None:
        if not chosen.greedy:
            raise ParameterError(
                f"depth={depth} for the method {chosen.name!r}",
                "Only greedy methods can stop early; this one always ranks everything.",
            )
        if depth < 1:
            raise ParameterError(f"depth={depth}", "At least one tile is ranked.")
        options["depth"] = depth
    arguments = chosen.options(preset, options)
    order = np.argsort(pool.ids, kind="stable")
    in_order = bool((order == np.arange(order.size)).all())
    arrays = {
        name: value if in_order else value[order]
        for name, value in _needed(pool, chosen, embeddings).items()
    }
    call = _Call(pool.ids[order], arrays, order, seed, progress, {} if known is None else known)
    ranking = call.rank(chosen, arguments)
    meta = {"method": chosen.name, "options": arguments, "seed": seed, "preset": preset}
    return replace(ranking, ids=pool.ids, costs=pool.costs(), meta={**ranking.meta, **meta})


def known_key(method: Method, options: Mapping[str, Any], seed: int) -> str:
    """Return the key under which `rank` keeps a ranking in ``known``."""
    return digest([method.name, dict(options), seed])


@dataclass(frozen=True)
class _Call:
    """Ranks the sorted pool, and the parts of hybrids only once."""

    ids: NDArray[np.str_]
    arrays: Mapping[str, NDArray[Any]]
    order: NDArray[np.int64]
    seed: int
    progress: ProgressFn | None
    known: dict[str, Ranking]

    def rank(self, method: Method, options: Mapping[str, Any]) -> Ranking:
        """Return a ranking whose rows are rows of the pool as it was given."""
        key = known_key(method, options, self.seed)
        if key not in self.known:
            self.known[key] = self._compute(method, options)
        return self.known[key]

    def _compute(self, method: Method, options: Mapping[str, Any]) -> Ranking:
        common = {"ids": self.ids, "seed": self.seed, "progress": self.progress}
        if method.parts:
            parts = {p: self._sorted(self.rank(get_method(p), options[p])) for p in method.parts}
            own = {k: v for k, v in options.items() if k not in method.parts}
            found = method.function(**common, parts=parts, **own)
        else:
            arrays = {name: self.arrays[name] for name in method.needs}
            found = method.function(**common, **arrays, **options)
        return replace(found, rows=self.order[found.rows])

    def _sorted(self, ranking: Ranking) -> Ranking:
        """The same ranking with rows of the sorted pool."""
        place = np.empty_like(self.order)
        place[self.order] = np.arange(self.order.size)
        return replace(ranking, rows=place[ranking.rows])


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
