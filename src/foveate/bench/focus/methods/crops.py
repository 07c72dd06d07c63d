"""What methods share: the tiles of a scene, what the budget buys of them, and the overview."""

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

SLACK = 1e-9  # of a budget: fractions of passes are off by rounding


def native_tiles(task: Task) -> Tiles:
    """Cut the scene into tiles of about a crop, as equal as they can be, nodata left out.

    The sides of a tile are 2/3 to 3/2 of a crop; a scene that is smaller is one tile.

    Returns:
        n tiles that do not overlap and cover all valid parts, row-major.

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
    """Return the passes that a task may still spend."""
    spent = task.encoder.work.passes
    return min(task.encoder.ledger.left("passes"), max(0.0, task.passes - spent))


def affordable(task: Task, windows: Sequence[Window], *, keep: float = 0.0) -> int:
    """Return how many windows from the front the budget buys.

    Args:
        task: A task.
        windows: Crops, in the order in which they are shown.
        keep: Passes that are not to be spent.
    """
    left = passes_left(task) - keep
    total = np.cumsum(task.encoder.price(windows))
    count = int(np.searchsorted(total, left * (1 + SLACK) if left > 0 else 0.0, side="right"))
    while count and not task.encoder.ledger.can(passes=float(total[count - 1]), crops=count):
        count -= 1
    return count


def room(task: Task, tiles: Tiles, *, keep: float = 0.0) -> int:
    """Return how many tiles the budget buys, whichever they are: at most all of them."""
    price = crop_price(task, tiles)
    left = (passes_left(task) - keep) * (1 + SLACK)
    return len(tiles) if left >= price * len(tiles) else max(0, int(left // price))


def show(
    task: Task, windows: Sequence[Window], *, keep: float = 0.0
) -> tuple[list[Window], NDArray[np.float32]]:
    """Show the model as many windows from the front as the budget buys.

    Args:
        task: A task.
        windows: Crops.
        keep: Passes that are not to be spent.

    Returns:
        The n windows that were shown, and their features (n, d).

    Raises:
        BudgetError: It does not buy one.
    """
    count = affordable(task, windows, keep=keep)
    if not count:
        first = float(task.encoder.price(windows[:1])[0])
        raise BudgetError(
            f"a budget of {task.passes:g} passes, of which {passes_left(task):.3g} are left",
            f"A crop of {task.crop} pixels takes {first:.3g}.",
            "Give more passes.",
        )
    shown = list(windows[:count])
    return shown, task.encoder.embed(shown)


def crop_price(task: Task, tiles: Tiles) -> float:
    """Return the passes that the dearest tile takes."""
    return float(task.encoder.price(windows_of(tiles)).max())


def kept_for_crops(task: Task, tiles: Tiles) -> float:
    """Return the passes that a method keeps for crops while it decides which.

    As many as the regions take, but no more than half of what is left, and one crop at least.
    """
    price = crop_price(task, tiles)
    wanted = min(len(tiles), task.regions) * price
    return max(price, min(wanted, passes_left(task) / 2))


def ties_of(task: Task, windows: Sequence[Window]) -> NDArray[np.uint64]:
    """Return (n,) keys that decide between windows that are equally good."""
    return tie_keys(Tiles.of("scene", list(windows)).tile_id, task.seed, "bench/focus/ties")


def overview_cells(task: Task, tiles: Tiles, *, classes: bool) -> NDArray[np.float32]:
    """Return features of cells from the tokens of the overview, for one pass.

    Args:
        task: A task.
        tiles: n cells.
        classes: Whether the features are compared with classes or texts.

    Returns:
        (n, d) means of tokens, by shared area, as `CropEncoder.as_inputs` gives them.

    Raises:
        MissingCapabilityError: The model has no tokens, or not in the space of its classes.
        BudgetError: The pass is not there.
    """
    check_tokens(task.encoder.model, classes=classes)
    return task.encoder.as_inputs(pool(task, tiles, task.encoder.tokens(whole(task))))


def overview_partition(task: Task, count: int) -> Tiles:
    """Cut the overview into about equal cells, to be shown or hidden in it.

    Args:
        task: A task.
        count: Number of cells, those without a valid pixel included, which are left out.
    """
    cells = uniform(task.shape, count)
    shares = task.encoder.valid_shares(windows_of(cells))
    return cells.with_valid_share(shares).take(shares > 0)


def pool(task: Task, tiles: Tiles, tokens: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return the mean of what lies in each of n tiles.

    Args:
        task: A task.
        tiles: n tiles.
        tokens: (gh, gw, d) on a grid that tiles the scene evenly.

    Returns:
        (n, d), by shared valid area.
    """
    wide = np.asarray(tokens, np.float32)
    return FeatureStrategy(task.encoder, wide, 2, robust=False).encode(tiles).x


def joined_outcome(
    task: Task, windows: Sequence[Window], x: NDArray[np.floating], how: Join
) -> Outcome:
    """Return the outcome of crops that were shown: one answer, the best crops, all values.

    Args:
        task: A task.
        windows: n crops that do not overlap, in the order of choice.
        x: (n, d) their features.
        how: The way of joining; where it ranks nothing, the first crops are chosen.
    """
    ties = ties_of(task, windows)
    found = join(task.question, x, how, ties)
    if found.value is None:
        return Outcome(tuple(windows[: task.regions]), found.probabilities)
    order = rank(found.value, ties)[: task.regions]
    chosen = tuple(windows[i] for i in order)
    return Outcome(chosen, found.probabilities, found.value, tuple(windows))


def closer_look(task: Task, tiles: Tiles, importance: NDArray[np.floating], how: Join) -> Outcome:
    """Show the most important tiles at native resolution, as many as the budget buys.

    Args:
        task: A task.
        tiles: n tiles.
        importance: (n,) what they were found to be worth.
        how: How the answers of those that are shown become one.

    Raises:
        BudgetError: It does not buy one.
    """
    windows = windows_of(tiles)
    order = rank(importance, ties_of(task, windows))
    shown, x = show(task, [windows[i] for i in order])
    found = join(task.question, x, how, ties_of(task, shown))
    return Outcome(
        tuple(shown[: task.regions]), found.probabilities,
        np.asarray(importance, np.float64), tuple(windows),
    )  # fmt: skip
