"""The compare job: from rankings to a run directory with tables and a report.

- ``tables/kendall``: ranking, and its tau with every ranking.
- ``tables/overlap``: top, k, a, b, shared, share, by_chance (k / n).
- ``tables/patches``: place, patch, its window, ``rank:NAME`` for each ranking, average, spread;
  sorted by average rank, the lowest first.
- ``tables/agreed``: top, k, place, patch, average: the patches among the first k of every ranking.

Each table is written as Parquet and as CSV.
"""

from __future__ import annotations

import shutil
from itertools import combinations
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from pydantic import BeforeValidator, Field

from foveate.budget import Budget
from foveate.curate.compare import Comparison, compare
from foveate.curate.ranked_inputs import RankedPool, named_rankings, read_ranked
from foveate.errors import BudgetError
from foveate.files import atomic_path, digest, write_csv, write_parquet
from foveate.pool.find import need_paths
from foveate.run.job import Job
from foveate.run.options import Names, Option, PathText, split

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from foveate.progress import ProgressFn
    from foveate.run import Run

VERSION = 1  # raised when the output of the step changes for the same inputs
_THUMBS = "tables/thumbs.parquet"


def _tops(given: Any) -> Any:
    """Check the sizes of the top parts; each is a budget of tiles."""
    given = split(given)
    if isinstance(given, list):
        for text in given:
            if set(Budget.parse(text).limits) != {"tiles"}:
                raise BudgetError(
                    f"the first {text!r}",
                    "It must be a share or a number of patches.",
                    "Try 10% or 500.",
                )
    return given


class CompareJob(Job):
    """Settings of a comparison of rankings."""

    rankings: Annotated[
        list[PathText], Option("Input", argument=True, metavar="RUN")
    ] = Field(min_length=1)  # fmt: skip
    """Run directories of curate or observe select, and coordinate lists."""
    methods: Annotated[
        Names | None, Option("Input", name="method", default="all", repeated=True)
    ] = Field(None, min_length=1)  # fmt: skip
    """Methods of the runs to compare; several with commas or repeated."""
    top: Annotated[
        list[str], BeforeValidator(_tops), Option("Method", metavar="1%,10%,500")
    ] = Field(["1%", "5%", "10%", "25%", "50%"], min_length=1)  # fmt: skip
    """Sizes of the top of a ranking that are compared: shares or numbers, with commas."""
    patches: Annotated[int, Option("Output")] = Field(12, ge=1)
    """Number of patches shown with the best and with the worst average rank."""

    def check(self) -> tuple[list[RankedPool], list[Any], Comparison]:
        """Return the inputs, the ids by which they are matched, and the comparison."""
        pools = [read_ranked(str(path)) for path in need_paths(self.rankings, "ranking")]
        found, ids = named_rankings(pools, self.methods)
        return pools, ids, compare(found)

    def steps(self, run: Run, ready: Any, progress: ProgressFn | None) -> dict[str, Any]:  # noqa: ARG002
        """Tables and pictures."""
        pools, ids, found = ready
        tops = top_sizes(self.top, found.ids.size)
        key = digest([VERSION, [pool.prints for pool in pools], list(found.names), tops])
        run.do("tables", key, lambda: write_tables(run.path, found, tops, windows(pools, ids)))
        shown = rows_shown(found, tops, self.patches)
        files = _pictures(pools, ids, found.ids[shown].tolist())
        key = digest([VERSION, key, [[name, str(file)] for name, file in files.items()]])
        run.do("thumbs", key, lambda: _copy(run.path, files))
        inputs = [{"path": str(p.path), "patches": p.ids.size, "tied": p.tied} for p in pools]
        return {"compare": summary(found, tops, shown=self.patches, inputs=inputs)}


def summary(
    found: Comparison, tops: list[tuple[str, int]], *, shown: int,
    inputs: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:  # fmt: skip
    """Return the summary of a comparison, JSON-ready.

    Args:
        found: The comparison.
        tops: Name and size of each top.
        shown: Number of patches to show at each end.
        inputs: Facts of the files that were read.
    """
    return {
        "rankings": _about(found), "inputs": list(inputs), "patches": int(found.ids.size),
        "shown": shown, "kendall": _nested(found), "kendall_sd": found.kendall_sd,
        "top": [{"top": top, "k": k, "agreed": int(found.agreed(k).size)} for top, k in tops],
    }  # fmt: skip


def top_sizes(tops: list[str], n: int) -> list[tuple[str, int]]:
    """Return the name and the number of patches of each top, the smallest first.

    Shares are rounded down, to at least 1. Of several tops of one size only the last is kept.
    """
    sizes = {}
    for top in tops:
        amount = Budget.parse(top).limits["tiles"]
        # 29 % of 100 is 28.999999999999996 in floating point.
        whole = amount.value * n + 1e-9 if amount.share else amount.value
        sizes[top] = min(n, max(1, int(whole)))
    kept = {k: top for top, k in sorted(sizes.items(), key=lambda pair: pair[1])}
    return [(top, k) for k, top in kept.items()]


def windows(pools: list[RankedPool], ids: list[Any]) -> tuple[Any, dict[str, Any]]:
    """Return ids of patches and their windows, from the input with the most window columns."""
    best = max(range(len(pools)), key=lambda i: (len(pools[i].windows), -i))
    return ids[best], pools[best].windows


def write_tables(
    path: Path, found: Comparison, tops: list[tuple[str, int]], known: tuple[Any, dict[str, Any]]
) -> list[str]:
    """Write the tables of a comparison; return the names of the files.

    Args:
        path: Run directory.
        found: The comparison.
        tops: Name and size of each top.
        known: Ids of patches (a superset of those compared), and columns of their windows.
    """
    tables = {
        "kendall": _kendall(found), "overlap": _overlap(found, tops),
        "patches": _patches(found, *known), "agreed": _agreed(found, tops),
    }  # fmt: skip
    files = []
    for name, table in tables.items():
        write_parquet(path / f"tables/{name}.parquet", table)
        write_csv(path / f"tables/{name}.csv", table)
        files += [f"tables/{name}.parquet", f"tables/{name}.csv"]
    return files


def _kendall(found: Comparison) -> pa.Table:
    import pyarrow as pa

    columns = {name: found.kendall[:, i] for i, name in enumerate(found.names)}
    return pa.table({"ranking": list(found.names), **columns})


def _overlap(found: Comparison, tops: list[tuple[str, int]]) -> pa.Table:
    import pyarrow as pa

    rows = []
    for top, k in tops:
        share = found.overlap(k)
        for a, b in combinations(range(len(found.names)), 2):
            known = bool(np.isfinite(share[a, b]))
            rows.append({
                "top": top, "k": k, "a": found.names[a], "b": found.names[b],
                "shared": round(float(share[a, b]) * k) if known else None,
                "share": float(share[a, b]) if known else None,
                "by_chance": k / found.ids.size,
            })  # fmt: skip
    kinds = {"top": pa.string(), "k": pa.int64(), "a": pa.string(), "b": pa.string(),
             "shared": pa.int64(), "share": pa.float64(), "by_chance": pa.float64()}  # fmt: skip
    return pa.Table.from_pylist(rows, schema=pa.schema(kinds))


def _patches(found: Comparison, ids: Any, places: dict[str, Any]) -> pa.Table:
    import pyarrow as pa

    order = found.order
    columns: dict[str, Any] = {
        "place": np.arange(1, order.size + 1), "patch": _text(found.ids[order]),
    }  # fmt: skip
    sort = np.argsort(ids, kind="stable")
    rows = sort[np.searchsorted(ids, found.ids[order], sorter=sort)]
    for name, values in places.items():
        column = values[rows]
        columns[name] = _text(column) if column.dtype.kind == "U" else column
    for i, name in enumerate(found.names):
        place = found.place[i, order]
        columns[f"rank:{name}"] = pa.array(place, mask=place == 0)
    return pa.table(columns | {"average": found.average[order], "spread": found.spread[order]})


def _agreed(found: Comparison, tops: list[tuple[str, int]]) -> pa.Table:
    import pyarrow as pa

    place = np.empty(found.ids.size, np.int64)
    place[found.order] = np.arange(1, place.size + 1)
    rows = [
        {"top": top, "k": k, "place": int(place[row]), "patch": str(found.ids[row]),
         "average": float(found.average[row])}
        for top, k in tops for row in found.agreed(k).tolist()
    ]  # fmt: skip
    kinds = {"top": pa.string(), "k": pa.int64(), "place": pa.int64(), "patch": pa.string(),
             "average": pa.float64()}  # fmt: skip
    return pa.Table.from_pylist(rows, schema=pa.schema(kinds))


def _text(values: Any) -> pa.Array:
    import pyarrow as pa

    return pa.array(values.astype(object), pa.string())


def _about(found: Comparison) -> list[dict[str, Any]]:
    return [
        {"name": name, "ranked": int(depth), "full": bool(full), "left_out": found.left_out[name]}
        for name, depth, full in zip(found.names, found.depth(), found.full, strict=True)
    ]


def _nested(found: Comparison) -> dict[str, dict[str, float]]:
    return {
        a: {b: float(found.kendall[i, j]) for j, b in enumerate(found.names) if i != j}
        for i, a in enumerate(found.names)
    }


def rows_shown(found: Comparison, tops: list[tuple[str, int]], count: int) -> Any:
    """Return the rows that the report shows: both ends, and the agreed patches of each top."""
    agreed = [found.agreed(k)[:count] for _, k in tops]
    return np.unique(np.concatenate([found.order[:count], found.order[-count:], *agreed]))


def _pictures(pools: list[RankedPool], ids: list[Any], requested: list[str]) -> dict[str, Path]:
    """Return the thumbnail of each patch, from the first run that has one."""
    found: dict[str, Path] = {}
    missing = set(requested)
    for pool, names in zip(pools, ids, strict=True):
        if not pool.thumbs:
            continue
        rows = np.flatnonzero(np.isin(names, list(missing)))
        for name, tile in zip(names[rows].tolist(), pool.ids[rows].tolist(), strict=True):
            if tile in pool.thumbs:
                found[name] = pool.thumbs[tile]
        missing -= found.keys()
    return dict(sorted(found.items()))


def _copy(path: Path, files: dict[str, Path]) -> list[str]:
    import pyarrow as pa

    entries = []
    for name, file in files.items():
        target = f"thumbs/tiles/{digest(name)[:20]}{file.suffix}"
        with atomic_path(path / target, durable=False) as temporary:
            shutil.copyfile(file, temporary)
        entries.append({"kind": "tile", "name": name, "file": target})
    schema = pa.schema({"kind": pa.string(), "name": pa.string(), "file": pa.string()})
    write_parquet(path / _THUMBS, pa.Table.from_pylist(entries, schema=schema))
    return [_THUMBS, *(entry["file"] for entry in entries)]
