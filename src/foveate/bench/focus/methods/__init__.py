"""Methods that `bench focus` compares, by name.

>>> find_method("full-image").says
'The whole scene, shrunk to the input of the model.'
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from foveate.bench.focus.methods import coresets, greedy, saliency, search_by_text, tiles
from foveate.bench.focus.methods.answers import JOINS, SAYS
from foveate.registry import Registry

if TYPE_CHECKING:
    from foveate.bench.focus.methods.answers import Join
    from foveate.bench.focus.methods.base import Method

__all__ = ["METHODS", "Entry", "find_method"]


class Entry(NamedTuple):
    """A method of the benchmark.

    Attributes:
        method: Looks at a task.
        says: One sentence about it.
    """

    method: Method
    says: str


METHODS: Registry[Entry] = Registry("method of bench focus")


def find_method(name: str) -> Entry:
    """Return a method by name.

    Raises:
        UnknownNameError: There is none; the message suggests the nearest name.
    """
    return METHODS.get(name)


_ORDERS = {
    "random": (tiles.random_order, "Tiles at native resolution, drawn at random"),
    "stratified": (tiles.stratified_order, "One tile of each stretch of a Z-order curve"),
    "grid": (tiles.grid_order, "Tiles on a regular grid"),
    "k-center": (tiles.kcenter_order, "Tiles by k-center on the tokens of the overview"),
}
_SALIENCY = {
    "feature-norm": (
        saliency.FeatureNorm, "Crops where the tokens of the overview are longest"
    ),
    "overview-probability": (
        saliency.OverviewProbability, "Crops where the overview's tokens are surest of a class"
    ),
    "rise": (saliency.Rise, "Crops that random masks on the overview find (RISE)"),
    "pixel-wise": (
        saliency.PixelWise, "Crops where hiding the finest cells of the overview matters"
    ),
}  # fmt: skip
_GREEDY = {"smdl": greedy.SMDL, "lima": greedy.LIMA}
_TABLE_6 = {
    "scs": (coresets.StandardCoreset(), "Tiles by sensitivity sampling, a coreset for k-means."),
    "esc": (coresets.ClusterCoreset(), "Tiles that bound the gradient by distances to clusters."),
    "al-seg": (coresets.MetricCoreset(), "Tiles by k-center in a metric learned from neighbours."),
    "mmts": (
        coresets.MaxMarginTokens(), "Tiles by max-margin attention to the one that fits best."
    ),
    "daus": (
        coresets.Unlearning(), "Tiles whose loss rises most when the scene's class is unlearned."
    ),
}  # fmt: skip
_CLOSER: tuple[Join, ...] = ("mean", "surest", "query")
_TILING: tuple[Join, ...] = ("vote", "mean", "surest", "query")


def _register() -> None:
    METHODS.register(
        "full-image", Entry(tiles.full_image, "The whole scene, shrunk to the input of the model.")
    )
    METHODS.register(
        "random-regions",
        Entry(tiles.random_regions, "Crops anywhere in the scene, without looking."),
    )
    for name, (order, says) in _ORDERS.items():
        for how in JOINS:
            entry = Entry(tiles.NativeTiles(order, how), f"{says}; {SAYS[how]}.")
            METHODS.register(f"{name}/{how}", entry)
    METHODS.register(
        "max-probability",
        Entry(tiles.max_probability, "Tiles whose most likely class is the most probable."),
    )
    for how in _TILING:
        entry = Entry(
            tiles.WholeTiling(how), f"Every crop of the scene with overlap, merged; {SAYS[how]}."
        )
        METHODS.register(f"tiling/{how}", entry)
    for name, (kind, says) in _SALIENCY.items():
        for how in _CLOSER:
            METHODS.register(f"{name}/{how}", Entry(kind(how), f"{says}; {SAYS[how]}."))
    for name, weights in _GREEDY.items():
        by = f"by insertion and deletion with the weights of {name.upper()}"
        masks = f"Regions of the overview, one after the other, {by}; then crops."
        METHODS.register(f"{name}/masks", Entry(greedy.GreedyMasks(weights), masks))
        METHODS.register(
            f"{name}/tiles",
            Entry(greedy.GreedyTiles(weights), f"Tiles, one after the other, {by}."),
        )
    METHODS.register(
        "zoomeye",
        Entry(search_by_text.ZoomEye(), "Best first down a quadtree by text, until a crop fits."),
    )
    METHODS.register(
        "zoomsearch",
        Entry(
            search_by_text.ZoomSearch(),
            "Several branches of a tree of 3 x 3 parts by text, which answer together.",
        ),
    )
    for name, (method, says) in _TABLE_6.items():
        METHODS.register(name, Entry(method, says))


_register()
