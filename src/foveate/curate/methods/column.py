"""Column: rank by what is known already, a number for each tile.

Scores of other programs have their place here: EL2N and the like from a training run, the quality
of labels, the uncertainty of the last model, a share of cloud. The column is an attribute of the
pool, from a file of embeddings or from a table given beside the images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.curate.methods.base import Method
from foveate.errors import ParameterError
from foveate.seeds import tie_keys
from foveate.select.sampling import order_by_score
from foveate.selection import Ranking

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.pool.attributes import Attributes
    from foveate.progress import ProgressFn


def column(
    *,
    ids: NDArray[np.str_],
    attributes: Attributes,
    seed: int,
    progress: ProgressFn | None = None,  # noqa: ARG001  (one sort)
    name: str | None = None,
    order: str = "high",
) -> Ranking:
    """Rank by a column of numbers.

    Args:
        ids: (n,) str.
        attributes: Columns, (n,) each.
        seed: Breaks ties.
        progress: Not used.
        name: The column; None where the pool has one column of numbers.
        order: "high" for the largest first, "low" for the smallest.

    Returns:
        Full ranking; scores are the values, with "low" times -1. A tile without a value has no
        score and comes last.

    Raises:
        ParameterError: Unknown `order`, no such column, one of texts, or several to choose from.
    """
    if order not in ("high", "low"):
        raise ParameterError(f"order={order!r}", "Allowed: high, low.")
    value = attributes.number(_only(attributes) if name is None else name)
    value = np.where(np.isfinite(value), value, np.nan)
    score = value if order == "high" else -value
    rows = order_by_score(score, tie_keys(ids, seed))
    return Ranking(rows, score[rows], len(ids))


def _only(attributes: Attributes) -> str:
    numbers = [name for name in attributes if attributes.is_number(name)]
    if len(numbers) == 1:
        return numbers[0]
    raise ParameterError(
        f"the method 'column' without a column, for a pool with {len(numbers)} of numbers",
        f"Columns of numbers: {', '.join(numbers) or 'none'}.",
        f"Say which one: --option column.name={numbers[0]}." if numbers else
        "Give a table of them: --attributes FILE.",
    )  # fmt: skip


METHOD = Method(
    name="column",
    title="A column of the pool",
    source="what is known of each tile",
    function=column,
    needs=("attributes",),
)
