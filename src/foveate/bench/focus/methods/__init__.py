"""Methods of `bench focus` by name.

>>> METHODS["whole-image"].says
'The whole scene, downsampled to the input of the model.'
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

from foveate.bench.focus.methods import coresets, greedy, looks, saliency, search_by_text, tiles
from foveate.bench.focus.methods.answers import FUSIONS, JOINS, SAYS
from foveate.registry import unknown_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from foveate.bench.focus.methods.answers import Join
    from foveate.bench.focus.methods.base import Method

__all__ = ["METHODS", "Entry", "find_method", "needs_query"]


class Entry(NamedTuple):
    """A method of the benchmark.

    Attributes:
        method: The method.
        says: One-sentence description.
    """

    method: Method
    says: str


_CROP_JOINS: tuple[Join, ...] = ("mean", "surest", "query")  # for crops selected by a map


def find_method(name: str) -> Method:
    """Return a method by name.

    Raises:
        UnknownNameError: The method is unknown; the error suggests a name.
    """
    if name not in METHODS:
        raise unknown_name("method", name, METHODS, "Methods")
    return METHODS[name].method


_BY_TEXT = (looks.look_name("query"), "zoomeye", "zoomsearch")


def needs_query(name: str) -> bool:
    """Return whether a method needs a query."""
    return name in _BY_TEXT or name.endswith("/query")


def _joined(
    name: str, kind: Callable[[Any], Method], says: str, joins: Sequence[Join] = JOINS
) -> Iterator[tuple[str, Entry]]:
    """Yield a method with each aggregation of predictions."""
    for how in joins:
        yield f"{name}/{how}", Entry(kind(how), f"{says}; {SAYS[how]}.")


def _tiles() -> Iterator[tuple[str, Entry]]:
    yield (
        "whole-image",
        Entry(tiles.whole_image, "The whole scene, downsampled to the input of the model."),
    )
    yield (
        "random-regions",
        Entry(tiles.random_regions, "Crops at random positions."),
    )
    for name, order, says in (
        ("random", tiles.random_order, "Tiles at native resolution, drawn at random"),
        ("stratified", tiles.stratified_order, "One tile of each segment of a Z-order curve"),
        ("grid", tiles.grid_order, "Tiles on a regular grid"),
        ("k-center", tiles.kcenter_order, "Tiles by k-center on the tokens of the overview"),
    ):
        yield from _joined(name, tiles.tiles_in(order), says)
    yield (
        "max-probability",
        Entry(tiles.max_probability, "Tiles with the highest class probability."),
    )
    says = "All crops of the scene with overlap, merged"
    yield from _joined("tiling", tiles.WholeTiling, says, ("vote", "mean", "surest", "query"))


def _saliency() -> Iterator[tuple[str, Entry]]:
    for name, kind, says in (
        ("feature-norm", saliency.FeatureNorm,
         "Crops with the largest token norm in the overview"),
        ("overview-probability", saliency.OverviewProbability,
         "Crops with the highest class probability of tokens of the overview"),
        ("rise", saliency.Rise, "Crops by random masking of the overview (RISE)"),
        ("pixel-wise", saliency.PixelWise,
         "Crops by occlusion of the finest cells of the overview"),
    ):  # fmt: skip
        yield from _joined(name, kind, says, _CROP_JOINS)


def _searches() -> Iterator[tuple[str, Entry]]:
    for name, weights in (("smdl", greedy.SMDL), ("lima", greedy.LIMA)):
        by = f"selected greedily by insertion and deletion with the weights of {name.upper()}"
        masks = functools.partial(greedy.GreedyMasks, weights)
        yield from _joined(
            f"{name}/masks", masks, f"Regions of the overview, {by}, then crops", _CROP_JOINS
        )
        by_tiles = functools.partial(greedy.GreedyTiles, weights)
        yield from _joined(f"{name}/tiles", by_tiles, f"Tiles, {by}", FUSIONS)
    zoomeye = search_by_text.ZoomEye()
    yield "zoomeye", Entry(zoomeye, "Best-first search of a quadtree by text, until a crop fits.")
    zoomsearch = search_by_text.ZoomSearch()
    says = "Search of several branches of a 3 x 3 tree by text, with one prediction."
    yield "zoomsearch", Entry(zoomsearch, says)


def _coresets() -> Iterator[tuple[str, Entry]]:
    for name, kind, says in (
        ("scs", coresets.StandardCoreset, "Tiles by sensitivity sampling, a coreset for k-means"),
        ("esc", coresets.ClusterCoreset, "Tiles that bound the gradient by distances to clusters"),
        ("al-seg", coresets.MetricCoreset, "Tiles by k-center in a metric learned from neighbours"),
        ("mmts", coresets.MaxMarginTokens, "Tiles by max-margin attention to the best tile"),
        ("daus", coresets.Unlearning, "Tiles with the largest loss increase by unlearning"),
    ):
        yield from _joined(name, kind, says, FUSIONS)


def _looks() -> Iterator[tuple[str, Entry]]:
    for name, method in looks.LOOKS.items():
        yield name, Entry(method, looks.SAYS[name])


METHODS: dict[str, Entry] = dict([*_looks(), *_tiles(), *_saliency(), *_searches(), *_coresets()])
