"""A coordinate list: the selected patches in order, one per line.

The format is that of the public code of the core-set paper, which ``--coordinates`` and ``foveate
compare`` read: ``folder image row col score``, or ``image image image row col score`` for images
without a folder (where the lists have a surface model and a mask). The last column is the score if
it does not increase from line to line, and otherwise the position: 1 for the first, 1/n for the
last. A list does not contain the size of the patches: use ``--tile``. Tiles of a pool of plain
arrays are one id per line.
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
        ParameterError: There are several methods.
        DataError: A name contains a blank, or patches have several sizes.
        StorageError: The file cannot be written.
    """
    table = export.table
    methods = table["method"].unique().to_pylist() if "method" in table.column_names else []
    if len(methods) > 1:
        raise ParameterError(
            f"the run has several methods: {', '.join(methods)}",
            "A list contains a single ranking.",
            f"Select one with --method {methods[0]}",
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
            "A list contains corners only: its patches must be squares of one size.",
            "Use --to csv, which contains the windows.",
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
