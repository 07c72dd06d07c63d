"""Methods that `bench focus` compares, by name.

>>> METHODS["whole-image"].says
'The whole scene, shrunk to the input of the model.'
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

from foveate.bench.focus.methods import coresets, greedy, looks, saliency, search_by_text, tiles
from foveate.bench.focus.methods.answers import FUSIONS, JOINS, SAYS
from foveate.errors import UnknownNameError
from foveate.registry import suggest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from foveate.bench.focus.methods.answers import Join
    from foveate.bench.focus.methods.base import Method

__all__ = ["METHODS", "Entry", "find_method", "needs_query"]


class Entry(NamedTuple):
    """A method of the benchmark.

    Attributes:
        method: Looks at a task.
        says: One sentence about it.
    """

    method: Method
    says: str


_CLOSER: tuple[Join, ...] = ("mean", "surest", "query")  # of crops that a map has chosen


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


_BY_TEXT = (looks.look_name("query"), "zoomeye", "zoomsearch")


def needs_query(name: str) -> bool:
    """Say whether a method has to be told what to find."""
    return name in _BY_TEXT or name.endswith("/query")


def _joined(
    name: str, kind: Callable[[Any], Method], says: str, joins: Sequence[Join] = JOINS
) -> Iterator[tuple[str, Entry]]:
    """Yield a method with each of some ways of joining answers."""
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
        yield from _joined(name, tiles.tiles_in(order), says)
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
        yield from _joined(name, kind, says, _CLOSER)


def _searches() -> Iterator[tuple[str, Entry]]:
    for name, weights in (("smdl", greedy.SMDL), ("lima", greedy.LIMA)):
        by = f"one after the other by insertion and deletion with the weights of {name.upper()}"
        masks = functools.partial(greedy.GreedyMasks, weights)
        yield from _joined(
            f"{name}/masks", masks, f"Regions of the overview, {by}, then crops", _CLOSER
        )
        seen = functools.partial(greedy.GreedyTiles, weights)
        yield from _joined(f"{name}/tiles", seen, f"Tiles, {by}", FUSIONS)
    best = search_by_text.ZoomEye()
    yield "zoomeye", Entry(best, "Best first down a quadtree by text, until a crop fits.")
    several = search_by_text.ZoomSearch()
    says = "Several branches of a tree of 3 x 3 parts by text, which answer together."
    yield "zoomsearch", Entry(several, says)


def _coresets() -> Iterator[tuple[str, Entry]]:
    for name, kind, says in (
        ("scs", coresets.StandardCoreset, "Tiles by sensitivity sampling, a coreset for k-means"),
        ("esc", coresets.ClusterCoreset, "Tiles that bound the gradient by distances to clusters"),
        ("al-seg", coresets.MetricCoreset, "Tiles by k-center in a metric learned from neighbours"),
        ("mmts", coresets.MaxMarginTokens, "Tiles by max-margin attention to the best one"),
        ("daus", coresets.Unlearning, "Tiles whose loss rises when the scene is unlearned"),
    ):
        yield from _joined(name, kind, says, FUSIONS)


def _looks() -> Iterator[tuple[str, Entry]]:
    for name, method in looks.LOOKS.items():
        yield name, Entry(method, looks.SAYS[name])


METHODS: dict[str, Entry] = dict([*_looks(), *_tiles(), *_saliency(), *_searches(), *_coresets()])
