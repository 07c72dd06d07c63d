"""Fixed scores of a recipe: rankings of whole pools by methods and columns, from 0 to 1."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.curate.methods.base import METHODS
from foveate.errors import ParameterError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from foveate.curate.recipes.strategy import Strategy
    from foveate.select.method import Method
    from foveate.selection import Ranking


def score_of(
    strategy: Strategy, ids: NDArray[np.str_], arrays: Mapping[str, Any], seed: int,
    initial: NDArray[np.int64],
) -> NDArray[np.float64]:  # fmt: skip
    """Rank by a method, a column, or similarity, and return a score for each tile.

    Args:
        strategy: A strategy without gains.
        ids: (n,) str, sorted.
        arrays: The arrays that the strategy needs.
        seed: Seed of the method.
        initial: Rows that are already selected; used by methods that support them.

    Returns:
        (n,) float64 from 0 to 1. With "rank", the place, 1 for the first and 1/n for the last;
        equal scores share their mean place. With "score", the score scaled from its smallest value
        (1/(n+1)) to its largest (1). Tiles without a score, and `initial` tiles, get the last
        places, or 0.

    Raises:
        ParameterError: The method does not rank all tiles.
    """
    given = {"ids": ids, "seed": seed}
    found = _full(strategy.source, strategy.chosen_options, given, arrays, initial)
    n = len(ids)
    values = strategy.values or ("score" if strategy.kind else "rank")
    return _places(found, n) if values == "rank" else _scores(found, n)


def _full(
    method: Method, options: Mapping[str, Any], common: Mapping[str, Any],
    arrays: Mapping[str, Any], initial: NDArray[np.int64],
) -> Ranking:  # fmt: skip
    """Rank by a method; a hybrid by its parts."""
    given = dict(common)
    if method.parts:
        given["parts"] = {
            part: _full(METHODS.get(part), options[part], common, arrays, initial)
            for part in method.parts
        }
    given |= {name: arrays[name] for name in method.reads}
    own = {name: value for name, value in options.items() if name not in method.parts}
    before = initial if initial.size else None
    found = method.call({"initial": before}, **given, **own)
    if before is not None and method.takes("initial"):
        found = replace(
            found, rows=np.concatenate([found.rows, initial]),
            score=np.concatenate([found.score, np.full(initial.size, np.nan)]),
        )  # fmt: skip
    if not found.full:
        raise ParameterError(
            f"the strategy {method.name!r}, which ranks {found.depth} of {found.n} tiles",
            "A recipe needs rankings of the whole pool.",
            "Leave out its option depth.",
        )
    return found


def _places(ranking: Ranking, n: int) -> NDArray[np.float64]:
    """Return the places from 1 to 1/n; equal scores share their mean place."""
    k = ranking.depth
    same = ranking.score[1:] == ranking.score[:-1]
    same |= np.isnan(ranking.score[1:]) & np.isnan(ranking.score[:-1])
    group = np.concatenate([[0], np.cumsum(~same)]) if k else np.empty(0, np.int64)
    size = np.bincount(group)
    end = np.cumsum(size)
    middle = end - (size + 1) / 2  # 0 for the first
    found = np.full(n, 1 / n)
    found[ranking.rows] = 1 - middle[group] / n if k else 0
    return found


def _scores(ranking: Ranking, n: int) -> NDArray[np.float64]:
    found = np.zeros(n)
    known = ~np.isnan(ranking.score)
    score = ranking.score[known]
    if score.size:
        low, high = float(score.min()), float(score.max())
        share = (score - low) / (high - low) if high > low else np.ones(score.size)
        found[ranking.rows[known]] = (1 + n * share) / (n + 1)
    return found
