"""What has changed since a run was made the last time: tiles of the pool, and picks.

An archive grows: the same job on more scenes ranks all of them anew. What is kept here is the pool
and the picks of the last time, so that the next time can be compared with it; a run that was killed
in between is compared with the last one that came to its end.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.files import digest, digest_ids, read_footer, read_parquet, text_column, write_parquet
from foveate.pool.selections import FOOTER, with_footer

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pyarrow as pa
    from numpy.typing import NDArray

    from foveate.pool import Pool
    from foveate.run import Run
    from foveate.selection import Selection

TABLE = "tables/changes.parquet"  # tile_id, change, method
BASELINE = "work/baseline.parquet"
ADDED, GONE, IN, OUT = "added", "gone", "into the budget", "out of the budget"
_VERSION = 1  # raised when the step writes something else for the same inputs


def note_changes(run: Run, pool: Pool, selections: Mapping[str, Selection]) -> dict[str, Any]:
    """Compare the pool and its picks with those of the last time, where the pool is another.

    ``tables/changes.parquet`` has a row for each tile that was added or is gone (no method), and
    for each that has moved into or out of the budget of a method. A tile that is new and picked has
    two rows.

    Args:
        run: Open for writing.
        pool: The pool.
        selections: Method -> what it has picked.

    Returns:
        How many tiles were "added" and are "gone", and by "methods" how many moved; empty where
        there is nothing to compare with, or the pool is the same.
    """
    picks = {name: np.sort(one.values.astype(np.str_)) for name, one in selections.items()}
    key = digest([
        _VERSION, digest_ids(np.sort(pool.ids)), {n: digest_ids(ids) for n, ids in picks.items()},
    ])  # fmt: skip

    def work() -> list[str]:
        base, table = run.path / BASELINE, run.path / TABLE
        if base.is_file() and json.loads(read_footer(base)[FOOTER]) != {"key": key}:
            found = _compared(read_parquet(base), pool.ids, picks)
            table.unlink(missing_ok=True)  # of an earlier change
            if found is not None:
                write_parquet(table, found)
        columns = {f"picked:{name}": np.isin(pool.ids, ids) for name, ids in picks.items()}
        write_parquet(base, with_footer(_table({"tile_id": pool.ids, **columns}), {"key": key}))
        return [BASELINE, *([TABLE] if table.exists() else [])]

    run.do("changes", key, work)
    return _counted(run)


def _compared(
    before: pa.Table, ids: NDArray[np.str_], picks: Mapping[str, NDArray[np.str_]]
) -> pa.Table | None:
    """Return a row for each change; None for a pool that is the same."""
    then = text_column(before, "tile_id")
    changed = [(ADDED, "", np.setdiff1d(ids, then)), (GONE, "", np.setdiff1d(then, ids))]
    if not any(tiles.size for _, _, tiles in changed):
        return None
    for name, now in picks.items():
        if f"picked:{name}" in before.column_names:
            was = then[before[f"picked:{name}"].to_numpy()]
            changed += [(IN, name, np.setdiff1d(now, was)), (OUT, name, np.setdiff1d(was, now))]
    sizes = [tiles.size for _, _, tiles in changed]
    return _table({
        "tile_id": np.concatenate([tiles for _, _, tiles in changed]),
        "change": np.repeat([change for change, _, _ in changed], sizes),
        "method": np.repeat([method for _, method, _ in changed], sizes),
    })  # fmt: skip


def _table(columns: Mapping[str, NDArray[Any]]) -> pa.Table:
    import pyarrow as pa

    text = {n: c.astype(object) if c.dtype.kind == "U" else c for n, c in columns.items()}
    return pa.table({n: pa.array(c, pa.string() if c.dtype == object else None)
                     for n, c in text.items()})  # fmt: skip


def _counted(run: Run) -> dict[str, Any]:
    if not (run.path / TABLE).is_file():
        return {}
    rows = read_parquet(run.path / TABLE, ["method", "change"]).to_pylist()
    times = Counter((row["method"], row["change"]) for row in rows)
    methods = sorted({method for method, _ in times if method})
    return {
        "added": times["", ADDED],
        "gone": times["", GONE],
        "methods": {m: {"in": times[m, IN], "out": times[m, OUT]} for m in methods},
        "file": TABLE,
    }
