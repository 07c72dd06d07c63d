"""Input rankings of a comparison: run directories and coordinate lists.

A run contains a ranking for each method, a list is one ranking (`foveate.pool.read_coordinates`):
sorted by score, the highest first, because not all lists of the paper's public code are sorted;
equal scores in the order of the file.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.curate.start import read_ids
from foveate.embeddings import find_rows
from foveate.errors import DataError, UnknownNameError
from foveate.files import fingerprint, read_parquet, text_column
from foveate.pool.coordinates import is_coordinates, read_coordinates
from foveate.pool.names import Names
from foveate.registry import suggest
from foveate.run import Run
from foveate.selection import Ranking

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

    from foveate.pool.pool import Pool

_PLACE = ("scene", "y", "x", "h", "w")


@dataclass(frozen=True)
class RankedPool:
    """One input: patches, and one or more rankings of them.

    Attributes:
        path: The run directory or list.
        is_run: Whether it is a run directory.
        ids: (n,) str unique names of the patches.
        windows: scene, y, x, and for runs h and w: (n,) each; empty for a pool of plain arrays.
        orders: Name -> (k,) rows, best first. A list has one, named after its file.
        thumbs: Tile id -> file of its thumbnail.
        prints: Hashes of the files that were read.
        tied: Whether all scores of a list are equal.
    """

    path: Path
    is_run: bool
    ids: NDArray[np.str_]
    windows: dict[str, NDArray[Any]]
    orders: dict[str, NDArray[np.int64]]
    thumbs: dict[str, Path] = field(default_factory=dict)
    prints: tuple[str, ...] = ()
    tied: bool = False


def read_ranked(path: str | Path) -> RankedPool:
    """Read the rankings of a run directory, or a coordinate list.

    Raises:
        DataError: The path is neither, a run has no rankings, or a list contains a patch twice.
    """
    path = Path(path)
    if path.is_dir():
        return _read_run(path)
    found = read_coordinates(path)
    tiles, score = found.tiles, found.score
    ids = corner_names(tiles.scene, tiles.y, tiles.x)
    names, times = np.unique(ids, return_counts=True)
    if times.max() > 1:
        raise DataError(
            f"the list {str(path)!r} contains the patch {str(names[times.argmax()])!r} "
            f"{times.max()} times",
            "A ranking must contain each patch once.",
            "Remove the duplicates.",
        )
    return RankedPool(
        path, is_run=False, ids=ids, windows={"scene": tiles.scene, "y": tiles.y, "x": tiles.x},
        orders={path.stem: np.argsort(-score, kind="stable")}, prints=(fingerprint(path),),
        tied=score.size > 1 and bool((score == score[0]).all()),
    )  # fmt: skip


def order_in(path: str | Path, pool: Pool, *, prefix: str = "") -> NDArray[np.int64]:
    """Return rows of a pool in the order of an external ranking.

    Args:
        path: Run directory with one method, coordinate list, or a table (Parquet or CSV) or text
            of ids, best first (`foveate.curate.start.read_ids`).
        pool: A pool of imagery.
        prefix: Prefix of scene names in the pool, which is prepended to the ids of the ranking.

    Returns:
        (k,) int64, best first; -1 for patches that are not in the pool.

    Raises:
        DataError: The ranking cannot be read, there are no or several rankings, or a patch occurs
            twice.
    """
    path = Path(path)
    if path.is_dir() or is_coordinates(path):
        found = read_ranked(path)
        if len(found.orders) > 1:
            raise DataError(
                f"the run {str(path)!r} has rankings by {', '.join(found.orders)}",
                "Exactly one ranking is required.",
                f"Give a file: {path / 'rankings' / next(iter(found.orders))}.parquet",
            )
        (order,) = found.orders.values()
        if found.is_run:
            names = found.ids[order]
        else:
            return _corners_in(found, order, pool, prefix)
    else:
        names = np.array(read_ids(path), np.str_)
    known, times = np.unique(names, return_counts=True)
    if times.max(initial=0) > 1:
        raise DataError(
            f"the list {str(path)!r} contains {str(known[times.argmax()])!r} {times.max()} times",
            "A ranking must contain each patch once.",
            "Remove the duplicates.",
        )
    return find_rows(pool.ids, np.char.add(prefix, names))


def _corners_in(
    found: RankedPool, order: NDArray[np.int64], pool: Pool, prefix: str
) -> NDArray[np.int64]:
    """Match patches of a list by image and corner."""
    assert pool.tiles is not None  # noqa: S101  (a pool of imagery)
    scene = pool.tiles.scene
    inside = np.flatnonzero(np.char.startswith(scene, prefix))
    windows = {"scene": scene[inside], "y": pool.tiles.y[inside], "x": pool.tiles.x[inside]}
    own = RankedPool(Path(), is_run=True, ids=pool.ids[inside], windows=windows, orders={})
    known, listed = _common_form([own, found])
    rows = find_rows(known, listed[order])
    return np.where(rows >= 0, inside[rows], -1) if inside.size else rows


def _read_run(path: Path) -> RankedPool:
    run = Run.load(path)
    summary, steps = run.record.get("summary", {}), run.record.get("steps", {})
    known = summary.get("methods")
    files = {}
    for step, entry in steps.items():
        kind, _, name = step.partition(" ")
        file = path / f"rankings/{name}.parquet"
        current = not isinstance(known, dict) or name in known
        if kind == "rank" and current and file.is_file() and entry["outputs"]:
            files[name] = file
    if not files:
        raise DataError(
            f"the run {str(path)!r} contains no ranking",
            "Rankings are files rankings/<method>.parquet of curate and observe select.",
            "Finish the run, or give the --out of one of these commands.",
        )
    tiles = read_parquet(path / "tiles.parquet")
    ids = text_column(tiles, "tile_id")
    orders = {}
    for name, file in files.items():
        rows = find_rows(ids, text_column(read_parquet(file, ["tile_id"]), "tile_id"))
        if (rows < 0).any():
            raise DataError(
                f"{str(file)!r} ranks tiles that are not in the tiles.parquet of the run",
                "All ranked tiles must be in tiles.parquet.",
                "Run the job again with a new folder.",
            )  # fmt: skip
        orders[name] = rows
    return RankedPool(
        path, is_run=True, ids=ids, windows=_windows(tiles), orders=orders,
        thumbs=_thumbs(path),
        prints=tuple(fingerprint(f) for f in (path / "tiles.parquet", *files.values())),
    )  # fmt: skip


def _windows(tiles: pa.Table) -> dict[str, NDArray[Any]]:
    if not set(_PLACE) <= set(tiles.column_names):
        return {}
    numbers = {name: tiles[name].to_numpy() for name in _PLACE[1:]}
    return {"scene": text_column(tiles, "scene"), **numbers}


def _thumbs(path: Path) -> dict[str, Path]:
    table, root = path / "tables/thumbs.parquet", path.resolve()
    if not table.is_file():
        return {}
    found = {}
    for entry in read_parquet(table).to_pylist():
        file = (root / entry["file"]).resolve()
        # A run may be from an untrusted source: files outside its folder are not copied.
        if entry["kind"] == "tile" and file.is_relative_to(root) and file.is_file():
            found[entry["name"]] = file
    return found


def corner_names(
    scene: NDArray[np.str_], y: NDArray[np.integer], x: NDArray[np.integer]
) -> NDArray[np.str_]:
    """Return (n,) names of patches, made of their image and upper left corner."""
    rows = zip(scene.tolist(), y.tolist(), x.tolist(), strict=True)
    return np.array([f"{s}/y{row:06d}_x{col:06d}" for s, row, col in rows], np.str_)


def named_rankings(
    pools: Sequence[RankedPool], methods: Sequence[str] | None = None
) -> tuple[dict[str, Ranking], list[NDArray[np.str_]]]:
    """Return the rankings of all inputs with unique names.

    Tiles of runs are matched by id, patches of lists by image and corner. If runs are compared
    with lists, all patches are matched by image and corner; the images of a list are matched to
    those of the runs by name, with or without folder and suffix.

    Args:
        pools: Results of `read_ranked`.
        methods: Methods of the runs to compare, in this order; None for all.

    Returns:
        Name -> ranking (the method if that is unique, else ``RUN/METHOD``), and for each input the
        ids by which its patches are matched.

    Raises:
        UnknownNameError: No run has the method.
        DataError: An image of a list matches several images of a run, or a run without windows is
            compared with a list.
    """
    all_methods = list(dict.fromkeys(m for p in pools if p.is_run for m in p.orders))
    for name in methods or ():
        if name not in all_methods:
            raise UnknownNameError(
                f"no run has the method {name!r}",
                f"Methods: {', '.join(all_methods) or 'none, all inputs are lists'}.",
                suggest(name, all_methods),
            )
    ids = _common_form(pools)
    labels = _labels([pool.path for pool in pools])
    entries = []
    for pool, names, label in zip(pools, ids, labels, strict=True):
        chosen = (
            [m for m in methods if m in pool.orders] if methods and pool.is_run else pool.orders
        )
        entries += [
            (name if pool.is_run else label, label, pool, names, pool.orders[name])
            for name in chosen
        ]
    clash = any(times > 1 for times in Counter(entry[0] for entry in entries).values())
    found = {}
    for short, label, pool, names, rows in entries:
        name = f"{label}/{short}" if clash and pool.is_run else short
        found[name] = Ranking(rows, np.full(rows.size, np.nan), names.size, names)
    return found, ids


def _labels(paths: Sequence[Path]) -> list[str]:
    """Return a unique short name for each input: as many of the last path parts as needed."""
    parts = [(*path.absolute().parts[:-1], path.stem if path.is_file() else path.absolute().name)
             for path in paths]  # fmt: skip
    for count in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-count:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    twice = next(path for i, path in enumerate(paths) if parts[i] in parts[:i])
    raise DataError(
        f"{str(twice)!r} is given twice", "Each ranking may be given once.", "Leave one out."
    )


def _common_form(pools: Sequence[RankedPool]) -> list[NDArray[np.str_]]:
    runs = [pool for pool in pools if pool.is_run]
    if len(runs) == len(pools) or not runs:
        return [pool.ids for pool in pools]
    for pool in runs:
        if not pool.windows:
            raise DataError(
                f"the run {str(pool.path)!r} with tiles without windows, compared with a list",
                "Patches of lists are matched by image, row and column.",
                "Compare it with other runs only.",
            )
    scenes = {name for pool in runs for name in np.unique(pool.windows["scene"]).tolist()}
    found = []
    for pool in pools:
        scene = pool.windows["scene"]
        if not pool.is_run:
            names = Names(sorted(scenes), f"the list {str(pool.path)!r}")
            used, where = np.unique(scene, return_inverse=True)
            meant = [names.look_up(name) or name for name in used.tolist()]
            scene = np.array(meant, np.str_)[where]
        found.append(corner_names(scene, pool.windows["y"], pool.windows["x"]))
    return found
