"""Detection of training, validation and test tiles that share ground or pixels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import DataError
from foveate.files import atomic_path, digest, digest_ids
from foveate.models.embed import pool_prints
from foveate.pool.antimeridian import cut

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from foveate.bench.curate.design import Design
    from foveate.pool.pool import Pool
    from foveate.run import Run

VERSION = 1  # raised when the digests of the same pixels change
_DIGESTS = "work/pixel-digests.npy"
_SHOWN = 3
_DEGREE = 111_320.0  # metres per degree of latitude
_TOUCH = 1e-6  # overlap, as a share of a tile, that may come from rounding of coordinates


@dataclass(frozen=True)
class Leak:
    """Two tiles of different parts that are not independent.

    Attributes:
        train: Id of the first tile, of the training or validation part.
        test: Id of the second tile, of the test or validation part.
        kind: "pixels" (the same values), "window" (overlapping windows of one file), or "ground".
    """

    train: str
    test: str
    kind: str


def find_leaks(
    design: Design, digests: NDArray[np.str_] | None = None, buffer: float = 0.0
) -> list[Leak]:
    """Compare the pixels, windows and ground of the training, validation and test tiles of a fold.

    Ground is compared across files and dates, if all scenes are georeferenced.

    Args:
        design: The pool and its folds.
        digests: (n,) hash of the pixels of each tile (`pixel_digests`); not compared when None.
        buffer: Smallest distance between tiles of different parts, in metres.

    Returns:
        One leak per pair of tiles, those with equal pixels first.
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
    """Raise an error if there are leaks.

    Raises:
        DataError: There is a leak; the message lists the first of each kind.
    """
    if not leaks:
        return
    words = {
        "pixels": "with the same pixels",
        "window": "that overlap in one file",
        "ground": "on the same ground",
    }
    parts = []
    for kind, text in words.items():
        same = [leak for leak in leaks if leak.kind == kind]
        if same:
            named = "; ".join(f"{leak.train} and {leak.test}" for leak in same[:_SHOWN])
            parts.append(
                f"{len(same)} pairs {text} ({named}{'; ...' if len(same) > _SHOWN else ''})"
            )
    raise DataError(
        f"training, validation and test tiles are not independent: {', '.join(parts)}",
        "Test tiles must not be used in training or to choose the epoch.",
        "Use scenes that do not overlap, or run anyway with --allow-leaks.",
    )


def kept_digests(pool: Pool, run: Run) -> NDArray[np.str_]:
    """Return `pixel_digests` of a pool; they are computed once per run.

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
    """Return (n,) a hash of the pixels of each tile; constant tiles get unique values."""
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
    """Return all pairs of rows of the two parts with equal codes."""
    shared = np.intersect1d(code[train], code[test])
    a, b = train[np.isin(code[train], shared)], test[np.isin(code[test], shared)]
    pairs = [(i, j) for i in a.tolist() for j in b[code[b] == code[i]].tolist()]
    return _columns(iter(pairs))


def _same_file(pool: Pool, train: NDArray[np.int64], test: NDArray[np.int64]) -> Rows:
    tiles = pool.tiles
    assert tiles is not None  # noqa: S101  (a pool of imagery)
    number_of: dict[str, int] = {}  # of each file; several scenes may be of the same
    names = {
        scene.scene_id: number_of.setdefault(scene.source.info.fingerprint, len(number_of))
        for scene in pool.scenes
    }
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
        # Degrees of longitude are shorter away from the equator: buffer by the larger angle.
        angle = buffer / (_DEGREE * np.maximum(np.cos(latitude), 0.01))
        grown = cut(shapely.buffer(grown, angle))  # also reaches across 180 degrees
    tree = shapely.STRtree(outlines[test])
    i, j = tree.query(grown, predicate="intersects")
    if not buffer:  # neighbours that touch along an edge do not overlap
        shared = shapely.area(shapely.intersection(grown[i], outlines[test][j]))
        smaller = np.minimum(shapely.area(grown[i]), shapely.area(outlines[test][j]))
        i, j = i[shared > _TOUCH * smaller], j[shared > _TOUCH * smaller]
    return train[i], test[j]


def _columns(pairs: Iterator[tuple[int, int]]) -> Rows:
    table = np.array(list(pairs), np.int64).reshape(-1, 2)
    return table[:, 0], table[:, 1]
