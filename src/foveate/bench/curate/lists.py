"""Rankings that were made elsewhere, to be judged on the same terms as the methods.

A file has one for all folds and seeds, or the path says which: ``{fold}`` stands for the number of
the fold (from 0, as in ``tables/folds.parquet`` of the run), ``{seed}`` for the seed. A path
without ``{fold}`` names tiles of the whole pool; in each fold those that can be chosen there are
taken, in their order. Nothing is put back: tiles that overlap stay where the list has them.
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
    """A ranking of the tiles to choose from, of each fold and seed.

    Attributes:
        name: Of its row.
        rankings: (fold, seed) -> ranking, of the tiles to choose from in that fold.
    """

    name: str
    rankings: Mapping[tuple[int, int], Ranking]

    @property
    def print(self) -> str:
        """Hash of what it ranks; further seeds of the same rankings do not change it."""
        each = {(fold, digest(r.rows.tolist())) for (fold, _), r in self.rankings.items()}
        return digest(sorted(each))


def check_lists(given: Mapping[str, str], taken: Collection[str], seed: int) -> None:
    """Refuse names that others have, and files that are not there.

    Args:
        given: Name -> path.
        taken: Names of methods and recipes.
        seed: The first seed.

    Raises:
        ParameterError: A name that something else has.
        DataError: A file is not there; of those of several folds and seeds the first.
    """
    for name, path in given.items():
        if name in (*taken, ALL, FLOOR):
            raise ParameterError(
                f"--lists {name}={path}", f"{name!r} is a row of its own in the benchmark.",
                f"Call it something else: --lists {name.replace(' ', '-')}-list={path}",
            )  # fmt: skip
        need_paths([_filled(path, 0, seed)], "list")


def read_lists(given: Mapping[str, str], design: Design, seeds: Iterable[int]) -> dict[str, Listed]:
    """Read the rankings of all folds and seeds.

    Args:
        given: Name -> path, with ``{fold}`` and ``{seed}`` where they differ.
        design: The pool and its divisions.
        seeds: The seeds.

    Raises:
        DataError: A file cannot be read, names a tile twice or none that can be chosen; or one of
            a fold names a tile that tests it.
    """
    seeds = tuple(seeds)
    return {name: _read(name, path, design, seeds) for name, path in given.items()}


def write_folds(root: Path, design: Design) -> list[str]:
    """Write which tiles each fold may be chosen from, and return the file.

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
            if (file, number) not in known:  # a list without {seed} is one for all of them
                rows = _rows(file, design, number, own=FOLD in path)
                known[file, number] = _ranking(name, rows, design, number)
            found[number, seed] = known[file, number]
    return Listed(name, found)


def _rows(file: str, design: Design, number: int, *, own: bool) -> NDArray[np.int64]:
    """Return rows of the pool in the order of a list: those that may be chosen from in a fold."""
    fold, ids = design.folds[number], design.pool.ids
    order = order_in(file, design.pool)
    if not (order >= 0).any():  # as `curate` calls tiles of the images to choose from alone
        order = order_in(file, design.pool, prefix="train/")
    rows = order[order >= 0]
    chosen = rows[np.isin(rows, fold.train)]
    tested = rows[np.isin(rows, fold.test)]
    if own and tested.size:
        raise DataError(
            f"the list {file!r} of fold {number} names {tested.size} tiles that test it, the first "
            f"is {str(ids[tested[0]])!r}",
            "What is tested must not be chosen from.",
            f"Rank the tiles of its part train in {FOLDS} of the run.",
        )
    if not chosen.size:
        raise DataError(
            f"the list {file!r} names none of the {fold.train.size} tiles to choose from in fold "
            f"{number}, {fold.name}",
            f"These are called like {str(ids[fold.train[0]])!r}.",
            f"All of them are in {FOLDS} of the run.",
        )
    strange = int((order < 0).sum())
    if strange:
        logger.warning("%d of %d tiles of the list %r are not here", strange, order.size, file)
    return chosen


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
