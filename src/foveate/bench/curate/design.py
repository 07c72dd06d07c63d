"""Training, validation and test tiles: given as separate pools, or folds of one pool."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.grid import Tiles
from foveate.pool.pool import Pool
from foveate.seeds import tie_keys

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

FoldsBy = Literal["folder", "scene"]
MOST_FOLDS = 10  # more groups are divided into `USUAL_FOLDS`
USUAL_FOLDS = 5


def _nothing() -> NDArray[np.int64]:
    return np.empty(0, np.int64)


@dataclass(frozen=True)
class Fold:
    """One split of a pool.

    Attributes:
        name: Name for reports.
        train: Rows that methods select from.
        test: Rows that models are tested on.
        val: Rows that the best epoch is chosen by; may be empty.
    """

    name: str
    train: NDArray[np.int64]
    test: NDArray[np.int64]
    val: NDArray[np.int64] = field(default_factory=_nothing)


@dataclass(frozen=True)
class Design:
    """A pool and its folds; each scene is in the test part of at most one fold.

    Attributes:
        pool: All tiles.
        folds: The folds.
        cluster: (n,) str, folder or scene of each tile, the unit of the bootstrap.
    """

    pool: Pool
    folds: tuple[Fold, ...]
    cluster: NDArray[np.str_]

    @property
    def scene(self) -> NDArray[np.str_]:
        """(n,) str: name of the scene of each tile."""
        assert self.pool.tiles is not None  # noqa: S101  (a pool of imagery)
        return self.pool.tiles.scene


def split_pair(text: str, option: str) -> tuple[str, str]:
    """Split ``IMAGES:MASKS`` at the last colon that is not followed by ``//``.

    Raises:
        ParameterError: There is no such colon, or one side of it is empty.
    """
    places = [m.start() for m in re.finditer(r":(?!//)", text)]
    images, masks = (text[: places[-1]], text[places[-1] + 1 :]) if places else (text, "")
    if not images.strip() or not masks.strip():
        raise ParameterError(
            f"{option} {text!r}",
            "Expected IMAGES:MASKS: two folders, globs or files, separated by a colon.",
            f"{option} {images or 'images'}:{masks or 'masks'}",
        )
    return images, masks


def joined_pools(train: Pool, test: Pool, val: Pool | None = None) -> Design:
    """Join a training, a test and optionally a validation pool.

    Raises:
        DataError: Their classes, bands or data types differ, or masks are missing.
    """
    parts = {"train": train, "test": test} | ({} if val is None else {"val": val})
    check_alike(parts)
    tables, scenes, notes, counts = [], [], [], []
    for name, pool in parts.items():
        _need_masks(pool, f"--{name}")
        assert pool.tiles is not None  # noqa: S101  (pools of imagery)
        assert pool.counts is not None  # noqa: S101  (`_need_masks`)
        tables.append(replace(pool.tiles, scenes=tuple(f"{name}/{s}" for s in pool.tiles.scenes)))
        scenes += [replace(s, scene_id=f"{name}/{s.scene_id}") for s in pool.scenes]
        counts.append(pool.counts)
        notes += list(pool.notes)
    tiles = Tiles.concat(tables)
    joined = Pool(
        ids=tiles.tile_id, scenes=tuple(scenes), tiles=tiles, counts=np.concatenate(counts),
        legend=train.legend, notes=tuple(notes),
    )  # fmt: skip
    ends = np.cumsum([len(pool) for pool in parts.values()])
    rows = np.split(np.arange(len(joined)), ends[:-1])
    return Design(joined, (Fold("test", *rows),), tiles.scene)


def check_alike(parts: Mapping[str, Pool]) -> None:
    """Check that the headers of all pools have the same bands, data type and classes.

    Args:
        parts: "train", "test" and so on -> its pool; others are compared with the first.

    Raises:
        DataError: Classes, bands or data types differ.
    """
    (first, train), *others = parts.items()
    for name, pool in others:
        a, b = (one.scenes[0].source.info for one in (train, pool))
        for what, one, other in (("bands", a.bands, b.bands), ("data type", a.dtype, b.dtype)):
            if one != other:
                raise DataError(
                    f"--{first} has {one} and --{name} {other}",
                    f"The {what} of both must be the same.",
                )
        if train.legend is None or pool.legend is None:
            continue  # the classes of index masks are unknown until these are read
        if train.legend.names != pool.legend.names:
            extra = sorted(set(pool.legend.names) ^ set(train.legend.names))
            raise DataError(
                f"--{first} has the classes {', '.join(train.legend.names)}; "
                f"--{name} has {', '.join(pool.legend.names)}",
                f"Both must have the same classes; {', '.join(extra)} is not in both."
                if extra
                else "Both must have the same classes in the same order.",
                "Define them for both: --classes FILE.",
            )


def folds_of(pool: Pool, by: FoldsBy, count: int | None = None) -> Design:
    """Divide a pool into folds without splitting folders or scenes; each fold is tested once.

    The folds depend on names only, so they are the same for every seed: groups are assigned, the
    largest first, to the fold with the fewest tiles.

    Args:
        pool: Pool with masks.
        by: Groups that are not split: "folder", the first folder in which names of scenes differ,
            or "scene", each image.
        count: Number of folds; None for one per group if there are at most `MOST_FOLDS` groups,
            else `USUAL_FOLDS`.

    Raises:
        DataError: There are no masks, or fewer than two groups.
        ParameterError: There are more folds than groups, or fewer than two.
    """
    _need_masks(pool, "--pool")
    assert pool.tiles is not None  # noqa: S101  (a pool of imagery)
    scene = pool.tiles.scene
    group = scene if by == "scene" else folders(scene)
    names, sizes = np.unique(group, return_counts=True)
    if names.size < 2:
        raise DataError(
            f"all tiles are in one {by}" + (f", {str(names[0])!r}" if names.size else ""),
            f"Cross-validation needs at least two {by}s.",
            "--folds scene" if by == "folder" and np.unique(scene).size > 1
            else "Give scenes to test on: --train IMAGES:MASKS --test IMAGES:MASKS",
        )  # fmt: skip
    number = count or (names.size if names.size <= MOST_FOLDS else USUAL_FOLDS)
    if not 2 <= number <= names.size:
        raise ParameterError(
            f"--fold-count {number} for {names.size} {by}s", f"Allowed: 2 to {names.size}."
        )
    fold = _divide(names, sizes, number)
    of_tile = fold[np.searchsorted(names, group)]
    rows = np.arange(len(pool))
    found = []
    for k in range(number):
        groups = names[fold == k]
        one = groups.size == 1
        title = str(groups[0]) if one else f"{groups.size} {by}s, {groups[0]} and others"
        found.append(Fold(title, rows[of_tile != k], rows[of_tile == k]))
    return Design(pool, tuple(found), group)


def folders(scenes: Sequence[str] | NDArray[np.str_]) -> NDArray[np.str_]:
    """Return the folder of each scene: the first part of their names in which they differ.

    The folder is "" for scenes outside such a folder.
    """
    parts = [str(name).split("/") for name in scenes]
    depth = 0
    while all(len(p) > depth + 1 for p in parts) and len({p[depth] for p in parts}) == 1:
        depth += 1
    return np.array(
        ["/".join(p[: depth + 1]) if len(p) > depth + 1 else "" for p in parts], np.str_
    )


def _need_masks(pool: Pool, option: str) -> None:
    if pool.legend is None or pool.counts is None:
        raise DataError(
            f"{option} without masks", "Training and testing need labels.",
            f"{option} IMAGES:MASKS",
        )  # fmt: skip


def _divide(names: NDArray[np.str_], sizes: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Return the fold of each group."""
    ties = tie_keys(names, 0, "bench/folds")
    fold, load = np.zeros(names.size, np.int64), np.zeros(count)
    for group in np.lexsort((ties, -sizes)):
        fold[group] = load.argmin()
        load[fold[group]] += sizes[group]
    return fold
