"""Methods that `bench focus` compares, by name.

>>> METHODS["whole-image"].says
'The whole scene, shrunk to the input of the model.'
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from foveate.bench.focus.methods import coresets, greedy, saliency, search_by_text, tiles
from foveate.bench.focus.methods.answers import JOINS, SAYS
from foveate.errors import UnknownNameError
from foveate.registry import suggest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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


def find_method(name: str) -> Method:
    """Return a method by name.

    Raises:
        UnknownNameError: There is none; the message suggests the nearest name.
    """
    if name not in METHODS:
        raise UnknownNameError(
            f"unknown method of bench focus {name!r}",
            f"Known: {', '.join(METHODS)}.",
            suggest(name, METHODS),
        )
    return METHODS[name].method


def _joined(
    name: str, kind: Callable[[Join], Method], says: str, joins: tuple[Join, ...] = JOINS
) -> Iterator[tuple[str, Entry]]:
    """Yield a method with each way of joining answers."""
    for how in joins:
        yield f"{name}/{how}", Entry(kind(how), f"{says}; {SAYS[how]}.")


def _tiles() -> Iterator[tuple[str, Entry]]:
    yield (
        "whole-image",
        Entry(tiles.whole_image, "The whole scene, shrunk to the input of the model."),
    )
    yield (
        "random-regions",
        Entry(tiles.random_regions, "Crops anywhere in the scene, without looking."),
    )
    for name, order, says in (
        ("random", tiles.random_order, "Tiles at native resolution, drawn at random"),
        ("stratified", tiles.stratified_order, "One tile of each stretch of a Z-order curve"),
        ("grid", tiles.grid_order, "Tiles on a regular grid"),
        ("k-center", tiles.kcenter_order, "Tiles by k-center on the tokens of the overview"),
    ):
        yield from _joined(name, tiles.in_order(order), says)
    yield (
        "max-probability",
        Entry(tiles.max_probability, "Tiles whose most likely class is the most probable."),
    )
    says = "Every crop of the scene with overlap, merged"
    yield from _joined("tiling", tiles.WholeTiling, says, ("vote", "mean", "surest", "query"))


def _saliency() -> Iterator[tuple[str, Entry]]:
    for name, kind, says in (
        ("feature-norm", saliency.FeatureNorm, "Crops where the overview's tokens are longest"),
        ("overview-probability", saliency.OverviewProbability,
         "Crops where the overview's tokens are surest of a class"),
        ("rise", saliency.Rise, "Crops that random masks on the overview find (RISE)"),
        ("pixel-wise", saliency.PixelWise,
         "Crops where hiding the finest cells of the overview matters"),
    ):  # fmt: skip
        yield from _joined(name, kind, says, ("mean", "surest", "query"))


def _searches() -> Iterator[tuple[str, Entry]]:
    for name, weights in (("smdl", greedy.SMDL), ("lima", greedy.LIMA)):
        by = f"one after the other by insertion and deletion with the weights of {name.upper()}"
        yield (
            f"{name}/masks",
            Entry(greedy.GreedyMasks(weights), f"Regions of the overview, {by}; then crops."),
        )
        yield f"{name}/tiles", Entry(greedy.GreedyTiles(weights), f"Tiles, {by}.")
    yield (
        "zoomeye",
        Entry(search_by_text.ZoomEye(), "Best first down a quadtree by text, until a crop fits."),
    )
    yield (
        "zoomsearch",
        Entry(
            search_by_text.ZoomSearch(),
            "Several branches of a tree of 3 x 3 parts by text, which answer together.",
        ),
    )


def _coresets() -> Iterator[tuple[str, Entry]]:
    yield (
        "scs",
        Entry(coresets.StandardCoreset(), "Tiles by sensitivity sampling, a coreset for k-means."),
    )
    yield (
        "esc",
        Entry(coresets.ClusterCoreset(), "Tiles that bound the gradient by distances to clusters."),
    )
    yield (
        "al-seg",
        Entry(coresets.MetricCoreset(), "Tiles by k-center in a metric learned from neighbours."),
    )
    yield (
        "mmts",
        Entry(
            coresets.MaxMarginTokens(), "Tiles by max-margin attention to the one that fits best."
        ),
    )
    yield (
        "daus",
        Entry(
            coresets.Unlearning(),
            "Tiles whose loss rises most when the scene's class is unlearned.",
        ),
    )


METHODS: dict[str, Entry] = dict([*_tiles(), *_saliency(), *_searches(), *_coresets()])
