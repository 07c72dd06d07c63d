"""Helpers shared by methods: tiles of a scene, encoding within the budget, and the overview."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from foveate.bench.focus.methods.answers import Join, join, rank
from foveate.bench.focus.methods.base import Outcome
from foveate.errors import BudgetError
from foveate.focus.partition import uniform, windows_of
from foveate.focus.strategies import FeatureStrategy, check_tokens, no_valid_cells, valid_cells
from foveate.grid import Grid, Tiles, Window
from foveate.seeds import tie_keys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from foveate.bench.focus.methods.base import Task

SLACK = 1e-9  # relative tolerance of a budget, for rounding of fractions of passes


def native_tiles(task: Task) -> Tiles:
    """Divide the scene into equal tiles of about the size of a crop, without invalid tiles.

    The sides of a tile are 2/3 to 3/2 of a crop; smaller scenes are one tile.

    Returns:
        n tiles without overlap that cover all valid parts, row-major.

    Raises:
        DataError: No tile has enough valid pixels.
    """
    rows, cols = (max(1, round(side / task.crop)) for side in task.shape)
    tiles = valid_cells(Grid.split(task.shape, rows, cols).tiles("scene"), task.encoder)
    if not len(tiles):
        raise no_valid_cells(task.encoder)
    return tiles


def whole(task: Task) -> Window:
    """Return the window of the whole scene."""
    return Window(0, 0, *task.shape)


def passes_left(task: Task) -> float:
    """Return the remaining passes of a task."""
    spent = task.encoder.work.passes
    return min(task.encoder.ledger.left("passes"), max(0.0, task.passes - spent))


def affordable(task: Task, windows: Sequence[Window], *, keep: float = 0.0) -> int:
    """Return the number of first windows that the budget covers.

    Args:
        task: A task.
        windows: Crops in order.
        keep: Reserved passes.
    """
    left = passes_left(task) - keep
    total = np.cumsum(task.encoder.price(windows))
    count = int(np.searchsorted(total, left * (1 + SLACK) if left > 0 else 0.0, side="right"))
    while count and not task.encoder.ledger.can(passes=float(total[count - 1]), crops=count):
        count -= 1
    return count


def room(task: Task, tiles: Tiles, *, keep: float = 0.0) -> int:
    """Return the number of tiles that the budget covers, whichever they are."""
    price = crop_price(task, tiles)
    left = (passes_left(task) - keep) * (1 + SLACK)
    return len(tiles) if left >= price * len(tiles) else max(0, int(left // price))


def show(
    task: Task, windows: Sequence[Window], *, keep: float = 0.0
) -> tuple[list[Window], NDArray[np.float32]]:
    """Encode as many first windows as the budget covers.

    Args:
        task: A task.
        windows: Crops in order.
        keep: Reserved passes.

    Returns:
        The n encoded windows, and their features (n, d).

    Raises:
        BudgetError: The budget does not cover a window.
    """
    count = affordable(task, windows, keep=keep)
    if not count:
        first = float(task.encoder.price(windows[:1])[0])
        raise BudgetError(
            f"a budget of {task.passes:g} passes, of which {passes_left(task):.3g} are left",
            f"A crop of {task.crop} pixels takes {first:.3g}.",
            "Increase --passes.",
        )
    encoded = list(windows[:count])
    return encoded, task.encoder.embed(encoded)


def crop_price(task: Task, tiles: Tiles) -> float:
    """Return the passes of the most expensive tile."""
    return float(task.encoder.price(windows_of(tiles)).max())


def kept_for_crops(task: Task, tiles: Tiles) -> float:
    """Return the passes reserved for crops during their selection.

    Those of the regions, but at most half of the remaining passes, and at least one crop.
    """
    price = crop_price(task, tiles)
    regions = min(len(tiles), task.regions) * price
    return max(price, min(regions, passes_left(task) / 2))


def ties_of(task: Task, windows: Sequence[Window]) -> NDArray[np.uint64]:
    """Return (n,) keys that break ties of windows."""
    return tie_keys(Tiles.of("scene", list(windows)).tile_id, task.seed, "bench/focus/ties")


def overview_cells(task: Task, tiles: Tiles, *, classes: bool) -> NDArray[np.float32]:
    """Return features of cells from the tokens of the overview; takes one pass.

    Args:
        task: A task.
        tiles: n cells.
        classes: Whether the features are compared with classes or texts.

    Returns:
        (n, d) area-weighted means of tokens, scaled by `CropEncoder.as_inputs`.

    Raises:
        MissingCapabilityError: The model has no tokens, or not in the space of its classes.
        BudgetError: No pass is left.
    """
    check_tokens(task.encoder.model, classes=classes)
    return task.encoder.as_inputs(pool(task, tiles, task.encoder.tokens(whole(task))))


def overview_partition(task: Task, count: int) -> Tiles:
    """Divide the overview into about equal cells, for masking.

    Args:
        task: A task.
        count: Number of cells, including those without valid pixels, which are omitted.
    """
    cells = uniform(task.shape, count)
    shares = task.encoder.valid_shares(windows_of(cells))
    return cells.with_valid_share(shares).take(shares > 0)


def pool(task: Task, tiles: Tiles, tokens: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the means of tokens in each of n tiles.

    Args:
        task: A task.
        tiles: n tiles.
        tokens: (gh, gw, d) on a grid that divides the scene evenly.

    Returns:
        (n, d), weighted by valid area.
    """
    tokens = np.asarray(tokens, np.float32)
    return FeatureStrategy(task.encoder, tokens, 2, robust=False).encode(tiles).x


def joined_outcome(
    task: Task, windows: Sequence[Window], x: NDArray[np.floating], how: Join
) -> Outcome:
    """Return the outcome of encoded crops: the prediction, the best crops, and all values.

    Args:
        task: A task.
        windows: n crops without overlap, in the order of selection.
        x: (n, d) their features.
        how: Aggregation; if it gives no ranking, the first crops are selected.
    """
    ties = ties_of(task, windows)
    joined = join(task.question, x, how, ties)
    if joined.value is None:
        return Outcome(tuple(windows[: task.regions]), joined.probabilities)
    order = rank(joined.value, ties)[: task.regions]
    selected = tuple(windows[i] for i in order)
    return Outcome(selected, joined.probabilities, joined.value, tuple(windows))


def closer_look(task: Task, tiles: Tiles, importance: NDArray[np.floating], how: Join) -> Outcome:
    """Encode the most important tiles at native resolution, as many as the budget covers.

    Args:
        task: A task.
        tiles: n tiles.
        importance: (n,) importance of the tiles.
        how: Aggregation of the predictions.

    Raises:
        BudgetError: The budget does not cover a tile.
    """
    windows = windows_of(tiles)
    order = rank(importance, ties_of(task, windows))
    encoded, x = show(task, [windows[i] for i in order])
    joined = join(task.question, x, how, ties_of(task, encoded))
    return Outcome(
        tuple(encoded[: task.regions]), joined.probabilities,
        np.asarray(importance, np.float64), tuple(windows),
    )  # fmt: skip
