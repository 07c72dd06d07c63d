"""Recipes as methods: a recipe ranks like any other method of `curate`."""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.curate.methods.base import Method
from foveate.curate.recipes.recipe import After, Recipe, Stratified, Within, read_keep
from foveate.curate.recipes.scores import score_of
from foveate.pool.rules import Rules
from foveate.seeds import tie_keys
from foveate.select.combine import Mixture, combined_greedy
from foveate.select.gains import Fixed
from foveate.select.threads import one_thread
from foveate.selection import Ranking

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from foveate.budget import Amount
    from foveate.curate.recipes.strategy import Strategy
    from foveate.progress import ProgressFn
    from foveate.select.constraints import Constraint
    from foveate.select.gains import Gain

FULL_DEPTH = 4_000  # a step is a pass over all embeddings


def recipe_method(recipe: Recipe) -> Method:
    """Return a recipe as a method; register it with ``METHODS.register(name, method)``."""
    return Method(
        name=recipe.name,
        title=f"Recipe {recipe.name}",
        source=", ".join(_words(one) for one in recipe.strategies),
        function=_Function(recipe),
        needs=recipe.needs,
        greedy=True,
        in_all=False,
        definition=recipe.to_dict(),
        columns=recipe.columns,
        rules=recipe.rules if recipe.rules != Rules() else None,
        full_depth=FULL_DEPTH,
    )


def _words(strategy: Strategy) -> str:
    name = strategy.kind or strategy.method or strategy.column
    return f"{strategy.weight:g} {name}"


@dataclass(frozen=True)
class _Given:
    """Arguments of a method except its options."""

    ids: NDArray[np.str_]
    arrays: Mapping[str, Any]
    seed: int
    constraint: Constraint | None = None
    initial: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    progress: ProgressFn | None = None


@dataclass(frozen=True)
class _Function:
    """The function of a recipe: equal for equal recipes."""

    recipe: Recipe

    @property
    def __signature__(self) -> inspect.Signature:
        """Parameters: the arrays that the strategies need, and a depth."""
        names = ("ids", *self.recipe.needs, "seed", "progress", "constraint", "initial", "depth")
        return inspect.Signature([
            inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, annotation="int | None",
                default=None if name == "depth" else inspect.Parameter.empty,
            )
            for name in names
        ])  # fmt: skip

    def __call__(
        self,
        *,
        ids: NDArray[np.str_],
        seed: int,
        progress: ProgressFn | None = None,
        constraint: Constraint | None = None,
        initial: NDArray[np.int64] | None = None,
        depth: int | None = None,
        **arrays: Any,
    ) -> Ranking:
        """Rank by the recipe."""
        given = _Given(
            ids, arrays, seed, constraint,
            np.empty(0, np.int64) if initial is None else initial, progress,
        )  # fmt: skip
        with one_thread():
            found = _ranked(self.recipe, given, depth)
        return replace(found, meta={**found.meta, "recipe": self.recipe.to_dict()})


def _ranked(recipe: Recipe, given: _Given, depth: int | None) -> Ranking:
    n, ties = len(given.ids), tie_keys(given.ids, given.seed)
    left = n - given.initial.size
    if left == 0:
        return Ranking(np.empty(0, np.int64), np.empty(0), n)
    gains = [_gain(strategy, given) for strategy in recipe.strategies]
    weights = [strategy.weight for strategy in recipe.strategies]
    mixture = Mixture(gains, weights, recipe.combine, recipe.scale)
    late = np.zeros(n, np.int64)
    before, turns = np.empty(0, np.int64), None
    wrapper = recipe.wrapper
    if isinstance(wrapper, After):
        before = _inner_picks(recipe, given, wrapper.keep)
    elif isinstance(wrapper, Within):
        # The inner recipe only filters candidates, so the constraint does not apply to it.
        late += 1
        late[_inner_picks(recipe, replace(given, constraint=None), wrapper.keep)] = 0
    elif isinstance(wrapper, Stratified):
        mixture, late, turns = _strata(wrapper, mixture, given)
    late += (1 + late.max()) * _unlabelled(recipe, given)
    k = left if depth is None else min(depth, left)
    found = combined_greedy(
        mixture, k, ties=ties, given=given.initial, before=before, late=late, turns=turns,
        constraint=given.constraint, progress=given.progress,
    )  # fmt: skip
    sorted_once = mixture.fixed and wrapper is None and not late.any()
    score = found.gain if sorted_once else 1 - np.arange(k) / n
    return Ranking(found.rows, score, n)


def _gain(strategy: Strategy, given: _Given) -> Gain:
    source = strategy.source
    if not strategy.gains:
        return Fixed(score_of(strategy, given.ids, given.arrays, given.seed, given.initial))
    arrays = {name: given.arrays[name] for name in source.needs}
    gain: Any = source.function(ids=given.ids, seed=given.seed, **arrays, **strategy.chosen_options)
    return gain


def _inner_picks(recipe: Recipe, given: _Given, keep: str | float) -> NDArray[np.int64]:
    inner = recipe.inner
    assert inner is not None  # noqa: S101  (checked by the wrapper)
    k = _count(read_keep(keep), len(given.ids) - given.initial.size)
    return _ranked(inner, given, k).rows[:k]


def _count(keep: Amount, n: int) -> int:
    """Return the number of tiles for an amount, 1 to n."""
    count = np.ceil(keep.value * n - 1e-9) if keep.share else keep.value
    return int(min(max(count, 1), n))


def _unlabelled(recipe: Recipe, given: _Given) -> NDArray[np.bool_]:
    """Return a mask of tiles without counted pixels, if the recipe balances classes."""
    if any(one.kind == "balance" and one.weight > 0 for one in recipe.strategies):
        return ~given.arrays["counts"].any(axis=1)
    return np.zeros(len(given.ids), bool)


def _strata(
    wrapper: Stratified, mixture: Mixture, given: _Given
) -> tuple[Mixture, NDArray[np.int64], NDArray[np.int64]]:
    """Return the gains inside strata, flags of tiles that come last, and the strata of tiles."""
    n = len(given.ids)
    ties = tie_keys(given.ids, given.seed)
    free = np.ones(n, bool)
    free[given.initial] = False
    mixture.begin(given.initial)
    rows = np.flatnonzero(free)
    value = np.round(mixture.values(free)[0], 9)
    hardest = np.lexsort((ties[rows], -value))
    late = np.zeros(n, np.int64)
    dropped = int(wrapper.drop * rows.size)
    late[rows[hardest[:dropped]]] = 1
    kept = value[hardest[dropped:]]
    low, high = float(kept.min()), float(kept.max())
    # The first stratum has the largest gains.
    place = (high - value) / (high - low) if high > low else np.zeros(value.size)
    turns = np.zeros(n, np.int64)
    turns[rows] = np.clip((place * wrapper.strata).astype(np.int64), 0, wrapper.strata - 1)
    if wrapper.within == "random":
        drawn = np.empty(n)
        drawn[np.argsort(tie_keys(given.ids, given.seed, "recipe/strata"))] = np.arange(n) / n
        return Mixture([Fixed(drawn)], [1.0]), late, turns
    return mixture, late, turns
