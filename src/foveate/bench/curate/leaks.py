"""Whether tiles to choose from, of validation and of the test share ground or pixels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import DataError
from foveate.files import atomic_path, digest, digest_ids
from foveate.models.embed import pool_prints

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from foveate.bench.curate.design import Design
    from foveate.pool.pool import Pool
    from foveate.run import Run

VERSION = 1  # raised when the same pixels get other digests
_DIGESTS = "work/pixel-digests.npy"
_SHOWN = 3
_DEGREE = 111_320.0  # metres of a degree of latitude
_TOUCH = 1e-6  # share of a tile's ground that rounding of coordinates may share


@dataclass(frozen=True)
class Leak:
    """Two tiles of parts that have to be independent, and are not.

    Attributes:
        train: Id of the first: one to choose from, or of validation.
        test: Id of the second: one of the test, or of validation.
        kind: "pixels" (the same values), "window" (overlapping windows of one file), or "ground".
    """

    train: str
    test: str
    kind: str


def find_leaks(
    design: Design, digests: NDArray[np.str_] | None = None, buffer: float = 0.0
) -> list[Leak]:
    """Compare the tiles of each fold: their pixels, their windows, and their ground.

    Tiles to choose from are compared with those of the test, and both with those of validation.

    Ground is compared across files and dates, where all scenes lie on the Earth.

    Args:
        design: Which tiles train and which test.
        digests: (n,) hash of the pixels of each tile (`pixel_digests`); not compared when None.
        buffer: Metres of ground around a tile that must be free of the other part's.

    Returns:
        One leak a pair of tiles, those of pixels first.
    """
    found: dict[tuple[str, str], Leak] = {}
    outlines = design.pool.footprints() if design.pool.georeferenced else None
    parts = [
        pair
        for fold in design.folds
        for pair in ((fold.train, fold.test), (fold.train, fold.val), (fold.val, fold.test))
        if pair[0].size and pair[1].size
    ]
    for one, other in parts:
        pairs = [("window", *_same_file(design.pool, one, other))]
        if digests is not None:
            pairs.insert(0, ("pixels", *_equal(digests, one, other)))
        if outlines is not None:
            pairs.append(("ground", *_touching(outlines, one, other, buffer)))
        for kind, train, test in pairs:
            for a, b in zip(design.pool.ids[train], design.pool.ids[test], strict=True):
                found.setdefault((str(a), str(b)), Leak(str(a), str(b), kind))
    return list(found.values())


def refuse_leaks(leaks: list[Leak]) -> None:
    """Refuse to judge on what was chosen from.

    Raises:
        DataError: There is a leak; the first of each kind are named.
    """
    if not leaks:
        return
    words = {
        "pixels": "with the same pixels",
        "window": "that overlap in one file",
        "ground": "on the same ground",
    }
    told = []
    for kind, text in words.items():
        same = [leak for leak in leaks if leak.kind == kind]
        if same:
            named = "; ".join(f"{leak.train} and {leak.test}" for leak in same[:_SHOWN])
            told.append(
                f"{len(same)} pairs {text} ({named}{'; ...' if len(same) > _SHOWN else ''})"
            )
    raise DataError(
        f"tiles to choose from and tiles that test or validate are not independent: "
        f"{', '.join(told)}",
        "What is tested must not have been seen in training, nor have chosen the epoch.",
        "Take scenes that do not overlap, or measure all the same: --allow-leaks.",
    )


def kept_digests(pool: Pool, run: Run) -> NDArray[np.str_]:
    """Return `pixel_digests` of a pool, which the run reads once.

    Args:
        pool: The pool.
        run: Open for writing.
    """
    key = digest([VERSION, pool_prints(pool), digest_ids(pool.ids)])
    file = run.path / _DIGESTS

    def work() -> list[str]:
        with atomic_path(file) as part, part.open("wb") as stream:
            np.save(stream, pixel_digests(pool), allow_pickle=False)
        return [_DIGESTS]

    run.do("pixel digests", key, work)
    return np.load(file, allow_pickle=False)


def pixel_digests(pool: Pool) -> NDArray[np.str_]:
    """Return (n,) the hash of the pixels of each tile; a tile of one value has one of its own."""
    found = []
    for i, raster in enumerate(pool.read()):
        flat = raster.data.reshape(len(raster.data), -1)
        plain = bool((flat == flat[:, :1]).all())
        found.append(
            f"plain {i}" if plain
            else hashlib.blake2b(np.ascontiguousarray(raster.data), digest_size=12).hexdigest()
        )  # fmt: skip
    return np.array(found, np.str_)


Rows = tuple["NDArray[np.int64]", "NDArray[np.int64]"]


def _equal(digests: NDArray[np.str_], train: NDArray[np.int64], test: NDArray[np.int64]) -> Rows:
    _, code = np.unique(digests, return_inverse=True)
    return _joined(code, train, test)


def _joined(code: NDArray[np.int64], train: NDArray[np.int64], test: NDArray[np.int64]) -> Rows:
    """Return all pairs of rows of the two parts with one code."""
    shared = np.intersect1d(code[train], code[test])
    a, b = train[np.isin(code[train], shared)], test[np.isin(code[test], shared)]
    pairs = [(i, j) for i in a.tolist() for j in b[code[b] == code[i]].tolist()]
    return _columns(iter(pairs))


def _same_file(pool: Pool, train: NDArray[np.int64], test: NDArray[np.int64]) -> Rows:
    tiles = pool.tiles
    assert tiles is not None  # noqa: S101  (a pool of imagery)
    prints = [scene.source.info.fingerprint for scene in pool.scenes]
    names = {scene.scene_id: prints.index(p) for scene, p in zip(pool.scenes, prints, strict=True)}
    file = np.array([names[name] for name in tiles.scenes], np.int64)[tiles.scene_code]

    def overlapping() -> Iterator[tuple[int, int]]:
        for number in np.intersect1d(file[train], file[test]):
            a, b = train[file[train] == number], test[file[test] == number]
            for i in a.tolist():
                cross = (
                    (tiles.y[b] < tiles.y[i] + tiles.h[i]) & (tiles.y[i] < tiles.y[b] + tiles.h[b])
                    & (tiles.x[b] < tiles.x[i] + tiles.w[i])
                    & (tiles.x[i] < tiles.x[b] + tiles.w[b])
                )  # fmt: skip
                yield from ((i, j) for j in b[cross].tolist())

    return _columns(overlapping())


def _touching(
    outlines: NDArray[np.object_], train: NDArray[np.int64], test: NDArray[np.int64], buffer: float
) -> Rows:
    import shapely

    grown = outlines[train]
    if buffer:
        latitude = np.radians(shapely.get_y(shapely.centroid(grown)))
        # Degrees of longitude are shorter away from the equator: the wider of the two is taken.
        grown = shapely.buffer(grown, buffer / (_DEGREE * np.maximum(np.cos(latitude), 0.01)))
    tree = shapely.STRtree(outlines[test])
    i, j = tree.query(grown, predicate="intersects")
    if not buffer:  # neighbours touch along an edge, and share no ground
        shared = shapely.area(shapely.intersection(grown[i], outlines[test][j]))
        own = np.minimum(shapely.area(grown[i]), shapely.area(outlines[test][j]))
        i, j = i[shared > _TOUCH * own], j[shared > _TOUCH * own]
    return train[i], test[j]


def _columns(pairs: Iterator[tuple[int, int]]) -> Rows:
    table = np.array(list(pairs), np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]
