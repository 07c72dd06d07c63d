"""External rankings, evaluated like the methods.

One file ranks the tiles for all folds and seeds, or the path contains ``{fold}`` (replaced by the
number of the fold, from 0, as in ``tables/folds.parquet`` of the run) and ``{seed}``. A list
without ``{fold}`` ranks tiles of the whole pool; each fold uses those of its training part, in the
order of the list. Tiles that overlap are not moved.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from foveate.bench.curate.conditions import ALL, FLOOR
from foveate.curate.ranked_inputs import order_in
from foveate.errors import DataError, ParameterError
from foveate.files import digest, write_parquet
from foveate.pool.find import need_paths
from foveate.selection import Ranking

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from foveate.bench.curate.design import Design

logger = logging.getLogger("foveate")

FOLD, SEED = "{fold}", "{seed}"
FOLDS = "tables/folds.parquet"


@dataclass(frozen=True)
class Listed:
    """An external ranking of the training tiles of each fold and seed.

    Attributes:
        name: Name of its row.
        rankings: (fold, seed) -> ranking of the training tiles of that fold.
    """

    name: str
    rankings: Mapping[tuple[int, int], Ranking]

    @property
    def print(self) -> str:
        """Hash of the rankings; more seeds with the same rankings do not change it."""
        hashes = {(fold, digest(r.rows.tolist())) for (fold, _), r in self.rankings.items()}
        return digest(sorted(hashes))


def check_lists(given: Mapping[str, str], taken: Collection[str], seed: int) -> None:
    """Check that names are unique and that files exist.

    Args:
        given: Name -> path.
        taken: Names of methods and recipes.
        seed: The first seed.

    Raises:
        ParameterError: A name is in use.
        DataError: A file does not exist. With ``{fold}`` or ``{seed}``, only the first is checked.
    """
    for name, path in given.items():
        if name in (*taken, ALL, FLOOR):
            raise ParameterError(
                f"--lists {name}={path}", f"The name {name!r} is used by another row.",
                f"Use another name: --lists {name.replace(' ', '-')}-list={path}",
            )  # fmt: skip
        need_paths([_filled(path, 0, seed)], "list")


def read_lists(given: Mapping[str, str], design: Design, seeds: Iterable[int]) -> dict[str, Listed]:
    """Read the rankings of all folds and seeds.

    Args:
        given: Name -> path, with ``{fold}`` and ``{seed}`` if there are several files.
        design: The pool and its folds.
        seeds: The seeds.

    Raises:
        DataError: A file cannot be read, contains a tile twice, or contains no training tile; or
            the list of a fold contains a test tile of that fold.
    """
    seeds = tuple(seeds)
    return {name: _read(name, path, design, seeds) for name, path in given.items()}


def write_folds(root: Path, design: Design) -> list[str]:
    """Write the tiles of the parts of each fold; return the name of the file.

    Columns: fold (from 0), name, part (train, val or test), tile_id.
    """
    import pyarrow as pa

    rows = [
        {"fold": number, "name": fold.name, "part": part, "tile_id": str(tile)}
        for number, fold in enumerate(design.folds)
        for part in ("train", "val", "test")
        for tile in design.pool.ids[getattr(fold, part)]
    ]
    write_parquet(root / FOLDS, pa.Table.from_pylist(rows))
    return [FOLDS]


def _read(name: str, path: str, design: Design, seeds: tuple[int, ...]) -> Listed:
    known: dict[tuple[str, int], Ranking] = {}
    found = {}
    for number in range(len(design.folds)):
        for seed in seeds:
            file = _filled(path, number, seed)
            if (file, number) not in known:  # without {seed} all seeds share one list
                rows = _rows(file, design, number, by_fold=FOLD in path)
                known[file, number] = _ranking(name, rows, design, number)
            found[number, seed] = known[file, number]
    return Listed(name, found)


def _rows(file: str, design: Design, number: int, *, by_fold: bool) -> NDArray[np.int64]:
    """Return the training rows of a fold in the order of a list."""
    fold, ids = design.folds[number], design.pool.ids
    order = order_in(file, design.pool)
    if not (order >= 0).any():  # a run of `curate` on the training images has ids without "train/"
        order = order_in(file, design.pool, prefix="train/")
    rows = order[order >= 0]
    training = rows[np.isin(rows, fold.train)]
    tested = rows[np.isin(rows, fold.test)]
    if by_fold and tested.size:
        raise DataError(
            f"the list {file!r} of fold {number} contains {tested.size} test tiles of that fold, "
            f"the first is {str(ids[tested[0]])!r}",
            "Test tiles must not be selected.",
            f"Rank the tiles of its part train in {FOLDS} of the run.",
        )
    if not training.size:
        raise DataError(
            f"the list {file!r} contains none of the {fold.train.size} training tiles of fold "
            f"{number}, {fold.name}",
            f"Ids of training tiles have the form {str(ids[fold.train[0]])!r}.",
            f"All ids are in {FOLDS} of the run.",
        )
    unknown = int((order < 0).sum())
    if unknown:
        logger.warning(
            "%d of %d tiles of the list %r are not in the pool", unknown, order.size, file
        )
    return training


def _ranking(name: str, rows: NDArray[np.int64], design: Design, number: int) -> Ranking:
    train = design.folds[number].train
    place = np.full(len(design.pool), -1, np.int64)
    place[train] = np.arange(train.size)
    return Ranking(
        place[rows], np.full(rows.size, np.nan), train.size, design.pool.ids[train],
        meta={"method": name},
    )  # fmt: skip


def _filled(path: str, fold: int, seed: int) -> str:
    return path.replace(FOLD, str(fold)).replace(SEED, str(seed))
