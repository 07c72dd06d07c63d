"""Files of selections: one row per selected tile, with its window and its outline."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from foveate.errors import UnknownNameError
from foveate.files import write_parquet
from foveate.pool.costs import costs_for
from foveate.registry import suggest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import pyarrow as pa

    from foveate.budget import Budget
    from foveate.embeddings import EncoderSpec
    from foveate.pool.pool import Pool
    from foveate.run import Run
    from foveate.selection import Selection

SCHEMA = 1
FOOTER = b"foveate"


def save_selection(
    path: Path,
    pool: Pool,
    selection: Selection,
    budget: Budget | None,
    *,
    about: Mapping[str, Any],
    spec: EncoderSpec | None,
) -> None:
    """Write a selection: rank, tile, window, score, costs, weight, and geometry if available.

    The footer contains the schema version, method, options, seed, budget, spent and unspent
    amounts, the pool and the encoder.

    Args:
        path: File to write.
        pool: The pool.
        selection: The selection, possibly empty.
        budget: The budget; None if the tiles were selected by a threshold.
        about: Facts on the whole pool for the footer: "fingerprint", "tiles", "cost".
        spec: The encoder, or None.
    """
    import pyarrow as pa

    chosen = pool.take(selection.rows)
    units = budget.limits if budget is not None else ()
    costs = costs_for(chosen, units)
    table = selection.to_arrow().drop_columns(["row"])
    if chosen.tiles is not None:
        windows = chosen.tiles.to_arrow().drop_columns(["tile_id"])
        for name in windows.column_names:
            table = table.append_column(name, windows[name])
    for unit in units:
        table = table.append_column(f"cost_{unit}", pa.array(costs[unit]))
    table = table.append_column("weight", pa.array(np.ones(len(selection))))
    if pool.georeferenced:
        import shapely

        outlines = chosen.outlines
        if outlines is None:
            outlines = pa.array(shapely.to_wkb(chosen.footprints()), pa.binary())
        table = table.append_column("geometry", outlines)
    footer = {
        "schema": SCHEMA,
        "meta": dict(selection.meta),
        "budget": "" if budget is None else str(budget),
        "spent": dict(selection.spent),
        "unspent": dict(selection.unspent),
        "pool": dict(about),
        "encoder": spec.to_dict() if spec is not None else None,
    }
    geo = {"geometry": None} if pool.georeferenced else None
    write_parquet(path, with_footer(table, footer), geo=geo)


def stored_methods(run: Run) -> list[str]:
    """Return the names of the selections of a run, in the order of its job.

    Files of an earlier job with other methods may remain; only methods of the current job count.
    """
    stored = sorted(p.stem for p in (run.path / "selection").glob("*.parquet"))
    current = [n for n in run.record.get("summary", {}).get("methods", {}) if n in stored]
    return current or stored


def no_method(run: Run, method: str, known: Sequence[str]) -> UnknownNameError:
    """Return the error of a method that is not among the stored ones."""
    return UnknownNameError(
        f"the run {str(run.path)!r} has no method {method!r}",
        f"It has: {', '.join(known)}.",
        suggest(method, known),
    )


def with_footer(table: pa.Table, content: dict[str, Any]) -> pa.Table:
    """Return a table with JSON in the footer of its file."""
    text = json.dumps(content, sort_keys=True, default=str)
    return table.replace_schema_metadata({FOOTER: text.encode()})
