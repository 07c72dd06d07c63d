"""Similarity to positive and negative example tiles.

The score of a patch is its cosine similarity to the positive examples minus that to the negative
examples: the largest over the examples, or the mean. The examples themselves come last, without a
score, or first if requested.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.curate.methods.base import Method
from foveate.errors import DataError, ParameterError
from foveate.registry import check_choice, suggest
from foveate.seeds import tie_keys
from foveate.select.sampling import order_by_score
from foveate.select.similar import cosine_to
from foveate.selection import Ranking

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


def similar(
    *,
    ids: NDArray[np.str_],
    embeddings: NDArray[np.floating],
    seed: int,
    toward: str | Sequence[str] = (),
    away: str | Sequence[str] = (),
    combine: str = "max",
    examples: str = "last",
) -> Ranking:
    """Rank by similarity to positive examples and dissimilarity to negative ones.

    Args:
        ids: (n,) str.
        embeddings: (n, d) float; may be a memory map.
        seed: Breaks ties.
        toward: Ids of positive examples: a list, or a text with commas.
        away: Ids of negative examples. At least one of `toward` and `away` is required.
        combine: "max" for the cosine with the most similar example, or "mean" over all.
        examples: Position of the examples in the ranking: "last", without a score, or "first".

    Returns:
        Full ranking; scores from -2 to 2, NaN for examples at the end.

    Raises:
        ParameterError: An example is given twice, or `combine` or `examples` is unknown.
        DataError: An example is not in the pool.
    """
    check_choice("combine", combine, ("max", "mean"))
    check_choice("examples", examples, ("last", "first"))
    positive, negative = _split_ids(toward, "toward"), _split_ids(away, "away")
    both = sorted(set(positive) & set(negative))
    if both:
        raise ParameterError(f"{both[0]!r} in toward and in away", "Allowed: one of them.")
    score = np.zeros(len(ids))
    for sign, names in ((1, positive), (-1, negative)):
        if names:
            score += sign * cosine_to(embeddings, _rows(names, ids), combine)
    score = np.round(score, 9)
    is_example = np.isin(ids, [*positive, *negative])
    order = order_by_score(score, tie_keys(ids, seed))
    parts = order[~is_example[order]], order[is_example[order]]
    if examples == "last":
        score[is_example] = np.nan
    rows = np.concatenate(parts if examples == "last" else parts[::-1])
    return Ranking(rows, score[rows], len(ids), meta={"examples": int(is_example.sum())})


def _split_ids(given: str | Sequence[str], option: str) -> list[str]:
    parts = given.split(",") if isinstance(given, str) else list(given)
    if not all(isinstance(part, str) for part in parts):
        raise ParameterError(f"{option}={given!r}", "Expected ids of tiles (str).")
    names = [part.strip() for part in parts if part.strip()]
    twice = [name for i, name in enumerate(names) if name in names[:i]]
    if twice:
        raise ParameterError(f"{twice[0]!r} twice in {option}", "Each id may be given once.")
    return names


def _rows(names: list[str], ids: NDArray[np.str_]) -> NDArray[np.int64]:
    place = np.minimum(np.searchsorted(ids, names), len(ids) - 1)
    unknown = [name for name, row in zip(names, place, strict=True) if ids[row] != name]
    if unknown:
        raise DataError(
            f"the example {unknown[0]!r} is not a tile of this pool"
            + (f", nor are {len(unknown) - 1} others" if len(unknown) > 1 else ""),
            f"The pool has {len(ids)} tiles; the first is {str(ids[0])!r}.",
            suggest(unknown[0], map(str, ids)) or "All ids are in tables/pool.parquet of a run.",
        )
    return place


METHOD = Method(
    name="similar",
    title="Similarity to examples",
    source="cosine similarity to example tiles",
    function=similar,
    needs=("embeddings",),
    requires=("toward", "away"),
)
