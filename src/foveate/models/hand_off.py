"""Selections as what a training in PyTorch takes: subsets and class-balanced samplers.

Each function takes a `Selection` or the path of a run directory of `curate` or `observe select`.
torch is imported when they are called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.embeddings import find_rows
from foveate.errors import DataError
from foveate.models.chosen import Chosen
from foveate.models.extras import EXTRAS, need_extra

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray
    from torch.utils.data import Dataset, Subset, WeightedRandomSampler

    from foveate.selection import Selection


def torch_subset(
    chosen: Selection | str | Path,
    dataset: Dataset[Any],
    *,
    method: str = "",
    ids: Sequence[str] | None = None,
) -> Subset[Any]:
    """Return the chosen items of a data set, in the order of choice.

    Args:
        chosen: A selection, or the run directory that holds it.
        dataset: Its items are those of the pool in their order (that of ``tiles.parquet``), unless
            `ids` says otherwise.
        method: Which selection of the run; not needed where there is one.
        ids: Tile id of each item of the data set, in its order, where it is another one.

    Raises:
        DataError: The data set has another length than the pool or than `ids`, or lacks a chosen
            tile.
        UnknownNameError: A method that the run does not have.
        MissingExtraError: torch is not installed.
    """
    need_extra(EXTRAS["observe"], "a subset for PyTorch")
    from torch.utils.data import Subset

    found = Chosen.of(chosen, method)
    size = len(dataset)  # ty: ignore[invalid-argument-type]  (that it has one is what is needed)
    rows = found.rows
    if ids is None and size != found.n:
        raise DataError(
            f"a data set of {size} items for a pool of {found.n} tiles",
            "Without ids, item i is row i of the pool.",
            "Give the tile id of each item: ids=[...].",
        )
    if ids is not None:
        if len(ids) != size:
            raise DataError(f"{len(ids)} ids for {size} items", "One id an item.")
        rows = find_rows(np.asarray(ids, np.str_), found.ids)
        if (rows < 0).any():
            missing = found.ids[rows < 0]
            raise DataError(
                f"{missing.size} of {rows.size} chosen tiles are not in the data set, the first is "
                f"{str(missing[0])!r}",
                "Ids are tile ids, as in tiles.parquet.",
            )
    return Subset(dataset, rows.tolist())


def balanced_weights(counts: ArrayLike) -> NDArray[np.float64]:
    """Return the probability with which to draw each item so that classes come up evenly.

    As if a class was drawn evenly among those that occur, and then an item by its number of pixels
    of that class: ``w_i = 1/C sum_c n_ic / N_c``. Items draw more than one class along, so the
    pixels that are drawn are nearer to even than those of the items, not even.

    Args:
        counts: (k, C) pixels per class of each item.

    Returns:
        (k,) weights that add up to 1; 0 for items without a labelled pixel.

    Raises:
        DataError: Counts of another shape, negative ones, or no labelled pixel at all.
    """
    table = np.asarray(counts, np.float64)
    if table.ndim != 2 or not np.isfinite(table).all() or (table < 0).any():
        raise DataError(
            f"class counts of shape {table.shape}", "(k, C) numbers of at least 0: pixels a class."
        )
    total = table.sum(axis=0)
    if not (total > 0).any():
        raise DataError("items without a labelled pixel", "Balance is of classes that occur.")
    return (table[:, total > 0] / total[total > 0]).mean(axis=1)


def balanced_sampler(
    chosen: Selection | str | Path,
    *,
    method: str = "",
    counts: ArrayLike | None = None,
    samples: int | None = None,
    seed: int = 0,
) -> WeightedRandomSampler:
    """Return a sampler that draws chosen tiles so that classes come up evenly.

    For a `DataLoader` of `torch_subset`: indices are places in the order of choice. Drawn with
    replacement, with the weights of `balanced_weights`.

    Args:
        chosen: A selection, or the run directory that holds it.
        method: Which selection of the run; not needed where there is one.
        counts: (n, C) pixels per class of all rows of the pool (``pool.counts``); None for those of
            the run.
        samples: Draws an epoch; as many as there are tiles when None.
        seed: Of the generator.

    Raises:
        DataError: No class counts, or of another pool.
        MissingExtraError: torch is not installed.
    """
    need_extra(EXTRAS["observe"], "a sampler for PyTorch")
    import torch
    from torch.utils.data import WeightedRandomSampler

    found = Chosen.of(chosen, method)
    weights = balanced_weights(found.class_counts(counts))
    generator = torch.Generator().manual_seed(seed)
    return WeightedRandomSampler(
        weights.tolist(), samples or weights.size, replacement=True, generator=generator
    )
