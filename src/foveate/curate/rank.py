"""`rank` and `Ranker`: rank a pool by any method."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.curate.dense import needed_cells, needed_tokens
from foveate.curate.methods.base import METHODS, Method, check_preset, get_method
from foveate.embeddings import Embeddings, find_rows
from foveate.errors import DataError, ParameterError
from foveate.files import digest
from foveate.pool.attributes import Attributes
from foveate.pool.pictures import Pictures
from foveate.pool.rules import Rules
from foveate.selection import Ranking

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    from foveate.curate.recipes.recipe import Recipe
    from foveate.pool.pool import Pool
    from foveate.progress import ProgressFn
    from foveate.select.constraints import Constraint

_BLOCK = 65536
_SQUARES = (2.0**-32, 2.0**32)  # range of the largest feature that is safe to square in float32
# The tiles of the published lists overlap by design, and those of the paper's grid do not overlap.
MAX_OVERLAP = {"default": 0.5, "paper": 1.0, "released": 1.0}


def rank(
    pool: Pool,
    method: str | Method | Recipe,
    *,
    embeddings: Embeddings | NDArray[np.floating] | None = None,
    tokens: Embeddings | NDArray[np.floating] | None = None,
    cells: NDArray[np.integer] | None = None,
    seed: int = 0,
    preset: str = "default",
    depth: int | None = None,
    max_overlap: float | None = None,
    rules: Rules | None = None,
    picked: ArrayLike | None = None,
    progress: ProgressFn | None = None,
    **options: Any,
) -> Ranking:
    """Rank the tiles of a pool from most to least worth keeping.

    The result depends on ids, counts, embeddings, seed and options only, not on the order of
    the rows, the number of threads or the chunking of the files. To rank one pool by several
    methods, use a `Ranker`, so that hybrids reuse their parts.

    Args:
        pool: From `open_pool`, or `Pool.from_arrays` for plain arrays.
        method: Name (one of `foveate.curate.METHODS`), `Method`, or `Recipe`.
        embeddings: `Embeddings` (matched by id), or (n, d) rows in the order of the pool. Methods
            that need them rank tiles of `Embeddings.constant` last, unless the preset is "paper" or
            "released".
        tokens: Dense features of t cells of each tile, for "label-noise": `Embeddings` with tokens
            (matched by id), or (n, t, d) in the order of the pool. See
            `foveate.models.dense_features`.
        cells: (n, t, C) labelled pixels by class of these cells, in the order of the pool. See
            `foveate.pool.count_cells`.
        seed: Seed of all random choices and of the order of ties.
        preset: "default", "paper" (the text of the paper) or "released" (public code and lists).
        depth: For greedy methods (cb, kcenter, facility, max-herding) and recipes: number of tiles
            to rank.
        max_overlap: Largest share of a tile that an earlier pick may cover, 0 to 1; tiles with more
            are moved to the end of the ranking; 1 for no limit. None for 0.5, and for 1 with the
            presets "paper" and "released". See `foveate.pool.overlap.overlaps`.
        rules: Further rules, see `Rules`; tiles that break them are also moved to the end. Its
            `max_overlap` is not used.
        picked: Ids that are already selected: methods and rules take them into account, they are
            not ranked, and shares of a budget are shares of the remaining tiles.
        progress: Called with ticks.
        options: Options of the method, e.g. ``combine="rank"``.

    Returns:
        The ranking; its rows are rows of `pool`. ``meta["put_back"]`` is the number of tiles that
        were moved to the end, ``meta["max_overlap"]`` the share, ``meta["constant"]`` the number of
        constant tiles among them, if there are any.

    Raises:
        UnknownNameError: The method is unknown.
        DataError: Counts, embeddings, tokens or cells that the method needs are missing or have
            the wrong shape.
        ParameterError: An option is unknown or invalid.

    >>> import numpy as np
    >>> from foveate.pool import Pool
    >>> pool = Pool.from_arrays(counts=[[10, 0], [5, 5], [9, 1]])
    >>> rank(pool, "lc").at(1).rows
    array([1])
    """
    ranker = Ranker(
        pool, embeddings, seed, preset, progress, max_overlap=max_overlap, rules=rules,
        picked=np.empty(0, np.str_) if picked is None else np.asarray(picked, np.str_),
        tokens=tokens, cells=cells,
    )  # fmt: skip
    return ranker.rank(method, depth=depth, **options)


@dataclass(frozen=True)
class Ranker:
    """Ranks one pool by several methods; the parts of hybrids are ranked once.

    Attributes:
        pool: As for `rank`.
        embeddings: As for `rank`.
        seed: As for `rank`.
        preset: As for `rank`.
        progress: Called with ticks.
        costs: Result of ``pool.costs()``, if it was already computed.
        max_overlap: As for `rank`.
        rules: As for `rank`.
        picked: As for `rank`.
        tokens: As for `rank`.
        cells: As for `rank`.
        further: Additional rules, of a recipe.
        pixels: Whether methods may read the pixels of tiles.

    Raises:
        DataError: An id of `picked` is not in the pool.
    """

    pool: Pool
    embeddings: Embeddings | NDArray[np.floating] | None = None
    seed: int = 0
    preset: str = "default"
    progress: ProgressFn | None = None
    costs: Mapping[str, NDArray[np.float64]] | None = None
    max_overlap: float | None = None
    rules: Rules | None = None
    picked: NDArray[np.str_] = field(default_factory=lambda: np.empty(0, np.str_))
    tokens: Embeddings | NDArray[np.floating] | None = None
    cells: NDArray[np.integer] | None = None
    further: Rules | None = None
    pixels: bool = True
    _known: dict[tuple[object, ...], Ranking] = field(default_factory=dict, init=False, repr=False)

    def rank(
        self, method: str | Method | Recipe, *, depth: int | None = None, **options: Any
    ) -> Ranking:
        """Rank the pool by a method; see `rank`.

        Raises:
            UnknownNameError: The method is unknown.
            DataError: An array that the method needs is missing or has the wrong shape.
            ParameterError: An option is unknown or invalid.
        """
        chosen = get_method(method)
        if chosen.rules is not None and chosen.rules != self.further:
            return self.under(chosen).rank(chosen, depth=depth, **options)
        arguments = chosen.options(self.preset, _with_depth(chosen, depth, options))
        arrays, exponent = _needed(self.pool, chosen, self.embeddings)
        if "tokens" in chosen.needs:
            arrays["tokens"] = needed_tokens(self.pool, chosen.name, self.tokens)
        if "cells" in chosen.needs:
            arrays["cells"] = needed_cells(self.pool, chosen.name, self.cells, arrays.get("tokens"))
        found = self._rank(chosen, arguments, arrays, constrained=True)
        ranked = ~np.isin(found.rows, self.given)
        rows, score = found.rows[ranked], found.score[ranked]
        put_back = self._constraint(chosen).count(self._place[rows])
        meta = {
            "method": chosen.name, "options": arguments, "seed": self.seed, "preset": self.preset,
            "max_overlap": self.overlap, "put_back": put_back,
        }  # fmt: skip
        if exponent:
            meta["feature_exponent"] = exponent
        if self._constraint(chosen).last.size:
            meta["constant"] = int(np.setdiff1d(self.constant, self.given).size)
        return Ranking(
            rows, score, len(self.pool), self.pool.ids, self._costs, {**found.meta, **meta},
            self.given,
        )  # fmt: skip

    def keep(self, method: str | Method, options: Mapping[str, Any], ranking: Ranking) -> None:
        """Add an existing ranking of this pool, seed and preset to the cache.

        Args:
            method: The method of the ranking.
            options: All of its options, as in ``ranking.meta["options"]``.
            ranking: The ranking.
        """
        if ranking.full and self.given.size:
            ranking = _with(ranking, self.given)
        self._known[self._key(get_method(method), options, constrained=True)] = ranking

    def knows(
        self, method: str | Method, options: Mapping[str, Any], *, constrained: bool = True
    ) -> bool:
        """Return whether the ranking by `method` with these options is in the cache.

        Args:
            method: The method.
            options: All of its options.
            constrained: Whether the ranking follows the rules, or is a part of a hybrid without.
        """
        return self._key(get_method(method), options, constrained=constrained) in self._known

    @property
    def overlap(self) -> float:
        """`max_overlap`, or the value of the preset."""
        check_preset(self.preset)
        share = MAX_OVERLAP[self.preset] if self.max_overlap is None else self.max_overlap
        return share if self.further is None else min(share, self.further.max_overlap)

    @property
    def plain(self) -> bool:
        """Whether overlap is the only rule."""
        return all(rules is None or rules.plain for rules in (self.rules, self.further))

    @property
    def bounds(self) -> str:
        """Hash of the rules and of the ids that are already selected."""
        rules = replace(self.rules or Rules(), max_overlap=self.overlap)
        more = [] if self.further is None else [asdict(self.further)]
        return digest([asdict(rules), np.unique(self.picked).tolist(), *more])

    def under(self, method: str | Method | Recipe) -> Ranker:
        """Return a ranker with the rules of a method in addition; itself if there are none."""
        rules = get_method(method).rules
        return self if rules is None else replace(self, further=rules)

    def seeing(
        self, embeddings: Embeddings | None, tokens: Embeddings | None = None,
        cells: NDArray[np.integer] | None = None,
    ) -> Ranker:  # fmt: skip
        """Return a ranker with embeddings, tokens and cells; its cached constraint is kept."""
        found = replace(self, embeddings=embeddings, tokens=tokens, cells=cells)
        for name in ("given", "constraint"):
            if name in self.__dict__:
                found.__dict__[name] = self.__dict__[name]
        return found

    @cached_property
    def given(self) -> NDArray[np.int64]:
        """Rows of the pool that are already selected, sorted."""
        rows = find_rows(self.pool.ids, np.unique(self.picked))
        if (rows < 0).any():
            unknown = np.unique(self.picked)[rows < 0]
            raise DataError(
                f"{unknown.size} of {rows.size} ids to start from are not in the pool: "
                + ", ".join(repr(str(name)) for name in unknown[:3])
                + (" ..." if unknown.size > 3 else ""),
                f"Ids of the pool have the form {str(self.pool.ids[0])!r}.",
                "Use the same images and the same tile grid, or leave these ids out.",
            )
        return np.sort(rows)

    @cached_property
    def constraint(self) -> Constraint:
        """The constraint of all rules, in rows of the pool."""
        rules = replace(self.rules or Rules(), max_overlap=self.overlap)
        found = rules.constraint(self.pool)
        if self.further is not None:
            found = found.joined(replace(self.further, max_overlap=1.0).constraint(self.pool))
        return replace(found, given=self.given)

    @cached_property
    def constant(self) -> NDArray[np.int64]:
        """Rows of tiles without content (one value in each band), as far as known.

        Empty with the presets of the paper, whose lists may contain such tiles.
        """
        none, given = np.empty(0, np.int64), self.embeddings
        if self.preset != "default" or not isinstance(given, Embeddings) or given.constant is None:
            return none
        rows = find_rows(self.pool.ids, given.ids[given.constant])
        return np.sort(rows[rows >= 0])

    def _constraint(self, method: Method) -> Constraint:
        """Return the constraint of a method, in rows of the sorted pool.

        Methods that do not read embeddings do not depend on them, so they do not know which tiles
        are constant.
        """
        return self._sorted[1] if "embeddings" in method.needs else self._sorted[0]

    @cached_property
    def _sorted(self) -> tuple[Constraint, Constraint]:
        """The constraint in rows of the sorted pool, and the same with constant tiles last."""
        found = self.constraint.take(self._order)
        return found, replace(found, last=np.sort(self._place[self.constant]))

    @cached_property
    def _costs(self) -> Mapping[str, NDArray[np.float64]]:
        return self.pool.costs() if self.costs is None else self.costs

    @cached_property
    def _order(self) -> NDArray[np.int64]:
        """Rows of the pool sorted by id, the order in which methods get them."""
        return np.argsort(self.pool.ids, kind="stable")

    @cached_property
    def _place(self) -> NDArray[np.int64]:
        """Position of each row in the sorted pool."""
        place = np.empty_like(self._order)
        place[self._order] = np.arange(place.size)
        return place

    def _by_id(self, column: Any) -> Any:
        if bool((self._order == np.arange(self._order.size)).all()):
            return column  # a copy might not fit into memory
        return column.take(self._order) if isinstance(column, Attributes) else column[self._order]

    def _rank(
        self, method: Method, options: Mapping[str, Any], arrays: Mapping[str, Any], *,
        constrained: bool,
    ) -> Ranking:  # fmt: skip
        """Return a ranking in rows of the original pool."""
        key = self._key(method, options, constrained=constrained)
        if key not in self._known:
            self._known[key] = self._compute(method, options, arrays, constrained=constrained)
        return self._known[key]

    def _compute(
        self, method: Method, options: Mapping[str, Any], arrays: Mapping[str, Any], *,
        constrained: bool,
    ) -> Ranking:  # fmt: skip
        bound = self._constraint(method)
        constraint = bound if constrained and not bound.empty else None
        own = {k: v for k, v in options.items() if k not in method.parts}
        depth = own.get("depth") if method.greedy else None
        keeps = method.takes("constraint")
        if constraint is not None and method.greedy and not keeps:
            own["depth"] = None  # the constraint is applied to the full ranking
        given = {name: self._by_id(arrays[name]) for name in method.reads}
        if "counts" in method.uses and not method.parts and self.pool.counts is not None:
            given["counts"] = self._by_id(self.pool.counts)
        if method.parts:
            given["parts"] = {p: self._part(method, p, options[p], arrays) for p in method.parts}
        within = constraint if constraint is None or depth is None else constraint.up_to(depth)
        initial = bound.given if bound.given.size else None
        pixels = Pictures(self.pool, self._order) if self.pixels and self.pool.scenes else None
        optional = {
            "progress": self.progress, "constraint": within, "initial": initial, "pictures": pixels,
        }  # fmt: skip
        found = method.call(
            optional, ids=self._by_id(self.pool.ids), seed=self.seed, **given, **own
        )
        if initial is not None and method.takes("initial") and depth is None:
            found = _with(found, initial)
        if constraint is not None and (constraint.waits or not keeps):
            found = _put_back(found, constraint, depth)
        return replace(found, rows=self._order[found.rows])

    def _part(
        self,
        method: Method,
        part: str,
        options: Mapping[str, Any],
        arrays: Mapping[str, Any],
    ) -> Ranking:
        """Return the ranking of a part of a hybrid, in rows of the sorted pool."""
        constrained = part in method.constrained_parts
        ranking = self._rank(get_method(part), options, arrays, constrained=constrained)
        if not ranking.full:
            raise ParameterError(
                f"the part {part!r} of {method.name!r} ranks {ranking.depth} of {ranking.n} tiles",
                "A hybrid needs rankings of the whole pool.",
                f"Leave out {method.name}.{part}.depth.",
            )
        return replace(ranking, rows=self._place[ranking.rows])

    def _key(
        self, method: Method, options: Mapping[str, Any], *, constrained: bool
    ) -> tuple[object, ...]:
        # By function, because a custom method may have the name of another one.
        constrained = constrained and not self._constraint(method).empty
        return method.function, digest(dict(options)), constrained


def _with(ranking: Ranking, given: NDArray[np.int64]) -> Ranking:
    """Return a ranking with the given rows appended, so that it contains all rows."""
    return replace(
        ranking, rows=np.concatenate([ranking.rows, given]), given=given[:0],
        score=np.concatenate([ranking.score, np.full(given.size, np.nan)]),
        meta={**ranking.meta, "put_back": ranking.meta.get("put_back", 0) + given.size},
    )  # fmt: skip


def _put_back(ranking: Ranking, constraint: Constraint, depth: int | None) -> Ranking:
    """Move rows that an earlier row forbids to the end, with their scores."""
    rows = constraint.apply(ranking.rows)
    score = np.empty(ranking.n)
    score[ranking.rows] = ranking.score
    score[constraint.given] = np.nan
    put_back = constraint.count(rows) + constraint.given.size
    meta = {**ranking.meta, "put_back": put_back}
    return replace(ranking, rows=rows[:depth], score=score[rows[:depth]], meta=meta)


def _with_depth(method: Method, depth: int | None, options: dict[str, Any]) -> dict[str, Any]:
    if depth is None:
        return options
    if not method.greedy:
        raise ParameterError(
            f"depth={depth} for the method {method.name!r}",
            "Only greedy methods support a depth; this method ranks all tiles.",
            "Leave it out.",
        )
    if isinstance(depth, int) and depth < 1:  # other types are rejected as those of any option
        raise ParameterError(f"depth={depth}", "It must be at least 1.")
    return {**options, "depth": depth}


def _needed(
    pool: Pool, method: Method, embeddings: Embeddings | NDArray[np.floating] | None
) -> tuple[dict[str, Any], int]:
    """Return the arrays of a method, and the exponent of the power of two that scales features."""
    arrays: dict[str, Any] = {}
    exponent = 0
    if "counts" in method.needs:
        if pool.counts is None:
            raise DataError(
                f"the method {method.name!r} needs class counts, but this pool has none",
                "Counts are computed from masks.",
                "Give masks (--masks FOLDER), or use one of "
                f"{', '.join(METHODS.ready(without='counts'))}.",
            )
        arrays["counts"] = pool.counts
    if "attributes" in method.needs:
        if pool.attributes is None:
            raise DataError(
                f"the method {method.name!r} needs attributes, but this pool has none",
                "Attributes are columns of an embedding file, or of a table.",
                "Give a table: --attributes FILE, or Pool.from_arrays(attributes=...).",
            )
        arrays["attributes"] = pool.attributes
    if "embeddings" in method.needs:
        if embeddings is None:
            raise DataError(
                f"the method {method.name!r} needs embeddings",
                "No embeddings are given.",
                "Pass embeddings=embed(pool, model), or an (n, d) array.",
            )
        x = embeddings.align(pool.ids) if isinstance(embeddings, Embeddings) else embeddings
        given = np.asanyarray(x)
        exponent = _exponent(_largest(given, pool))
        # Scaling copies the array; features on disk are float16, which never needs it.
        arrays["embeddings"] = _times_power(given, exponent) if exponent else given
    return arrays, exponent


def _exponent(largest: float) -> int:
    """Return the exponent of the power of two that makes sums of squared features safe.

    Rankings do not depend on the scale of the features, and scaling by a power of two is exact.

    Args:
        largest: Largest magnitude of the features.
    """
    if largest == 0 or _SQUARES[0] <= largest <= _SQUARES[1]:
        return 0
    return -int(np.frexp(largest)[1])


def _times_power(x: NDArray[Any], exponent: int) -> NDArray[Any]:
    half = x.dtype.type(2.0) ** (exponent // 2)  # in two steps, because one factor may overflow
    return x * half * x.dtype.type(2.0) ** (exponent - exponent // 2)


def _largest(x: NDArray[Any], pool: Pool) -> float:
    """Check features, and return their largest magnitude."""
    if x.ndim != 2 or len(x) != len(pool) or not np.issubdtype(x.dtype, np.floating):
        raise DataError(
            f"embeddings of shape {x.shape} and dtype {x.dtype} for {len(pool)} tiles",
            "Expected a float array (n, d) with one row per tile.",
            "Pass embed(pool, model), or an array in the order of pool.ids.",
        )
    largest = 0.0
    for start in range(0, len(x), _BLOCK):
        block = x[start : start + _BLOCK]
        bad = ~np.isfinite(block).all(axis=1)
        if bad.any():
            first = str(pool.ids[start + int(bad.argmax())])
            raise DataError(
                f"the embedding of {first!r} contains NaN or infinity",
                "Every number must be finite.",
                "Remove the tile, or correct the output of the model.",
            )
        largest = max(largest, float(np.abs(block).max(initial=0)))
    return largest
