"""A coordinate list: the chosen patches in their order, one a line.

In the form of the core-set paper's public code, which ``--coordinates`` and ``foveate compare``
read: ``folder image row col score``, or ``image image image row col score`` for images that lie in
no folder (the lists have a surface model and a mask there). The last column is the score where it
falls from line to line, and else the place: 1 for the first, 1/n for the last. A list states no
size of the patches: give ``--tile``. Tiles of a pool of plain arrays are one id a line.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.errors import DataError, ParameterError
from foveate.export.table import Export, Target
from foveate.files import write_bytes

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray


def write(export: Export) -> None:
    """Write the list.

    Raises:
        ParameterError: Several methods.
        DataError: A name with a blank in it, or patches of several sizes.
        StorageError: It cannot be written.
    """
    table = export.table
    methods = table["method"].unique().to_pylist() if "method" in table.column_names else []
    if len(methods) > 1:
        raise ParameterError(
            f"a list of the methods {', '.join(methods)}",
            "A list is one order of patches.",
            f"Choose one: --method {methods[0]}",
        )
    if {"scene", "y", "x"} <= set(table.column_names):
        lines = _coordinates(table)
    else:
        lines = table["tile_id"].to_pylist()
        _check_blanks(lines, "tile")
    write_bytes(export.path, "".join(f"{line}\n" for line in lines).encode())


def _coordinates(table: pa.Table) -> list[str]:
    scenes = table["scene"].to_pylist()
    _check_blanks(scenes, "image")
    sizes = sorted(set(zip(table["h"].to_pylist(), table["w"].to_pylist(), strict=True)))
    if len(sizes) > 1 or any(h != w for h, w in sizes):
        raise DataError(
            f"patches of {sizes[0][0]} x {sizes[0][1]} and {sizes[-1][0]} x {sizes[-1][1]} pixels",
            "A list states corners alone: its patches are squares of one size.",
            "Use --to csv, which holds the windows.",
        )
    names = [" ".join(s.rsplit("/", 1)) if "/" in s else f"{s} {s} {s}" for s in scenes]
    rows = zip(names, table["y"].to_pylist(), table["x"].to_pylist(), _scores(table), strict=True)
    return [f"{name} {y} {x} {score:.10g}" for name, y, x, score in rows]


def _scores(table: pa.Table) -> list[float]:
    n = len(table)
    if "score" in table.column_names:
        score: NDArray[np.float64] = table["score"].cast("float64").to_numpy()
        written = np.array([float(f"{value:.10g}") for value in score.tolist()])
        if np.isfinite(score).all() and (np.diff(written) <= 0).all():
            return score.tolist()
    return [(n - i) / n for i in range(n)]


def _check_blanks(names: list[str], what: str) -> None:
    bad = next((name for name in names if len(name.split()) != 1), None)
    if bad is not None:
        raise DataError(
            f"the {what} {bad!r} has a blank in its name",
            "Blanks separate the columns of a list.",
            "Use --to csv, or rename the files.",
        )


TARGET = Target((".txt",), "optional", write)
