"""Changes of the pool and of the picks since the last time that a job was run.

If an archive grows, the same job ranks all scenes again. The pool and the picks are stored, so that
the next time can be compared with them. Interrupted runs are skipped: the comparison is with the
last run that finished.
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
_VERSION = 1  # raised when the output of the step changes for the same inputs


def note_changes(run: Run, pool: Pool, selections: Mapping[str, Selection]) -> dict[str, Any]:
    """Compare the pool and its picks with those of the last time, if the pool has changed.

    ``tables/changes.parquet`` has a row for each tile that was added or removed (no method), and
    for each tile that moved into or out of the budget of a method. A new tile that is picked has
    two rows.

    Args:
        run: Open for writing.
        pool: The pool.
        selections: Method -> its selection.

    Returns:
        Number of tiles "added" and "gone", and for each of the "methods" the number of tiles that
        moved; empty if there is no earlier pool, or it is the same.
    """
    picks = {name: np.sort(one.values.astype(np.str_)) for name, one in selections.items()}
    key = digest([
        _VERSION, digest_ids(np.sort(pool.ids)), {n: digest_ids(ids) for n, ids in picks.items()},
    ])  # fmt: skip

    def work() -> list[str]:
        base, table = run.path / BASELINE, run.path / TABLE
        if base.is_file() and json.loads(read_footer(base)[FOOTER]) != {"key": key}:
            found = _compared(read_parquet(base), pool.ids, picks)
            table.unlink(missing_ok=True)  # remove the table of an earlier change
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
    """Return a row for each change; None if the pool is the same."""
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
