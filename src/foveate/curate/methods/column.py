"""Column: rank by a numeric column of the pool.

Use it for scores of other programs: EL2N or similar scores of a training run, the quality of
labels, the uncertainty of the last model, or a share of cloud. The column is an attribute of the
pool, from an embedding file or from a table that is given with the images.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.curate.methods.base import Method
from foveate.errors import ParameterError
from foveate.registry import check_choice
from foveate.seeds import tie_keys
from foveate.select.sampling import order_by_score
from foveate.selection import Ranking
from foveate.wording import plural

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from foveate.pool.attributes import Attributes


def column(
    *,
    ids: NDArray[np.str_],
    attributes: Attributes,
    seed: int,
    name: str | None = None,
    order: str = "high",
) -> Ranking:
    """Rank by a column of numbers.

    Args:
        ids: (n,) str.
        attributes: Columns, (n,) each.
        seed: Breaks ties.
        name: The column; None if the pool has exactly one numeric column.
        order: "high" for the largest first, "low" for the smallest.

    Returns:
        Full ranking; scores are the values, multiplied by -1 for "low". Tiles without a value have
        no score and come last.

    Raises:
        ParameterError: `order` is unknown, the column is missing or not numeric, or no name is
            given and there is not exactly one numeric column; or a value is infinite.
    """
    check_choice("order", order, ("high", "low"))
    name = _only(attributes) if name is None else name
    value = attributes.number(name)
    if infinite := int(np.isinf(value).sum()):
        raise ParameterError(
            f"the column {name!r} has {plural(infinite, 'infinite value')}",
            "Values must be finite, or missing.",
            "Replace them by the largest or smallest value, or leave them empty to rank them last.",
        )
    score = value if order == "high" else -value
    rows = order_by_score(score, tie_keys(ids, seed))
    return Ranking(rows, score[rows], len(ids))


def _only(attributes: Attributes) -> str:
    numbers = [name for name in attributes if attributes.is_number(name)]
    if len(numbers) == 1:
        return numbers[0]
    raise ParameterError(
        f"the method 'column' without a name, for a pool with {len(numbers)} numeric columns",
        f"Numeric columns: {', '.join(numbers) or 'none'}.",
        f"Give one of them: --option column.name={numbers[0]}." if numbers else
        "Give a table with a numeric column: --attributes FILE.",
    )  # fmt: skip


METHOD = Method(
    name="column",
    title="A column of the pool",
    source="a numeric attribute of each tile",
    function=column,
    needs=("attributes",),
)
