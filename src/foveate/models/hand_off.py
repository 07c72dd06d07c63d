"""Selections for training in PyTorch: subsets and class-balanced samplers.

Each function accepts a `Selection` or the path of a run directory of `curate` or `observe select`.
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
    """Return the selected items of a data set, in the order of selection.

    Args:
        chosen: A selection, or its run directory.
        dataset: Data set with the items of the pool in the order of ``tiles.parquet``, unless
            `ids` is given.
        method: Method of the selection in the run; optional if there is only one.
        ids: Tile id of each item of the data set, if its order differs from the pool.

    Raises:
        DataError: The length of the data set differs from that of the pool or of `ids`, or a
            selected tile is missing.
        UnknownNameError: The run has no such method.
        MissingExtraError: torch is not installed.
    """
    need_extra(EXTRAS["observe"], "a subset for PyTorch")
    from torch.utils.data import Subset

    found = Chosen.of(chosen, method)
    size = len(dataset)  # ty: ignore[invalid-argument-type]  (a map-style data set is required)
    rows = found.rows
    if ids is None and size != found.n:
        raise DataError(
            f"a data set of {size} items for a pool of {found.n} tiles",
            "Without ids, item i must be row i of the pool.",
            "Pass the tile id of each item: ids=[...].",
        )
    if ids is not None:
        if len(ids) != size:
            raise DataError(f"{len(ids)} ids for {size} items", "Expected one id per item.")
        rows = find_rows(np.asarray(ids, np.str_), found.ids)
        if (rows < 0).any():
            missing = found.ids[rows < 0]
            raise DataError(
                f"{missing.size} of {rows.size} selected tiles are missing from the data set, the "
                f"first is {str(missing[0])!r}",
                "Ids are tile ids, as in tiles.parquet.",
            )
    return Subset(dataset, rows.tolist())


def balanced_weights(counts: ArrayLike) -> NDArray[np.float64]:
    """Return sampling weights of items that balance the classes.

    Equivalent to drawing a class uniformly among those that occur, and then an item in proportion
    to its pixels of that class: ``w_i = 1/C sum_c n_ic / N_c``. Because items contain several
    classes, the drawn pixels are closer to uniform than those of the items, but not uniform.

    Args:
        counts: (k, C) pixels per class of each item.

    Returns:
        (k,) weights with sum 1; 0 for items without labelled pixels.

    Raises:
        DataError: The counts have another shape, are negative, or have no labelled pixels.
    """
    table = np.asarray(counts, np.float64)
    if table.ndim != 2 or not np.isfinite(table).all() or (table < 0).any():
        raise DataError(
            f"invalid class counts of shape {table.shape}",
            "Expected (k, C) non-negative numbers of pixels per class.",
        )
    total = table.sum(axis=0)
    if not (total > 0).any():
        raise DataError("the items have no labelled pixels", "At least one class must occur.")
    return (table[:, total > 0] / total[total > 0]).mean(axis=1)


def balanced_sampler(
    chosen: Selection | str | Path,
    *,
    method: str = "",
    counts: ArrayLike | None = None,
    samples: int | None = None,
    seed: int = 0,
) -> WeightedRandomSampler:
    """Return a sampler of selected tiles that balances the classes.

    For a `DataLoader` of `torch_subset`: indices are positions in the order of selection. Sampling
    is with replacement, with the weights of `balanced_weights`.

    Args:
        chosen: A selection, or its run directory.
        method: Method of the selection in the run; optional if there is only one.
        counts: (n, C) pixels per class of all rows of the pool (``pool.counts``); None for those of
            the run.
        samples: Draws per epoch; None for the number of tiles.
        seed: Seed of the generator.

    Raises:
        DataError: Class counts are missing, or belong to another pool.
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
