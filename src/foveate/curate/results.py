"""Files of a curate run: rankings, selections and the tables of the report."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.curate.compare import agreement
from foveate.embeddings import find_rows
from foveate.errors import DataError
from foveate.files import read_parquet, text_column, write_parquet
from foveate.pool.selections import FOOTER, save_selection, with_footer
from foveate.selection import Ranking

__all__ = ["load_ranking", "save_ranking", "save_selection", "write_tables"]

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

    from foveate.curate.methods import Method
    from foveate.pool.pool import Pool
    from foveate.selection import Selection


VERSION = 1  # raised when the tables change for the same inputs


def save_ranking(path: Path, ranking: Ranking) -> None:
    """Write a ranking: rank, tile_id, score; method, options and seed in the footer."""
    table = ranking.to_arrow().drop_columns(["row"])
    write_parquet(path, with_footer(table, dict(ranking.meta)))


def load_ranking(
    path: Path, pool: Pool, costs: Mapping[str, NDArray[np.float64]] | None = None,
    given: NDArray[np.int64] | None = None,
) -> Ranking:  # fmt: skip
    """Read a ranking of `pool`.

    Args:
        path: File of `save_ranking`.
        pool: The pool.
        costs: Result of ``pool.costs()``, if it was already computed.
        given: Rows that are already selected.

    Raises:
        DataError: A tile of the ranking is missing from the pool.
    """
    table = read_parquet(path)
    rows = find_rows(pool.ids, text_column(table, "tile_id"))
    if (rows < 0).any():
        raise DataError(
            f"{path.name!r} ranks tiles of another pool", "All tiles must be in the pool.",
            "Run the job again.",
        )  # fmt: skip
    meta = json.loads(table.schema.metadata[FOOTER])
    known = pool.costs() if costs is None else costs
    given = np.empty(0, np.int64) if given is None else given
    return Ranking(rows, table["score"].to_numpy(), len(pool), pool.ids, known, meta, given)


def write_tables(
    path: Path, pool: Pool, methods: Mapping[str, Method], rankings: Mapping[str, Ranking],
    selections: Mapping[str, Selection],
) -> list[str]:  # fmt: skip
    """Write the tables of the report; return the names of the files.

    - ``tables/scores.parquet``: tile_id, and ``rank:M``, ``score:M`` for each method M (rank is
      1-based, null for tiles that a greedy method did not rank).
    - ``tables/classes.parquet``: class, color, ``pool`` and, for each method M, ``picked:M``:
      pixels.
    - ``tables/agreement.parquet``: a, b, kendall, overlap.
    - ``tables/methods.parquet``: method, title, source, selected, pool.
    """
    import pyarrow as pa

    tables: dict[str, pa.Table] = {}
    columns: dict[str, Any] = {"tile_id": pa.array(pool.ids, pa.string())}
    for name, ranking in rankings.items():
        place = ranking.position()
        score = np.full(len(pool), np.nan)
        score[ranking.rows] = ranking.score
        columns[f"rank:{name}"] = pa.array(place + 1, mask=place >= ranking.depth)
        columns[f"score:{name}"] = pa.array(score)
    tables["scores"] = pa.table(columns)
    if pool.counts is not None and pool.legend is not None:
        classes: dict[str, Any] = {
            "class": list(pool.legend.names),
            "color": list(pool.legend.colors),
            "pool": pool.counts.sum(axis=0),
        }
        classes |= {
            f"picked:{name}": pool.counts[s.rows].sum(axis=0) for name, s in selections.items()
        }
        tables["classes"] = pa.table(classes)
    pairs = agreement(rankings, selections)
    schema = {"a": pa.string(), "b": pa.string(), "kendall": pa.float64(), "overlap": pa.float64()}
    tables["agreement"] = pa.Table.from_pylist([vars(p) for p in pairs], schema=pa.schema(schema))
    rows = [
        {
            "method": name, "title": m.title, "source": m.source,
            "selected": len(selections[name]), "pool": len(pool),
        }
        for name, m in methods.items()
    ]  # fmt: skip
    tables["methods"] = pa.Table.from_pylist(rows)
    for name, table in tables.items():
        write_parquet(path / f"tables/{name}.parquet", table)
    return [f"tables/{name}.parquet" for name in tables]
